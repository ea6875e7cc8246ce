import itertools

import jax
import jax.numpy as jnp
import numpy as np
from helpers import apply, init

from rezoo.nn import interaction


def vectors(fields=5, width=3):
    return jax.random.normal(jax.random.key(0), (2, 4, fields, width))


def double_sum(v):
    return sum(v[..., i, :] * v[..., j, :] for i, j in itertools.combinations(range(v.shape[-2]), 2))


def test_bi_interaction_equals_the_double_sum():
    v = vectors()
    np.testing.assert_allclose(interaction.bi_interaction(v), double_sum(v), rtol=1e-4, atol=1e-5)


def test_pairs_come_in_the_order_of_combinations():
    v = np.asarray(vectors())
    products = interaction.pair_products(jnp.asarray(v))
    for place, (i, j) in enumerate(itertools.combinations(range(5), 2)):
        np.testing.assert_array_equal(products[..., place, :], v[..., i, :] * v[..., j, :])


def test_the_cross_layers_are_their_equations():
    x_0, x = jnp.asarray(jax.random.normal(jax.random.key(0), (2, 3, 6)))
    full = interaction.Cross()
    params = init(full, x_0, x, seed=1)["params"]["Dense_0"]
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    expected = np.asarray(x_0) * (np.asarray(x) @ kernel + bias) + np.asarray(x)
    np.testing.assert_allclose(
        apply(full, {"params": {"Dense_0": params}}, x_0, x), expected, rtol=1e-4, atol=1e-5
    )

    gated = interaction.GatedCross()
    params = init(gated, x_0, x, seed=1)["params"]
    p, of_0, of_x = jax.tree.map(np.asarray, (params, x_0, x))
    gate = 1 / (1 + np.exp(-(of_x @ p["gate"]["kernel"])))
    expected = of_0 * (of_x @ p["cross"]["kernel"] + p["cross"]["bias"]) * gate + of_x
    np.testing.assert_allclose(apply(gated, {"params": params}, x_0, x), expected, rtol=1e-4, atol=1e-5)

    low = interaction.LowRankCross(2, 3)
    params = init(low, x_0, x, seed=1)["params"]
    params["bias"] = params["bias"] + 0.5
    p, x_0, x = jax.tree.map(np.asarray, (params, x_0, x))
    gate = np.exp(x @ p["gate"]["kernel"] + p["gate"]["bias"])
    gate /= gate.sum(-1, keepdims=True)
    expected = x.copy()
    for k in range(3):
        expert = np.tanh(np.tanh(x @ p["v"][k]) @ p["c"][k]) @ p["u"][k]
        expected += gate[:, k : k + 1] * x_0 * (expert + p["bias"])
    np.testing.assert_allclose(
        apply(low, {"params": params}, jnp.asarray(x_0), jnp.asarray(x)), expected, rtol=1e-4, atol=1e-5
    )


def test_field_attention_is_its_equation():
    e = vectors(4, 3)[0]
    layer = interaction.FieldAttention(2, 5)
    params = init(layer, e, seed=1)["params"]
    p = jax.tree.map(np.asarray, params)
    heads = []
    for h in range(2):
        q, k, v = (e @ p[name]["kernel"][:, h] for name in "qkv")
        score = np.exp(q @ k.swapaxes(-1, -2))
        heads.append(score / score.sum(-1, keepdims=True) @ v)
    expected = np.maximum(np.concatenate(heads, -1) + e @ p["residual"]["kernel"], 0)
    np.testing.assert_allclose(apply(layer, {"params": params}, e), expected, rtol=1e-3, atol=1e-5)
