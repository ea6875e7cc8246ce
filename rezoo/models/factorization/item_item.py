"""What the linear item-item models share: every item of the history votes for every item."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import int32_of
from rezoo.devices.backend import free_memory
from rezoo.nn.bag import multi_hot, scores_of
from rezoo.nn.model import Model
from rezoo.types import Query

GIB = 2**30
MATRICES = 3
"""How many N × N matrices of float32 a fit by JAX holds at once: the Gramian, its factor, the weights."""
BLOCK = 512
"""Users, or rows of a matrix, at a time."""


class ItemItem(Model):
    """Score = Σ_{j in the history} W[item, j].

    W is dense, N × N; a history with an event twice counts it once. A user is known by their
    history alone, so new users need no training; without a history every score is 0.
    """

    num_items: int

    def setup(self) -> None:
        self.weight = jnp.asarray(
            self.param("weight", nn.initializers.zeros, (self.num_items, self.num_items), jnp.float32)
        )

    def encode(self, query: Query) -> Float[Array, " B N"]:
        return multi_hot(query.history, self.num_items)

    def table(self) -> Float[Array, " N N"]:
        return self.weight

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        score = jnp.einsum("bd,nd->bn", self.encode(query), self.weight)
        return scores_of(score, item)


def events(history: Any, num_items: int) -> np.ndarray:
    """The history as an array `[U L]` of int32.

    Raises:
      ValueError: if there is no event in it, or an item beyond the catalogue.
      DataError: if its ids are no whole numbers within int32.
    """
    history = np.asarray(int32_of("history", history))
    if history.ndim != 2 or not (history > 0).any():
        raise ValueError(f"history must be [users, events] with at least one event; it is {history.shape}")
    if history.max() >= num_items:
        raise ValueError(f"history has item {history.max()}, but num_items is {num_items}")
    return history


def check(history: Any, num_items: int, memory: float | None, matrices: int = MATRICES) -> np.ndarray:
    """The history as an array, once it is known that a fit to it can be done.

    Raises:
      ValueError: if `events` refuses it, or if so many matrices of items × items take more than
        `memory` GiB, or than what is free if it is None.
    """
    history = events(history, num_items)
    needed = matrices * 4 * num_items**2 / GIB
    there = free_memory() / GIB if memory is None else memory
    if needed > there:
        most = int((there * GIB / 4 / matrices) ** 0.5)
        limit = f"the {there:,.1f} GiB that are free" if memory is None else f"memory={memory:g} GiB"
        raise ValueError(
            f"{num_items:,} items need {needed:,.1f} GiB for {matrices} matrices of that square, more than "
            f"{limit}, which is enough for {most:,} items: keep the most frequent (k-core), "
            "or take a model of sparse lists (LocalEASE, RP3beta), or of a vector per item (IALS, MF)"
        )
    return history


def num_taken(history: np.ndarray) -> np.ndarray:
    """Each user's number of items, of a history `[U L]`.

    >>> num_taken(np.array([[2, 2, 3], [0, 1, 0]])).tolist()
    [2, 1]
    """
    ordered = np.sort(np.pad(history, ((0, 0), (1, 0))), axis=1)
    return ((np.diff(ordered, axis=1) > 0) & (ordered[:, 1:] > 0)).sum(axis=1)


@jax.jit(static_argnums=1)
def gram(
    history: Int[Array, " U L"], num_items: int, user_weight: Float[Array, " U"]
) -> Float[Array, " N N"]:
    """Σ_u w_u² x_u x_uᵀ of the binary interactions X `[U N]`, whose rows are given as `history`.

    Users are taken `BLOCK` at a time, so X is never whole.
    """
    rows = -len(history) % BLOCK
    blocks = (
        jnp.pad(history, ((0, rows), (0, 0))).reshape(-1, BLOCK, history.shape[1]),
        jnp.pad(user_weight, (0, rows)).reshape(-1, BLOCK),
    )

    def add(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        x = multi_hot(part[0], num_items) * part[1][:, None]
        return total + x.T @ x, None

    return jax.lax.scan(add, jnp.zeros((num_items, num_items)), blocks)[0]


def by_rows(rows_of: Callable[[Int[Array, " R"]], Float[Array, " R N"]], n: int) -> Float[Array, " n N"]:
    """A square matrix made `BLOCK` rows at a time, so that what a row takes is never there n times."""
    size = min(BLOCK, n)

    def add(i: Array, out: Array) -> Array:
        start = jnp.minimum(i * size, n - size)  # the last block overlaps the one before
        return jax.lax.dynamic_update_slice(out, rows_of(start + jnp.arange(size)), (start, 0))

    return jax.lax.fori_loop(0, -(-n // size), add, jnp.zeros((n, n)))


def variables(weight: Float[Array, " N N"]) -> dict[str, Any]:
    """The variables of an `ItemItem`.

    Raises:
      ValueError: if a weight is not finite.
    """
    if not bool(jnp.isfinite(weight).all()):
        raise ValueError("the item weights are not finite: regularise more (a larger l2 or shrink)")
    return {"params": {"weight": weight}}
