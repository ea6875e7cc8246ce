import time
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo import evaluation, metrics
from rezoo.data.batches import pairs, queries
from rezoo.errors import DataError
from rezoo.models import MF
from rezoo.models.baselines import Popularity, popularity
from rezoo.types import Batch, Query

USERS, ITEMS = 9, 23


class Table(nn.Module):
    """Scores looked up in a matrix: a scorer that is no retriever."""

    num_items: int = ITEMS

    @nn.compact
    def __call__(self, query: Query, item: jax.Array) -> jax.Array:
        scores = self.param("scores", nn.initializers.normal(1.0), (USERS, ITEMS))
        row = query.user.reshape(-1, *[1] * (item.ndim - 1))
        return scores.at[jnp.broadcast_to(row, item.shape), item].get(mode="fill", fill_value=-5.0)


def ask(user):
    user = jnp.asarray(user, jnp.int32)
    return queries(user)


def problem(seed=0, ties=False):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(USERS, ITEMS)).astype(np.float32)
    scores = np.round(scores) if ties else scores
    target = np.zeros((USERS, 3), np.int32)
    seen = np.zeros((USERS, 5), np.int32)
    for user in range(1, USERS):
        items = rng.permutation(np.arange(1, ITEMS))
        count = int(rng.integers(0, 4))
        target[user, :count] = items[:count]
        seen[user, : 5 - user % 3] = items[5 : 10 - user % 3]
    return scores, target, seen


def expected(scores, target, seen, k):
    """HR, NDCG and recall by sorting, one user at a time, ties in the middle."""
    rows = []
    for user in range(USERS):
        wanted = target[user][target[user] > 0]
        if not len(wanted):
            continue
        allowed = [i for i in range(1, ITEMS) if i not in seen[user] or i in wanted]
        ranks = []
        for item in wanted:
            better = sum(scores[user, j] > scores[user, item] for j in allowed)
            same = sum(scores[user, j] == scores[user, item] for j in allowed if j != item)
            ranks.append(1 + better + same / 2)
        hits = [r for r in ranks if r <= k]
        ideal = sum(1 / np.log2(p + 1) for p in range(1, min(len(wanted), k) + 1))
        gain = sum(1 / np.log2(r + 1) for r in hits) / ideal
        rows.append((bool(hits), gain, len(hits) / len(wanted)))
    return np.mean(rows, axis=0), len(rows)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("block", [2, 100])
def test_evaluate_equals_counting_by_hand(ties, block):
    scores, target, seen = problem(ties=ties)
    variables = {"params": {"scores": jnp.asarray(scores)}}
    found = evaluation.evaluate(
        Table(),
        variables,
        ask(np.arange(USERS)),
        jnp.asarray(target),
        exclude=jnp.asarray(seen),
        k=(4, 10),
        block=block,
    )
    for k in (4, 10):
        (hr, ndcg, recall), users = expected(scores, target, seen, k)
        np.testing.assert_allclose(
            [found[f"hr@{k}"], found[f"ndcg@{k}"], found[f"recall@{k}"]], [hr, ndcg, recall], rtol=1e-5
        )
    assert int(found["users"]) == users and int(found["users_without_target"]) == USERS - users > 0


def test_an_excluded_id_below_0_is_padding():
    scores, target, seen = problem()
    variables = {"params": {"scores": jnp.asarray(scores)}}
    query, model = ask(np.arange(USERS)), Table()
    found, same = (
        evaluation.ranks(model, variables, query, jnp.asarray(target), exclude=jnp.asarray(exclude))
        for exclude in (seen, np.where(seen > 0, seen, -1))
    )
    np.testing.assert_array_equal(found, same)
    assert (np.isinf(found) == (target == 0)).all()


def broken(row, item):
    """The variables of `Table` with one score NaN, or one item's where `row` is a slice."""
    scores = jnp.asarray(problem()[0])
    return {"params": {"scores": scores.at[row, item].set(jnp.nan)}}


COUNTS = ("unknown_targets", "repeated_targets", "excluded_targets", "nan_scores")


@pytest.mark.parametrize("jitted", [False, True])
def test_nothing_wrong_with_targets_or_scores_makes_a_metric_better_and_all_is_counted(jitted):
    target = jnp.array([[5, 5, 0], [99, 0, 0], [-3, 0, 0], [7, 8, 7], [0, 0, 0]], jnp.int32)
    exclude = jnp.array([[0, 0], [1, 2], [0, 0], [8, 0], [-1, 0]], jnp.int32)
    measures = {**evaluation.MEASURES, "r_precision": metrics.r_precision, "dcg": metrics.dcg}

    def measure(variables, target):
        return evaluation.evaluate(
            Table(), variables, ask([1, 2, 3, 4, 5]), target, exclude=exclude, k=(ITEMS,), measures=measures
        )

    variables = broken(1, 5)
    if jitted:
        found = jax.jit(measure)(variables, target)
    else:
        with pytest.warns(UserWarning) as told:
            found = measure(variables, target)
        told = " ".join(str(one.message) for one in told)
        assert "2 ids of target" in told and "99 in row 1" in told and "1 scores are NaN" in told
    assert {name: int(found[name]) for name in COUNTS} == dict(zip(COUNTS, (2, 2, 1, 1), strict=True))
    assert (int(found["users"]), int(found["users_without_target"])) == (4, 1)
    # The first user's item is NaN, the next two users' are unknown, the last one's two are in a list of all.
    assert float(found[f"recall@{ITEMS}"]) == float(found[f"hr@{ITEMS}"]) == 1 / 4
    scores = np.delete(np.asarray(variables["params"]["scores"])[4], 0)
    ranks = 1 + np.array([(scores > scores[item - 1]).sum() for item in (7, 8)])
    np.testing.assert_allclose(found[f"dcg@{ITEMS}"], (1 / np.log2(ranks + 1)).sum() / 4, rtol=1e-5)


def test_items_that_are_nan_are_in_no_list_and_it_is_said():
    variables = broken(slice(None), 5)
    with pytest.warns(UserWarning, match="2 scores are NaN"):
        ids, scores = evaluation.recommend(Table(), variables, ask([1, 2]), ITEMS, item_block=4)
    assert (ids != 5).all() and (np.isneginf(scores) == (np.asarray(ids) == 0)).all()
    assert ids.shape == (2, ITEMS) and (np.asarray(ids) > 0).sum() == 2 * (ITEMS - 2)
    all_nan = {"params": {"scores": jnp.full((USERS, ITEMS), jnp.nan)}}
    ids, scores = jax.jit(lambda v: evaluation.recommend(Table(), v, ask([1, 2]), 3))(all_nan)
    assert (ids == 0).all() and np.isneginf(scores).all()


def test_what_is_asked_is_checked_and_the_message_says_where():
    variables = broken(0, 0)
    with pytest.warns(UserWarning, match="2 ids of exclude.*The first is 40 in row 1"):
        exclude = jnp.array([[0], [40], [99]], jnp.int32)
        ids, _ = evaluation.recommend(Table(), variables, ask([1, 2, 3]), 2, exclude=exclude)
    assert (ids > 0).all()
    with pytest.warns(UserWarning, match="1 targets stand a second time in their row, such as 4 in row 1"):
        rank = evaluation.ranks(Table(), variables, ask([1, 2]), jnp.array([[1, 0], [4, 4]], jnp.int32))
    assert np.isinf(rank).tolist() == [[False, True], [False, True]]
    for k in (0, -1):
        with pytest.raises(ValueError, match=f"k = {k}"):
            evaluation.recommend(Table(), variables, ask([1]), k)
        with pytest.raises(ValueError, match=f"k = {k}"):
            evaluation.evaluate(Table(), variables, ask([1]), jnp.array([[1]], jnp.int32), k=(1, k))
    with pytest.raises(ValueError, match=r"target has the shape \[3, 1\]: give it \[2, columns\]"):
        evaluation.evaluate(Table(), variables, ask([1, 2]), jnp.ones((3, 1), jnp.int32))


def test_targets_are_checked_where_only_the_model_is_traced():
    models = jnp.stack([broken(0, 0)["params"]["scores"]] * 2)
    target = jnp.array([[1, 0], [4, 2]], jnp.int32)

    def ranks(scores):
        return evaluation.ranks(Table(), {"params": {"scores": scores}}, ask([1, 2]), target)

    assert jax.lax.map(ranks, models).shape == (2, 2, 2)


def test_the_sampled_protocol_takes_unknown_targets_for_misses_and_leaves_the_target_out_of_its_negatives():
    scores = problem()[0]
    variables = {"params": {"scores": jnp.asarray(scores)}}
    target = jnp.array([99, 5], jnp.int32)
    negatives = jnp.array([[1, 2, 3], [5, 6, 0]], jnp.int32)
    with pytest.warns(UserWarning, match="The first is 99 in row 0"):
        found = evaluation.evaluate_sampled(Table(), variables, ask([1, 2]), target, negatives, k=(1, 4))
    assert float(found["hr@4"]) == 0.5 and float(found["hr@1"]) == (scores[2, 5] > scores[2, 6]) / 2
    assert int(found["unknown_targets"]) == int(found["excluded_targets"]) == 1


def test_debiased_metrics_weigh_each_target_by_its_item():
    scores, target, seen = problem()
    variables, query = {"params": {"scores": jnp.asarray(scores)}}, ask(np.arange(USERS))
    propensity = metrics.propensities(jnp.arange(ITEMS))
    found = evaluation.evaluate(
        Table(),
        variables,
        query,
        jnp.asarray(target),
        exclude=jnp.asarray(seen),
        k=(4,),
        propensity=propensity,
    )
    rank = np.asarray(
        evaluation.ranks(Table(), variables, query, jnp.asarray(target), exclude=jnp.asarray(seen))
    )
    weight = np.where(target > 0, 1 / np.asarray(propensity)[target], 0)
    some = (target > 0).any(1)
    expected = ((rank <= 4) * weight).sum(1)[some] / weight.sum(1)[some]
    np.testing.assert_allclose(found["debiased_recall@4"], expected.mean(), rtol=1e-5)


def test_the_work_is_that_of_the_targets_and_not_of_the_longest_row():
    target = jnp.zeros((32, 200), jnp.int32).at[:, 0].set(3)
    score = jnp.asarray(np.random.default_rng(0).normal(size=(32, 5_000)), jnp.float32)
    ranked = jax.jit(lambda s, t: metrics.target_ranks(s, t, counted=t > 0))

    def least(target):
        jax.block_until_ready(ranked(score, target))
        times = []
        for _ in range(3):
            start = time.perf_counter()
            jax.block_until_ready(ranked(score, target))
            times.append(time.perf_counter() - start)
        return min(times)

    everything = jnp.broadcast_to(1 + jnp.arange(200, dtype=jnp.int32), target.shape)
    assert 5 * least(target) < least(everything)


def test_variables_and_queries_may_be_numpys():
    model, query = MF(USERS, ITEMS, 4), ask([1, 2])
    variables = model.init(jax.random.key(0), query, query.user)
    target = jnp.array([[3], [4]], jnp.int32)
    batch = Batch(query, jnp.array([3, 4], jnp.int32), jnp.ones(2), jnp.ones(2, bool))

    def everything(variables, query):
        return (
            evaluation.evaluate(model, variables, query, target),
            evaluation.evaluate_sampled(
                model, variables, query, target[:, 0], jnp.array([[5], [6]], jnp.int32)
            ),
            evaluation.evaluate_ratings(model, variables, batch._replace(query=query)),
            evaluation.evaluate_clicks(model, variables, batch._replace(query=query)),
            evaluation.recommend(model, variables, query, 3),
            evaluation.score_all(model, variables, query),
        )

    chex.assert_trees_all_equal(everything(variables, query), everything(*jax.device_get((variables, query))))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_rating_or_click_that_is_not_finite_does_not_look_good(bad):
    variables = {"params": {"scores": jnp.full((USERS, ITEMS), bad)}}
    label = jnp.array([5.0, 1.0])
    batch = Batch(ask([1, 2]), jnp.array([3, 4], jnp.int32), label, jnp.ones(2, bool))
    assert np.isnan(evaluation.evaluate_ratings(Table(), variables, batch, clip=(1.0, 5.0))["rmse"])
    assert not np.isfinite(evaluation.evaluate_ratings(Table(), variables, batch)["rmse"])
    clicks = evaluation.evaluate_clicks(Table(), variables, batch._replace(label=jnp.array([1.0, 0.0])))
    assert float(clicks["auc"]) <= 0.5 and not clicks["logloss"] < 1e30


def test_a_constant_scorer_has_no_hits():
    model, variables = Popularity(500), popularity.fit(np.zeros(3, np.int64), 500)
    found = evaluation.evaluate(model, variables, ask([1, 2]), jnp.array([[3], [4]], jnp.int32), k=(10,))
    assert float(found["hr@10"]) == 0.0


def test_the_sampled_protocol_ranks_the_target_among_its_negatives():
    scores, _, _ = problem()
    variables = {"params": {"scores": jnp.asarray(scores)}}
    target = jnp.array([5, 6, 0], jnp.int32)
    negatives = jnp.array([[1, 2, 3, 0], [7, 8, 9, 10], [1, 2, 3, 4]], jnp.int32)
    found = evaluation.evaluate_sampled(Table(), variables, ask([1, 2, 3]), target, negatives, k=(2,))
    ranks = [
        1 + sum(scores[u, n] > scores[u, t] for n in row if n)
        for u, t, row in ((1, 5, [1, 2, 3]), (2, 6, [7, 8, 9, 10]))
    ]
    np.testing.assert_allclose(found["hr@2"], np.mean([r <= 2 for r in ranks]))
    assert int(found["users"]) == 2


def test_ratings_and_clicks_over_batches_in_blocks():
    scores, _, _ = problem()
    variables = {"params": {"scores": jnp.asarray(scores)}}
    user, item = np.array([1, 2, 3, 4, 5]), jnp.array([3, 4, 5, 6, 7], jnp.int32)
    label = jnp.array([1.0, 0.0, 1.0, 0.0, 1.0])
    batch = Batch(ask(user), item, label, jnp.array([True, True, True, True, False]))
    mine = scores[user[:4], np.asarray(item)[:4]]
    found = evaluation.evaluate_ratings(Table(), variables, batch, block=2)
    np.testing.assert_allclose(found["rmse"], np.sqrt(np.mean((mine - label[:4]) ** 2)), rtol=1e-5)
    clipped = evaluation.evaluate_ratings(Table(), variables, batch, clip=(0.0, 1.0))
    np.testing.assert_allclose(clipped["mae"], np.mean(np.abs(np.clip(mine, 0, 1) - label[:4])), rtol=1e-5)
    clicks = evaluation.evaluate_clicks(Table(), variables, batch)
    expected_auc = np.mean([(mine[a] > mine[b]) for a in (0, 2) for b in (1, 3)])
    np.testing.assert_allclose(clicks["auc"], expected_auc)


@pytest.mark.parametrize("item_block", [4, 100])
@pytest.mark.parametrize("retriever", [False, True])
def test_recommend_gives_the_best_that_may_be_recommended(item_block, retriever):
    model = MF(USERS, ITEMS, 4) if retriever else Table()
    query = ask(np.arange(USERS))
    variables = model.init(jax.random.key(0), query, query.user)
    variables = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(jax.random.key(1), x.shape), variables)
    _, _, seen = problem()
    ids, scores = evaluation.recommend(
        model, variables, query, 6, exclude=jnp.asarray(seen), block=4, item_block=item_block
    )
    whole = np.array(evaluation.score_all(model, variables, query))
    whole[:, 0] = -np.inf
    np.put_along_axis(whole, seen, -np.inf, axis=1)
    best = np.argsort(-whole, axis=1)[:, :6]
    np.testing.assert_array_equal(ids, best)
    np.testing.assert_allclose(scores, np.take_along_axis(whole, best, axis=1), rtol=1e-5)


def test_recommend_more_than_there_is_ends_with_nothing():
    variables = popularity.fit(np.array([1, 1, 3]), 5)
    ids, scores = evaluation.recommend(
        Popularity(5), variables, ask([1]), 8, exclude=jnp.array([[2]], jnp.int32)
    )
    assert ids[0].tolist()[:3] == [1, 3, 4] and ids[0].tolist()[3:] == [0] * 5
    assert np.isneginf(scores[0, 3:]).all() and scores[0, :2].tolist() == [2.0, 1.0]


def test_recommendation_takes_memory_for_a_block_whatever_the_catalogue():
    def temporary(num_items):
        model = MF(10, num_items, 8)
        query = jax.eval_shape(lambda: ask(np.zeros(64)))
        shapes = jax.eval_shape(model.init, jax.random.key(0), query, query.user)
        compiled = (
            jax.jit(lambda v, q: evaluation.recommend(model, v, q, 10, block=16, item_block=1024))
            .lower(shapes, query)
            .compile()
        )
        return compiled.memory_analysis().temp_size_in_bytes

    small, large = temporary(20_000), temporary(200_000)
    assert large - small < 200_000 * 9 * 4 * 1.5  # the table with its bias column, and no scores


def test_evaluation_takes_memory_for_a_block_whatever_the_number_of_users():
    def temporary(users):
        model, row = MF(10, 40_000, 8), jax.ShapeDtypeStruct((users,), jnp.int32)
        columns = jax.ShapeDtypeStruct((users, 30), jnp.int32)
        query = jax.eval_shape(queries, row)
        shapes = jax.eval_shape(model.init, jax.random.key(0), query, row)
        ranked = jax.jit(lambda v, q, t: evaluation.ranks(model, v, q, t, exclude=t))
        return ranked.lower(shapes, query, columns).compile().memory_analysis().temp_size_in_bytes

    few, many = temporary(512), temporary(8192)
    assert many - few < 8192 * 30 * 4 * 6  # copies of targets and of what is excluded, and no scores
    assert few < 100 * 2**20


def test_a_model_that_hides_its_catalogue_is_asked_for_it():
    class Silent(nn.Module):
        @nn.compact
        def __call__(self, query, item):
            return item * 1.0

    with pytest.raises(ValueError, match="Silent has neither"):
        evaluation.score_all(Silent(), {}, ask([1]))
    assert evaluation.score_all(Silent(), {}, ask([1]), num_items=4).shape == (1, 4)


def test_rows_to_spare_are_not_in_the_catalogue():
    model, variables = Popularity(6), {"params": {"count": jnp.array([0.0, 1, 2, 3, 9, 9])}}
    ids, _ = evaluation.recommend(model, variables, ask([1]), 4, num_items=4)
    assert ids.tolist() == [[3, 2, 1, 0]]
    assert evaluation.score_all(model, variables, ask([1]), num_items=4).tolist() == [[0, 1, 2, 3]]
    for function in (partial(evaluation.recommend, k=2), evaluation.score_all):
        with pytest.raises(ValueError, match="num_items = 7, and the model has but 6 items"):
            function(model, variables, ask([1]), num_items=7)


@pytest.mark.parametrize("function", [evaluation.evaluate, evaluation.ranks])
def test_items_to_exclude_that_are_unknown_are_told(function):
    variables = {"params": {"count": jnp.array([0.0, 1, 2, 3])}}
    given = Popularity(4), variables, ask([1, 2]), jnp.array([[1], [2]])
    with pytest.warns(UserWarning, match="2 ids of exclude .* nothing. The first is 4 in row 0"):
        function(*given, exclude=jnp.array([[4, 2], [-1, 9]]))


def test_evaluation_vmaps_over_members():
    scores, target, _ = problem()
    params = {"scores": jnp.stack([jnp.asarray(scores), -jnp.asarray(scores)])}
    many = jax.vmap(
        lambda p: evaluation.evaluate(Table(), {"params": p}, ask(np.arange(USERS)), jnp.asarray(target))
    )(params)
    one = evaluation.evaluate(
        Table(), {"params": {"scores": -jnp.asarray(scores)}}, ask(np.arange(USERS)), jnp.asarray(target)
    )
    np.testing.assert_allclose(many["ndcg@10"][1], one["ndcg@10"], rtol=1e-6)


COUNTED = {"params": {"count": jnp.array([0.0, 3, 2, 1])}}


@pytest.mark.parametrize("negatives", [[-3, -4], [0, 0], [2, 2]])
def test_a_target_with_which_nothing_competes_is_a_miss(negatives):
    asked = Popularity(4), COUNTED, queries([1]), jnp.array([2]), jnp.array([negatives])
    assert float(evaluation.evaluate_sampled(*asked)["hr@10"]) == 0.0


def test_errors_of_nothing_are_nan():
    model, nothing = Popularity(4), pairs(np.zeros(0, int), np.zeros(0, int))
    masked = pairs([1, 2], [1, 2])._replace(where=jnp.zeros(2, bool))
    for batch in (nothing, masked):
        found = evaluation.evaluate_ratings(model, COUNTED, batch)
        found |= evaluation.evaluate_clicks(model, COUNTED, batch)
        assert np.isnan([found["rmse"], found["mae"], found["logloss"]]).all()


def test_lengths_and_propensities_are_those_of_the_catalogue(untyped):
    asked = Popularity(4), COUNTED, queries([1]), jnp.array([[3]])
    with pytest.raises(ValueError, match=r"k = 10: give a list of lengths, such as k=\[10\]"):
        evaluation.evaluate(*asked, k=10)
    for propensity, told in ((jnp.array([1.0, 0.5]), r"give it \[4\]"), (jnp.zeros(4), "not above 0")):
        with pytest.raises(ValueError, match=told):
            evaluation.evaluate(*asked, propensity=propensity)


BEYOND = np.array([[2**32 + 1]])
"""JAX would take it for item 1."""


@pytest.mark.parametrize(
    "ask_for",
    [
        lambda *model: evaluation.evaluate(*model, BEYOND),
        lambda *model: evaluation.ranks(*model, BEYOND),
        lambda *model: evaluation.evaluate(*model, BEYOND - 2**32, exclude=BEYOND),
        lambda *model: evaluation.evaluate_sampled(*model, BEYOND[0], np.array([[2, 3]])),
        lambda *model: evaluation.evaluate_sampled(*model, np.array([1]), BEYOND),
        lambda *model: evaluation.recommend(*model, 2, exclude=BEYOND),
    ],
)
def test_ids_beyond_int32_are_refused_not_cut(ask_for):
    variables = {"params": {"count": jnp.array([0.0, 3, 2, 1])}}
    with pytest.raises(DataError, match="has 4294967297, which is beyond int32"):
        ask_for(Popularity(4), variables, queries([1]))


def test_more_items_than_a_model_has_are_not_recommended():
    variables = {"params": {"scores": jnp.zeros((USERS, ITEMS))}}
    with pytest.raises(ValueError, match="num_items = 30, and the model has but 23 items"):
        evaluation.recommend(Table(), variables, queries([1]), 3, num_items=30)


@pytest.mark.parametrize("label", [5.0, -1.0])
def test_clicks_are_no_stars(label):
    variables = {"params": {"count": jnp.array([0.0, 3, 2, 1])}}
    with pytest.raises(ValueError, match=f"a label is {label}: give 1 for a click"):
        evaluation.evaluate_clicks(Popularity(4), variables, pairs([1, 1], [1, 2], [label, 1.0]))
    padding = pairs([1, 1], [1, 2], [label, 1.0])._replace(where=jnp.array([False, True]))
    assert float(evaluation.evaluate_clicks(Popularity(4), variables, padding)["logloss"]) > 0
