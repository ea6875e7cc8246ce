"""LRURec beside its equations in NumPy's complex numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, init, noisy
from oracles import dense, gelu, in_double, normed

from rezoo.data.batches import queries
from rezoo.models import LRURec
from rezoo.models.session.lrurec import Complex, looped, scanned

ITEMS, HISTORY = 9, [3, 1, 4, 1, 5]
MODEL = LRURec(ITEMS, 4, num_blocks=2)


def block(w, x):
    decay = np.exp(-np.exp(w["log_rate"]) + 1j * np.exp(w["log_angle"]))
    real, imag = np.split(dense(w["drive"], x), 2, axis=1)
    read = w["read"]["kernel"][:8] - 1j * w["read"]["kernel"][8:]
    h, y = np.zeros(8, complex), []
    for driven in (real + 1j * imag) * np.sqrt(1 - np.abs(decay) ** 2):
        h = decay * h + driven
        y.append((h @ read).real + w["read"]["bias"])
    y = normed(np.array(y) + x, w["state_norm"])
    return normed(dense(w["feed_out"], gelu(dense(w["feed_in"], y))) + y, w["feed_norm"])


def test_it_is_its_equations():
    asked = queries(history=[HISTORY])
    first = init(MODEL, asked, jnp.array([1], jnp.int32))["params"]
    size = np.exp(-np.exp(first["blocks_0"]["log_rate"]))
    assert (size > 0.8 - 1e-6).all() and (size < 0.99 + 1e-6).all()
    params = noisy(first, 0.3)
    w = in_double(params)
    x = normed(w["item"]["embedding"][HISTORY], w["norm"])
    for name in ("blocks_0", "blocks_1"):
        x = block(w[name], x)
    states = apply(MODEL, {"params": params}, asked, method="prefixes")[0]
    np.testing.assert_allclose(states, np.c_[x, np.ones(5)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", [scanned, looped])
def test_both_ways_give_the_recurrence(way):
    parts = np.random.default_rng(0).normal(size=(4, 2, 7, 3)).astype(np.float32)
    keep, drive = Complex(*map(jnp.asarray, parts[:2])), Complex(*map(jnp.asarray, parts[2:]))
    h, expected = np.zeros((2, 3), complex), []
    for t in range(7):
        h = (parts[0] + 1j * parts[1])[:, t] * h + (parts[2] + 1j * parts[3])[:, t]
        expected.append(h)
    states = jax.jit(way)(keep, drive)
    for part, wanted in (states.real, np.real(expected)), (states.imag, np.imag(expected)):
        np.testing.assert_allclose(part, wanted.swapaxes(0, 1), rtol=1e-4, atol=1e-4)
