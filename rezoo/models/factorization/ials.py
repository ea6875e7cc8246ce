"""iALS: matrix factorization of implicit feedback, all unobserved pairs included, in closed form.

Hu, Koren, Volinsky 2008, https://doi.org/10.1109/ICDM.2008.22, as Rendle, Krichene, Zhang, Koren
2021 showed it to work, https://arxiv.org/abs/2110.14037, equations 1-5:

    min Σ_{(u,i) ∈ S} (⟨p_u, q_i⟩ - 1)² + α Σ_{u,i} ⟨p_u, q_i⟩² + Σ_u λ_u |p_u|² + Σ_i λ_i |q_i|²
    λ_u = λ (|I_u| + α N)^ν,   λ_i = λ (|U_i| + α M)^ν

For fixed q, every p_u solves a linear system of its own; the sum over all pairs is one Gramian
QᵀQ for all of them, so no users × items matrix is ever made.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from rezoo.arrays import above_0, at_least_0, at_least_1, distinct_pairs, finite, ids_of, in_table, same_shape
from rezoo.devices import sharding
from rezoo.models.factorization import alternation
from rezoo.models.factorization.alternation import Weights
from rezoo.models.factorization.item_lists import once
from rezoo.models.factorization.least_squares import CG3, Solver, Systems, cholesky, full_precision
from rezoo.nn.embedding import Embed
from rezoo.nn.inner import inner
from rezoo.nn.model import Model
from rezoo.types import Query, Variables


class IALS(Model):
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
    mesh: Mesh | None = None,
    axis: str = sharding.AXIS,
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
      mesh: devices over which both tables are spread, as by `devices.sharding`: each solves for the rows that
        it holds, and is sent the vectors that these interacted with, as in ALX
        (Mehta et al. 2021, https://arxiv.org/abs/2112.02194).
      axis: of the mesh.

    Raises:
      ValueError: if there is no interaction, an id is not in its table, columns differ in length, the mesh
        has no such axis, or a weight is out of range: λ, too, if it is so large that all vectors would
        become 0.
    """
    weights = weights or Weights()
    _check(weights)
    at_least_1(dim=dim, num_epochs=num_epochs)
    above_0(stddev=stddev)  # as vectors of 0 stay 0
    user, item = map(np.asarray, ids_of(user=user, item=item))
    same_shape(user=user, item=item)
    in_table("user", user, num_users)
    in_table("item", item, num_items)
    known = (user > 0) & (item > 0)
    user, item = distinct_pairs(user[known], item[known])
    if not len(user):
        raise ValueError("there is no interaction with a user and an item above 0")
    for most in _up_to_largest_l2(user, item, num_users, num_items, weights):
        if weights.l2 < most:
            break
    else:
        raise ValueError(
            f"l2={float(weights.l2):g} is so large that all vectors, and so all scores, become 0: on this "
            f"log it must be less than {most:.3g}; try {most / 10:.1g} and less"
        )
    q = (jax.random.normal(key, (num_items, dim)) * stddev / dim**0.5).at[0].set(0.0)
    p, sides = jnp.zeros((num_users, dim)), ((user, item), (item, user))
    if mesh is None:
        blocks = [alternation.blocks_of(*side, alternation.pieces_of(side[0], dim)) for side in sides]
        of_users, of_items = jax.device_put([alternation.parts_of(side) for side in blocks])
        users, items = (alternation.half(parts, weights, solve) for parts in (of_users, of_items))
        for _ in range(num_epochs):
            p = users(q, p)
            q = items(p, q)
    else:
        p, q = alternation.spread((p, q), sides, weights, num_epochs, solve, mesh, axis)
    return {"params": {"user": {"embedding": p}, "item": {"embedding": q}}}


def _check(weights: Weights) -> None:
    """Raises a ValueError for weights under which the objective has no one minimum."""
    above_0(l2=weights.l2)
    at_least_0(unobserved=weights.unobserved)
    finite(exponent=weights.exponent)


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
    return max(_up_to_largest_l2(user, item, num_users, num_items, weights or Weights()))


def _up_to_largest_l2(
    user: np.ndarray, item: np.ndarray, num_users: int, num_items: int, weights: Weights
) -> Iterator[float]:
    """Rising numbers that `largest_l2` is at least: the steps of its power iteration."""
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
        yield largest
        if largest - before < 3e-4 * largest:
            break


@full_precision
def with_users(
    variables: Variables, history: Int[Array, " B L"], *, weights: Weights | None = None
) -> dict[str, Any]:
    """Variables whose user table holds the given users, row b + 1 for `history[b]`; row 0 is nobody.

    Users known by their history alone (0 = padding) are solved for exactly; an item that comes twice counts
    once.

    Raises:
      ValueError: if a weight is out of range.
    """
    q = variables["params"]["item"]["embedding"].at[0].set(0.0)
    weights = weights or Weights()
    _check(weights)
    row = jnp.arange(len(history))
    others = once(history, len(q))
    systems = Systems(
        q[others],
        row,
        weights.unobserved * q.T @ q,
        alternation.penalty((others > 0).sum(1), len(q), weights),
    )
    known = (others > 0).any(1, keepdims=True)  # without an item and a prior the system is 0, and so is p
    p = jnp.where(known, cholesky(systems, jnp.zeros((len(row), q.shape[1]))), 0.0)
    p = jnp.pad(p, ((1, 0), (0, 0)))
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
    row, other = row[kept], other[kept]
    blocks = alternation.blocks_of(row, other, alternation.pieces_of(row, fixed.shape[1]))
    rows, parts = np.unique(row), alternation.parts_of(blocks)
    return table.at[rows].set(alternation.half(parts, weights or Weights(), cholesky)(fixed, table)[rows])
