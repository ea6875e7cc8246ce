"""iALS: matrix factorization of implicit feedback, all unobserved pairs included, in closed form.

Hu, Koren, Volinsky 2008, https://doi.org/10.1109/ICDM.2008.22, as Rendle, Krichene, Zhang, Koren
2021 showed it to work, https://arxiv.org/abs/2110.14037, equations 1-5:

    min Σ_{(u,i) ∈ S} (⟨p_u, q_i⟩ - 1)² + α Σ_{u,i} ⟨p_u, q_i⟩² + Σ_u λ_u |p_u|² + Σ_i λ_i |q_i|²
    λ_u = λ (|I_u| + α N)^ν,   λ_i = λ (|U_i| + α M)^ν

For fixed q, every p_u solves a linear system of its own; the sum over all pairs is one Gramian
QᵀQ for all of them, so no users × items matrix is ever made.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import ranges
from rezoo.devices.backend import pick
from rezoo.models.factorization.least_squares import CG3, Solver, Systems, cholesky, full_precision
from rezoo.nn.embedding import Embed, or_unknown
from rezoo.nn.inner import inner
from rezoo.types import Query, Variables

CHUNK = 32
"""A row's interactions come in pieces of so many, the last one filled up."""
NUMBERS = 2**19, 2**24
"""Numbers (interactions × width) gathered at once: 2 MiB, which stay in the cache; 64 on an accelerator."""


class IALS(nn.Module):
    """Score = ⟨p_u, q_i⟩. Who has no interactions has the vector 0, and so has a user beyond the table.

    `with_users` makes vectors for users known by their history alone.
    """

    num_users: int
    num_items: int
    dim: int = 64

    def setup(self) -> None:
        self.user = Embed(self.num_users, self.dim)
        self.item = Embed(self.num_items, self.dim)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.user(query.user), self.item(item))

    def encode(self, query: Query) -> Float[Array, " B D"]:
        return self.user(query.user)

    def table(self) -> Float[Array, " N D"]:
        return self.item.table()

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return self.item(item)


class Weights(NamedTuple):
    """The objective's constants."""

    unobserved: float | Array = 0.1
    """α, the weight of a pair that was not observed; .1 to 1 in the paper."""
    l2: float | Array = 0.003
    """λ; .001 to .01 in the paper. It must be less than `largest_l2`, which falls as the catalogue grows: a
    tenth of that, and less, is where to look."""
    exponent: float | Array = 1.0
    """ν: 0 is one λ for all rows, 1 is λ in proportion to how much a row is used."""


def fit(
    key: jax.Array,
    user: Int[Array | np.ndarray, " n"],
    item: Int[Array | np.ndarray, " n"],
    num_users: int,
    num_items: int,
    dim: int = 64,
    *,
    weights: Weights | None = None,
    num_epochs: int = 16,
    stddev: float = 0.1,
    solve: Solver = CG3,
) -> dict[str, Any]:
    """The variables of `IALS(num_users, num_items, dim)`, from parallel columns of interactions.

    Pairs that come twice count once, pairs with id 0 not at all. An epoch solves for all users, then
    for all items; its cost grows linearly with the interactions.

    Args:
      key: of the start, q ~ normal(0, stddev² / dim).
      user: dense ids.
      item: dense ids.
      num_users: rows of the table, 0 included.
      num_items: rows of the table, 0 included.
      dim: width of the vectors.
      weights: α, λ, ν.
      num_epochs: alternations.
      stddev: of the start.
      solve: `cholesky`, or what `conjugate_gradient` gives.

    Raises:
      ValueError: if there is no interaction, an id is beyond its table, or a weight out of range: λ, too,
        if it is so large that all vectors would become 0.
    """
    weights = weights or Weights()
    if not (weights.l2 > 0 and weights.unobserved >= 0):
        raise ValueError(f"l2 must be > 0 and unobserved ≥ 0, but they are {weights}")
    pair = np.stack([np.asarray(user), np.asarray(item)], axis=1).astype(np.int64)
    pair = pair[(pair > 0).all(axis=1)]
    if not len(pair):
        raise ValueError("there is no interaction with a user and an item above 0")
    for name, column, rows in (("user", pair[:, 0], num_users), ("item", pair[:, 1], num_items)):
        if column.max() >= rows:
            raise ValueError(f"{name} {column.max()} is beyond the table of {rows} rows")
    code = np.unique(pair[:, 0] * num_items + pair[:, 1])
    user, item = code // num_items, code % num_items
    most = largest_l2(user, item, num_users, num_items, weights=weights)
    if weights.l2 >= most:
        raise ValueError(
            f"l2={float(weights.l2):g} is so large that all vectors, and so all scores, become 0: on this "
            f"log it must be less than {most:.3g}; try {most / 10:.1g} and less"
        )
    p = jnp.zeros((num_users, dim))
    q = (jax.random.normal(key, (num_items, dim)) * stddev / dim**0.5).at[0].set(0.0)
    at_once = pick(cpu=NUMBERS[0], accelerator=NUMBERS[1]) // (CHUNK * dim)
    of_users, of_items = _blocks(user, item, at_once), _blocks(item, user, at_once)
    for _ in range(num_epochs):
        p = _half(q, p, of_users, weights, solve)
        q = _half(p, q, of_items, weights, solve)
    return {"params": {"user": {"embedding": p}, "item": {"embedding": q}}}


def largest_l2(
    user: np.ndarray, item: np.ndarray, num_users: int, num_items: int, *, weights: Weights | None = None
) -> float:
    """The λ from which on the objective's minimum is 0: all vectors vanish.

    Around 0 the objective is Σ λ_u |p_u|² + Σ λ_i |q_i|² - 2 Σ_{(u,i) ∈ S} ⟨p_u, q_i⟩ up to what does not
    count, which is positive where λ is larger than the largest singular value of the matrix with
    1 / √((|I_u| + αN)^ν (|U_i| + αM)^ν) at each interaction. Found to a thousandth, by power iteration.

    Args:
      user: dense ids from 1 of distinct pairs.
      item: likewise.
      num_users: M + 1.
      num_items: N + 1.
      weights: α and ν.

    >>> round(largest_l2(np.array([1, 2]), np.array([1, 2]), 3, 3, weights=Weights(unobserved=0.5)), 3)
    0.5
    """
    weights = weights or Weights()
    sides = ((user, num_users, num_items), (item, num_items, num_users))
    size = [
        (np.bincount(ids, minlength=own) + float(weights.unobserved) * (other - 1)) ** float(weights.exponent)
        for ids, own, other in sides
    ]
    value = 1 / np.sqrt(size[0][user] * size[1][item])
    vector, largest = np.ones(num_items), 0.0
    for _ in range(100):
        left = np.bincount(user, value * vector[item], num_users)
        left /= np.linalg.norm(left)
        vector = np.bincount(item, value * left[user], num_items)
        before, largest = largest, float(np.linalg.norm(vector))
        if largest - before < 3e-4 * largest:
            break
    return largest


@full_precision
def with_users(
    variables: Variables, history: Int[Array, " B L"], *, weights: Weights | None = None
) -> dict[str, Any]:
    """Variables whose user table holds the given users, row b + 1 for `history[b]`; row 0 is nobody.

    Users known by their history alone (distinct items, 0 = padding) are solved for exactly.
    """
    q = variables["params"]["item"]["embedding"].at[0].set(0.0)
    weights = weights or Weights()
    row = jnp.arange(len(history))
    others = or_unknown(history, len(q))
    systems = Systems(q[others], row, weights.unobserved * q.T @ q, _penalty((others > 0).sum(1), q, weights))
    p = jnp.pad(cholesky(systems, jnp.zeros((len(row), q.shape[1]))), ((1, 0), (0, 0)))
    return {"params": {**variables["params"], "user": {"embedding": p}}}


def solved(
    fixed: Float[Array, " N D"],
    table: Float[Array, " M D"],
    row: Int[np.ndarray, " n"],
    other: Int[np.ndarray, " n"],
    wanted: Int[np.ndarray, " w"],
    *,
    weights: Weights | None = None,
) -> Float[Array, " M D"]:
    """One side's table with some rows solved for exactly, while the other side's vectors are fixed.

    Args:
      fixed: the vectors of the other side; that of 0 is 0.
      table: the vectors of this side.
      row: dense ids of this side, of distinct pairs, all above 0.
      other: dense ids of the other side.
      wanted: rows of the table; those without a pair stay as they are.
      weights: α, λ, ν.
    """
    kept = np.isin(row, wanted)
    if not kept.any():
        return table
    at_once = pick(cpu=NUMBERS[0], accelerator=NUMBERS[1]) // (CHUNK * fixed.shape[1])
    blocks = _blocks(row[kept], other[kept], at_once)
    rows = np.unique(row[kept])
    return table.at[rows].set(_half(fixed, table, blocks, weights or Weights(), cholesky)[rows])


class _Blocks(NamedTuple):
    """What is solved at once: all pieces of some rows."""

    others: Int[Array, " K P L"]
    """What the rows interacted with, 0 = padding."""
    row: Int[Array, " K P"]
    """Whose piece it is, as a place in `ids`."""
    ids: Int[Array, " K P"]
    """The rows of the block, 0 = none."""


def _blocks(row: np.ndarray, other: np.ndarray, at_once: int) -> _Blocks:
    """The interactions in blocks of `at_once` pieces, or of as many as the longest row needs."""
    ids, counts = np.unique(row, return_counts=True)
    pieces = -(-counts // CHUNK)
    at_once = max(at_once, pieces.max())
    end = np.cumsum(pieces)
    first = [0]  # row of each block
    while first[-1] < len(ids):
        before = end[first[-1]] - pieces[first[-1]]
        first.append(int(np.searchsorted(end, before + at_once, side="right")))
    sizes = np.diff(first)
    block = np.repeat(np.arange(len(sizes)), sizes)
    start = (end - pieces) - (end - pieces)[np.asarray(first[:-1])][block]  # first piece, in its block
    others = np.zeros((len(sizes), at_once * CHUNK), np.int32)
    row_of = np.full((len(sizes), at_once), at_once - 1, np.int32)
    id_of = np.zeros((len(sizes), at_once), np.int32)
    place = ranges(np.zeros_like(sizes), sizes)
    id_of[block, place] = ids
    row_of[np.repeat(block, pieces), ranges(start, pieces)] = np.repeat(place, pieces)
    order = np.argsort(row, kind="stable")
    others[np.repeat(block, counts), ranges(start * CHUNK, counts)] = other[order]
    others = others.reshape(len(sizes), at_once, CHUNK)
    return _Blocks(jnp.asarray(others), jnp.asarray(row_of), jnp.asarray(id_of))


@partial(jax.jit, static_argnums=4)
@full_precision
def _half(fixed: Array, start: Array, blocks: _Blocks, weights: Weights, solve: Solver) -> Array:
    """The vectors of all rows while the other side's are fixed; `fixed[0]` = 0."""
    every = weights.unobserved * fixed.T @ fixed

    def solved(block: _Blocks) -> Array:
        count = jax.ops.segment_sum((block.others > 0).sum(1), block.row, len(block.ids))
        systems = Systems(fixed[block.others], block.row, every, _penalty(count, fixed, weights))
        return solve(systems, start[block.ids])

    vectors = jax.lax.map(solved, blocks).reshape(-1, fixed.shape[1])
    return jnp.zeros_like(start).at[blocks.ids.ravel()].set(vectors).at[0].set(0.0)


def _penalty(count: Int[Array, " R"], fixed: Array, weights: Weights) -> Float[Array, " R"]:
    """λ (interactions + α (rows of the other side))^ν."""
    return weights.l2 * (count + weights.unobserved * (len(fixed) - 1)) ** weights.exponent
