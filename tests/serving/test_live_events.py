"""Clicks with columns, such as their type and time: live sessions say what batch scoring says of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import init, mostly_slow, noisy, score_all

from rezoo.data import batches
from rezoo.models import HSTU, NARM, STAMP, BERT4Rec, Caser, GRU4Rec, LRURec, NextItNet, SASRec, eSASRec
from rezoo.nn.events import TimeGap
from rezoo.nn.recurrent import LSTM
from rezoo.serving import live

ITEMS, SLOTS, L = 11, 4, 3
EVENTS = {"event_features": {"type": 4, "price": None, "time": TimeGap}, "user_features": {"age": 4}}
MODELS = {
    "GRU4Rec": GRU4Rec(ITEMS, 4, num_layers=2, cell=LSTM, **EVENTS),
    "SASRec-cached": SASRec(ITEMS, 4, num_heads=2, max_length=2, **EVENTS),
    "SASRec": SASRec(ITEMS, 4, max_length=2, **EVENTS),
    "LRURec": LRURec(ITEMS, 4, num_blocks=1, **EVENTS),
    "HSTU-cached": HSTU(ITEMS, 4, num_blocks=1, max_length=2, **EVENTS),
    "HSTU": HSTU(ITEMS, 4, num_blocks=1, time="time", **EVENTS),
    "eSASRec-cached": eSASRec(ITEMS, 4, num_blocks=1, **EVENTS),
    "NARM": NARM(ITEMS, 4, hidden=5, **EVENTS),
    "STAMP": STAMP(ITEMS, 4, **EVENTS),
    "Caser": Caser(ITEMS, 4, window=2, **EVENTS),
    "NextItNet": NextItNet(ITEMS, 4, dilations=(1,), **EVENTS),
    "BERT4Rec": BERT4Rec(ITEMS, 4, num_blocks=1, max_length=L + 1, **EVENTS),
}
every_model = pytest.mark.parametrize("name", mostly_slow(MODELS, ["GRU4Rec"]))


def who(users, past=()):
    """Users with a past `[(item, columns) …]` each."""
    width = max(map(len, past), default=0)
    history = np.zeros((len(users), width), np.int32)
    columns = {"type": history.copy(), "price": history.astype(np.float32), "time": history.copy()}
    for row, done in enumerate(past):
        for at, (item, told) in enumerate(done):
            history[row, at] = item
            for name, value in told.items():
                columns[name][row, at] = value
    age = np.asarray(users, np.int32) % 4
    # Some of the events are of items that nobody knows, of id 0, too.
    return batches.queries(users, None, columns | {"age": age})._replace(history=jnp.asarray(history))


def some_click(rng):
    told = {
        "type": rng.integers(0, 4),
        "price": rng.normal(),
        "time": rng.integers(0, 5) * rng.integers(1, 10**6),
    }
    return int(rng.integers(-1, ITEMS + 2)), told


def as_arrays(clicks):
    items, told = zip(*clicks, strict=True)
    kinds = {"type": jnp.int32, "price": jnp.float32, "time": jnp.int32}
    columns = {name: jnp.array([one[name] for one in told], kind) for name, kind in kinds.items()}
    return jnp.array(items, jnp.int32), columns


def heard(name, past, more):
    """The events that a session is known by after one more, or none."""
    if name.endswith("-cached"):
        return (past + more)[-L + L // 2 :] if more and len(past) == L else past + more
    return past + more if hasattr(MODELS[name], "step") else (past + more)[-L:]


@functools.cache
def served(name):
    asked = who([1], [[(1, {"type": 1}), (2, {"type": 2})]])
    params = init(MODELS[name], asked, asked.history[:, 0])["params"]
    return live.serve(MODELS[name], {"params": noisy(params, 0.3)})


def start(name):
    how = {"length": L, "like": who([0], [[]]), "cached": name.endswith("-cached")}
    return live.start(MODELS[name], served(name), SLOTS, **how)


@every_model
def test_clicks_with_columns_are_answered_as_batch_scoring_answers(name):
    rng, model = np.random.default_rng(0), MODELS[name]
    observe = jax.jit(functools.partial(live.observe, model))
    begin = jax.jit(functools.partial(live.begin, model))
    known = [[some_click(rng) for _ in range(3)] for _ in range(2)]
    known = [[(max(item, 1) % ITEMS, told) for item, told in row] for row in known]
    sessions = begin(served(name), start(name), jnp.array([0, 1]), who([5, 6], known))
    users, past = [5, 6, 0, 0], [[], [], [], []]
    for slot, row in enumerate(known):
        for one in row:
            past[slot] = heard(name, past[slot], [one] if one[0] else [])
    for _ in range(8):
        clicks = [some_click(rng) for _ in range(2)]
        slots = rng.permutation(SLOTS)[:2]
        sessions = observe(served(name), sessions, jnp.asarray(slots), *as_arrays(clicks))
        for slot, one in zip(slots, clicks, strict=True):
            past[slot] = heard(name, past[slot], [one] if 0 < one[0] < ITEMS else [])
    score = live.scores(model, served(name), sessions, jnp.arange(SLOTS))
    expected = score_all(model, served(name).variables, who(users, past))
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-5)
    plain = [[(item, {}) for item, _ in row] for row in past]
    assert np.abs(score_all(model, served(name).variables, who(users, plain)) - expected).max() > 1e-3


def test_bad_columns_are_refused_by_name():
    name = "GRU4Rec"
    model, at, sessions = MODELS[name], served(name), start(name)
    slot, (item, columns) = jnp.array([0]), as_arrays([(3, {"type": 1, "price": 0.5, "time": 60})])
    with pytest.raises(ValueError, match="reads the columns type, price, time: give `like`"):
        live.start(model, at, SLOTS, like=who([0])._replace(features={"age": jnp.zeros(1, jnp.int32)}))
    with pytest.raises(ValueError, match="keep the columns price, time, type of each event: give them"):
        live.observe(model, at, sessions, slot, item)
    with pytest.raises(ValueError, match=r"'type' of the events is int32 \[2\]: give it .* int32 \[1\]"):
        live.observe(model, at, sessions, slot, item, columns | {"type": jnp.array([1, 2])})
    with pytest.raises(ValueError, match=r"'time' of the events is float32 \[1\]: give it .* int32 \[1\]"):
        live.observe(model, at, sessions, slot, item, columns | {"time": jnp.array([1.5])})
    query = who([1], [[(1, {})]])
    query = query._replace(features=query.features | {"type": jnp.zeros((1, 3), jnp.int32)})
    with pytest.raises(ValueError, match=r"'type' has the shape \[1, 3\]: give a value for each event"):
        live.begin(model, at, sessions, slot, query)
