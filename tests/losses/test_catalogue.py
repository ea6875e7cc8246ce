import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import eight_devices
from jax.sharding import AxisType, PartitionSpec

from rezoo import losses
from rezoo.devices.sharding.layout import by_holder, by_id
from rezoo.losses.catalogue import spread_softmax


def catalogue(rows=6, items=23, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    state = jnp.asarray(rng.normal(size=(2, rows // 2, dim)) * 2, jnp.float32)
    table = jnp.asarray(rng.normal(size=(items, dim)), jnp.float32)
    return state, table, jnp.asarray(rng.integers(1, items, (2, rows // 2)), jnp.int32)


def plain_catalogue(state, table, target):
    score = jnp.einsum("...d,nd->...n", state, table)
    label = jax.nn.one_hot(target, len(table))
    where = jnp.broadcast_to(jnp.arange(len(table)) > 0, score.shape)
    return losses.softmax_cross_entropy(score, label, where=where)


@pytest.mark.parametrize("chunk", [1, 4, 23, 100])
def test_the_catalogue_softmax_equals_the_plain_one_with_its_gradients(chunk):
    state, table, target = catalogue()
    slope = jnp.array([[1.0, 0.0, 2.0], [0.5, -1.0, 3.0]])

    def both(loss):
        return jax.value_and_grad(lambda s, t: (slope * loss(s, t)).sum(), argnums=(0, 1))(state, table)

    ours = both(lambda s, t: losses.catalogue_softmax(s, t, target, chunk=chunk))
    theirs = both(lambda s, t: plain_catalogue(s, t, target))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-5, atol=1e-5)


@eight_devices
@pytest.mark.parametrize("items", [5, 23])
def test_the_softmax_over_spread_items_equals_that_over_a_table_with_its_gradients(items):
    state, table, target = catalogue(items=items)
    state, target, slope = state.reshape(6, -1), target.ravel(), jnp.array([1.0, 0.0, 2.0, 0.5, -1.0, 3.0])
    every, over = PartitionSpec(), PartitionSpec("data")
    on = {"mesh": jax.make_mesh((8,), ("data",), (AxisType.Auto,)), "in_specs": (every, over)}

    def local(state, table):
        return spread_softmax(state, table[0], target, num_items=items, axis="data", chunk=2)

    spread = jax.shard_map(local, out_specs=every, check_vma=False, **on)

    def both(loss, table):
        weighed = jax.value_and_grad(lambda s, t: (slope * loss(s, t)).sum(), argnums=(0, 1))
        return jax.jit(weighed)(state, table)

    value, (of_state, of_table) = both(spread, by_holder(table, 8))
    expected = both(lambda s, t: plain_catalogue(s, t, target), table)
    chex.assert_trees_all_close((value, (of_state, by_id(of_table, items))), expected, rtol=1e-5, atol=1e-5)


def test_the_catalogue_softmax_stands_vmap_and_extreme_scores():
    state, table, target = catalogue()
    tables = jnp.stack([table, 300 * table])
    loss = lambda t: losses.catalogue_softmax(state, t, target, chunk=4)  # noqa: E731
    many = jax.vmap(loss)(tables)
    np.testing.assert_allclose(many, jnp.stack([loss(t) for t in tables]), rtol=1e-5)
    np.testing.assert_allclose(many[1], plain_catalogue(state, tables[1], target), rtol=1e-5)
    assert np.isfinite(jax.grad(lambda t: loss(t).sum())(tables[1])).all()


def test_the_catalogue_softmax_of_any_finite_scores_is_finite():
    score = jnp.array([0.0, 3e38, -3e38, 2e19, 1.0, -1e4])[:, None]
    target = jnp.arange(6, dtype=jnp.int32)
    for state in (jnp.ones((6, 1)), -jnp.ones((6, 1))):
        value, grads = jax.value_and_grad(
            lambda s, t: losses.catalogue_softmax(s, t, target, chunk=4).mean(), argnums=(0, 1)
        )(state, score)
        assert np.isfinite(value) and all(np.isfinite(grad).all() for grad in grads)


def test_the_catalogue_softmax_of_a_million_items_needs_little_beside_the_tables():
    shapes = [jax.ShapeDtypeStruct(s, t) for s, t in (((512, 64), "f4"), ((10**6, 64), "f4"), ((512,), "i4"))]

    def value(state, table, target):
        return losses.catalogue_softmax(state, table, target).mean()

    compiled = jax.jit(jax.value_and_grad(value, argnums=(0, 1))).lower(*shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1e9
