"""Live sessions say what batch scoring says of the same events, in whatever order they come."""

import contextlib
import functools
import sys
import threading
from collections import defaultdict

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import init, made, mostly_slow, noisy
from hypothesis import given, settings
from hypothesis import strategies as st

from rezoo import evaluation
from rezoo.data.batches import queries
from rezoo.data.sessions import Sessions
from rezoo.models import (
    HSTU,
    NARM,
    STAMP,
    VSKNN,
    Caser,
    GRU4Rec,
    LRURec,
    NextItNet,
    SASRec,
    SessionPopularity,
    eSASRec,
)
from rezoo.models.baselines import popularity
from rezoo.models.session import neighbours
from rezoo.nn.recurrent import LSTM
from rezoo.serving import live
from rezoo.serving.slots import FullError, Owner, Slots
from rezoo.types import Query

ITEMS, SLOTS, L, K = 11, 4, 3, 13
PEOPLE = {"age": 4, "income": None}
PAST = Sessions(np.array([1, 2, 3, 4, 5, 2, 3, 6, 7, 8], np.int32), np.array([0, 3, 5, 8, 10]))
MODELS = {
    "GRU4Rec": GRU4Rec(ITEMS, 4),
    "GRU4Rec-LSTM-features": GRU4Rec(ITEMS, 4, num_layers=2, cell=LSTM, user_features=PEOPLE),
    "LRURec-features": LRURec(ITEMS, 4, user_features=PEOPLE),
    "NARM-features": NARM(ITEMS, 4, hidden=5, user_features=PEOPLE),
    "STAMP-features": STAMP(ITEMS, 4, user_features=PEOPLE),
    "SASRec-features": SASRec(ITEMS, 4, max_length=L, user_features=PEOPLE),
    "SASRec-cached": SASRec(ITEMS, 4, num_heads=2, max_length=L, user_features=PEOPLE),
    "eSASRec-cached": eSASRec(ITEMS, 4, num_blocks=1, max_length=2),
    "HSTU-cached": HSTU(ITEMS, 4, num_heads=2, max_length=2, user_features=PEOPLE),
    "Caser-users": Caser(ITEMS, 4, num_users=7, window=3, horizontal=2, vertical=2),
    "NextItNet": NextItNet(ITEMS, 4, dilations=(1, 2), kernel=2),
    "VSKNN": VSKNN(ITEMS, 5, recent=3, longest=4),
    "SessionPopularity": SessionPopularity(ITEMS),
}
FITTED = {
    "VSKNN": neighbours.fit(PAST, ITEMS, recent=3, longest=4),
    "SessionPopularity": popularity.fit(PAST.items, ITEMS),
}
CACHED = [name for name in MODELS if name.endswith("-cached")]
LONG = {
    *("HSTU-cached", "LRURec-features", "STAMP-features", "eSASRec-cached"),
    *("NARM-features", "SASRec-features"),
}
every_model = pytest.mark.parametrize("name", mostly_slow(MODELS, MODELS.keys() - LONG))


def who(users, history=None):
    """A query of users whose features follow from their numbers; user 0 has none."""
    users = np.asarray(users, np.int32)
    features = {"age": jnp.asarray(users % 4), "income": jnp.asarray(users / 4, jnp.float32)}
    history = np.zeros((len(users), 0), np.int32) if history is None else np.asarray(history, np.int32)
    return Query(jnp.asarray(users), jnp.asarray(history), features)


def ints(*values):
    return jnp.array(values, jnp.int32)


class Desk:
    """A model's compiled functions, and the state they start from."""

    def __init__(self, name):
        self.model = MODELS[name]
        asked = who([1], [[1, 2, 0]])
        params = FITTED.get(name) or {"params": noisy(init(self.model, asked, ints(1))["params"], 0.3)}
        self.served = live.serve(self.model, params)
        self.observe = jax.jit(functools.partial(live.observe, self.model), donate_argnums=1)
        self.begin = jax.jit(functools.partial(live.begin, self.model), donate_argnums=1)
        self.recommend = jax.jit(functools.partial(live.recommend, self.model), static_argnums=3)
        self.scores = jax.jit(functools.partial(live.scores, self.model))
        self.whole = jax.jit(functools.partial(evaluation.recommend, self.model), static_argnums=2)

        self.empty = live.start(
            self.model, self.served, SLOTS, length=L, like=who([0]), cached=name in CACHED
        )

    def start(self):
        return jax.tree.map(jnp.copy, self.empty)  # for a step takes the memory of its sessions


desk = functools.cache(Desk)
begins = st.tuples(st.just("begin"), st.integers(0, SLOTS - 1), st.integers(0, 6))
clicks = st.tuples(st.just("click"), st.integers(0, SLOTS - 1), st.integers(-1, ITEMS + 2))


def heard(name, past, more):
    """The events that a session is known by after one more, or none."""
    if name in CACHED:
        return (past + more)[-L + L // 2 :] if more and len(past) == L else past + more
    return past + more if hasattr(MODELS[name], "step") else (past + more)[-L:]


@every_model
@given(events=st.lists(clicks | clicks | clicks | begins, max_size=20))
@settings(max_examples=15)
def test_any_interleaving_is_answered_as_batch_scoring_answers(name, events):
    at = desk(name)
    sessions, users, past = at.start(), [0] * SLOTS, defaultdict(list)
    for kind, slot, value in events:
        if kind == "begin":
            sessions = at.begin(at.served, sessions, ints(slot), who([value]))
            users[slot], past[slot] = value, []
        else:
            sessions = at.observe(at.served, sessions, ints(slot, -1), ints(value, 5))
            past[slot] = heard(name, past[slot], [value] if 0 < value < ITEMS else [])
    history = np.zeros((SLOTS, 20), np.int32)
    for slot, items in past.items():
        history[slot, : len(items)] = items
    ids, scores = at.recommend(at.served, sessions, jnp.arange(SLOTS), K)
    expected, values = at.whole(at.served.variables, who(users, history), K)
    np.testing.assert_allclose(scores, values, rtol=1e-4, atol=1e-5)
    score = np.asarray(at.scores(at.served, sessions, jnp.arange(SLOTS)))
    assert (np.sort(ids[:, : ITEMS - 1], axis=1) == np.arange(1, ITEMS)).all() and (
        ids[:, ITEMS - 1 :] == 0
    ).all()
    for row, (ours, theirs) in enumerate(zip(np.asarray(ids), np.asarray(expected), strict=True)):
        np.testing.assert_allclose(score[row, ours], score[row, theirs], rtol=1e-4, atol=1e-5)  # but for ties


@every_model
def test_a_session_that_begins_with_a_past_is_the_session_that_had_it(name):
    at = desk(name)
    one = at.begin(at.served, at.start(), ints(2, 0), who([3, 5], [[4, 2, 9, 0], [0, 6, 12, 0]]))
    two = at.begin(at.served, at.start(), ints(2, 0), who([3, 5]))
    for items in ((4, 0), (2, 6), (9, -1)):
        two = at.observe(at.served, two, ints(2, 0), ints(*items))
    chex.assert_trees_all_close(one, two, rtol=1e-5, atol=1e-6)
    history = live.queries(one, ints(2, 0, -1, SLOTS)).history
    assert history.tolist() == [[4, 2, 9], [6, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_cache_is_kept_of_models_that_attend_and_of_no_times():
    asked = who([0], [[1, 2, 0]])
    for model, said in (
        (GRU4Rec(ITEMS, 4), "GRU4Rec has no `fill`"),
        (NARM(ITEMS, 4), "NARM has no `fill`"),
        (HSTU(ITEMS, 4, time="age"), "times"),
    ):
        served = live.Served({}, jnp.zeros((4, ITEMS)))
        with pytest.raises(ValueError, match=said):
            live.start(model, served, 1, like=asked, cached=True)


def test_the_newest_events_are_kept():
    at = desk("STAMP-features")
    sessions = at.begin(at.served, at.start(), ints(1), who([1], [[1, 2, 3, 4, 5]]))
    assert live.queries(sessions, ints(1)).history.tolist() == [[3, 4, 5]]


def test_what_is_excluded_is_in_no_list_and_nothing_is_made_up():
    at = desk("GRU4Rec")
    sessions = at.observe(at.served, at.start(), ints(0), ints(7))
    ids, scores = at.recommend(at.served, sessions, ints(0, -1), K, jnp.array([[7, 3, 0], [-2, 99, 0]]))
    assert sorted(ids[0].tolist()) == [0] * 5 + [1, 2, 4, 5, 6, 8, 9, 10]
    assert np.isneginf(scores[0, 8:]).all() and np.isfinite(scores[0, :8]).all()
    assert sorted(ids[1].tolist()) == [0, 0, 0, *range(1, 11)]  # padding is answered as nobody's session


def test_a_grown_catalogue_is_served_and_open_sessions_survive():
    at, longer = desk("SessionPopularity"), SessionPopularity(ITEMS + 1)
    sessions = at.observe(at.served, at.start(), ints(0), ints(7))
    served = live.serve(longer, popularity.fit(np.append(PAST.items, ITEMS), ITEMS + 1))
    sessions = live.observe(longer, served, sessions, ints(0), ints(ITEMS))
    ids, _ = live.recommend(longer, served, sessions, ints(0), 2)
    assert set(ids[0].tolist()) == {7, ITEMS}


@pytest.mark.parametrize("kind", [GRU4Rec, pytest.param(NARM, marks=pytest.mark.slow)])
def test_a_new_item_is_observed_and_ranked_by_its_features_in_a_session_that_was_open(kind):
    model = kind(ITEMS, 4, item_features={"sort": 5})
    sort = jnp.arange(ITEMS, dtype=jnp.int32) % 4
    asked = who([0], [[1, 2, 0]])
    params = noisy(made(model, {"catalogue": {"sort": sort}}, asked, ints(1)), 0.3)
    before = {"params": params, "catalogue": {"sort": sort}}
    after = {"params": params, "catalogue": {"sort": jnp.append(sort, 4)}}
    served = live.serve(model, before)
    sessions = live.observe(model, served, live.start(model, served, 1, length=L), ints(0), ints(7))
    unheard = live.observe(model, served, sessions, ints(0), ints(ITEMS))
    chex.assert_trees_all_equal(unheard, sessions)
    served = live.serve(model, after)
    sessions = live.observe(model, served, sessions, ints(0), ints(ITEMS))
    ids, scores = live.recommend(model, served, sessions, ints(0), K)
    expected, values = evaluation.recommend(model, after, who([0], [[7, ITEMS]]), K)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_allclose(scores, values, rtol=1e-4, atol=1e-5)
    assert ITEMS in ids[0].tolist()


def test_bad_input_is_refused_by_name():
    at = desk("GRU4Rec-LSTM-features")
    with pytest.raises(ValueError, match="age, income: give `like`"):
        live.start(at.model, at.served, SLOTS)
    with pytest.raises(ValueError, match="slots = 0"):
        live.start(at.model, at.served, 0, like=who([0]))
    with pytest.raises(ValueError, match=r"columns \[\], the sessions \['age', 'income'\]"):
        live.begin(at.model, at.served, at.start(), ints(0), who([1])._replace(features={}))
    with pytest.raises(ValueError, match="k = 0"):
        live.recommend(at.model, at.served, at.start(), ints(0), 0)


def test_slots_are_recycled_and_idle_sessions_end():
    now = [0.0]
    slots = Slots(2, idle=10.0, clock=lambda: now[0])
    assert slots.open("a") == (0, True) and slots.open("b") == (1, True)
    now[0] = 6.0
    assert slots.open("a") == (0, False) and slots.find("b") == 1 and slots.find("c") is None
    with pytest.raises(FullError, match="all 2 slots have an open session, the most idle one for 6 of 10 s"):
        slots.open("c")
    now[0] = 11.0
    assert slots.find("b") is None
    assert slots.open("c") == (1, True) and len(slots) == 2  # b was idle for 11 s, a for 5
    slots.close("a")
    assert slots.open("b") == (0, True)
    now[0] = 30.0
    assert slots.open("c")[1] and len(slots) == 1
    with pytest.raises(KeyError):
        slots.close("b")


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 4)), max_size=40))
def test_two_open_sessions_never_share_a_slot(visits):
    now, used = [0.0], {}
    slots = Slots(3, idle=5.0, clock=lambda: now[0])
    for key, pause in visits:
        now[0] += pause
        open_now = {other for other, (_, last) in used.items() if now[0] - last < 5.0}
        if key not in open_now and len(open_now) == 3:
            with pytest.raises(FullError):
                slots.open(key)
            continue
        slot, new = slots.open(key)
        assert new == (key not in open_now)
        assert slot not in {used[other][0] for other in open_now - {key}}
        used[key] = slot, now[0]


def test_an_item_whose_score_is_nan_is_in_no_list():
    model = MODELS["GRU4Rec"]
    served = live.serve(model, init(model, who([0]), ints(1)))
    served = served._replace(table=served.table.at[:, 2].set(jnp.nan))
    sessions = live.start(model, served, 2)
    few, scores = live.recommend(model, served, sessions, ints(0, 1), 3)
    ids, _ = live.recommend(model, served, sessions, ints(0, 1), K)
    assert (ids != 2).all() and (ids > 0).sum() == 2 * (ITEMS - 2)
    assert (few > 0).all() and np.isfinite(scores).all()


def in_threads(work, count=8):
    """`work(number)` in so many threads that change places as often as can be; what they raised."""
    often, errors = sys.getswitchinterval(), []

    def run(number):
        try:
            work(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(often)
    return errors


def test_slots_are_not_lost_between_threads():
    slots = Slots(6, idle=1e-4)

    def work(number):
        for visit in range(400):
            with contextlib.suppress(FullError):
                slots.open((number + visit) % 9)
            with contextlib.suppress(KeyError):
                slots.close((number * visit) % 9)
            assert len(slots) <= 6

    assert not in_threads(work)
    slots.idle = 1e9
    for key in range(9):
        with contextlib.suppress(KeyError):
            slots.close(key)
    assert sorted(slots.open(f"new {key}")[0] for key in range(6)) == list(range(6))
    with pytest.raises(FullError):
        slots.open("one more")


def test_donated_sessions_have_one_owner():
    owner = Owner(Slots(9), jnp.zeros(9, jnp.int32))
    put = jax.jit(lambda counts, slot, to: counts.at[slot].set(to), donate_argnums=0)

    def click(counts, slot, new):
        counts = put(counts, slot, 1 if new else counts[slot] + 1)
        return counts, int(counts[slot])

    def work(number):
        for _ in range(20):
            for key in (number, "all"):
                owner.visit(key, click)

    assert not in_threads(work)
    assert [owner.visit(key, click) for key in (*range(8), "all")] == [21] * 8 + [161]
    owner.close("all")
    assert owner.visit("all", click) == 1

    def fail(counts, slot, new):
        raise RuntimeError

    owner.close(3)
    with pytest.raises(RuntimeError):
        owner.visit(3, fail)
    assert owner.visit(3, click) == 1  # it is new once more
    with pytest.raises(RuntimeError):
        owner.visit(3, fail)
    assert owner.visit(3, click) == 2


def test_a_question_has_a_row_for_each_slot(untyped):
    model = SessionPopularity(ITEMS)
    at = live.serve(model, {"params": {"count": jnp.zeros(ITEMS)}})
    sessions = live.start(model, at, SLOTS, length=L)
    one, two = jnp.array([0]), jnp.array([0, 1])
    with pytest.raises(ValueError, match=r"slot.*query"):
        live.begin(model, at, sessions, two, queries([7], [[1, 2]]))
    for slot, item in ((one, jnp.array([3, 4])), (two, jnp.array([3]))):
        with pytest.raises(ValueError, match=r"slot.*item"):
            live.observe(model, at, sessions, slot, item)
    for exclude in (jnp.array([4, 8]), jnp.array([[4]])):
        with pytest.raises(ValueError, match="exclude has the shape"):
            live.recommend(model, at, sessions, two, 2, exclude)


@pytest.mark.parametrize("given", [{"size": 0}, {"size": 2, "idle": float("nan")}, {"size": 2, "idle": 0.0}])
def test_slots_are_one_or_more_and_idle_for_a_while(given):
    with pytest.raises(ValueError, match=f"{[*given][-1]} = .*: give"):
        Slots(**given)
