import jax
import jax.numpy as jnp
import pytest

from rezoo.types import TrainState


def test_state_is_a_pytree_of_arrays_and_offers_variables():
    state = TrainState(
        {"w": jnp.ones(2)}, {"catalogue": {}}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False)
    )
    assert set(state.variables) == {"params", "catalogue"}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))


def test_rank_promotion_is_refused():
    with pytest.raises(ValueError, match="rank"):
        jnp.ones((2, 1, 3)) + jnp.ones((3,))
