"""Who may look at whom in a row of events, and the state after the last of them.

A row holds one session padded at its end, or several laid end to end by `data.packing`. Those carry
the column `segment` `[B L]` in `query.features`: 1, 2 … for the sessions of a row, 0 for padding.
A model that reads its sessions by these functions can be trained on either.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from rezoo.arrays import across
from rezoo.types import Query

SEGMENT = "segment"
"""The column of packed rows, a name that no other column may have."""


def segments(query: Query) -> Int[Array, " B L"]:
    """Which session of its row each event belongs to; 0 = padding.

    Raises:
      ValueError: if a column is named `segment` that does not say this, such as one of users.
    """
    found = query.features.get(SEGMENT)
    if found is None:
        return (query.history > 0).astype(jnp.int32)
    if found.shape != query.history.shape or not jnp.issubdtype(found.dtype, jnp.integer):
        raise ValueError(
            f"the column 'segment', {found.dtype} {list(found.shape)}, is to say which session of a packed "
            f"row each event is of, in whole numbers {list(query.history.shape)}: give yours another name"
        )
    return found


def not_reserved(columns: Iterable[str]) -> None:
    """Check that a model reads no column of the name that packed rows have.

    Raises:
      ValueError: if it does.
    """
    if SEGMENT in columns:
        raise ValueError("the column 'segment' is that of packed rows: give yours another name")


def first_events(segment: Int[Array, " B L"]) -> Bool[Array, " B L"]:
    """Whether a session begins here.

    >>> first_events(jnp.array([[1, 1, 2, 0]])).tolist()
    [[True, False, True, True]]
    """
    return jnp.pad(segment, ((0, 0), (1, 0)), constant_values=-1)[:, :-1] != segment


def positions(segment: Int[Array, " B L"]) -> Int[Array, " B L"]:
    """Events before this one in its session.

    >>> positions(jnp.array([[1, 1, 2, 2]])).tolist()
    [[0, 1, 0, 1]]
    """
    place = jnp.broadcast_to(jnp.arange(segment.shape[1])[None], segment.shape)
    return place - jax.lax.cummax(jnp.where(first_events(segment), place, 0), axis=1)


def past(segment: Int[Array, " B L"]) -> Bool[Array, " B L L"]:
    """Whether event t may look at event j: `[b, t, j]`, j ≤ t in the same session."""
    earlier = jnp.tri(segment.shape[1], dtype=bool)[None]
    return (segment[:, :, None] == segment[:, None, :]) & (segment > 0)[:, None, :] & earlier


def back(x: Float[Array, " B L D"], segment: Int[Array, " B L"], steps: int) -> Float[Array, " B L D"]:
    """What stood `steps` events earlier in the same session; zeros before its beginning."""
    if steps == 0:
        return x
    length = x.shape[1]
    earlier = jnp.pad(x, ((0, 0), (steps, 0), (0, 0)))[:, :length]
    same = jnp.pad(segment, ((0, 0), (steps, 0)))[:, :length] == segment
    return jnp.where(same[..., None], earlier, 0.0)


def last_session(query: Query) -> Bool[Array, " B L"]:
    """Which events are of the last session of their row, the only one where rows are not packed.

    >>> from rezoo.data.batches import queries
    >>> query = queries(history=[[5, 6, 7, 0]], features={"segment": [[1, 2, 2, 0]]})
    >>> last_session(query).tolist()
    [[False, True, True, False]]
    """
    segment = segments(query)
    return (segment > 0) & (segment == segment.max(axis=1, keepdims=True, initial=0))


def last_index(history: Int[Array, " B L"]) -> Int[Array, " B 1"]:
    """Where the last real event of each row stands; 0 for an empty row."""
    return jnp.maximum((history > 0).sum(axis=1, keepdims=True) - 1, 0)


def newest(
    history: Int[Array, " B L"],
    size: int,
    of: Shaped[Array, " B L ..."] | None = None,
    start: Int[Array, " B 1"] | int = 0,
) -> Shaped[Array, " B W ..."]:
    """The last `size` real events of each row, padded at the end; or what a column `of` events says of them.

    None from before `start`, where the last session of a packed row begins.

    >>> newest(jnp.array([[1, 2, 3, 0], [4, 0, 0, 0]]), 2).tolist()
    [[2, 3], [4, 0]]
    """
    column = history if of is None else of
    count = (history > 0).sum(axis=1, keepdims=True)
    place = jnp.maximum(count - size, start) + jnp.arange(size)[None]
    padded = jnp.pad(column, ((0, 0), (0, 1), *((0, 0),) * (column.ndim - 2)))
    events = jnp.take_along_axis(padded, across(place, column), axis=1)
    return jnp.where(across(place < count, column), events, jnp.zeros((), column.dtype))


def mean_of(vectors: Float[Array, " B L D"], history: Int[Array, " B L"]) -> Float[Array, " B D"]:
    """The mean of the vectors of what is not padding, 0 if all is."""
    real = (history > 0).astype(jnp.float32)
    share = real / jnp.maximum(real.sum(axis=1, keepdims=True), 1)
    return jnp.einsum("bl,bld->bd", share.astype(vectors.dtype), vectors)


def means(vectors: Float[Array, " B L D"], segment: Int[Array, " B L"]) -> Float[Array, " B L D"]:
    """The mean of each event's vector and of those before it in its session.

    >>> means(jnp.array([[[1.0], [3.0], [5.0], [7.0]]]), jnp.array([[1, 1, 2, 2]]))[..., 0].tolist()
    [[1.0, 2.0, 5.0, 6.0]]
    """
    place = positions(segment)
    total = jnp.cumsum(jnp.where((segment > 0)[..., None], vectors, 0.0), axis=1)
    total = jnp.pad(total, ((0, 0), (1, 0), (0, 0)))
    start = jnp.arange(segment.shape[1])[None] - place
    before = jnp.take_along_axis(total, start[..., None], axis=1)
    return (total[:, 1:] - before) / (place + 1)[..., None]


def at_last(
    x: Float[Array, " B L D"], history: Int[Array, " B L"], empty: Float[Array, " B D"] | None = None
) -> Float[Array, " B 1 D"]:
    """`x` at the last real event; for an empty history `empty`, or zeros."""
    nothing = jnp.zeros_like(x, shape=(x.shape[0], 1, x.shape[2])) if empty is None else empty[:, None]
    if history.shape[1] == 0:
        return nothing
    last = jnp.take_along_axis(x, last_index(history)[..., None], axis=1)
    return jnp.where((history[:, :1] > 0)[..., None], last, nothing)
