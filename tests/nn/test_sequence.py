import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import apply, init, init_state, mostly_slow

from rezoo import losses, objectives
from rezoo.arrays import offsets_of
from rezoo.data import packing
from rezoo.data.sessions import Sessions, next_item_batch
from rezoo.models import (
    HSTU,
    NARM,
    SRGNN,
    STAMP,
    BERT4Rec,
    Caser,
    GRU4Rec,
    LRURec,
    NextItNet,
    SASRec,
    YouTubeDNN,
    eSASRec,
)
from rezoo.nn import sequence
from rezoo.nn.recurrent import LSTM
from rezoo.types import Batch, Query

MODELS = {
    "GRU4Rec": GRU4Rec(9, 4),
    "NARM": NARM(9, 4, hidden=5),
    "STAMP": STAMP(9, 4),
    "SASRec": SASRec(9, 4, num_heads=2, max_length=6),
    "eSASRec": eSASRec(9, 4, num_blocks=1, max_length=6),
    "HSTU": HSTU(9, 4, num_blocks=1, max_length=6),
    "LRURec": LRURec(9, 4, num_blocks=1),
    "Caser": Caser(9, 4, window=3),
    "NextItNet": NextItNet(9, 4, dilations=(1, 2)),
    "YouTubeDNN": YouTubeDNN(9, dim=4, widths=(5,)),
}
AGE = {"age": 4}
FEATURED = {
    "GRU4Rec": GRU4Rec(9, 4, num_layers=2, cell=LSTM, user_features=AGE),
    "NARM": NARM(9, 4, hidden=5, user_features=AGE),
    "STAMP": STAMP(9, 4, user_features=AGE),
    "SASRec": SASRec(9, 4, num_heads=2, max_length=6, user_features=AGE),
    "Caser": Caser(9, 4, window=3, user_features=AGE),
    "NextItNet": NextItNet(9, 4, dilations=(1, 2), user_features=AGE),
    "YouTubeDNN": YouTubeDNN(9, AGE, 4, widths=(5,)),
}
SLOW = ("Caser", "eSASRec", "HSTU", "LRURec", "NextItNet", "STAMP")


def models(some):
    """Those that are like others are for `-m slow`."""
    return pytest.mark.parametrize(
        "model",
        [
            pytest.param(model, id=name, marks=pytest.mark.slow if name in SLOW else ())
            for name, model in some.items()
        ],
    )


every_model = models(MODELS)


def some_sessions(seed=0):
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 7, 40)
    return Sessions(rng.integers(1, 9, length.sum()).astype(np.int32), offsets_of(length))


def batch(history, target, where, segment=None):
    history = jnp.asarray(history)
    features = {} if segment is None else {"segment": jnp.asarray(segment)}
    query = Query(jnp.zeros(len(history), jnp.int32), history, features)
    return Batch(query, jnp.asarray(target), jnp.asarray(where, jnp.float32), jnp.asarray(where))


@every_model
def test_packed_rows_teach_what_padded_rows_teach(model):
    padded = batch(*next_item_batch(some_sessions(), 6))
    packed = batch(*packing.next_item(some_sessions(), 6))
    assert packed.where.mean() > 0.9 > padded.where.mean()
    state, same = (init_state(jax.random.key(0), model, optax.sgd(1.0), b) for b in (padded, packed))
    chex.assert_trees_all_equal(state.params, same.params)
    objective = jax.jit(jax.value_and_grad(objectives.next_item_softmax(model), has_aux=True))
    one, two = (objective(state.variables, jax.random.key(1), rows) for rows in (padded, packed))
    np.testing.assert_allclose(one[0][0], two[0][0], rtol=1e-5)
    chex.assert_trees_all_close(one[1], two[1], rtol=1e-4, atol=1e-6)
    plain = jax.jit(objectives.next_item(model, losses.softmax_cross_entropy))
    np.testing.assert_allclose(plain(state.variables, jax.random.key(1), packed)[0], one[0][0], rtol=1e-5)


@models(FEATURED)
def test_packed_rows_have_the_features_of_each_events_user(model):
    made = some_sessions()
    age = np.arange(made.num_sessions, dtype=np.int32) % 4
    padded = batch(*next_item_batch(made, 6))
    padded = padded._replace(query=padded.query._replace(features={"age": jnp.asarray(age)}))
    packed = batch(*packing.next_item(made, 6))
    size = made.lengths - 1
    session = packing.pack(
        Sessions(np.repeat(np.arange(1, 41, dtype=np.int32), size), offsets_of(size)), 6
    ).items
    of_event = jnp.asarray(np.append(np.int32(0), age)[session])
    packed = packed._replace(query=packed.query._replace(features=packed.query.features | {"age": of_event}))
    state = init_state(jax.random.key(0), model, optax.sgd(1.0), padded)
    variables = {"params": jax.tree.map(lambda x: 3 * x, state.params)}
    objective = jax.jit(jax.value_and_grad(objectives.next_item_softmax(model), has_aux=True))
    one, two = (objective(variables, jax.random.key(1), rows) for rows in (padded, packed))
    np.testing.assert_allclose(one[0][0], two[0][0], rtol=1e-5)
    chex.assert_trees_all_close(one[1], two[1], rtol=1e-4, atol=1e-6)


def test_a_sampled_softmax_over_many_draws_approaches_the_whole_one():
    model, rows = GRU4Rec(9, 4), batch(*packing.next_item(some_sessions(), 6))
    state = init_state(jax.random.key(0), model, optax.sgd(1.0), rows)
    params = jax.tree.map(lambda x: 3 * x, state.params)
    popularity = jnp.arange(9.0)
    whole, _ = objectives.next_item_softmax(model)({"params": params}, jax.random.key(1), rows)
    sampled = objectives.next_item_sampled(model, losses.softmax_cross_entropy, popularity, 20_000)
    value, _ = sampled({"params": params}, jax.random.key(1), rows)
    np.testing.assert_allclose(value, whole, rtol=0.02)


def test_nothing_is_carried_over_the_border_of_a_session():
    segment = jnp.array([[1, 1, 2, 2, 0]])
    assert sequence.past(segment)[0].astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    x = jnp.arange(1.0, 6.0).reshape(1, 5, 1)
    assert sequence.back(x, segment, 1)[0, :4, 0].tolist() == [0, 1, 0, 3]


@pytest.mark.parametrize("name", mostly_slow([*MODELS, "SRGNN"], ["NARM", "Caser", "SRGNN"]))
def test_a_packed_row_is_encoded_as_its_last_session(name):
    model, rng = {**MODELS, "SRGNN": SRGNN(9, 4)}[name], np.random.default_rng(0)
    history = jnp.asarray(rng.integers(1, 9, (3, 6)), jnp.int32)
    segment = jnp.array([[1, 1, 2, 2, 2, 2], [1, 2, 3, 3, 0, 0], [1, 1, 1, 1, 1, 1]], jnp.int32)
    history = jnp.where(segment > 0, history, 0)
    query = Query(jnp.zeros(3, jnp.int32), history, {"segment": segment})
    params = init(model, query, history[:, 0])
    state, each = (apply(model, params, query, method=method) for method in ("encode", "prefixes"))
    last = (segment > 0).sum(1) - 1
    np.testing.assert_allclose(state, each[jnp.arange(3), last], atol=1e-5)


OF_USERS = {
    **FEATURED,
    "SRGNN": SRGNN(9, 4, user_features=AGE),
    "HSTU": HSTU(9, 4, num_blocks=1, max_length=6, user_features=AGE),
    "LRURec": LRURec(9, 4, num_blocks=1, user_features=AGE),
    "BERT4Rec": BERT4Rec(9, 4, num_blocks=1, max_length=6, user_features=AGE),
    "BERT4Rec, events": BERT4Rec(9, 4, num_blocks=1, max_length=9, event_features={"type": 3}),
}


@pytest.mark.parametrize("name", mostly_slow(OF_USERS, ["STAMP", "SRGNN", "Caser", "BERT4Rec"]))
def test_the_last_session_of_a_packed_row_is_encoded_as_if_it_were_alone(name):
    model, history = OF_USERS[name], jnp.array([[1, 2, 3, 4, 5, 0], [6, 7, 8, 1, 2, 3]], jnp.int32)
    segment = jnp.array([[1, 1, 2, 2, 2, 0], [1, 2, 2, 2, 2, 2]], jnp.int32)
    age, kind = jnp.where(segment > 0, segment + 1, 0), jnp.where(segment > 0, 1 + history % 2, 0)
    packed = Query(jnp.zeros(2, jnp.int32), history, {"segment": segment, "age": age, "type": kind})
    alone = packed._replace(
        history=jnp.array([[3, 4, 5, 0, 0, 0], [7, 8, 1, 2, 3, 0]], jnp.int32),
        features={"age": jnp.array([3, 3]), "type": jnp.array([[2, 1, 2, 0, 0, 0], [2, 1, 2, 1, 2, 0]])},
    )
    if name == "YouTubeDNN":  # takes all columns of users
        packed.features.pop("type"), alone.features.pop("type")
    values = jax.tree.map(
        lambda x: 3 * x, init(model, alone, history[:, 0])
    )  # so that attention has a choice
    found, expected = (apply(model, values, query, method="encode") for query in (packed, alone))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("column", [jnp.array([1]), jnp.array([[1.0, 1.0, 2.0]]), jnp.array([[1, 2]])])
def test_a_column_of_that_name_says_which_session_an_event_is_of(column):
    query = Query(jnp.zeros(1, jnp.int32), jnp.array([[3, 5, 2]]), {"segment": column})
    with pytest.raises(ValueError, match=r"'segment'.* give yours another name"):
        sequence.segments(query)


@pytest.mark.parametrize("kind", ["user_features", "event_features"])
def test_no_model_reads_a_column_of_that_name(kind):
    model = GRU4Rec(9, 4, **{kind: {"segment": 4}})
    query = Query(jnp.zeros(1, jnp.int32), jnp.array([[3, 5]]), {"segment": jnp.array([[1, 1]])})
    with pytest.raises(ValueError, match="'segment' is that of packed rows"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), query, jnp.array([1])))
