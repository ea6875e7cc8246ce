"""A saved model is asked with types and times of events: from Python, live, by tables, over the service."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import init, noisy, score_all

from rezoo.data import batches, features, sessions
from rezoo.data.ids import Ids
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError
from rezoo.models import HSTU, GRU4Rec, SASRec
from rezoo.nn.events import TimeGap
from rezoo.serving import answers, cold_start, event_columns, live, saved, tables
from rezoo.serving.bundle import Saved
from rezoo.serving.service.answering import answer_sessions
from rezoo.serving.service.asks import Settings
from rezoo.serving.service.engine import Engine
from rezoo.serving.service.event_log import Event
from rezoo.serving.service.requests import Observe, Predict, Wanted

START = 1_714_557_600
SETTINGS = Settings(sizes=(1, 4), slots=8, length=5, k=5, exclude=2, items=(4,), candidates=6)
PAST = ["p1", "p4", "p2"], ["view", "buy", "rent"], [START, START + 60, START + 9]


@functools.cache
def log():
    rng = np.random.default_rng(0)
    return from_columns(
        {
            "user": [f"u{n}" for n in rng.integers(0, 5, 60)],
            "item": [f"p{n}" for n in np.r_[np.arange(9), rng.integers(0, 9, 51)]],
            "type": np.array(["buy", "cart", "view"])[rng.integers(0, 3, 60)],
            "timestamp": START + rng.integers(0, 10**5, 60),
        }
    )


@functools.cache
def shop(kind=SASRec):
    fitted = features.fit({"type": features.Categorical()}, log().extra)
    columns = fitted.transform(log().extra) | {"time": sessions.seconds(log())}
    data = batches.next_items(sessions.by_user(log(), columns=columns), 6)
    model = kind(log().num_items, 4, event_features=fitted.sizes | {"time": TimeGap})
    variables = {"params": noisy(init(model, data.query, data.item[:, 0])["params"], 0.3)}
    told = {name: sessions.histories(log(), 6, of=column) for name, column in columns.items()}
    return Saved(
        model,
        variables,
        log().users,
        log().items,
        history=sessions.histories(log(), 6),
        event_features=fitted,
        history_columns=told,
    )


def past_query(items, types, times):
    """A history as the model reads it; `rent` is a type that it does not know."""
    kinds = [{"buy": 1, "cart": 2, "view": 3}.get(one, 0) for one in types]
    ids = log().items.encode(items)
    columns = {"type": np.array([kinds], np.int32), "time": np.array([times], np.int32)}
    return batches.queries(history=ids[None], features=columns)


def expected(kind=SASRec, past=PAST):
    return np.asarray(score_all(shop(kind).model, shop(kind).variables, past_query(*past)))[0]


def test_a_saved_model_is_loaded_with_its_features_of_events_and_asked_with_them(tmp_path):
    saved.save(tmp_path / "run", shop())
    one = saved.load(tmp_path / "run")
    assert one.model.event_features == {"type": 4, "time": TimeGap}
    for name, column in shop().history_columns.items():
        np.testing.assert_array_equal(one.history_columns[name], column)
    how = {"histories": [PAST[0], []], "events": {"type": [PAST[1], []], "time": [PAST[2], []]}}
    told = answers.predict(one, ["u1", "u1"], ["p7", "p7"], **how)
    np.testing.assert_allclose(told[0], expected()[log().items.encode(["p7"])[0]], rtol=1e-4, atol=1e-5)
    own = batches.queries([3], one.history[3:4], {k: v[3:4] for k, v in one.history_columns.items()})
    whole = np.asarray(score_all(one.model, one.variables, own))[0]
    listed = answers.recommend(one, [one.users.raw[2]], k=4)
    np.testing.assert_allclose(listed["score"], np.sort(whole[1:])[::-1][:4], rtol=1e-4, atol=1e-5)
    table = {"user": ["u1"], "item": ["p7"], "history": ["p1|p4|p2"], "history_type": ["view|buy|rent"]}
    table["history_time"] = ["|".join(map(str, PAST[2]))]
    np.testing.assert_allclose(tables.predict_table(one, table)["prediction"], told[:1], rtol=1e-5)
    nobody = answers.predict(one, ["u1"], ["p7"], histories=[[]], events={"type": [[]], "time": [[]]})
    np.testing.assert_allclose(nobody, told[1:], rtol=1e-5)
    more = cold_start.with_users(one, ["u1"], {})
    assert more.history_columns["type"].shape == more.history.shape


@pytest.mark.parametrize("kind", [GRU4Rec, pytest.param(SASRec, marks=pytest.mark.slow)])
def test_the_service_hears_types_and_times(kind):
    engine, wanted = Engine(shop(kind), "1", SETTINGS), Wanted(5)
    done = [Event(str(n), "v", *one[:2], time=one[2] + 0.4) for n, one in enumerate(zip(*PAST, strict=True))]
    for event in done:
        engine.check(event, wanted)
        ask = engine.open(event, wanted)
        ids, scores = engine.answer([ask])
    score = expected(kind)
    np.testing.assert_allclose(scores[0], score[ids[0]], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores[0], np.sort(score[1:])[::-1][:5], rtol=1e-4, atol=1e-5)
    answer = [None]
    answer_sessions(engine, [Observe(done[-1], wanted)], {0: engine.of_slot(ask.slot, wanted)}, answer)
    assert answer[0].unknown == {"type": ["rent"]}
    stars = engine.predict(Predict(["p7"], visitor="v"), ask.slot)
    np.testing.assert_allclose(stars, score[log().items.encode(["p7"])], rtol=1e-4, atol=1e-5)
    assert any(engine.reasons(ask, engine.first.past(0), ids[0]))

    again = Engine(shop(kind), "1", SETTINGS)
    assert again.replay([done[0]._replace(time=1e300), *done]) == 1  # of another visit, whose time is none
    unheard = again.answer([again.of_slot(again.find("v", 0.0), wanted)])[1]
    past = [[one[0], *one] for one in PAST]
    past[2][0] = 0
    np.testing.assert_allclose(unheard[0], np.sort(expected(kind, past)[1:])[::-1][:5], rtol=1e-4, atol=1e-5)

    known = log().users.raw[2]
    ask = engine.open(Event("k", "w", "p1", "view", START + 10**6, user=known), wanted)
    _, scores = engine.answer([ask])
    row, told = shop(kind).history[3], {k: v[3] for k, v in shop(kind).history_columns.items()}
    real = np.flatnonzero(row)[-5:]
    heard = np.r_[row[real], log().items.encode(["p1"])]
    columns = {"type": np.r_[told["type"][real], 3], "time": np.r_[told["time"][real], START + 10**6]}
    newest = -6 if kind is GRU4Rec else -5  # it keeps a state, of which the service keeps all
    columns = {name: column[newest:][None].astype(np.int32) for name, column in columns.items()}
    query = batches.queries([3], heard[newest:][None], columns)
    whole = np.asarray(score_all(shop(kind).model, shop(kind).variables, query))[0]
    np.testing.assert_allclose(scores[0], np.sort(whole[1:])[::-1][:5], rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match="'time' has times that are not seconds since 1970"):
        engine.check(Event("e", "v", "p1", time=1e300), wanted)


@functools.cache
def ranker():
    """Of the same columns; with ids in another order, without the last item of `PAST`, and of no user."""
    one = shop(GRU4Rec)
    kept = [raw for raw in one.items.raw[::-1].tolist() if raw != "p2"]
    model = GRU4Rec(len(kept) + 1, 4, event_features=one.model.event_features)
    query = past_query(*PAST)
    params = noisy(init(model, query, query.history[:, 0] * 0)["params"], 0.5)
    return Saved(
        model,
        {"params": params},
        Ids(np.array(["?"])),
        Ids(np.array(kept)),
        event_features=one.event_features,
    )


def test_two_models_hear_the_same_types_and_times():
    second = ranker()
    engine, wanted = Engine(shop(), "1", SETTINGS, ranker=second), Wanted(5)
    past = zip(["p1", "p2", "p4"], ["buy", "view", "cart"], [START, START + 5, START + 600], strict=True)
    for n, (item, kind, time) in enumerate(past):
        ask = engine.open(Event(str(n), "v", item, kind, time=time), wanted)
        ids, scores = engine.answer([ask])
    whole = expected(past=[["p1", "p2", "p4"], ["buy", "view", "cart"], [START, START + 5, START + 600]])
    candidates = 1 + np.argsort(-whole[1:])[:6]
    columns = {"type": np.array([[1, 2]], np.int32), "time": np.array([[START, START + 600]], np.int32)}
    heard = batches.queries(history=second.items.encode(["p1", "p4"])[None], features=columns)
    of_ranker = np.asarray(score_all(second.model, second.variables, heard))[0]
    raw = shop().items.raw
    score = of_ranker[second.items.encode(raw[candidates - 1])]
    np.testing.assert_allclose(scores[0], np.sort(score)[::-1][:5], rtol=1e-4, atol=1e-5)
    best = raw[candidates - 1][np.argsort(-score)[:3]].tolist()
    assert raw[ids[0][:3] - 1].tolist() == best
    stars = engine.predict(Predict(["p7"], visitor="v"), ask.slot)
    np.testing.assert_allclose(stars, of_ranker[second.items.encode(["p7"])], rtol=1e-4, atol=1e-5)
    plain = (
        of_ranker
        - np.asarray(
            score_all(
                second.model,
                second.variables,
                heard._replace(features={k: 0 * v for k, v in columns.items()}),
            )
        )[0]
    )
    assert np.abs(plain).max() > 1e-3  # they tell something


def test_a_second_model_of_other_columns_is_refused_by_name():
    bare = Saved(GRU4Rec(10, 4), {"params": {}}, log().users, log().items)
    with pytest.raises(
        DataError, match=r"orders what GRU4Rec chooses, .* 'type' of each event, which that does not"
    ):
        event_columns.check_shared(bare, ranker())
    others = features.fit({"type": features.Categorical()}, {"type": ["buy", "rent", "view"]})
    with pytest.raises(
        DataError, match="'type' of each event, which that reads by features that were fitted other"
    ):
        Engine(shop(), "1", SETTINGS, ranker=ranker()._replace(event_features=others))


def test_what_does_not_fit_is_refused_by_name(tmp_path):
    one, how = shop(), {"histories": [PAST[0]]}

    def refused(said, **changes):
        with pytest.raises(DataError, match=said):
            saved.save(tmp_path / "run", one._replace(**changes))

    refused(
        r"event_features are \{\}, but SASRec was trained on \{'type': 4\}",
        event_features=features.FeatureSet({}),
    )
    refused(r"history_columns are \[\], but SASRec reads \['time', 'type'\]", history_columns={})
    short = {name: column[:, 1:] for name, column in one.history_columns.items()}
    refused(r"'type' is int32 \[6, 5\]: give int32 \[6, 6\]|'time' is int32 \[6, 5\]", history_columns=short)
    with pytest.raises(DataError, match="reads the columns type, time of each event: give lists of them"):
        answers.predict(one, ["u1"], ["p1"], **how)
    with pytest.raises(DataError, match="type must be as many as the histories"):
        answers.predict(one, ["u1"], ["p1"], **how, events={"type": [["view"]], "time": [PAST[2]]})
    with pytest.raises(DataError, match="'time' has times that are not seconds"):
        answers.predict(one, ["u1"], ["p1"], **how, events={"type": [PAST[1]], "time": [["noon"] * 3]})
    with pytest.raises(DataError, match="are of no histories"):
        answers.predict(one, ["u1"], ["p1"], events={"type": [["view"]]})
    priced = features.fit({"price": features.Numeric()}, {"price": [1.0, 2.0]})
    model = GRU4Rec(10, 4, event_features={"price": None})
    other = Saved(model, {}, log().users, log().items, event_features=priced)
    with pytest.raises(
        DataError, match="reads the columns price of each event, but the service is told their type"
    ):
        Engine(other._replace(variables={"params": {}}), "1", SETTINGS)


def test_hstu_with_times_is_saved_and_live():
    model = HSTU(10, 4, num_blocks=1, time="time")
    query = past_query(*PAST)
    variables = {"params": noisy(init(model, query, query.history[:, 0])["params"], 0.3)}
    one = Saved(model, variables, log().users, log().items)
    assert event_columns.times(one) == ["time"]
    served = live.serve(model, variables)
    state = live.start(model, served, 1, like=query._replace(features={"time": query.features["time"]}))
    for item, time in zip(query.history[0], query.features["time"][0], strict=True):
        state = live.observe(model, served, state, jnp.array([0]), item[None], {"time": time[None]})
    score = live.scores(model, served, state, jnp.array([0]))
    np.testing.assert_allclose(score, score_all(model, variables, query), rtol=1e-4, atol=1e-5)
    told = answers.predict(one, ["u1"], ["p7"], histories=[PAST[0]], events={"time": [PAST[2]]})
    np.testing.assert_allclose(told, score[0, log().items.encode(["p7"])], rtol=1e-4, atol=1e-5)
