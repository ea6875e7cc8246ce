import jax
import jax.export
import jax.numpy as jnp
import pytest

from rezoo.types import Batch, Query, Target, TrainState


def test_state_is_a_pytree_of_arrays_and_offers_variables():
    state = TrainState(
        {"w": jnp.ones(2)}, {"catalogue": {}}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False)
    )
    assert set(state.variables) == {"params", "catalogue"}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))


def test_rank_promotion_is_refused():
    with pytest.raises(ValueError, match="rank"):
        jnp.ones((2, 1, 3)) + jnp.ones((3,))


def test_queries_and_batches_are_inputs_of_an_export_that_is_kept():
    query = Query(jnp.array([1, 2]), jnp.array([[1, 0], [2, 3]]), {"age": jnp.array([3, 4])})
    tasks = {"click": Target(jnp.ones(2), jnp.ones(2, bool))}
    batch = Batch(query, jnp.array([5, 6]), jnp.ones(2), jnp.ones(2, bool), tasks)

    def total(query, batch):
        return query.history.sum() + batch.item.sum() + batch.tasks["click"].label.sum()

    kept = jax.export.export(jax.jit(total))(query, batch).serialize()
    assert float(jax.export.deserialize(kept).call(query, batch)) == float(total(query, batch))
