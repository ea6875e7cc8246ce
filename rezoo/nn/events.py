"""Columns of events beside their items: whether one was a view or a purchase, its price, its time.

Every session model takes its `event_features` by this module, which adds the vectors of an event's known
columns to the vector of its item, where the model reads its history. What is unknown adds nothing, so an
event without known columns is read by its item alone, as if the model had no such features.

A column has a value for each event of `query.history`, `[B L]`, and is shifted, packed and padded as the
history is: the columns of the event that is to be told are in no input, as its item is in none. Query,
history and columns are cut to some events by `newest` and `hidden`, and open sessions (`serving.live`) keep
those that `names` gives.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float, Int, Num

from rezoo.arrays import across
from rezoo.nn import sequence
from rezoo.nn.embedding import Embed
from rezoo.nn.features import checked_column, known_fields
from rezoo.types import Query

BUCKETS = 128
"""The last bucket of gaps."""


def buckets(gap: Num[Array, " *S"]) -> Int[Array, " *S"]:
    """The bucket of each gap, b(Δ) = ⌊ln max(|Δ|, 1) / 0.301⌋, at most 128; 0 for a gap that is NaN.

    They are those of HSTU's code (Zhai 2024, https://github.com/facebookresearch/generative-recommenders): a
    bucket ends where its gaps are a third longer than at its beginning.

    >>> buckets(jnp.array([0.0, 1.0, -60.0, 86400.0, jnp.nan])).tolist()
    [0, 0, 13, 37, 0]
    """
    size = jnp.abs(gap.astype(jnp.float32))
    steps = jnp.log(jnp.where(size > 1, size, 1.0)) / 0.301
    return jnp.minimum(steps, BUCKETS).astype(jnp.int32)


class TimeGap(nn.Module):
    """A vector for how long ago the event before it was, of a column of times: one for each of `buckets`.

    That intervals tell more than the order alone is shown by Li 2020, TiSASRec,
    https://doi.org/10.1145/3336191.3371786, whose model has a vector for the interval of every two events,
    in units of the user's shortest one; here it is that of two neighbours, on a scale that all users share.

    Times are seconds: integers, or floats that count from nearby, as a float32 of seconds since 1970 is up to
    a minute off. A time of 0, or NaN, is unknown. The first event of a session has no gap, nor has one whose
    time, or that of the event before it, is unknown. Where time goes back, a gap counts as if it went
    forward.
    """

    dim: int

    @nn.compact
    def __call__(self, time: Num[Array, " B L"], segment: Int[Array, " B L"]) -> Float[Array, " B L D"]:
        """The vectors of the gaps, of sessions by `sequence.segments`; zeros where there is none."""
        told = known(time)
        before, was_told = (jnp.pad(x, ((0, 0), (1, 0)))[:, :-1] for x in (time, told))
        real = told & was_told & ~sequence.first_events(segment)
        vectors = Embed(BUCKETS + 2, self.dim, name="gap")(
            jnp.where(real, 1 + buckets(distance(time, before)), 0)
        )
        return jnp.where(real[..., None], vectors, 0.0)


EventFeature = int | Annotated[Callable[..., nn.Module], TimeGap] | None
"""Rows of a categorical column's table (0 = unknown); None for a number; `TimeGap` for times."""
NO_EVENT_FEATURES: Mapping[str, EventFeature] = FrozenDict()


class EventFeatures(nn.Module):
    """x + the vectors of each event's known columns: `{"type": 4, "price": None, "time": TimeGap}`.

    A categorical column is integers `[B L]`, or `[B L M]` with several values; a number is floats; what
    counts as unknown is said in `nn.features.known_fields`. Without features x is given back, and there are
    no parameters.

    >>> from rezoo.data.batches import queries
    >>> query = queries(history=[[5, 6, 0]], features={"type": [[1, 0, 0]]})
    >>> module = EventFeatures({"type": 3}, dim=1)
    >>> ones = {"params": {"feature": {"type": {"embedding": jnp.ones((3, 1))}}}}
    >>> module.apply(ones, jnp.zeros((1, 3, 1)), query).ravel().tolist()  # the second one's type is unknown
    [1.0, 0.0, 0.0]
    """

    features: Mapping[str, EventFeature]
    """Other columns of the query are ignored."""
    dim: int

    @nn.compact
    def __call__(self, x: Float[Array, " B M D"], query: Query | None) -> Float[Array, " B M D"]:
        """`x` has the vectors of the last M places of the history, which may be all L.

        Raises:
          ValueError: if a feature has no column, one of the other type, or not a value for each event.
        """
        sequence.not_reserved(self.features)
        if not self.features:
            return x
        if query is None:
            raise ValueError(
                f"the model reads the columns {', '.join(self.features)} of each event: give a query of the "
                "event and the one before it (`recent`)"
            )
        segment = sequence.segments(query)
        times = {name: kind for name, kind in self.features.items() if callable(kind)}
        others = {name: kind for name, kind in self.features.items() if not callable(kind)}
        columns = {name: checked_column(query.features, name, rows) for name, rows in others.items()}
        columns |= {name: _times(query.features, name) for name in times}
        check(query, columns)
        vectors = [gap(self.dim, name=f"{name}_gap")(columns[name], segment) for name, gap in times.items()]
        if others:
            vectors.append(known_fields(others, {name: columns[name] for name in others}, self.dim, 2)[0])
        total = sum(vectors[1:], start=vectors[0])
        total = jnp.where((segment > 0)[..., None], total, 0.0)
        return x + total[:, total.shape[1] - x.shape[1] :]


def names(model: Any) -> tuple[str, ...]:
    """The columns of events that a model, or its encoder, reads.

    >>> from rezoo.models import HSTU, GRU4Rec
    >>> names(GRU4Rec(9, event_features={"type": 3})), names(HSTU(9, time="when")), names(GRU4Rec(9))
    (('type',), ('when',), ())
    """
    return tuple(kinds(model))


def kinds(model: Any) -> Mapping[str, EventFeature]:
    """What each of them is; the times that `HSTU` has in its attention are a `TimeGap`, too."""
    if isinstance(encoder := getattr(model, "encoder", None), partial):
        return kinds(encoder(parent=None))
    time = getattr(model, "time", None)
    return ({time: TimeGap} if time else {}) | dict(getattr(model, "event_features", {}))


def each(query: Query, columns: Iterable[str], function: Callable[[Array], Array]) -> Query:
    """The query with `function` of its history and of these columns of its events.

    >>> from rezoo.data.batches import queries
    >>> query = queries(history=[[5, 6, 7]], features={"type": [[1, 2, 1]], "age": [3]})
    >>> last = each(query, ["type"], lambda x: x[:, -1:])
    >>> last.history.tolist(), last.features["type"].tolist(), last.features["age"].tolist()
    ([[7]], [[1]], [3])
    """
    changed = {name: function(query.features[name]) for name in columns if name in query.features}
    return query._replace(history=function(query.history), features=query.features | changed)


def newest(query: Query, columns: Iterable[str], size: int) -> Query:
    """The query with the last `size` events of each row's last session, padded at the end."""
    start = ((query.history > 0) & ~sequence.last_session(query)).sum(axis=1, keepdims=True)
    return each(query, columns, partial(sequence.newest, query.history, size, start=start))


def hidden(query: Query, columns: Iterable[str], where: Bool[Array, " B L"]) -> Query:
    """The query without the columns of some events, which are 0; their items are as they were."""

    def without(x: Array) -> Array:
        return jnp.where(across(where, x), jnp.zeros((), x.dtype), x)

    return each(query, columns, without)._replace(history=query.history)


def check(query: Query, columns: Iterable[str]) -> None:
    """That these columns have a value for each event of the history.

    Raises:
      ValueError: if one has not.
    """
    for name in columns:
        shape = query.features[name].shape
        if shape[:2] != query.history.shape:
            raise ValueError(
                f"the column {name!r} has the shape {list(shape)}: give a value for each event of the "
                f"history, {list(query.history.shape)}"
            )


def _times(columns: Mapping[str, Array], name: str) -> Array:
    if name not in columns or columns[name].ndim != 2:
        found = f"its shape is {list(columns[name].shape)}" if name in columns else "there is no such column"
        raise ValueError(f"the column {name!r} must have the time of each event: {found}")
    return signed(columns[name])


def signed(time: Num[Array, " *S"]) -> Num[Array, " *S"]:
    """Times whose differences may be below 0: integers as int32."""
    return time if jnp.issubdtype(time.dtype, jnp.floating) else time.astype(jnp.int32)


def distance(then: Num[Array, "..."], before: Num[Array, "..."]) -> Num[Array, "..."]:
    """|then - before|; that of integers is unsigned, as it may be beyond int32.

    >>> distance(jnp.array([5, 1_700_000_000]), jnp.array([7, -1_500_000_000])).tolist()
    [2, 3200000000]
    """
    size = jnp.maximum(then, before) - jnp.minimum(then, before)
    return size if jnp.issubdtype(size.dtype, jnp.floating) else size.astype(jnp.uint32)


def known(time: Num[Array, " *S"]) -> Bool[Array, " *S"]:
    """Whether a time is not 0, and not NaN."""
    return (time != 0) & (time == time)
