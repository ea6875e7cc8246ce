"""The best of many items, which are scored some at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.arrays import best_places
from rezoo.devices.meshes import along
from rezoo.nn.embedding import has_row

Score = Callable[[Int[Array, " c"]], Float[Array, " B c"]]
"""`places -> scores` of the items there; those of places behind the last one mean nothing."""


def best_in_chunks(
    score_at: Score,
    item_at: Callable[[Int[Array, " *S"]], Int[Array, " *S"]],
    exclude: Int[Array, " B S"],
    *,
    like: Array,
    places: int,
    length: int,
    total: int,
    chunk: int,
) -> tuple[Int[Array, " B l"], Float[Array, " B l"], Int[Array, " B"]]:
    """The best items of each query, their scores, and how many scores are NaN.

    Args:
      score_at: scores every query with the items at some places.
      item_at: `places -> ids`, ascending.
      exclude: places of items that must not be in a list; those below 0 or behind the last are ignored.
      like: whose rows are spread over devices as those of the lists shall be.
      places: how many there are.
      length: of the lists.
      total: rows of the catalogue; an id beyond it is none.
      chunk: places at a time.
    """
    size, chunk = exclude.shape[0], min(chunk, places)
    starts = jnp.arange(0, places, chunk, dtype=jnp.int32)

    def merge(best: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], Array]:
        place = start + jnp.arange(chunk, dtype=jnp.int32)
        score, real = score_at(place), has_row(item_at(place), total)
        nan = (jnp.isnan(score) & real[None]).sum(axis=1)
        score = along(jnp.where(real[None], score, -jnp.inf), like)
        masked = jnp.where((exclude >= start) & (exclude < start + chunk), exclude - start, chunk)
        score = jax.vmap(lambda score, place: score.at[place].set(-jnp.inf, mode="drop"))(score, masked)
        place, top = best_places(jnp.concatenate([best[1], score], axis=1), length)
        kept = jnp.take_along_axis(best[0], jnp.minimum(place, length - 1), axis=1)
        ids = jnp.where(place < length, kept, item_at(start + place - length))
        return (jnp.where(jnp.isneginf(top), 0, ids), top), nan

    empty = jnp.zeros((size, length), jnp.int32), jnp.full((size, length), -jnp.inf, jnp.float32)
    (ids, top), nan = jax.lax.scan(merge, jax.tree.map(lambda x: along(x, like), empty), starts)
    return ids, top, nan.sum(axis=0)
