"""HSTU beside its equations in NumPy, and times that are missing or wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, init, noisy
from oracles import dense, in_double, normed, silu

from rezoo import objectives
from rezoo.data.batches import queries
from rezoo.errors import DataError
from rezoo.models import HSTU
from rezoo.types import Batch

ITEMS, HISTORY, LONGEST = 9, [3, 1, 4, 1, 5], 3
TIMES = [1_600_000_000, 1_600_000_001, 1_600_000_090, 1_600_000_060, 1_600_900_000]  # one goes back
MODEL = HSTU(ITEMS, 4, num_blocks=2, num_heads=2, max_length=LONGEST, time="time")
ITEM = jnp.array([1], jnp.int32)


def asked(times=TIMES, history=HISTORY):
    return queries(history=[history], features={"time": np.array([times])})


def block(w, x, times):
    mixed = silu(dense(w["input"], normed(x)))
    u, v, q, k = np.split(mixed, 4, axis=1)
    summed = np.zeros_like(v)
    for i in range(len(x)):
        for j in range(i + 1):
            gap = min(int(np.log(max(abs(times[i] - times[j]), 1)) / 0.301), 128)
            bias = w["of_distance"][min(i - j, LONGEST - 1)] + w["of_gap"][gap]
            for h in (slice(0, 2), slice(2, 4)):
                summed[i, h] += silu(q[i, h] @ k[j, h] + bias) / LONGEST * v[j, h]
    return x + dense(w["output"], normed(summed) * u)


def test_it_is_its_equations():
    params = noisy(init(MODEL, asked(), ITEM)["params"], 0.3)
    w = in_double(params)
    assert w["blocks_0"]["of_gap"].shape == (129,) and set(w["blocks_0"]["output"]) == {"kernel", "bias"}
    x = 2 * w["item"]["embedding"][HISTORY] + w["position"]["embedding"][[0, 1, 2, 2, 2]]
    for name in ("blocks_0", "blocks_1"):
        x = block(w[name], x, TIMES)
    states = apply(MODEL, {"params": params}, asked(), method="prefixes")[0]
    np.testing.assert_allclose(states, x, rtol=1e-4, atol=1e-5)


def test_times_that_are_missing_are_asked_for_and_those_of_padding_are_not_read():
    params = init(MODEL, asked(), ITEM)
    for wrong in ({}, {"time": jnp.zeros((1, 4))}, {"time": jnp.zeros(1)}):
        with pytest.raises(DataError, match=r"'time' of the query's features: .*; give it"):
            MODEL.apply(params, queries(history=[HISTORY], features=wrong), ITEM)
    query = asked([5.0, 9.0, np.nan, np.inf, np.nan], [3, 1, 0, 0, 0])
    batch = Batch(query, query.history, jnp.ones((1, 5)), query.history > 0)
    step = jax.jit(jax.value_and_grad(objectives.next_item_softmax(MODEL), has_aux=True))
    (value, _), gradient = step(params, jax.random.key(0), batch)
    assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_packed_rows_hear_the_gaps_of_their_own_session():
    params = noisy(init(MODEL, asked(), ITEM), 0.3)
    packed = queries(
        history=[[3, 1, 4, 1]],
        features={"time": np.array([[7, 9, 1000, 1600]]), "segment": np.array([[1, 1, 2, 2]])},
    )
    together = apply(MODEL, params, packed, method="prefixes")[0]
    apart = [
        apply(MODEL, params, asked(times, history), method="prefixes")[0]
        for times, history in (([7, 9], [3, 1]), ([1000, 1600], [4, 1]))
    ]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-4, atol=1e-6)


def test_an_unknown_time_is_0_or_nan_and_an_unsigned_one_may_go_back():
    params = noisy(init(MODEL, asked(), ITEM), 0.3)
    states = [
        apply(MODEL, params, asked(times, [3, 1, 4]), method="prefixes")
        for times in ([50, 0, 120], [50.0, np.nan, 120.0])
    ]
    np.testing.assert_allclose(*states, rtol=1e-6)
    states = [
        apply(MODEL, params, asked(np.array([90, 30, 60], kind), [3, 1, 4]), method="prefixes")
        for kind in (np.int32, np.uint32)
    ]
    np.testing.assert_allclose(*states, rtol=1e-6)
