"""Helpers of arrays that know nothing of recommenders: ranges, searches, the best of a row.

`offsets_of` and `ranges` are NumPy's, for the host; the others are JAX's.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from rezoo.devices.backend import pick
from rezoo.devices.meshes import lookup


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Where each of some sequences starts, laid end to end; at last their whole length."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def ranges(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """`length[0]` numbers counted up from `start[0]`, then `length[1]` from `start[1]` …"""
    return np.arange(length.sum()) + np.repeat(start - offsets_of(length)[:-1], length)


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


def per_row(value: Shaped[Array, " B"], like: Shaped[Array, " B *C"]) -> Shaped[Array, " B *_"]:
    """`value` with axes of length 1 after B, so that it goes along with an array `[B *C]`."""
    return value.reshape(-1, *[1] * (like.ndim - 1))


def best_of(
    item: Int[Array, " B C"], score: Float[Array, " B C"], k: int
) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """The k best of each query's items, best first; id 0 and score -inf where none is left.

    An item whose score is -inf or NaN is not among them, and k may be more than there are items.
    """
    place, top = best_places(score, k)
    return jnp.where(jnp.isneginf(top), 0, jnp.take_along_axis(item, place, axis=1)), top


def best_places(score: Float[Array, " B C"], k: int) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """Where the k best of each row's scores are, best first; place 0 and score -inf where none is left."""
    score = jnp.where(jnp.isnan(score), -jnp.inf, score)
    top, place = jax.lax.top_k(score, min(k, score.shape[1]))
    beyond = ((0, 0), (0, k - top.shape[1]))
    place = jnp.pad(jnp.where(jnp.isneginf(top), 0, place), beyond)
    return place, jnp.pad(top, beyond, constant_values=-jnp.inf)
