"""Lists obey filters and rules exactly, come from two stages, and say why an item is there."""

import jax.numpy as jnp
import numpy as np
import pytest
from shops import ITEMS, SETTINGS, served, untrained

from rezoo.data.batches import queries
from rezoo.data.ids import Ids
from rezoo.errors import DataError
from rezoo.evaluation import score_all
from rezoo.serving import two_stage
from rezoo.serving.service.catalogue import Catalogue
from rezoo.serving.service.engine import Engine
from rezoo.serving.service.event_log import Event
from rezoo.serving.service.requests import Wanted
from rezoo.serving.service.translate import Past

PRICE = np.r_[-1, np.arange(ITEMS)]
STOCK = np.r_[0, np.arange(ITEMS) % 7]
CATEGORY = np.r_[-1, np.arange(ITEMS) % 3]
RARE = {"category": "tea", "price": {"max": 20}}


def listed(one, wanted, visitor="ann", item="?"):
    """The list of a session after one more event, and of the same history without a session."""
    event = Event("?", visitor, item, received=one.now)
    ask = one.open(event, wanted)
    ids, scores = one.answer([ask])
    return one.cut(ask, Past(), (ids[0], scores[0]), wanted)


def truth(one, history, allowed):
    """The scores of the first model, and the allowed items from the best to the worst."""
    saved = one.saved
    query = queries([0], np.array([[*one.saved.items.encode(history)]]))
    score = np.asarray(score_all(saved.model, saved.variables, query))[0]
    return score, sorted(np.flatnonzero(allowed), key=lambda item: -score[item])


def test_what_passes_a_filter_is_found_however_bad_the_model_thinks_it():
    one, allowed = served("GRU4Rec", table=True), (STOCK > 0) & (CATEGORY == 0) & (PRICE <= 20)
    ids, scores = listed(one, Wanted(10, filters=RARE), item="p3")
    score, best = truth(one, ["p3"], allowed)
    assert ids.tolist() == best and 3 < len(best) < 10
    np.testing.assert_allclose(scores, score[best], rtol=1e-4)
    assert one.offer.listed(ids, scores)[0]["about"]["category"] == "tea"
    ask = one.of_user("?", None, Wanted(10, filters=RARE))
    again = one.cut(ask, Past(), one.ask(ask, Past(one.saved.items.encode(["p3"]).tolist())), Wanted())
    assert again[0].tolist() == best


def test_what_is_not_available_is_never_listed_and_filters_of_a_batch_are_each_ones_own():
    one = served("GRU4Rec", table=True)
    wanted = [Wanted(10), Wanted(10, filters={"category": "cup"}), Wanted(10, filters={"price": {"min": 38}})]
    asks = [one.open(Event("?", f"b{n}", "p5", received=one.now), each) for n, each in enumerate(wanted)]
    ids, _ = one.answer(asks)
    assert (STOCK[ids[0]] > 0).all() and (ids[:1] > 0).all()
    assert (CATEGORY[ids[1][ids[1] > 0]] == 1).all() and set(ids[2][ids[2] > 0].tolist()) == {39, 40}
    similar, _ = one.cut(one.of_slot(-1, Wanted()), Past(), one.similar(9), Wanted())
    assert (STOCK[similar] > 0).all() and 9 not in similar


def test_at_most_some_of_each_value_and_as_many_as_wanted():
    one, wanted = served("GRU4Rec", table=True), Wanted(9, at_most={"category": 3})
    ids, scores = listed(one, wanted, "cat", "p3")
    score, best = truth(one, ["p3"], STOCK > 0)
    item = jnp.array([best])
    left = two_stage.at_most(jnp.asarray(CATEGORY), 3)(queries([0]), item, jnp.asarray(score)[item])
    kept = np.array(best)[np.isfinite(np.asarray(left)[0])]
    assert ids.tolist() == kept.tolist() and len(ids) == 9
    assert np.bincount(CATEGORY[ids]).tolist() == [3, 3, 3] and (np.diff(scores) <= 0).all()
    wanted = Wanted(10, at_most={"category": 1, "stock": 1})
    ids, _ = listed(one, wanted, "cat", "p4")
    assert len(ids) == len(set(CATEGORY[ids])) == len(set(STOCK[ids])) == 3
    with pytest.raises(DataError, match="it is not there"):
        one.open(Event("?", "x", "p1"), Wanted(at_most={"colour": 1}))


def test_without_a_table_there_is_nothing_to_filter_by():
    one = served("BiasedMF")
    with pytest.raises(DataError, match="serve a table of items"):
        one.of_user("u1", None, Wanted(filters=RARE))
    assert one.offer.listed(np.array([2]), np.array([1.0])) == [{"item": "p1", "score": 1.0}]


@pytest.mark.parametrize("ranker", ["WideDeep", pytest.param("DIN", marks=pytest.mark.slow)])
def test_the_ranker_orders_the_candidates_whatever_its_own_ids(ranker):
    one, context = served("GRU4Rec", ranker, table=True), {"hour": 11}
    for item in ("p3", "p8"):
        event = Event("?", ranker, item, user="u4", received=one.now)
        ask = one.open(event, Wanted(10, context=context, filters={"price": {"max": 30}}))
        ids, scores = (one[0] for one in one.answer([ask]))
    past = [
        *one.first.past(one.first.who("u4", None).user).items[-SETTINGS.length :],
        *one.saved.items.encode(["p3", "p8"]),
    ]
    query = queries([0], np.array([past]))
    score = np.asarray(score_all(one.saved.model, one.saved.variables, query))[0]
    allowed = np.flatnonzero((STOCK > 0) & (PRICE <= 30))
    candidates = np.array(sorted(allowed, key=lambda item: -score[item])[: SETTINGS.candidates])
    second = untrained(ranker, -1)
    own = second.items.encode(one.saved.items.decode(candidates))
    features = {name: column[5:6] for name, column in second.user_columns.items()}
    features |= second.context_features.transform({"hour": [11]})
    asked = queries(
        [5], second.items.encode(one.saved.items.decode(past[-SETTINGS.length :]))[None], features
    )
    theirs = np.asarray(score_all(second.model, second.variables, asked, num_items=ITEMS + 1))[0][own]
    order = np.argsort(-theirs)[:10]
    assert ids.tolist() == candidates[order].tolist()
    np.testing.assert_allclose(scores, theirs[order], rtol=1e-4)


@pytest.mark.slow
def test_items_that_the_ranker_does_not_know_are_scored_as_unknown_and_a_strange_ranker_is_refused():
    ranker, first = untrained("BiasedMF"), untrained("GRU4Rec")
    few = ranker._replace(items=Ids(np.array([f"p{n}" if n < 20 else f"other{n}" for n in range(ITEMS)])))
    one = Engine(first, "1", SETTINGS, ranker=few)
    ask = one.of_user("u4", None, Wanted())
    ids, scores = one.ask(ask)
    prior = np.asarray(score_all(ranker.model, ranker.variables, queries([5])))[0]
    np.testing.assert_allclose(scores, prior[np.where(ids <= 20, ids, 0)], rtol=1e-4)
    none = ranker._replace(items=Ids(np.array([f"other{n}" for n in range(ITEMS)])))
    with pytest.raises(DataError, match="the ranker knows none"):
        Engine(first, "1", SETTINGS, ranker=none)
    table = Catalogue.read({"item": ["a", "b"]})
    with pytest.raises(DataError, match="none of the items of the table"):
        Engine(first, "1", SETTINGS, table=table)


DIN = pytest.param("DIN", "attention", marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("GRU4Rec", "left out"), ("BiasedMF", "similar"), DIN],
)
def test_reasons(name, kind):
    one = served(name, table=name == "GRU4Rec")
    assert one.reason == kind
    for item in ("p3", "p8", "p3"):
        ask = one.open(Event("?", "why", item, received=one.now), Wanted(5))
        ids, _ = one.answer([ask])
    reasons = one.reasons(ask, Past(), ids[0][:5])
    assert len(reasons) == 5
    history = one.saved.items.encode(["p3", "p8", "p3"])
    query, saved = queries([0], history[None]), one.saved
    for item, found in zip(ids[0].tolist(), reasons, strict=False):
        if kind == "left out":
            shorter = np.array(
                [[history[1], history[2], 0], [history[0], history[2], 0], [history[0], history[1], 0]]
            )
            whole = np.asarray(score_all(saved.model, saved.variables, query))
            lost = whole - np.asarray(score_all(saved.model, saved.variables, queries([0] * 3, shorter)))
            weight = lost[:, item] - lost[:, 1:].mean(axis=1)
        elif kind == "attention":
            weight = np.asarray(
                saved.model.apply(saved.variables, query, jnp.array([[item]]), method="attention")
            )[0, 0]
        else:
            vectors = np.asarray(saved.model.apply(saved.variables, method="table"))
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            weight = vectors[history] @ vectors[item]
        total = {int(history[0]): weight[0] + weight[2], int(history[1]): weight[1]}
        best = sorted(((one, value) for one, value in total.items() if value > 0), key=lambda pair: -pair[1])
        assert [one for one, _ in found] == [one for one, _ in best]
        np.testing.assert_allclose(
            [value for _, value in found], [value for _, value in best], rtol=1e-3, atol=1e-5
        )
    assert any(reasons)
