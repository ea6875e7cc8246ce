import chex
import jax
import jax.numpy as jnp
import numpy as np

from rezoo.nn.norm import BatchNorm

X = jax.random.normal(jax.random.key(0), (4, 2, 3)) * 5 + 2
COUNTED = jnp.array([[True, True], [True, False], [False, False], [True, True]])
FRESH = BatchNorm().init(jax.random.key(0), X)


def train(x, counted):
    variables = {**FRESH, "batch": {"where": counted}}
    return BatchNorm().apply(variables, x, rngs={"dropout": jax.random.key(1)}, mutable=["batch_stats"])


def test_what_counts_is_normalised_and_followed():
    out, new = train(X, COUNTED)
    kept, counted = np.asarray(X)[COUNTED], np.asarray(out)[COUNTED]
    np.testing.assert_allclose(counted.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(counted.var(0), 1, atol=1e-4)
    np.testing.assert_allclose(new["batch_stats"]["moments"]["mean"], 0.1 * kept.mean(0), rtol=1e-4)
    np.testing.assert_allclose(new["batch_stats"]["moments"]["var"], 0.9 + 0.1 * kept.var(0), rtol=1e-4)


def test_what_does_not_count_moves_nothing():
    changed = jnp.where(COUNTED[..., None], X, 1e6)
    (a, new_a), (b, new_b) = train(X, COUNTED), train(changed, COUNTED)
    np.testing.assert_array_equal(a[COUNTED], b[COUNTED])
    chex.assert_trees_all_equal(new_a, new_b)
    out, new = train(X, jnp.zeros_like(COUNTED))
    assert np.isfinite(out).all()
    chex.assert_trees_all_equal(new["batch_stats"], FRESH["batch_stats"])


def test_scoring_reads_the_running_statistics():
    np.testing.assert_allclose(BatchNorm().apply(FRESH, X), X, rtol=1e-4)
