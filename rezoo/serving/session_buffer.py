"""Open sessions as arrays: a ring of the newest events for each, read and written by slot.

A slot below 0 or beyond the last is padding: reading gives 0 there, and writing does nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rezoo.arrays import across, one_axis
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
    columns: dict[str, Array]
    """Those of the events, as `nn.events.names` gives them: `[S L ...]`, in the places of `ring`."""


def queries(sessions: Sessions, slot: Int[Array, " B"]) -> Query:
    """These sessions as a `Query`: their users, and their newest events, oldest first."""
    row = read(sessions, slot)
    length = row.ring.shape[1]
    step = jnp.arange(length)[None]
    kept = jnp.minimum(row.count, length)[:, None]
    place = (row.count[:, None] - kept + step) % length

    def in_order(x: Array) -> Array:
        events = jnp.take_along_axis(x, across(place, x), axis=1)
        return jnp.where(across(step < kept, x), events, jnp.zeros((), x.dtype))

    columns = {name: in_order(x) for name, x in row.columns.items()}
    return Query(row.user, in_order(row.ring), row.features | columns)


def columns_like(
    sessions: Sessions, item: Int[Array, " B"], columns: Mapping[str, Array]
) -> dict[str, Array]:
    """Of the columns of some events those that the sessions keep.

    Raises:
      ValueError: if one is not given, or of another type or shape.
    """
    if missing := sorted(set(sessions.columns) - set(columns)):
        raise ValueError(
            f"the sessions keep the columns {', '.join(missing)} of each event: give them beside the item, 0 "
            "where they are unknown"
        )
    for name, kept in sessions.columns.items():
        shape, dtype = (*item.shape, *kept.shape[2:]), columns[name].dtype
        whole = jnp.issubdtype(dtype, jnp.integer)
        if columns[name].shape != shape or whole != jnp.issubdtype(kept.dtype, jnp.integer):
            raise ValueError(
                f"the column {name!r} of the events is {dtype} {list(columns[name].shape)}: give it as the "
                f"sessions keep it, {kept.dtype} {list(shape)}"
            )
    return {name: columns[name].astype(kept.dtype) for name, kept in sessions.columns.items()}


def recent(row: Sessions, item: Int[Array, " B"], columns: Mapping[str, Array]) -> Query:
    """The last event (0 = none) and the next one, each with its columns, as a history `[B 2]`."""
    length = row.ring.shape[1]
    at = ((row.count - 1) % length)[:, None]

    def both(kept: Array, new: Array) -> Array:
        before = jnp.take_along_axis(kept, across(at, kept), axis=1)
        before = jnp.where(across(row.count > 0, kept), before, jnp.zeros((), kept.dtype))
        return jnp.concatenate([before, new[:, None]], axis=1)

    told = {name: both(row.columns[name], columns[name]) for name in row.columns}
    return Query(row.user, both(row.ring, item), row.features | told)


def read(sessions: Sessions, slot: Int[Array, " B"]) -> Sessions:
    """These sessions, in this order.

    Raises:
      ValueError: if the slots are not `[B]`.
    """
    one_axis(slot=slot)
    return jax.tree.map(lambda x: rows_or_zero(x, slot), sessions)


def written(old: Any, slot: Int[Array, " B"], new: Any) -> Any:
    """`old` with the rows of `new` at these slots."""
    return jax.tree.map(lambda x, row: x.at[slot].set(row, **PASS_OVER), old, new)
