import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rezoo.nn.mlp import MLP
from rezoo.nn.norm import BatchNorm


def run(x, where, variables=None, model=None):
    model = model or BatchNorm()
    variables = variables or model.init(jax.random.key(0), x)
    told = variables if where is None else {**variables, "batch": {"where": jnp.asarray(where)}}
    return model.apply(told, x, rngs={"dropout": jax.random.key(1)}, mutable=["batch_stats"])


def test_it_is_the_formula_over_the_rows_that_count():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (6, 4))
    where = np.array([True, True, False, True, True, False])
    y, sown = run(x, where)
    real = np.asarray(x)[where]
    expected = (real - real.mean(0)) / np.sqrt(real.var(0) + 1e-5)
    np.testing.assert_allclose(np.asarray(y)[where], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sown["batch_stats"]["mean"], 0.1 * real.mean(0), rtol=1e-5)
    np.testing.assert_allclose(sown["batch_stats"]["var"], 0.9 + 0.1 * real.var(0), rtol=1e-5)


def test_rows_that_do_not_count_move_neither_the_others_nor_the_statistics():
    x = jax.random.normal(jax.random.key(0), (5, 3))
    where = np.array([True, True, True, False, False])
    model = MLP((4, 2), batch_norm=True)
    variables = model.init(jax.random.key(0), x)
    y, sown = run(x, where, variables, model)
    z, other = run(x.at[3:].set(1e6), where, variables, model)
    np.testing.assert_allclose(y[:3], z[:3], rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, sown["batch_stats"], other["batch_stats"])


def test_padding_alone_leaves_the_statistics_and_is_finite():
    x = jnp.ones((4, 3))
    y, sown = run(x, np.zeros(4, bool))
    np.testing.assert_array_equal(sown["batch_stats"]["mean"], np.zeros(3))
    np.testing.assert_array_equal(sown["batch_stats"]["var"], np.ones(3))
    assert np.isfinite(y).all()


def test_scoring_takes_the_running_statistics_whatever_else_is_in_the_batch():
    x = jax.random.normal(jax.random.key(0), (4, 3))
    variables = {"batch_stats": {"mean": jnp.full(3, 2.0), "var": jnp.full(3, 4.0)}}
    variables |= {"params": {"scale": jnp.full(3, 3.0), "bias": jnp.ones(3)}}
    y = BatchNorm().apply(variables, x)
    np.testing.assert_allclose(y, 3 * (np.asarray(x) - 2) / np.sqrt(4 + 1e-5) + 1, rtol=1e-5)


def test_it_normalises_flax_batch_norm_alike():
    x = jax.random.normal(jax.random.key(0), (2, 5, 3))
    theirs = nn.BatchNorm(use_running_average=False, momentum=0.9)
    expected, sown = theirs.apply(theirs.init(jax.random.key(0), x), x, mutable=["batch_stats"])
    y, ours = run(x, None)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours["batch_stats"]["var"], sown["batch_stats"]["var"], rtol=1e-5)
