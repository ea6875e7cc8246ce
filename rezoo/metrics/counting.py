"""Ranks by counting, and which targets have one."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo.arrays import same_lists, same_shape
from rezoo.devices.backend import pick
from rezoo.devices.meshes import along, everywhere

Ranks = Float[Array, " *B T"]


def ranks(score: Float[Array, " *B C"], *, where: Bool[Array, " *B C"] | None = None) -> Ranks:
    """The rank of every element within its list; masked elements come last, and that of a NaN is inf.

    >>> ranks(jnp.array([3.0, 7.0, 3.0, 1.0, jnp.nan])).tolist()
    [2.5, 1.0, 2.5, 4.0, inf]
    """
    same_shape(score=score, where=where)
    competing = score if where is None else jnp.where(where, score, jnp.nan)
    flat = competing.reshape(-1, score.shape[-1])
    rank = jax.vmap(lambda row: ascending_ranks(-row))(flat).reshape(score.shape)
    nan = jnp.isnan(score) if where is None else jnp.isnan(score) & where
    return jnp.where(nan, jnp.inf, rank)


def target_ranks(
    score: Float[Array, " *B N"],
    target: Int[Array, " *B T"],
    *,
    where: Bool[Array, " *B N"] | None = None,
    counted: Bool[Array, " *B T"] | None = None,
) -> Ranks:
    """The rank of each target among the candidates, by counting; no sort of the candidates.

    The rank is inf, which every metric takes for a miss, where the target's score is NaN, where the
    target is no index of the list, where it stands a second time (see `distinct`), and where it is not
    `counted`. It costs as many passes over N as targets have a rank, whatever the number of columns.

    Args:
      score: of every candidate.
      target: indices into the list of candidates.
      where: candidates that compete; all targets do, too.
      counted: targets that are asked for; the others are padding.

    >>> score = jnp.array([[0.1, 0.9, 0.5, 0.5]])
    >>> target_ranks(score, jnp.array([[1, 2, 0]])).tolist()
    [[1.0, 2.5, 4.0]]
    """
    same_lists(score=score, target=target)
    same_shape(score=score, where=where)
    same_shape(target=target, counted=counted)
    size, columns = score.shape[-1], target.shape[-1]
    if not score.size or not target.size:
        return jnp.full(target.shape, jnp.inf)
    # Users' targets are counted a chunk at a time, across the borders of devices.
    score, target, where, counted = everywhere((score, target, where, counted))
    flat = jax.lax.stop_gradient(score).reshape(-1, size)
    index = target.reshape(-1, columns)
    asked = distinct(index, None if counted is None else counted.reshape(index.shape))
    asked = asked & (index >= 0) & (index < size)
    place = jnp.clip(index, 0, size - 1)
    mine = jnp.take_along_axis(flat, place, axis=1)
    competing = flat
    if where is not None:
        # A NaN is neither larger than a number nor the same: what does not compete is made one.
        row, there = jnp.arange(len(flat))[:, None], jnp.where(asked, place, size)
        competing = jnp.where(where.reshape(flat.shape), flat, jnp.nan).at[row, there].set(mine, mode="drop")
    return rank_of(ahead(competing, mine, asked), mine, asked).reshape(target.shape)


def rank_of(
    count: Int[Array, " B T"], own: Float[Array, " B T"], asked: Bool[Array, " B T"]
) -> Float[Array, " B T"]:
    """The rank of what `ahead` counted, among others itself, with which it ties; inf of a NaN.

    >>> rank_of(jnp.array([[4, 1]]), jnp.array([[0.5, jnp.nan]]), jnp.ones((1, 2), bool)).tolist()
    [[2.5, inf]]
    """
    return jnp.where(asked & ~jnp.isnan(own), (1 + count) / 2, jnp.inf)


def ahead(
    score: Float[Array, " B N"], own: Float[Array, " B T"], asked: Bool[Array, " B T"]
) -> Int[Array, " B T"]:
    """How many scores are better than each of one's own, and how many are no worse, added up; 0 if not asked.

    A NaN is neither, and nothing is counted of a NaN.

    >>> ahead(jnp.array([[0.1, 0.9, 0.5, 0.5]]), jnp.array([[0.5, 0.1]]), jnp.array([[True, False]])).tolist()
    [[4, 0]]
    """
    pairs = own.size
    if not score.size or not pairs:
        return jnp.zeros(own.shape, jnp.int32)
    pair, mine = jnp.nonzero(asked.ravel(), size=pairs, fill_value=pairs)[0], own.ravel()
    count = pick(cpu=_one_by_one, accelerator=_chunk_by_chunk)
    return count(score, mine, pair, asked.sum()).reshape(own.shape)


def _one_by_one(score: Array, mine: Array, pair: Array, number: Array) -> Array:
    """A row of scores is read where it is, and stays in a core's cache for all pairs of its user."""
    columns = len(mine) // len(score)

    def count(n: Array, counts: Array) -> Array:
        others = jax.lax.dynamic_index_in_dim(score, pair[n] // columns, keepdims=False)
        return counts.at[pair[n]].set(_better_twice(others, mine[pair[n]]))

    return jax.lax.fori_loop(0, number, count, jnp.zeros(len(mine), jnp.int32))


def _chunk_by_chunk(score: Array, mine: Array, pair: Array, number: Array) -> Array:
    """As many pairs at a time as make a kernel worth its launch."""
    columns, pairs = len(mine) // len(score), len(mine)
    chunk = min(max(2**24 // score.shape[1], 8), pairs)
    pair = jnp.pad(pair, (0, -pairs % chunk), constant_values=pairs)

    def count(n: Array, counts: Array) -> Array:
        at = jax.lax.dynamic_slice_in_dim(pair, n * chunk, chunk)
        known = jnp.minimum(at, pairs - 1)
        counted = _better_twice(score[known // columns], mine[known][:, None])
        return counts.at[at].set(counted, mode="drop")

    return jax.lax.fori_loop(0, -(-number // chunk), count, jnp.zeros(pairs, jnp.int32))


def _better_twice(others: Array, one: Array) -> Array:
    return ((others > one).astype(jnp.int32) + (others >= one).astype(jnp.int32)).sum(axis=-1)


def distinct(target: Int[Array, " *B T"], where: Bool[Array, " *B T"] | None = None) -> Bool[Array, " *B T"]:
    """True where an id stands in its row for the first time, of those that the mask leaves in.

    >>> target = jnp.array([[7, 4, 7, 0, 0]])
    >>> distinct(target, target > 0).tolist()
    [[True, True, False, False, False]]
    """
    same_shape(target=target, where=where)
    counted = jnp.ones(target.shape, bool) if where is None else where
    if target.shape[-1] < 2:
        return counted
    place = along(jax.lax.broadcasted_iota(jnp.int32, target.shape, target.ndim - 1), target)
    # Within an id, those that count come first; then the order of the columns.
    ids, masked, place = jax.lax.sort((target, ~counted, place), num_keys=3)
    new = jnp.concatenate([jnp.ones_like(masked[..., :1]), ids[..., 1:] != ids[..., :-1]], axis=-1)
    return jax.lax.sort((place, new & ~masked), num_keys=1)[1]


def ascending_ranks(value: Float[Array, " C"]) -> Float[Array, " C"]:
    """Place from the smallest, 1 first, ties in the middle of their places; NaN last, as a tie."""
    ordered = jnp.sort(value)
    low = jnp.searchsorted(ordered, value, side="left", method="sort")
    high = jnp.searchsorted(ordered, value, side="right", method="sort")
    return (low + high + 1) / 2
