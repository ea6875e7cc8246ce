"""An approximate first stage: only the cells of the catalogue that lie towards the query are searched.

    first = ivf.index(two_stage.index(retriever, variables), jax.random.key(0), probes=32)
    ids, scores = two_stage.recommend(first, second, query, k=10)

Alike items share a cell (k-means, Lloyd 1982, https://doi.org/10.1109/TIT.1982.1056489), and a query
reads the cells whose mean has the highest inner product with it: an inverted file, Jégou, Douze, Schmid
2011, https://doi.org/10.1109/TPAMI.2010.57, section IV, without its compression. With as many probes
as cells the answer is exact; what fewer lose is to be measured, as `experiments/two_stage.py` does.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1, best_of, ids_of, offsets_of, ranges
from rezoo.devices.meshes import in_blocks
from rezoo.evaluation import checks
from rezoo.serving.two_stage import Stage
from rezoo.types import Query

BLOCK = 16384
"""Items that are compared with all means at once."""
SAMPLE = 256
"""Items a mean is learned from."""


class Celled(nn.Module):
    """A retriever whose item vectors lie in cells: collection `cells`."""

    model: nn.Module
    probes: int

    def nearest(
        self, query: Query, k: int, exclude: Int[Array, " B S"]
    ) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
        """The k best items of the cells that are probed, best first; 0 and -inf where they have fewer.

        Raises:
          ValueError: if the probed cells cannot hold k items, and others could, k is below 1, or `exclude`
            has no row for each query.
        """
        at_least_1(k=k)
        (exclude,) = ids_of(exclude=exclude)
        checks.rows(2, query=query.user[:, None], exclude=exclude)
        means, members, vectors = (self.get_variable("cells", name) for name in ("mean", "item", "vector"))
        probes = min(self.probes, len(means))
        if k > probes * members.shape[1] and probes < len(means):
            held = f"{probes} cells hold at most {probes * members.shape[1]} items"
            raise ValueError(f"{held}, too few for {k} candidates: probe more cells")

        def some(rows: tuple[Array, Array]) -> tuple[Array, Array]:
            state, exclude = rows
            _, cell = jax.lax.top_k(state @ means.T, probes)
            item = members[cell].reshape(len(state), -1)
            score = jnp.einsum("bd,bpmd->bpm", state, vectors[cell]).reshape(item.shape)
            allowed = (item > 0) & ~jnp.any(item[:, :, None] == exclude[:, None], axis=2)
            return best_of(item, jnp.where(allowed, score, -jnp.inf), k)

        state = self.model.encode(query)  # pyright: ignore[reportAttributeAccessIssue]
        return in_blocks(some, (state, exclude), 8)


def index(first: Stage, key: Array, *, probes: int, cells: int | None = None, rounds: int = 10) -> Stage:
    """The first stage `first`, of `two_stage.index`, searched by cells; not to be jitted.

    Args:
      first: a retriever whose item vectors were computed; what it holds as not available is left out.
      key: chooses the items that k-means starts from and learns from.
      probes: cells that a request reads, each with at most twice the mean number of items.
      cells: number of means, √N if not given; a fuller cell is divided, so there may be more cells.
      rounds: of k-means.

    Raises:
      ValueError: if a number is below 1, or if there are more cells than available items.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> from rezoo.serving import two_stage
    >>> first = two_stage.index(Popularity(5), {"params": {"count": jnp.array([0.0, 9, 8, 1, 2])}})
    >>> cells = index(first, jax.random.key(0), probes=2, cells=2)  # all of the cells: exact
    >>> two_stage.retrieve(cells, queries([1]), 2)[0].tolist()
    [[1, 2]]
    """
    table = np.asarray(first.variables["index"]["table"])
    item = np.flatnonzero(np.isfinite(table).all(axis=1))
    item = item[item > 0]
    count = round(len(item) ** 0.5) if cells is None else cells
    at_least_1(probes=probes, cells=count, rounds=rounds)
    if count > len(item):
        raise ValueError(f"{len(item)} available items cannot fill {count} cells: ask for fewer cells")
    vector = jnp.asarray(table[item])
    learn = jax.random.permutation(key, len(item))[: SAMPLE * count]
    of = np.asarray(_nearest(_means(vector[learn], count, rounds), vector))
    size = 2 * -(-len(item) // count)
    order = np.argsort(of, kind="stable")
    number = np.bincount(of, minlength=count)
    rank = ranges(np.zeros_like(number), number)
    parts = -(-number // size)
    cell = offsets_of(parts)[of[order]] + rank // size
    members = np.zeros((parts.sum(), size), np.int32)
    members[cell, rank % size] = item[order]
    vectors = np.where(members[:, :, None] > 0, table[members], 0.0).astype(table.dtype)
    mean = vectors.sum(axis=1) / (members > 0).sum(axis=1, keepdims=True)
    held = {"mean": jnp.asarray(mean), "item": jnp.asarray(members), "vector": jnp.asarray(vectors)}
    inner = {kind: {"model": tree} for kind, tree in first.variables.items() if kind != "index"}
    return Stage(Celled(first.model, probes), {**inner, "cells": held})


def _means(vector: Float[Array, " N D"], count: int, rounds: int) -> Float[Array, " C D"]:
    """Lloyd's means, begun at the first items; one that loses all its items stays where it is."""

    def move(means: Array, _: None) -> tuple[Array, None]:
        of = _nearest(means, vector)
        total = jnp.zeros_like(means).at[of].add(vector)
        number = jnp.zeros(count).at[of].add(1.0)[:, None]
        return jnp.where(number > 0, total / jnp.maximum(number, 1.0), means), None

    return jax.jit(lambda means: jax.lax.scan(move, means, length=rounds)[0])(vector[:count])


@jax.jit
def _nearest(means: Float[Array, " C D"], vector: Float[Array, " N D"]) -> Int[Array, " N"]:
    """Which mean each vector has the least distance to."""
    square = jnp.square(means).sum(axis=1)

    def some(rows: tuple[Array]) -> tuple[Array]:
        return (jnp.argmin(square[None] - 2 * rows[0] @ means.T, axis=1),)

    return in_blocks(some, (vector,), BLOCK)[0]
