"""eSASRec beside its equations in NumPy."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, init, noisy
from oracles import attended, dense, in_double, normed, sigmoid, silu

from rezoo.data.batches import queries
from rezoo.errors import DataError
from rezoo.models import eSASRec
from rezoo.nn.attention import LiGR
from rezoo.serving import model_json

ITEMS, HISTORY = 9, [3, 1, 4, 1, 5]


def ligr(w, x, heads):
    y = attended(w, normed(x, w["attention_norm"]), heads, lambda t: slice(t + 1))
    x = x + sigmoid(dense(w["attention_gate"], x)) * dense(w["attention_out"], y)
    y = normed(x, w["feed_norm"])
    fed = dense(w["feed_out"], silu(dense(w["feed_in"], y)) * dense(w["feed_scale"], y))
    return x + sigmoid(dense(w["feed_gate"], x)) * fed


def test_it_is_its_equations():
    model = eSASRec(ITEMS, 4, num_blocks=2, num_heads=2, max_length=4, block=partial(LiGR, widen=2))
    asked = queries(history=[HISTORY])
    params = noisy(init(model, asked, jnp.array([1], jnp.int32))["params"], 0.3)
    assert (
        params["blocks_0"]["feed_in"]["kernel"].shape == (4, 8)
        and "bias" not in params["blocks_0"]["feed_in"]
    )
    w = in_double(params)
    x = 2 * w["item"]["embedding"][HISTORY] + w["position"]["embedding"][[0, 1, 2, 3, 3]]
    for block in ("blocks_0", "blocks_1"):
        x = ligr(w[block], x, 2)
    states = apply(model, {"params": params}, asked, method="prefixes")[0]
    np.testing.assert_allclose(states, normed(x, w["norm"]), rtol=1e-4, atol=1e-5)


def test_its_width_is_saved_with_it():
    described = model_json.describe(eSASRec(ITEMS, 4, block=partial(LiGR, widen=2)))
    assert described["fields"]["block"]["arguments"] == {"widen": 2}
    assert model_json.describe(model_json.rebuild(described, ITEMS)) == described


def test_heads_that_cannot_share_the_width_are_refused():
    model = eSASRec(ITEMS, 4, num_heads=3)
    with pytest.raises(DataError, match="num_heads = 3 cannot share dim = 4"):
        init(model, queries(history=[HISTORY]), jnp.array([1], jnp.int32))
