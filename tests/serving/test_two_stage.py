import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import eight_devices, init, noisy

from rezoo import evaluation
from rezoo.data.batches import queries
from rezoo.devices import sharding
from rezoo.models import MF, WideDeep
from rezoo.serving import two_stage

ITEMS = 30
ASKED = queries([1, 2, 3])
GROUP = jnp.arange(ITEMS, dtype=jnp.int32) % 4


@functools.cache
def variables(name):
    model = {
        "mf": MF(5, ITEMS, 4),
        "wide_deep": WideDeep({"user": 5, "item": ITEMS}, crosses=(), buckets=3, dim=4, widths=(4,)),
    }[name]
    made = init(model, ASKED, jnp.array([1, 2, 3], jnp.int32))
    return two_stage.Stage(model, {"params": noisy(made["params"], 0.4)})


def lists(k, first, **options):
    second = variables("wide_deep")
    return jax.jit(lambda query: two_stage.recommend(first, second, query, k, **options))(ASKED)


def test_with_all_items_as_candidates_the_list_is_the_rankers_own():
    ids, score = lists(10, two_stage.index(*variables("mf")), candidates=ITEMS)
    whole = evaluation.recommend(*variables("wide_deep"), ASKED, 10)
    np.testing.assert_array_equal(ids, whole[0])
    np.testing.assert_allclose(score, whole[1], rtol=1e-5)


def test_candidates_are_the_retrievers_best_of_what_is_available_and_not_seen():
    model, params = variables("mf")
    available = jnp.arange(ITEMS) % 3 > 0
    seen = jnp.array([[1, 2], [0, 0], [4, 29]], jnp.int32)
    ids, _ = lists(6, two_stage.index(model, params, available=available), candidates=6, exclude=seen)
    score = np.asarray(evaluation.score_all(model, params, ASKED))
    for row in range(3):
        allowed = set(np.flatnonzero(available)) - {0} - set(np.asarray(seen[row]))
        best = sorted(allowed, key=lambda item: -score[row, item])[:6]
        assert set(np.asarray(ids[row])) == set(best)


def test_what_is_left_when_little_is_available_ends_with_nothing():
    ids, score = lists(5, two_stage.index(*variables("mf"), available=jnp.arange(ITEMS) < 4), candidates=5)
    assert (np.sort(np.asarray(ids[:, :3]), axis=1) == [1, 2, 3]).all() and not np.asarray(ids[:, 3:]).any()
    assert np.isneginf(score[:, 3:]).all() and np.isfinite(score[:, :3]).all()


def test_more_candidates_than_items_are_all_items():
    ids, score = lists(2 * ITEMS, two_stage.index(*variables("mf")), candidates=3 * ITEMS)
    assert ids.shape == (3, 2 * ITEMS) and (np.sort(ids[:, : ITEMS - 1]) == np.arange(1, ITEMS)).all()
    assert not ids[:, ITEMS - 1 :].any() and np.isneginf(score[:, ITEMS - 1 :]).all()


def test_rules_follow_one_another():
    first = two_stage.index(*variables("mf"))
    plain, _ = lists(8, first, candidates=ITEMS)
    worst = int(lists(ITEMS, first, candidates=ITEMS)[0][0, ITEMS - 2])
    push = jnp.zeros(ITEMS).at[worst].set(100.0)
    pushed, _ = lists(8, first, candidates=ITEMS, rules=(two_stage.boost(push),))
    assert (np.asarray(pushed)[:, 0] == worst).all() and not np.array_equal(plain, pushed)
    rules = (two_stage.boost(push), two_stage.only(jnp.arange(ITEMS) != worst), two_stage.at_most(GROUP, 1))
    few, score = lists(8, first, candidates=ITEMS, rules=rules)
    for row in np.asarray(few):
        listed = row[row > 0]
        assert worst not in listed and len(listed) == 4 == len(set(np.asarray(GROUP)[listed]))
    assert (np.diff(np.asarray(score[:, :4]), axis=1) <= 0).all()


def test_of_a_group_the_best_ones_stay_and_of_equals_the_first():
    rule = two_stage.at_most(jnp.array([9, 1, 1, 1, 2, 2]), 2)
    item = jnp.array([[1, 2, 3, 4, 5]], jnp.int32)
    score = rule(ASKED, item, jnp.array([[1.0, 3.0, 3.0, 0.5, 0.5]]))
    np.testing.assert_array_equal(score, [[-jnp.inf, 3.0, 3.0, 0.5, 0.5]])
    score = rule(ASKED, item, jnp.array([[3.0, 3.0, 3.0, 0.5, 0.5]]))
    np.testing.assert_array_equal(score, [[3.0, 3.0, -jnp.inf, 0.5, 0.5]])


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="WideDeep has no `encode`"):
        two_stage.index(*variables("wide_deep"))
    with pytest.raises(ValueError, match="available has 3 values, but there are 30 items"):
        two_stage.index(*variables("mf"), available=jnp.ones(3, bool))
    with pytest.raises(ValueError, match="k = 0"):
        lists(0, two_stage.index(*variables("mf")))
    with pytest.raises(ValueError, match="k = 10 cannot be made of 5 candidates"):
        lists(10, two_stage.index(*variables("mf")), candidates=5)


def test_an_item_whose_score_is_nan_at_either_stage_is_in_no_list():
    model, params = variables("mf")
    table = params["params"]["item"]["embedding"].at[3].set(jnp.nan)
    first = two_stage.index(model, {"params": {**params["params"], "item": {"embedding": table}}})
    candidates, _ = jax.jit(lambda query: two_stage.retrieve(first, query, ITEMS))(ASKED)
    assert (candidates != 3).all() and (candidates > 0).sum() == 3 * (ITEMS - 2)

    def spoil(query, item, score):
        return jnp.where(item == 5, jnp.nan, score)

    ids, score = lists(ITEMS, first, candidates=ITEMS, rules=(spoil, two_stage.at_most(GROUP, 100)))
    assert not np.isin(ids, [3, 5]).any() and (ids > 0).sum() == 3 * (ITEMS - 3)
    assert (np.isneginf(score) == (np.asarray(ids) == 0)).all()


@pytest.mark.slow
@eight_devices
def test_over_devices_the_lists_are_those_of_one():
    mesh = jax.make_mesh((8,), ("data",))

    def placed(stage):
        return stage._replace(
            variables=sharding.sharded(stage.variables, sharding.rules(stage.variables), mesh)
        )

    available = (jnp.arange(ITEMS) % 5 > 0) & (jnp.arange(ITEMS) < ITEMS - 2)
    options = {
        "candidates": 28,
        "exclude": jnp.array([[3, 0], [4, 7], [0, 0]]),
        "rules": (two_stage.only(GROUP > 0),),
    }
    first, second = variables("mf"), placed(variables("wide_deep"))
    one = lists(26, two_stage.index(*first, available=available), **options)
    spread = two_stage.index(*placed(first), available=available, mesh=mesh)

    @jax.jit
    def over_devices(variables, of_second):
        stages = spread._replace(variables=variables), second._replace(variables=of_second)
        return two_stage.recommend(*stages, ASKED, 26, **options, mesh=mesh)

    many = over_devices(spread.variables, second.variables)
    np.testing.assert_array_equal(many[0], one[0])
    np.testing.assert_allclose(many[1], one[1], rtol=1e-5)
    assert (one[0] == 0).any()  # the list is longer than what is left
    with pytest.raises(ValueError, match="mesh= is the one of `index`"):
        two_stage.retrieve(spread, ASKED, 3)
    with pytest.raises(ValueError, match="mesh= is the one of `index`"):
        two_stage.retrieve(two_stage.index(*first), ASKED, 3, mesh=mesh)


def test_rules_of_a_shorter_catalogue_leave_new_items_as_they_are():
    item, score = jnp.array([[1, 2, 3, 4]]), jnp.array([[4.0, 3.0, 2.0, 1.0]])
    query = queries([1])
    assert two_stage.boost(jnp.array([0.0, 0.5, 9.0]))(query, item, score).tolist() == [[4.5, 12.0, 2.0, 1.0]]
    allowed = two_stage.only(jnp.array([True, False, True]))(query, item, score)
    assert allowed.tolist() == [[-np.inf, 3.0, -np.inf, -np.inf]]
    capped = two_stage.at_most(jnp.array([0, 0, 0]), 1)(query, item, score)
    assert capped.tolist() == [[4.0, -np.inf, 2.0, 1.0]]
    with pytest.raises(ValueError, match="count = 0: give 1 or more"):
        two_stage.at_most(GROUP, 0)
