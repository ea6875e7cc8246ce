"""Recommendation lists of models that write items digit by digit: a search along the codes that there are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1, best_of, best_places, ids_of, same_rows
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
    exclude: Int[Array | np.ndarray, " B S"] | None = None,
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
      ValueError: if k is below 1 or above `width`, `exclude` has not a row for each query, or the model
        writes no codes, or shorter ones or smaller digits than the trie has.

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
    (exclude,) = ids_of(exclude=exclude)
    same_rows(query=query)
    checks.rows(2, query=query.user, exclude=exclude)
    digits = getattr(model, "digits", None)
    if digits is None:
        raise ValueError(f"{type(model).__name__} writes no codes: give a model such as TIGER, or recommend")
    reached = tuple(int(np.max(digit, initial=0)) for digit in trie.digit)
    if len(reached) != len(digits) or any(own > most for own, most in zip(reached, digits, strict=True)):
        raise ValueError(
            f"the trie has digits up to {reached}, the model was made with digits={tuple(digits)}: make it "
            "with those of the codes"
        )
    most = tuple(int(np.diff(offset).max()) for offset in trie.offset)
    return _found(model, variables, query, exclude, trie, k=k, width=width, block=block, most=most)


@compiled("k", "width", "block", "most")
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
    most: tuple[int, ...],
) -> tuple[Array, Array]:
    """The lists; `most` children has a node of each level."""

    def of_block(rows: tuple[Query, Array]) -> tuple[Array, Array]:
        query, exclude = rows
        state = apply(model, variables, query, method="after")
        node = jnp.zeros_like(exclude, shape=(len(state), 1))
        score, code = jnp.zeros(node.shape), jnp.zeros((*node.shape, 0), jnp.int32)
        for level, (offset, digits) in enumerate(zip(trie.offset, trie.digit, strict=True)):
            share = apply(model, variables, state, code, method="next_digit")
            begin, end = (lookup(offset, node + one)[..., None] for one in (0, 1))
            child = begin + jnp.arange(most[level], dtype=jnp.int32)[None, None]
            real, child = child < end, jnp.minimum(child, len(digits) - 1)
            digit = lookup(digits, child)
            total = score[..., None] + jnp.take_along_axis(share, digit, axis=2)
            total = jnp.where(real, total, -jnp.inf)
            if level + 1 == len(trie.digit):
                total = _without(total, trie, node, exclude)
            flat = (len(state), -1)
            place, score = best_places(total.reshape(flat), min(width, len(digits)))
            node, digit = (jnp.take_along_axis(x.reshape(flat), place, axis=1) for x in (child, digit))
            code = jnp.take_along_axis(code, (place // most[level])[..., None], axis=1)
            code = jnp.concatenate([code, digit[..., None]], axis=2)
        return best_of(lookup(trie.item, node), score, k)

    return in_blocks(of_block, (query, exclude), block)


def _without(
    total: Float[Array, " B K M"], trie: Trie, node: Int[Array, " B K"], exclude: Int[Array, " B E"]
) -> Float[Array, " B K M"]:
    """The scores of leaves, -inf for those of excluded items, which are found by their parents."""
    leaf = jnp.where(has_row(exclude, len(trie.leaf)), lookup(trie.leaf, jnp.maximum(exclude, 0)), -1)
    parent = lookup(trie.parent, jnp.maximum(leaf, 0))
    here = (parent[:, :, None] == node[:, None]) & (leaf >= 0)[:, :, None]
    beam = jnp.where(here.any(-1), here.argmax(-1), total.shape[1])
    among = leaf - lookup(trie.offset[-1], parent)
    return jax.vmap(lambda row, beam, among: row.at[beam, among].set(-jnp.inf, mode="drop"))(
        total, beam, among
    )
