"""Binary search on the device: in a sparse matrix of sorted pairs, in cumulative weights."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.devices.backend import pick
from rezoo.devices.meshes import lookup


def find(
    offset: Int[Array, " S"],
    column: Int[Array, " M"],
    row: Int[Array, " *B"],
    wanted: Int[Array, " *B"],
    *,
    longest: int | None = None,
) -> Int[Array, " *B"]:
    """Where the pair (row, wanted) stands in `column`, -1 if nowhere; binary search.

    Row r of the S - 1 rows has the columns `column[offset[r]:offset[r + 1]]`, ascending;
    none has more than `longest`, if that is known.

    >>> offset, column = jnp.array([0, 2, 2, 3]), jnp.array([4, 7, 5])
    >>> find(offset, column, jnp.array([0, 1, 2]), jnp.array([7, 4, 5])).tolist()
    [1, -1, 2]
    """
    size = column.shape[0]
    if size == 0:
        return jnp.full(row.shape, -1, jnp.int32)

    def halve(_: Array, span: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = span
        middle = (low + high) // 2
        right = (lookup(column, middle) < wanted) & (low < high)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    end = lookup(offset, row + 1)
    span = lookup(offset, row), end
    halvings = (longest or size).bit_length()
    low, _ = jax.lax.fori_loop(0, halvings, halve, span, unroll=pick(cpu=1, accelerator=halvings))
    found = (low < end) & (lookup(column, jnp.minimum(low, size - 1)) == wanted)
    return jnp.where(found, low, -1).astype(jnp.int32)


def draw(key: jax.Array, cumulative: Float[Array, " N"], shape: tuple[int, ...]) -> Int[Array, " ..."]:
    """Places drawn with replacement in proportion to weights, of which the cumulative sums are given."""
    point = jax.random.uniform(key, shape, cumulative.dtype, maxval=cumulative[-1])
    method = pick(cpu="scan", accelerator="scan_unrolled")
    found = jnp.searchsorted(cumulative, point.ravel(), side="right", method=method)
    return found.reshape(shape)
