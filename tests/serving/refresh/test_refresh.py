"""A refreshed model has learnt what is new, keeps what it was, and is refused where it became worse."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from helpers import init_state, mostly_slow, same
from hypothesis import given, settings
from hypothesis import strategies as st

from rezoo import evaluation, objectives, recipes
from rezoo.data import batches, features, sessions
from rezoo.data.ids import Ids
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError
from rezoo.models import MF, GRU4Rec, ItemKNN, NeuMF, SASRec
from rezoo.models.factorization import ials
from rezoo.serving import answers, cold_start, saved
from rezoo.serving.bundle import Saved
from rezoo.serving.refresh import Settings, grow, joined, learn, of_service, refresh
from rezoo.serving.refresh.events import Events, before, in_ids_of, with_past
from rezoo.serving.service.event_log import Event

KINDS, EACH, ROWS = 4, 6, 1600
QUICK = Settings(num_epochs=10, rate=0.02, batch_size=16, at_least=20, least=1)


def table(rows=ROWS, seed=0):
    """Customers of four kinds, each with products of their kind; in the second half there are new ones."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, 40, rows)
    late = np.arange(rows) >= rows // 2
    user = user + 40 * (late & (rng.random(rows) < 0.2))
    item = user % KINDS * EACH + rng.integers(0, EACH, rows)
    item = item + KINDS * EACH * (late & (rng.random(rows) < 0.3))
    return {"user": [f"u{n}" for n in user], "item": item, "time": 1_700_000_000 + 60 * np.arange(rows)}


LOG = from_columns(table())
NEW = np.arange(ROWS) >= ROWS // 2


def key():
    return jax.random.key(0)


def part(index):
    """Some rows of the log, as a log of their own."""
    log = LOG.take(index)
    users, items = log.users.decode(log.user), log.items.decode(log.item)
    return from_columns({"user": users, "item": items, "time": log.timestamp}, unit="us")


@cache
def model(name):
    """Of the first half; MF and SASRec have learnt nothing yet."""
    log = part(~NEW)
    if name in ("bpr", "sasrec"):
        sizes = log.num_users, log.num_items
        module = MF(*sizes, 8) if name == "bpr" else SASRec(log.num_items, 8, num_blocks=1, max_length=50)
        history = None if name == "bpr" else sessions.histories(log, 50)
        row = batches.pairs([0], [0], history=[[0]])
        params = init_state(jax.random.key(0), module, optax.identity(), row).params
        return Saved(module, {"params": params}, log.users, log.items, history=history)
    few = {"gru4rec": dict(dim=8, num_epochs=4, rate=0.02), "ials": dict(dim=8)}
    return getattr(recipes, name)(log, jax.random.key(0), **few.get(name, {}))


@pytest.mark.parametrize("name", ["popularity", "buy_again", "co_occurrence"])
@pytest.mark.parametrize("whole", [True, False])
def test_counts_are_those_of_everything(name, whole):
    log, fresh = (LOG, NEW) if whole else (LOG.take(NEW), np.ones(NEW.sum(), bool))
    outcome = refresh(model(name), log, fresh, key(), QUICK._replace(worst=np.inf))
    counted = getattr(recipes, name)(LOG, key())
    assert same(counted.items.encode(outcome.saved.items.raw), np.arange(1, LOG.num_items))
    query = batches.queries(counted.users.encode(["u3", "u44", "?"]))
    if counted.history is not None:
        assert np.array_equal(outcome.saved.history, counted.history)
        query = batches.queries(query.user, counted.history[np.asarray(query.user)])
    scores = [evaluation.score_all(one.model, one.variables, query) for one in (outcome.saved, counted)]
    np.testing.assert_allclose(*scores, rtol=1e-6)
    assert outcome.items == KINDS * EACH and "accepted" in str(outcome)


def test_vectors_of_ials_are_solved_for_in_closed_form():
    outcome = refresh(model("ials"), LOG, NEW, key(), QUICK)
    new = outcome.saved
    dense = np.append(0, new.items.encode(LOG.items.raw))[LOG.item]
    late = LOG.users.decode(np.unique(LOG.user[NEW][-80:]))  # who has held-out events is solved for last
    own = [np.unique(dense[LOG.user == LOG.users.encode([raw])[0]]) for raw in late]
    history = np.zeros((len(own), max(map(len, own))), np.int32)
    for row, items in zip(history, own, strict=True):
        row[: len(items)] = items
    expected = ials.with_users(new.variables, jnp.asarray(history))["params"]["user"]["embedding"][1:]
    found = new.variables["params"]["user"]["embedding"][new.users.encode(late)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(DataError, match="give the past"):
        refresh(model("ials"), LOG.take(NEW), np.ones(NEW.sum(), bool), key(), QUICK)


@pytest.mark.parametrize("name", mostly_slow(("bpr", "ials", "gru4rec", "sasrec"), ("bpr", "ials")))
def test_what_is_new_is_learnt_and_lists_of_new_customers_are_of_their_kind(name, tmp_path):
    outcome = refresh(model(name), LOG, NEW, key(), QUICK._replace(k=6))
    assert outcome.saved is not None, str(outcome)
    assert outcome.items == KINDS * EACH and outcome.users > 30
    assert outcome.measured.new > outcome.measured.old and outcome.measured.error > 0
    saved.save(tmp_path / "new", outcome.saved)
    asked = [f"u{n}" for n in range(40, 80) if f"u{n}" in outcome.saved.users.raw]
    lists = answers.recommend(saved.load(tmp_path / "new"), asked, 6)
    own = [
        item % (KINDS * EACH) // EACH == int(user[1:]) % KINDS
        for user, item in zip(lists["user"], lists["item"], strict=True)
    ]
    assert np.mean(own) > 0.4


@pytest.mark.parametrize("name", ["gru4rec", "sasrec", "bpr", "ials"])
def test_growing_leaves_old_rows_bit_for_bit(name):
    old = model(name)
    longer = grow.with_ids(old, LOG, 1)
    new = grow.with_rows(longer, in_ids_of(longer, LOG, NEW))
    before, after = (flatten_dict(one.variables["params"]) for one in (old, new))
    sizes = {path: (len(after[path]) - len(before[path]), leaf) for path, leaf in before.items()}
    assert {more for more, _ in sizes.values()} <= {0, new.items.size - old.items.size, 40}
    for path, leaf in before.items():
        assert np.array_equal(after[path][: len(leaf)], leaf)
        assert np.isfinite(after[path]).all()
    spacious = grow.sized(new, grow.capacity)
    assert spacious.model.num_items == grow.capacity(new.items.size) > new.items.size
    back = grow.sized(
        spacious, lambda rows: {spacious.model.num_items: new.items.size}.get(rows, new.users.size)
    )
    assert same(back.variables, new.variables)


def test_a_new_item_is_placed_between_those_beside_it():
    log = from_columns({"user": [1, 1, 1, 1, 1], "item": [7, 8, 9, 7, 99]})
    table = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    params = {name: {"embedding": table} for name in ("user", "item")}
    shop = Saved(
        recipes.ials(log, key(), dim=3, num_epochs=1).model.clone(num_users=2, num_items=4),
        {"params": params},
        Ids(np.array([1])),
        Ids(np.array([7, 8, 9])),
    )
    shop = shop._replace(variables={"params": params | {"user": {"embedding": table[:2]}}})
    longer = grow.with_ids(shop, log, 1)
    new = grow.with_rows(longer, in_ids_of(longer, log, np.ones(5, bool)))
    place = new.variables["params"]["item"]["embedding"][4]
    np.testing.assert_allclose(place, (2 * table[1] + table[2] + table[3]) / 4, rtol=1e-6)


@pytest.mark.slow
def test_an_item_that_is_known_by_its_features_keeps_its_score():
    kinds = features.fit({"kind": features.Categorical()}, {"kind": ["hat", "cup"] * 4})
    columns = kinds.transform({"kind": ["hat", "cup"] * 4})
    gru = GRU4Rec(9, 4, item_features=kinds.sizes)
    catalogue = {"kind": jnp.asarray(np.append(0, columns["kind"]).astype(np.int32))}
    row = batches.queries([0], [[1, 2]])
    made = init_state(
        jax.random.key(0),
        gru,
        optax.identity(),
        batches.pairs([0], [0], history=[[0]]),
        constants={"catalogue": catalogue},
    )
    variables = {"params": made.params, "catalogue": catalogue}
    old = Saved(gru, variables, Ids(np.array([1])), Ids(np.arange(10, 18)), item_features=kinds)
    known = cold_start.with_items(old, [99], {"kind": ["cup"]})
    log = from_columns({"user": [1, 1, 1], "item": [10, 99, 11]})
    new = grow.with_rows(known, in_ids_of(known, log, np.ones(3, bool)))
    assert new.model.num_items == 10
    np.testing.assert_allclose(
        *(evaluation.score_all(one.model, one.variables, row) for one in (known, new)), rtol=1e-6
    )
    outcome = refresh(
        known, joined_sessions(), np.ones(400, bool), key(), QUICK._replace(worst=np.inf, num_epochs=1)
    )
    assert outcome.saved.variables["catalogue"]["kind"].shape == (10,)


def joined_sessions():
    rng = np.random.default_rng(0)
    item = np.append(rng.integers(10, 18, 390), np.full(10, 99))
    return from_columns(
        {"user": np.repeat(np.arange(100), 4), "item": item, "session": np.repeat(np.arange(100), 4)}
    )


def test_a_poisoned_window_is_refused():
    rng = np.random.default_rng(0)
    poisoned = table()
    at = np.arange(ROWS)
    wrong = NEW & (at < 0.94 * ROWS)
    poisoned["item"][wrong] = rng.integers(0, KINDS * EACH, wrong.sum())
    outcome = refresh(model("gru4rec"), from_columns(poisoned), NEW, key(), QUICK._replace(past=0.0, k=5))
    assert outcome.saved is None and "refused: recall@5 fell by more than 2 standard errors" in str(outcome)


def test_a_window_without_events_or_with_few_or_that_diverges_is_refused():
    outcome = refresh(model("popularity"), LOG, np.zeros(ROWS, bool), key())
    assert outcome.saved is None and "no fresh events" in str(outcome)
    outcome = refresh(model("popularity"), LOG, np.arange(ROWS - 50, ROWS), key())
    assert outcome.saved is None and "5 held-out events are too few" in str(outcome)
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, model("gru4rec").variables)
    outcome = refresh(model("gru4rec")._replace(variables=broken), LOG, NEW, key(), QUICK)
    assert outcome.saved is None and "NaN or infinity" in str(outcome)
    with pytest.raises(DataError, match="an index or a mask of the log's 1,600 rows"):
        refresh(model("popularity"), LOG, np.ones(3, bool), key())


@pytest.mark.parametrize("module", [NeuMF(3, 3), ItemKNN(3)])
def test_a_model_that_cannot_be_refreshed_is_told_so(module):
    shop = Saved(module, {}, Ids(np.array(["ann", "bob"])), Ids(np.array([7, 8])))
    with pytest.raises(DataError, match="cannot be refreshed: it is of none of these kinds"):
        refresh(shop, LOG, NEW, key())


def test_counts_that_decay_are_not_added_to():
    decayed = recipes.buy_again(part(~NEW), key(), half_life=1.0)
    with pytest.raises(DataError, match="decay with time"):
        refresh(decayed, LOG, NEW, key(), QUICK)


def test_ids_of_another_kind_and_rare_ones_are_left_out():
    columns = table()
    columns["item"] = columns["item"].astype(object)
    columns["item"][[900, 1000, 1100, 1500]] = "<script>"
    columns["item"][1300] = 12345
    outcome = refresh(model("popularity"), from_columns(columns), NEW, key(), QUICK._replace(least=3))
    assert outcome.saved.items.raw.dtype.kind == "i" and outcome.left_out == 5
    assert not outcome.saved.items.encode(["<script>", 12345]).any()


def test_the_past_of_customers_comes_from_their_histories():
    fresh = np.ones(NEW.sum(), bool)
    log, is_fresh = with_past(model("gru4rec"), LOG.take(NEW), fresh)
    history = model("gru4rec").history
    assert log.num_rows == NEW.sum() + (history > 0).sum() and is_fresh.sum() == NEW.sum()


def test_rows_to_spare_change_nothing():
    """A program with room for items gives the ranks and the gradients of one without it."""
    one = model("gru4rec")
    spacious = grow.sized(one, lambda rows: rows + 9)
    query, target = batches.queries([0, 0], [[1, 2, 0], [3, 4, 5]]), jnp.array([[4], [7]])
    exact = evaluation.ranks(one.model, one.variables, query, target)
    spared = evaluation.ranks(spacious.model, spacious.variables, query, target, num_items=one.items.size)
    assert same(exact, spared)
    data = batches.next_items(LOG.take(~NEW)._replace(items=one.items), 5)
    variables = spacious.variables | {"spare": {"first": jnp.int32(one.items.size)}}
    value = objectives.next_item_softmax(one.model)(one.variables, key(), data)[0]
    spared = learn.next_item(spacious.model)(variables, key(), data)[0]
    np.testing.assert_allclose(value, spared, rtol=1e-5)


def test_events_of_a_service_are_cut_where_a_visitor_paused():
    events = [
        Event(str(n), visitor, item, received=time)
        for n, (visitor, item, time) in enumerate(
            [("a", 1, 0.0), ("b", "x", 1.0), ("a", 2, 5.0), ("a", 3, 99.0)]
        )
    ]
    log = of_service(events, gap=10.0)
    assert log.session[0] == log.session[2] and len(set(log.session.tolist())) == 3
    assert of_service(events).session is None and log.items.raw.tolist() == ["1", "x", "2", "3"]
    both = joined(from_columns({"user": ["a"], "item": [2]}), of_service(events))
    assert both.items.raw.tolist() == ["2", "1", "x", "3"] and both.user.tolist() == [1, 1, 2, 1, 1]


@settings(max_examples=50)
@given(st.integers(1, 10**7))
def test_a_capacity_leaves_at_most_a_quarter_to_spare(rows):
    found = grow.capacity(rows)
    assert rows <= found <= 1.25 * rows + 1 and grow.capacity(found) == found


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4)), min_size=1, max_size=12), st.data())
def test_what_was_before_an_event(rows, data):
    sequence, item = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    events = Events(item, item, sequence, np.ones(len(item), bool))
    at = data.draw(st.integers(0, len(rows) - 1))
    own = [n + 1 for n, (s, i) in enumerate(rows[:at]) if s == sequence[at] and i][-3:]
    found = before(events, np.array([at]), 3)[0] if (item > 0).any() else np.zeros(3, int)
    assert found.tolist() == own + [0] * (3 - len(own))


@pytest.mark.parametrize(
    "setting",
    [
        {"k": 0},
        {"held": 1.5},
        {"held": np.nan},
        {"num_epochs": 0},
        {"length": 0},
        {"least": -1},
        {"worst": np.nan},
        {"past": -1.0},
        {"batch_size": 2.5},
    ],
)
def test_settings_that_would_take_anything_are_refused(setting, untyped):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))} = .*: give "):
        refresh(model("popularity"), LOG, NEW, key(), QUICK._replace(**setting))


def test_an_index_of_fresh_rows_is_no_mask():
    with pytest.raises(DataError, match=r"fresh: the index has a row twice; a mask is of the type bool"):
        refresh(model("popularity"), LOG, np.ones(ROWS, np.int64), key())


def test_new_items_keep_their_names():
    old = model("popularity")
    named = old._replace(items=Ids(old.items.raw, np.char.add("old ", old.items.raw.astype(str))))
    titled = LOG._replace(items=Ids(LOG.items.raw, np.char.add("new ", LOG.items.raw.astype(str))))
    longer, count = grow.with_ids(named, titled, 1).items, len(old.items.raw)
    assert longer.names.tolist() == [
        f"{'old' if n < count else 'new'} {raw}" for n, raw in enumerate(longer.raw)
    ]
    assert len(longer.raw) > count
