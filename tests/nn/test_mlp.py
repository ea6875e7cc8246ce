import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, init, noisy

from rezoo.nn.mlp import MLP, PairMLP


@pytest.mark.parametrize("elements", [(), (4,)])
def test_a_pair_mlp_is_the_mlp_of_the_two_end_to_end(elements):
    row = jax.random.normal(jax.random.key(0), (3, 2))
    each = jax.random.normal(jax.random.key(1), (3, *elements, 5))
    pair = PairMLP((6, 4))
    params = noisy(init(pair, row, each)["params"], 0.4)
    first = {"kernel": params["kernel"], "bias": params["bias"]}
    whole = {"Dense_0": first, "Dense_1": params["MLP_0"]["Dense_0"]}
    rows = jnp.broadcast_to(row.reshape(3, *[1] * len(elements), 2), (3, *elements, 2))
    expected = apply(MLP((6, 4)), {"params": whole}, jnp.concatenate([rows, each], axis=-1))
    np.testing.assert_allclose(apply(pair, {"params": params}, row, each), expected, rtol=1e-5, atol=1e-6)
