"""Features of the user of a session: age, gender, region, device.

Every session model takes its `user_features` by this module: a recurrent model starts from the vector,
an attentive one has it in a memory slot, a convolutional one adds it to its inputs. Unknown values add
nothing, so a user without known features is scored by the session alone, as if the model had no features.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float

from rezoo.nn import sequence
from rezoo.nn.features import checked_column, known_fields
from rezoo.types import Query

NO_FEATURES: Mapping[str, int | None] = FrozenDict()


class Profile(nn.Module):
    """The sum of the vectors of a user's features, and whether any of them is known.

    A feature is a column of `query.features`: `[B]`, or `[B M]` with several values; in packed rows,
    which hold several sessions, one value for each event, `[B L]` or `[B L M]`. What counts as unknown is
    said in `nn.features.known_fields`.
    """

    features: Mapping[str, int | None]
    """Rows of each categorical feature's table, None for a number; other columns are ignored."""
    dim: int

    @nn.compact
    def __call__(self, query: Query) -> tuple[Float[Array, " B S D"], Bool[Array, " B S"]]:
        """S is L for packed rows and 1 for all others.

        Raises:
          ValueError: if a feature has no column, or a column of the other type.
        """
        sequence.not_reserved(self.features)
        columns = {name: checked_column(query.features, name, rows) for name, rows in self.features.items()}
        return known_fields(self.features, by_place(columns, query), self.dim, 2)


def by_place(columns: Mapping[str, Array], query: Query) -> dict[str, Array]:
    """Columns of users as `[B S …]`: S is L in packed rows, where they are of events, else 1."""
    packed = sequence.SEGMENT in query.features
    return {name: column if packed else column[:, None] for name, column in columns.items()}


def with_slots(
    x: Float[Array, " B L D"],
    mask: Bool[Array, " B L L"],
    slots: Float[Array, " B S D"],
    known: Bool[Array, " B S"],
) -> tuple[Float[Array, " B L+S D"], Bool[Array, " B L L+S"]]:
    """Events with memory slots behind them, and what each event may look at.

    With one slot every event may look at it, with L of them event t at slot t; nobody at a slot of which
    nothing is known. `nn.masks.with_slots` says so without a matrix.
    """
    length, count = x.shape[1], slots.shape[1]
    seen = jnp.ones((length, count), bool) if count == 1 else jnp.eye(count, dtype=bool)
    seen = seen[None] & known[:, None, :]
    return jnp.concatenate([x, slots], axis=1), jnp.concatenate([mask, seen], axis=2)


def of_last(
    slots: Float[Array, " B S D"], known: Bool[Array, " B S"], query: Query
) -> tuple[Float[Array, " B 1 D"], Bool[Array, " B 1"]]:
    """The slot of the last session, where packed rows have one for each event."""
    if slots.shape[1] == 1:
        return slots, known
    place = sequence.last_index(query.history)
    return jnp.take_along_axis(slots, place[..., None], axis=1), jnp.take_along_axis(known, place, axis=1)


def alone(state: Float[Array, " B D"], known: Bool[Array, " B S"]) -> Float[Array, " B D"]:
    """The state of an empty session; zeros if nothing is known of its user."""
    return jnp.where(known[:, :1], state, 0.0)
