"""Attention in pieces beside the array of every two events: values, gradients, memory, meshes, dropout."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import apply, eight_devices, init, mostly_slow, noisy
from jax._src.cudnn import fused_attention_stablehlo as cudnn
from jax.sharding import NamedSharding, PartitionSpec

from rezoo import objectives, training
from rezoo.data.batches import queries
from rezoo.models import HSTU, BERT4Rec, SASRec, eSASRec
from rezoo.nn import attention as attending
from rezoo.nn import masks
from rezoo.nn.dropout import Dropout
from rezoo.types import Batch

B, L, H, E = 3, 29, 2, 4
NONE = Dropout(0.0)
SEGMENT = np.zeros((B, L), np.int32)
SEGMENT[0, :20], SEGMENT[1, :9], SEGMENT[1, 9:27] = 1, 1, 2
REAL = SEGMENT > 0
KNOWN = np.random.default_rng(0).random((B, L)) < 0.7


def small(monkeypatch):
    """Pieces and turns of a few events."""
    for name, size in {"WHOLE": 8, "AT_ONCE": 3, "PIECES": 3, "PIECE": 5, "SCORES": 1}.items():
        monkeypatch.setattr(attending, name, size)


def whole(monkeypatch):
    monkeypatch.setattr(attending, "PIECE", 10**9)


def matrix(name):
    """Who may look at whom, written out."""
    slots = {"one slot": 1, "slots": L}.get(name, 0)
    may = np.zeros((B, L + slots, L + slots), bool)
    for b, t, j in np.ndindex(B, L, L):
        may[b, t, j] = SEGMENT[b, t] == SEGMENT[b, j] > 0 and (j <= t or name == "both ways")
    for b, t, s in np.ndindex(B, L, slots):
        mine = SEGMENT[b, t] == 1 if slots == 1 else s == t and SEGMENT[b, t] > 0
        may[b, t, L + s] = mine and KNOWN[b, s]
        may[b, L + s, L + s] = KNOWN[b, s] and (slots == 1 or SEGMENT[b, s] > 0)
    return may


def mask(name):
    segment = jnp.asarray(SEGMENT)
    if name == "both ways":
        return masks.session(segment)
    known = {"one slot": KNOWN[:, :1], "slots": KNOWN}.get(name)
    return masks.past(segment) if known is None else masks.with_slots(masks.past(segment), jnp.asarray(known))


def inputs(rows, seed=0):
    return tuple(np.random.default_rng(seed).normal(size=(3, B, rows, H, E)).astype(np.float32))


def in_double(q, k, v, may):
    """Rows that may look at nobody are 0."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    score = np.einsum("bqhe,bkhe->bhqk", q, k) / E**0.5
    share = np.where(may[:, None], np.exp(score), 0.0)
    share /= np.maximum(share.sum(-1, keepdims=True), 1e-30)
    return np.einsum("bhqk,bkhe->bqhe", share, v).reshape(*q.shape[:2], -1)


@pytest.mark.parametrize("name", ["past", "both ways", "one slot", "slots"])
def test_pieces_are_the_softmax_over_those_that_may_be_looked_at(name, monkeypatch):
    may = matrix(name)
    q, k, v = inputs(may.shape[1])
    looks = may.any(-1)

    def total(q, k, v):
        answer = attending.attention(q, k, v, mask(name), NONE)
        return jnp.where(looks[..., None], jnp.sin(answer), 0.0).sum(), answer

    whole(monkeypatch)
    value = jax.value_and_grad(total, (0, 1, 2), has_aux=True)
    (_, plain), slopes = value(q, k, v)
    small(monkeypatch)
    (_, pieces), found = jax.jit(value)(q, k, v)
    expected = in_double(q, k, v, may)
    for answer in (plain, pieces):
        np.testing.assert_allclose(answer[looks], expected[looks], rtol=1e-5, atol=1e-6)
    assert np.isfinite(pieces).all()
    for one, other in zip(found, slopes, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


HISTORY = np.random.default_rng(1).integers(1, 9, (B, L)) * REAL
TIME = np.cumsum(np.random.default_rng(2).integers(1, 999, (B, L)), axis=1)
MODELS = {
    "SASRec": (SASRec(9, 4, num_blocks=1, max_length=20, num_heads=2), {}),
    "eSASRec": (
        eSASRec(9, 4, num_blocks=1, max_length=20, num_heads=2, user_features={"age": 4}),
        {"age": 1},
    ),
    "HSTU": (HSTU(9, 4, num_blocks=1, max_length=20, num_heads=2, time="time"), {"time": TIME}),
    "BERT4Rec": (BERT4Rec(9, 4, num_blocks=1, max_length=20), {}),
}


def batch_of(features, history=HISTORY, packed=True):
    features = {name: np.broadcast_to(value, history.shape) for name, value in features.items()}
    features |= {"segment": SEGMENT} if packed else {}
    query = queries(history=history, features=features)
    target = np.roll(history, -1, 1)
    return Batch(query, jnp.asarray(target), jnp.ones(history.shape), jnp.asarray(history > 0))


@pytest.mark.parametrize("name", mostly_slow(["SASRec", "eSASRec", "HSTU", "BERT4Rec"], ["HSTU", "BERT4Rec"]))
def test_models_in_pieces_are_themselves(name, monkeypatch):
    model, features = MODELS[name]
    batch = batch_of(features)
    variables = noisy(init(model, batch.query, batch.item[:, 0]), 0.3)
    objective = objectives.cloze(model, 0.5) if name == "BERT4Rec" else objectives.next_item_softmax(model)

    def both():
        step = jax.jit(jax.value_and_grad(lambda *given: objective(*given), has_aux=True))
        (loss, _), slopes = step(variables, jax.random.key(0), batch)
        return loss, slopes

    whole(monkeypatch)
    plain = both()
    small(monkeypatch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), both(), plain)


@pytest.mark.slow
@eight_devices
@pytest.mark.parametrize("name", ["eSASRec", "HSTU"])
def test_pieces_on_an_explicit_mesh(name, monkeypatch):
    small(monkeypatch)
    model, features = MODELS[name]
    batch = jax.tree.map(lambda x: jnp.concatenate([x, x[:1]]), batch_of(features))
    variables = noisy(init(model, batch.query, batch.item[:, 0]), 0.3)
    step = jax.jit(jax.value_and_grad(objectives.next_item_softmax(model), has_aux=True))
    expected = step(variables, jax.random.key(0), batch)
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    place = functools.partial(NamedSharding, mesh)
    spread = jax.device_put(batch, place(PartitionSpec("data")))
    with jax.set_mesh(mesh):
        key = jax.device_put(jax.random.key(0), place(PartitionSpec()))
        found = step(jax.device_put(variables, place(PartitionSpec())), key, spread)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, (found[0][0], found[1]), (expected[0][0], expected[1]))


def test_dropout_of_pieces_drops_shares_independently(monkeypatch):
    small(monkeypatch)
    ones = jnp.ones((B, L, H, E))
    drop = Dropout(0.5)

    @jax.jit
    def answer(key):
        bound = drop.bind({}, rngs={"dropout": key})
        return attending.attention(0 * ones, ones, ones, masks.session(jnp.ones((B, L), jnp.int32)), bound)

    found = np.asarray(jax.vmap(answer)(jax.random.split(jax.random.key(0), 50)))[..., 0]
    np.testing.assert_allclose(found.mean(), 1.0, atol=0.02)
    np.testing.assert_allclose(found.std(), L**-0.5, rtol=0.05)  # of L shares, each twice or nothing
    assert abs(np.corrcoef(found[:, 0, :3].ravel(), found[:, 0, 3:6].ravel())[0, 1]) < 0.25


def step_of(name, length):
    kwargs = {"num_blocks": 1, "max_length": length, "num_heads": 2}
    model = {
        "SASRec": SASRec(9, 16, dropout=0.2, **kwargs),
        "eSASRec": eSASRec(9, 16, **kwargs),
        "HSTU": HSTU(9, 16, time="time", **kwargs),
        "BERT4Rec": BERT4Rec(9, 16, **kwargs),
    }[name]
    history = np.ones((2, length), np.int32)
    batch = batch_of({"time": history} if name == "HSTU" else {}, history, packed=False)
    objective = objectives.cloze(model, 0.1) if name == "BERT4Rec" else objectives.next_item_softmax(model)
    step = training.make_step(objective, optax.sgd(0.1))
    state = jax.eval_shape(lambda: training.init_state(jax.random.key(0), model, optax.sgd(0.1), batch))
    return jax.jit(step).trace(state, jax.eval_shape(lambda: batch))


@pytest.mark.parametrize("name", mostly_slow(["SASRec", "eSASRec", "HSTU", "BERT4Rec"], ["HSTU"]))
def test_memory_of_a_training_step_grows_with_the_length_and_not_with_its_square(name):
    def memory(step):
        return step.compile().memory_analysis().temp_size_in_bytes

    short, long = (step_of(name, length).lower() for length in (256, 8192))
    found = {
        tuple(map(int, shape.split("x"))) for shape in re.findall(r"tensor<([\dx]+)x[a-z]", long.as_text())
    }
    assert (2, 8192, 16) in found
    assert not [shape for shape in found if sum(size > 1024 for size in shape) > 1]
    assert memory(long) < 32 * memory(short)


@pytest.mark.parametrize("name", ["past", "both ways"])
def test_the_fused_one_is_the_same_on_one_session_a_row(name, monkeypatch):
    count = np.array([L, 9, 0])
    segment = jnp.asarray(np.arange(L)[None] < count[:, None], jnp.int32)
    one = (masks.past if name == "past" else masks.session)(segment, packed=False)
    q, k, v = map(jnp.asarray, inputs(L))
    found = attending.fused(q, k, v, one, "xla").reshape(B, L, -1)
    expected = attending.attention(q, k, v, one, NONE)
    real = np.asarray(segment) > 0
    np.testing.assert_allclose(found[real], expected[real], rtol=1e-5, atol=1e-6)
    assert np.isfinite(found).all()


def test_a_gpu_is_given_cudnns(monkeypatch):
    for name in ("check_cudnn_version", "check_compute_capability"):
        monkeypatch.setattr(cudnn, name, lambda *_: 91000)
    shape = jax.ShapeDtypeStruct((2, 2048, 1, 64), jnp.bfloat16)
    one = masks.past(jnp.ones((2, 2048), jnp.int32), packed=False)
    both = jax.value_and_grad(
        lambda *x: attending.fused(*x, one, "cudnn").astype(jnp.float32).sum(), (0, 1, 2)
    )
    text = jax.jit(both).trace(shape, shape, shape).lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaSoftmax" in text and "2048x2048" not in text
    assert not attending.fused_on_gpu(jnp.zeros((2, 8, 1, 8), jnp.bfloat16), one)  # here is none


def test_no_rows_of_many_events_are_no_rows():
    model = SASRec(9, 4)
    values = init(model, queries(history=[[1, 2]]), jnp.array([1]))
    nobody = queries(history=jnp.zeros((0, 300), jnp.int32))
    assert apply(model, values, nobody, method="encode").shape == (0, 4)
