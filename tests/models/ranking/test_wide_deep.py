import jax.numpy as jnp
import numpy as np

from rezoo.models.ranking.wide_deep import cross


def test_crosses_are_numbered_exactly_below_two_to_the_31st_and_folded_beyond():
    a = np.array([0, 3, 46_340, 65_535, 2_000_000], np.int64)
    b = np.array([0, 7, 46_339, 40_000, 39_999], np.int64)
    for size in (46_341, 65_536):
        found = np.asarray(cross(jnp.asarray(a, jnp.int32), jnp.asarray(b, jnp.int32), size))
        exact = a * size + b
        assert (exact < 2**31).any() and (exact >= 2**31).any()
        np.testing.assert_array_equal(found, exact % 2**31)
