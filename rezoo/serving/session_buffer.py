"""Open sessions as arrays: a ring of the newest events for each, read and written by slot.

A slot below 0 or beyond the last is padding: reading gives 0 there, and writing does nothing.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rezoo.nn.embedding import rows_or_zero
from rezoo.types import Query

PASS_OVER: dict[str, Any] = {"mode": "drop", "wrap_negative_indices": False}
"""How `.at[slot]` writes, so that padding is ignored."""


class Sessions(NamedTuple):
    """Every open session, S slots: arrays only, to be donated by their one owner."""

    user: Int[Array, " S"]
    features: dict[str, Array]
    """Features of the user, as in a `Query`; leading axis S."""
    ring: Int[Array, " S L"]
    """Event n of a session stands at n mod L."""
    count: Int[Array, " S"]
    """Events so far; those before the last L are forgotten, but for a model with `step`."""
    carry: Any
    """State of a model with `step`, leading axis S; None for all others."""


def queries(sessions: Sessions, slot: Int[Array, " B"]) -> Query:
    """These sessions as a `Query`: their users, and their newest events, oldest first."""
    row = read(sessions, slot)
    length = row.ring.shape[1]
    step = jnp.arange(length)[None]
    kept = jnp.minimum(row.count, length)[:, None]
    events = jnp.take_along_axis(row.ring, (row.count[:, None] - kept + step) % length, axis=1)
    return Query(row.user, jnp.where(step < kept, events, 0), row.features)


def read(sessions: Sessions, slot: Int[Array, " B"]) -> Sessions:
    """These sessions, in this order."""
    return jax.tree.map(lambda x: rows_or_zero(x, slot), sessions)


def written(old: Any, slot: Int[Array, " B"], new: Any) -> Any:
    """`old` with the rows of `new` at these slots."""
    return jax.tree.map(lambda x, row: x.at[slot].set(row, **PASS_OVER), old, new)
