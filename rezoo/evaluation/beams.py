"""Recommendation lists of models that write items digit by digit: a search along the codes that there are."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1, best_of, best_places, find, same_rows
from rezoo.data.semantic_ids import Trie
from rezoo.devices.meshes import in_blocks, lookup
from rezoo.evaluation import checks
from rezoo.evaluation.scoring import apply, compiled
from rezoo.nn.embedding import has_row
from rezoo.types import Query, Variables


def recommend_by_beam(
    model: nn.Module,
    variables: Variables,
    query: Query,
    trie: Trie,
    k: int,
    *,
    width: int = 50,
    exclude: Int[Array, " B S"] | None = None,
    block: int = 256,
) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """The k best items for each query, as far as beam search finds them; answers as `recommend` does.

    After each digit the `width` likeliest beginnings are kept, of those with which the code of an item
    begins. So the scores are the model's, but an item whose beginning is unlikely may be missing; none is
    where `width` is no less than the number of items. Excluded items take no place in the list, but their
    beginnings do in the search.

    Args:
      model: a `Writer`, such as `TIGER`.
      variables: its variables, whose codes are those of the trie.
      query: who asks.
      trie: of the items that may be recommended, by `semantic_ids.trie`.
      k: length of the lists.
      width: beginnings that are kept; k at least.
      exclude: items that must not be recommended, 0 = padding.
      block: queries at once.

    Raises:
      ValueError: if k is below 1 or above `width`, or `exclude` has not a row for each query.

    >>> import numpy as np
    >>> from rezoo.data import semantic_ids
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import TIGER
    >>> model, code = TIGER((2, 2), dim=4), np.array([[0, 0], [1, 1], [1, 2], [2, 1]])
    >>> def first(key):
    ...     given = {"catalogue": {"code": jnp.asarray(code)}}
    ...     made = model.apply(given, query, query.user, rngs={"params": key}, mutable=["params"])[1]
    ...     return given | made
    >>> query, trie = queries(history=[[1, 3]]), semantic_ids.trie(code)
    >>> variables = jax.jit(first)(jax.random.key(0))
    >>> ids, scores = recommend_by_beam(model, variables, query, trie, 3, exclude=query.history)
    >>> ids.tolist()  # the two others are excluded
    [[2, 0, 0]]
    """
    at_least_1(k=k)
    if width < k:
        raise ValueError(f"width = {width} finds fewer items than k = {k}: give width={k} or more")
    if exclude is None:
        exclude = jnp.zeros((query.user.shape[0], 0), jnp.int32)
    same_rows(query=query)
    checks.rows(2, query=query.user, exclude=exclude)
    ids, scores = _found(model, variables, query, exclude, trie, k=k, width=width, block=block)
    return ids, scores


@compiled("k", "width", "block")
def _found(
    model: nn.Module,
    variables: Variables,
    query: Query,
    exclude: Array,
    trie: Trie,
    *,
    k: int,
    width: int,
    block: int,
) -> tuple[Array, Array]:
    def of_block(rows: tuple[Query, Array]) -> tuple[Array, Array]:
        query, exclude = rows
        state = apply(model, variables, query, method="after")
        node = jnp.zeros_like(exclude, shape=(len(state), 1))
        score, code = jnp.zeros(node.shape), jnp.zeros((*node.shape, 0), jnp.int32)
        for level, (offset, digit) in enumerate(zip(trie.offset, trie.digit, strict=True)):
            share = apply(model, variables, state, code, method="next_digit")
            child = _children(offset, digit, node, share.shape[2])
            total = jnp.where(child >= 0, score[..., None] + share, -jnp.inf)
            if level + 1 == len(trie.digit):
                total = _without(total, trie, node, exclude)
            kept = min(width, len(digit))
            place, score = best_places(total.reshape(len(state), -1), kept)
            node = jnp.take_along_axis(child.reshape(len(state), -1), place, axis=1)
            code = jnp.take_along_axis(code, (place // share.shape[2])[..., None], axis=1)
            code = jnp.concatenate([code, (place % share.shape[2])[..., None]], axis=2)
        return best_of(lookup(trie.item, jnp.maximum(node, 0)), score, k)

    return in_blocks(of_block, (query, exclude), block)


def _children(offset: Any, digit: Any, node: Int[Array, " B K"], digits: int) -> Int[Array, " B K S"]:
    """The child of each node by each digit, -1 where there is none."""
    shape = *node.shape, digits
    wanted = jnp.broadcast_to(jnp.arange(digits, dtype=jnp.int32)[None, None], shape)
    return find(
        jnp.asarray(offset),
        jnp.asarray(digit),
        jnp.broadcast_to(node[..., None], shape),
        wanted,
        longest=digits,
    )


def _without(
    total: Float[Array, " B K S"], trie: Trie, node: Int[Array, " B K"], exclude: Int[Array, " B E"]
) -> Float[Array, " B K S"]:
    """The scores of leaves, -inf for those of excluded items, which are found by their parents."""
    leaf = jnp.where(has_row(exclude, len(trie.leaf)), lookup(trie.leaf, jnp.maximum(exclude, 0)), -1)
    parent, digit = (lookup(column, jnp.maximum(leaf, 0)) for column in (trie.parent, trie.digit[-1]))
    here = (parent[:, :, None] == node[:, None]) & (leaf >= 0)[:, :, None]
    beam = jnp.where(here.any(-1), here.argmax(-1), total.shape[1])
    return jax.vmap(lambda row, beam, digit: row.at[beam, digit].set(-jnp.inf, mode="drop"))(
        total, beam, digit
    )
