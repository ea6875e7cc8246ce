import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo.nn.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5])
def test_drops_its_share_and_keeps_the_mean(rate):
    x = jnp.full((1001, 99), 2.0)
    out = np.asarray(Dropout(rate).apply({}, x, rngs={"dropout": jax.random.key(0)}))
    share, n = round(rate * 256) / 256, out.size
    assert abs((out == 0).mean() - share) < 5 * np.sqrt(share * (1 - share) / n)
    np.testing.assert_allclose(out[out > 0], 2 / (1 - share), rtol=1e-6)
    rows = (out == 0).mean(1)
    assert abs(rows.std() - np.sqrt(share * (1 - share) / 99)) < 0.01


def test_keeps_everything_without_a_key_or_a_rate():
    x = jnp.ones((3, 2))
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x), x)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, x, rngs={"dropout": jax.random.key(0)}), x)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_is_a_share(rate):
    with pytest.raises(ValueError, match="from 0 to below 1"):
        Dropout(rate).apply({}, jnp.ones(3))


def test_the_largest_rate_leaves_something():
    out = Dropout(0.9999).apply({}, jnp.ones(10_000), rngs={"dropout": jax.random.key(0)})
    assert set(np.unique(out)) == {0.0, 256.0}
