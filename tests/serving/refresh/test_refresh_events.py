"""A refreshed model that reads columns of events learns from them, and keeps those of its histories."""

import functools

import jax
import numpy as np
import optax
import pytest
from helpers import init_state, mostly_slow

from rezoo.data import batches, features, sessions
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError
from rezoo.models import HSTU, GRU4Rec, SASRec
from rezoo.nn.events import TimeGap
from rezoo.serving import answers, event_columns, saved
from rezoo.serving.bundle import Saved
from rezoo.serving.refresh import Settings, joined, of_service, refresh, with_times
from rezoo.serving.refresh.events import Events, in_ids_of, with_columns
from rezoo.serving.refresh.learn import next_items
from rezoo.serving.refresh.measure import hits
from rezoo.serving.service.event_log import Event

START, ITEMS, EACH = 1_700_000_000, 8, 8
QUICK = Settings(num_epochs=30, rate=0.02, batch_size=16, at_least=20, least=1, k=1)
KINDS = {"GRU4Rec": GRU4Rec, "SASRec": functools.partial(SASRec, num_blocks=1, max_length=EACH)}
every_model = pytest.mark.parametrize("name", mostly_slow(KINDS, ["GRU4Rec"]))


def happened(visits=100, seed=0):
    """After a view comes the item above, after a purchase the one below, which items alone do not tell."""
    rng = np.random.default_rng(seed)
    bought = rng.integers(0, 2, (visits, EACH))
    step = np.where(bought, -1, 1)
    item = (rng.integers(0, ITEMS, (visits, 1)) + np.cumsum(step, axis=1) - step) % ITEMS
    return [
        Event(
            f"{visit}-{n}",
            f"v{visit}",
            f"p{item[visit, n]}",
            "buy" if bought[visit, n] else "view",
            START + 1000 * visit + 7 * n,
            START + 1000 * visit + 10 * n + 0.5,
        )
        for visit in range(visits)
        for n in range(EACH)
    ]


def untrained(kind, columns, log, history=False):
    """A model of random numbers that knows the items and types of a log."""
    fitted = features.fit(
        {name: features.Categorical() for name in columns if name == "type"}, {"type": ["buy", "view"]}
    )
    times = {name: TimeGap for name in columns if name != "type"}
    model = kind(log.num_items, 16, event_features={**fitted.sizes, **times})
    told = fitted.transform(log.extra) | {name: log.extra[name].astype(np.int32) for name in times}
    row = batches.pairs([0], [0], history=[[0]], features={name: x[:1, None] * 0 for name, x in told.items()})
    params = init_state(jax.random.key(0), model, optax.identity(), row).params
    past = {}
    if history:
        past["history"] = sessions.histories(log, EACH)
        past["history_columns"] = {name: sessions.histories(log, EACH, of=x) for name, x in told.items()}
    return Saved(model, {"params": params}, log.users, log.items, event_features=fitted, **past)


@every_model
def test_what_follows_a_type_is_learnt_and_measured(name, tmp_path):
    log = of_service(happened(), gap=100.0)
    fresh, found = np.arange(log.num_rows), {}
    for columns in ((), ("type",)):
        outcome = refresh(untrained(KINDS[name], columns, log), log, fresh, jax.random.key(0), QUICK)
        assert outcome.saved is not None, str(outcome)
        found[len(columns)] = outcome.measured.new
    assert found[1] > 0.9 and found[0] < 0.7, found
    saved.save(tmp_path / "new", outcome.saved)
    how = {"histories": [["p3"], ["p3"]], "events": {"type": [["view"], ["buy"]]}}
    lists = answers.recommend(saved.load(tmp_path / "new"), ["x", "y"], 1, **how, on_unknown=answers.ignore)
    assert lists["item"].tolist() == ["p4", "p2"]


def test_histories_keep_the_columns_of_old_and_new_events():
    early, late = happened(40), happened(60)[40 * EACH :]
    late = [event._replace(visitor=f"v{int(event.visitor[1:]) - 10}") for event in late]  # half of them known
    whole = of_service([*early, *late], times=["when"])
    old = untrained(GRU4Rec, ("type", "when"), of_service(early, times=["when"]), history=True)
    outcome = refresh(
        old, of_service(late, times=["when"]), np.arange(len(late)), jax.random.key(0),
        QUICK._replace(num_epochs=1, worst=np.inf, length=EACH, at_least=1),
    )  # fmt: skip
    new = outcome.saved
    rows = whole.users.encode(new.users.raw)
    assert outcome.users == 10 and len(rows) == 50
    told = with_columns(old, whole).extra
    for name in ("type", "when"):
        expected = sessions.histories(whole, EACH, of=told[name])[rows]
        np.testing.assert_array_equal(new.history_columns[name][1:], expected)
        assert told[name].dtype == new.history_columns[name].dtype == np.int32
    np.testing.assert_array_equal(
        new.items.decode(new.history[1:]), whole.items.decode(sessions.histories(whole, EACH)[rows])
    )


def test_batches_are_those_of_training_in_memory():
    log = of_service(happened(20), gap=100.0)
    one = untrained(GRU4Rec, ("type", "time"), log)
    events = in_ids_of(one, with_columns(one, log), np.ones(log.num_rows, bool))
    found = next_items(one, events, jax.random.key(0), Settings(length=5, past=0.0))
    columns = one.event_features.transform(log.extra) | {"time": log.extra["time"].astype(np.int32)}
    expected = batches.next_items(sessions.by_id(log, columns=columns), 5)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(ours[:20], theirs)


def test_an_item_that_the_model_does_not_know_takes_its_columns_along():
    """A model is measured by histories of the events whose items it knows."""
    log = of_service(happened(30), gap=100.0)
    learnt = refresh(
        untrained(GRU4Rec, ("type",), log), log, np.arange(log.num_rows), jax.random.key(0), QUICK
    ).saved
    strange = [
        event
        for one in happened(30, seed=1)
        for event in (
            one._replace(key=one.key + "?", item="strange", type="view", received=one.received - 1),
            one,
        )
    ]
    mixed = with_columns(learnt, of_service(strange, gap=100.0))
    held = mixed.items.decode(mixed.item) != "strange"
    held[:: EACH * 2] = False
    held[1 :: EACH * 2] = False
    hit, _ = hits(learnt, mixed, held, k=1)
    assert len(hit) == 30 * (EACH - 1) and hit.mean() > 0.85


def test_times_are_those_of_who_sent_the_event_and_of_the_past_its_own():
    events = [*happened(2)]
    events[3] = events[3]._replace(time=1e300)
    log = of_service(events, times=["when"])
    assert log.extra["when"].tolist() == [0 if n == 3 else event.time for n, event in enumerate(events)]
    past = from_columns(
        {"user": ["v0"], "item": ["p1"], "type": ["buy"], "time": ["2024-05-01"], "shop": ["x"]}
    )
    both = joined(with_times(past, ["when"]), log)
    assert set(both.extra) == {"type", "when"}
    assert both.extra["when"][:2].tolist() == [1_714_521_600, START] and both.extra["type"][0] == "buy"
    one = Saved(HSTU(9, time="time"), {}, log.users, log.items)
    own = with_columns(one, past).extra["time"]  # the log's own times
    assert own.tolist() == [1_714_521_600] and event_columns.times(one) == ["time"]


def test_a_log_that_lacks_a_column_is_refused_by_name():
    log = of_service(happened(30), gap=100.0)
    one = untrained(GRU4Rec, ("type", "time"), log)

    def refused(match, **changes):
        with pytest.raises(DataError, match=match):
            refresh(one, log._replace(**changes), np.arange(log.num_rows), jax.random.key(0), QUICK)

    refused(
        "GRU4Rec reads the columns type, time of each event, and .* no column 'type'; there are time",
        extra={"time": log.extra["time"]},
    )
    refused("no times: name its time column", extra={"type": log.extra["type"]}, timestamp=None)
    refused("'time' has times that are not seconds", extra=log.extra | {"time": log.extra["time"] * 1e6})
    unknown = with_columns(one, log._replace(extra=log.extra | {"type": np.full(log.num_rows, "rent")}))
    assert not unknown.extra["type"].any()


def test_events_are_taken_with_their_columns():
    events = Events(*np.arange(12).reshape(4, 3), columns={"type": np.array([7, 8, 9])})
    assert events.take(np.array([2, 0])).columns["type"].tolist() == [9, 7]
