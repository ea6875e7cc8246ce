"""Open sessions, served click by click: pure functions of arrays.

    served = live.serve(model, variables)
    sessions = live.start(model, served, 100_000)          # one array for all of them
    slots = Slots(100_000, idle=1800)                      # of `serving.slots`: who has which

    observe = jax.jit(partial(live.observe, model), donate_argnums=1)
    recommend = jax.jit(partial(live.recommend, model), static_argnames="k")

    slot, new = slots.open("visitor 17")                    # if new: sessions = begin(…)
    sessions = observe(served, sessions, jnp.array([slot]), jnp.array([item]))
    ids, scores = recommend(served, sessions, jnp.array([slot]), k=10)

A model with `step` keeps its state, and a click costs the same however long the session is; of all
others the last `length` events are kept, from which they score. Either way the answer is that of
`evaluation.recommend` for the same events, those left out that the model does not know (the last
`length`, where it has no `step`), but for the rounding of sums. Donate the sessions, so that a click
rewrites its row in place; they then have one owner, for several threads `serving.slots.Owner`.

A model that reads columns of events (`nn.events`), such as their type and time, has them in the sessions, and
`observe` takes them beside each item.

A model with `attend` reads the last `length` events again at every click, in a time that grows with their
square. With `start(…, cached=True)` its sessions keep the keys and values of their events, and a click looks
at each once; a session then takes 8 · blocks · length · width bytes. When the cache is full, the newest half
of it is read again: the answer is that of at least the newest length / 2 events.

Slots of one call differ from each other; one below 0 or beyond the last is padding: nothing is
observed there, and the answer is that of an empty session of nobody.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from rezoo import evaluation
from rezoo.arrays import at_least_1, best_places, ids_of, same_rows, same_shape
from rezoo.devices.meshes import in_blocks
from rezoo.devices.sharding import AXIS
from rezoo.evaluation import checks, spread
from rezoo.nn import events
from rezoo.nn.attention import Cache
from rezoo.nn.embedding import has_row
from rezoo.nn.spread import items_of
from rezoo.serving.session_buffer import PASS_OVER, Sessions, columns_like, queries, read, recent, written
from rezoo.types import Query, Variables

PAIRS = 2**18
"""Of a query and an item, that are scored at once."""
ITEMS = 65536
"""Of a device, that are scored at once, where items are spread over several."""


RATING = "history_rating"
"""The column of a model that weighs each event by its rating."""


class Served(NamedTuple):
    """What a model is asked with, made once: arrays only."""

    variables: Variables
    table: Float[Array, " D N"] | Float[Array, " n R D"] | None
    """A retriever's item vectors, a column each: one query then reads them twice as fast. Of items that are
    spread over n devices a row each, on the device that has it."""


def serve(model: nn.Module, variables: Variables, *, mesh: Mesh | None = None, axis: str = AXIS) -> Served:
    """Prepare to ask a model; again when the catalogue grew, which open sessions survive.

    With `mesh`, whose devices hold its tables (`devices.sharding`), sessions are asked by their last events
    also of a model with `step`, and `recommend` takes the same mesh.

    Raises:
      ValueError: with `mesh`, as `evaluation.recommend`.

    >>> from rezoo.models import Popularity
    >>> served = serve(Popularity(3), {"params": {"count": jnp.array([0.0, 3, 1])}})
    >>> served.table.tolist()
    [[0.0, 3.0, 1.0]]
    """
    if mesh is not None:
        vectors = jax.jit(partial(spread.item_vectors, model, mesh=mesh, axis=axis))
        return Served(variables, vectors(variables))
    if not evaluation.is_retriever(model):
        return Served(variables, None)
    return Served(variables, evaluation.apply(model, variables, method="table").T)


def start(
    model: nn.Module,
    served: Served,
    slots: int,
    *,
    length: int = 50,
    like: Query | None = None,
    cached: bool = False,
) -> Sessions:
    """Sessions of which none has begun: empty, of an unknown user.

    Args:
      model: any `Scorer`.
      served: by `serve`.
      slots: sessions that can be open at once.
      length: newest events of each that are kept.
      like: a query of one row, whose columns give those of the sessions; needed for `user_features` and for
        columns of events (`nn.events.names`, `history_rating`), `[1 L ...]`.
      cached: whether keys and values are kept, of a model with `attend` and `fill`.

    Raises:
      ValueError: if there would be no slot or no event, a feature has no column in `like`, or the model has
        nothing to keep.

    >>> from rezoo.models import Popularity
    >>> model = Popularity(3)
    >>> sessions = start(model, serve(model, {"params": {"count": jnp.zeros(3)}}), slots=2, length=4)
    >>> sessions.ring.shape
    (2, 4)
    """
    if slots < 1 or length < 1:
        raise ValueError(f"slots = {slots} and length = {length} must be 1 or more")
    features = {} if like is None else like.features
    read = *getattr(model, "user_features", {}), *events.names(model)
    if missing := [name for name in read if name not in features]:
        raise ValueError(
            f"{type(model).__name__} reads the columns {', '.join(missing)}: give `like`, a query of one row "
            "with these columns"
        )
    zero = jnp.zeros(1, jnp.int32)
    columns, features = _apart(model, features)
    columns = {name: jnp.zeros((1, length, *x.shape[2:]), x.dtype) for name, x in columns.items()}
    features = jax.tree.map(lambda x: jnp.zeros_like(x[:1]), features)
    nobody = Query(zero, jnp.zeros((1, length), jnp.int32), features | columns)
    carry = None
    if cached and (not hasattr(model, "fill") or _is_spread(served)):
        raise ValueError(
            f"{type(model).__name__} has no `fill`, or its items are spread over devices: no cached=True"
        )
    if cached:
        carry = _empty(model, served, nobody, length)
    elif hasattr(model, "step") and not _is_spread(served):
        carry = evaluation.apply(model, served.variables, nobody, method="begin")
    row = Sessions(nobody.user, features, nobody.history, zero, carry, columns)
    return jax.tree.map(lambda x: jnp.repeat(x, slots, axis=0), row)


def begin(
    model: nn.Module, served: Served, sessions: Sessions, slot: Int[Array, " B"], query: Query
) -> Sessions:
    """New sessions at these slots, whatever was there: of the query's users, after its history.

    Raises:
      ValueError: if the query has other columns than the sessions, one not a value for each event, or not a
        row for each slot.

    >>> from rezoo.data import batches
    >>> from rezoo.models import Popularity
    >>> model = Popularity(3)
    >>> served = serve(model, {"params": {"count": jnp.zeros(3)}})
    >>> query = batches.queries([7], [[1, 2]])
    >>> sessions = begin(model, served, start(model, served, slots=2), jnp.array([1]), query)
    >>> sessions.user.tolist(), sessions.count.tolist()
    ([0, 7], [0, 2])
    """
    kept = {**sessions.features, **sessions.columns}
    if set(query.features) != set(kept):
        raise ValueError(
            f"the query has the columns {sorted(query.features)}, the sessions {sorted(kept)}: give both the "
            "same (`like` of `start`)"
        )
    same_rows(slot=slot, query=query)
    columns, features = _apart(model, query.features)
    events.check(query, columns)
    carry = None
    if isinstance(sessions.carry, Cache):
        carry = _empty(model, served, query, sessions.ring.shape[1])
    elif sessions.carry is not None:
        carry = evaluation.apply(model, served.variables, query, method="begin")
    ring, rows = jax.tree.map(
        lambda x: jnp.zeros((slot.shape[0], *x.shape[1:]), x.dtype), (sessions.ring, sessions.columns)
    )
    sessions = written(
        sessions, slot, Sessions(query.user, features, ring, jnp.zeros_like(slot), carry, rows)
    )

    def event(sessions: Sessions, at: tuple[Array, dict[str, Array]]) -> tuple[Sessions, None]:
        return observe(model, served, sessions, slot, *at), None

    in_order = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (query.history, columns))
    return jax.lax.scan(event, sessions, in_order)[0]


def observe(
    model: nn.Module,
    served: Served,
    sessions: Sessions,
    slot: Int[Array, " B"],
    item: Int[Array, " B"],
    columns: Mapping[str, Array] | None = None,
) -> Sessions:
    """The sessions after one more event in each of these slots.

    An item that the model does not know (0, below, or beyond the catalogue) is left out, as it is in
    the histories of training. `columns` are those of the events, `[B ...]`, which sessions keep whose model
    reads them, such as its type and its time; 0 where they are unknown. Others are ignored.

    Raises:
      ValueError: if the sessions keep a column that is not given, or of another type or shape, or there is
        not an item for each slot.

    >>> from rezoo.models import Popularity
    >>> model = Popularity(3)
    >>> served = serve(model, {"params": {"count": jnp.zeros(3)}})
    >>> sessions = observe(model, served, start(model, served, 2, length=3), jnp.array([1]), jnp.array([2]))
    >>> sessions.ring.tolist()
    [[0, 0, 0], [2, 0, 0]]
    """
    same_shape(slot=slot, item=item)
    known = has_row(item, num_items(model, served))
    slot = jnp.where(known, slot, -1)
    told = columns_like(sessions, item, columns or {})
    row = read(sessions, slot)
    place = row.count % sessions.ring.shape[1]
    carry = row.carry
    if carry is not None:
        method = "attend" if isinstance(carry, Cache) else "step"
        of_event = [recent(row, item, told)] if told else []
        carry = evaluation.apply(model, served.variables, carry, item, *of_event, method=method)
    ring, kept = jax.tree.map(
        lambda x, new: x.at[slot, place].set(new, **PASS_OVER),
        (sessions.ring, sessions.columns),
        (item, told),
    )
    sessions = sessions._replace(
        ring=ring,
        columns=kept,
        count=sessions.count.at[slot].add(1, **PASS_OVER),
        carry=written(sessions.carry, slot, carry),
    )
    if isinstance(carry, Cache):
        return _read_again(model, served, sessions, slot, carry.count > carry.room)
    return sessions


def _apart(model: nn.Module, features: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """The columns of events among those of a query, and the others."""
    names = [*events.names(model), *([RATING] if RATING in features else [])]
    columns = {name: features[name] for name in names}
    return columns, {name: column for name, column in features.items() if name not in names}


def _empty(model: nn.Module, served: Served, query: Query, length: int) -> Cache:
    """Of the query's users, before their first event."""
    nobodys = events.each(query, events.names(model), lambda x: x[:, :0])
    return evaluation.apply(model, served.variables, nobodys, method="fill").with_room(length)


def _read_again(
    model: nn.Module, served: Served, sessions: Sessions, slot: Int[Array, " B"], full: Bool[Array, " B"]
) -> Sessions:
    """The sessions with a cache of the newest half of their events in those slots where it is full."""
    length = sessions.ring.shape[1]
    order = jnp.argsort(~full)

    def one(number: Array, sessions: Sessions) -> Sessions:
        at = slot[order[number]][None]
        query = queries(sessions, at)
        query = events.newest(query, events.names(model), length - length // 2)
        cache = evaluation.apply(model, served.variables, query, method="fill").with_room(length)
        return sessions._replace(carry=written(sessions.carry, at, cache))

    return jax.lax.fori_loop(0, full.sum(), one, sessions)


def recommend(
    model: nn.Module,
    served: Served,
    sessions: Sessions,
    slot: Int[Array, " B"],
    k: int,
    exclude: Int[Array, " B E"] | None = None,
    *,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """The k best items for each of these sessions and their scores, best first.

    Where fewer than k items can be recommended, the list ends with id 0 and score -inf; an item whose
    score is NaN cannot. `exclude` is what must not be in it, 0 = padding;
    `queries(sessions, slot).history` for what was clicked. `mesh` and `axis` are those of `serve`.

    Raises:
      ValueError: if k is less than 1, only one of this and `serve` was given a mesh, or `exclude` is not
        `[B E]`.

    >>> from rezoo.models import SessionPopularity
    >>> model = SessionPopularity(4)  # what was clicked in this session
    >>> served = serve(model, {"params": {"count": jnp.zeros(4)}})
    >>> sessions = observe(model, served, start(model, served, 2), jnp.array([1]), jnp.array([3]))
    >>> ids, scores = recommend(model, served, sessions, jnp.array([1]), k=1)
    >>> ids.tolist(), scores.tolist()
    ([[3]], [[1.0]])
    """
    if (mesh is not None) != _is_spread(served):
        raise ValueError("mesh= is the one of `serve`: give it there and here, or nowhere")
    if mesh is None:
        return best(scores(model, served, sessions, slot), k, exclude)
    at_least_1(k=k)
    exclude = jnp.zeros((len(slot), 0), jnp.int32) if exclude is None else exclude
    ids, top, _ = spread.best(
        model,
        served.variables,
        (queries(sessions, slot), exclude),
        mesh=mesh,
        axis=axis,
        length=k,
        total=num_items(model, served),
        block=len(slot),
        item_block=ITEMS,
        vectors=served.table,
    )
    return ids, top


def best(
    score: Float[Array, " B N"], k: int, exclude: Int[Array, " B E"] | None = None
) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """As `recommend`, of the score of every item.

    >>> ids, _ = best(jnp.array([[9.0, 1.0, 3.0, 2.0]]), k=2, exclude=jnp.array([[2]]))
    >>> ids.tolist()
    [[3, 1]]
    """
    at_least_1(k=k)
    score = score.at[:, 0].set(-jnp.inf)
    if exclude is not None:
        (given,) = ids_of(exclude=exclude)
        checks.rows(2, score=score, exclude=given)
        row = jnp.arange(score.shape[0])[:, None]
        score = score.at[row, jnp.maximum(given, 0)].set(-jnp.inf, mode="drop")
    return best_places(score, k)


def scores(
    model: nn.Module,
    served: Served,
    sessions: Sessions,
    slot: Int[Array, " B"],
    context: Mapping[str, Array] | None = None,
) -> Float[Array, " B N"]:
    """The score of every item for each of these sessions; column 0 belongs to no item.

    `context` has the columns of the question itself, such as the hour, for models that read them.

    >>> from rezoo.models import Popularity
    >>> model = Popularity(3)
    >>> served = serve(model, {"params": {"count": jnp.array([0.0, 3, 1])}})
    >>> scores(model, served, start(model, served, 2), jnp.array([0])).tolist()
    [[0.0, 3.0, 1.0]]
    """
    if sessions.carry is None or served.table is None:
        return of_queries(model, served, asked(sessions, slot, context))
    carry = read(sessions, slot).carry
    return evaluation.apply(model, served.variables, carry, method="state") @ served.table


def asked(sessions: Sessions, slot: Int[Array, " B"], context: Mapping[str, Array] | None = None) -> Query:
    """These sessions as a `Query`, with the columns of the question itself.

    >>> from rezoo.models import Popularity
    >>> model = Popularity(3)
    >>> sessions = start(model, serve(model, {"params": {"count": jnp.zeros(3)}}), slots=2)
    >>> asked(sessions, jnp.array([1]), {"hour": jnp.array([8])}).features["hour"].tolist()
    [8]
    """
    query = queries(sessions, slot)
    return query._replace(features=query.features | dict(context or {}))


def of_queries(model: nn.Module, served: Served, query: Query) -> Float[Array, " B N"]:
    """The score of every item for each query; of a model without item vectors `PAIRS` pairs at a time.

    Raises:
      ValueError: if items are spread over devices.

    >>> from rezoo.data import batches
    >>> from rezoo.models import Popularity
    >>> served = serve(Popularity(3), {"params": {"count": jnp.array([0.0, 3, 1])}})
    >>> of_queries(Popularity(3), served, batches.queries([7])).tolist()
    [[0.0, 3.0, 1.0]]
    """
    if _is_spread(served):
        raise ValueError("no device has the scores of all items: ask `recommend`, with the mesh of `serve`")
    if served.table is not None:
        return evaluation.apply(model, served.variables, query, method="encode") @ served.table
    size = evaluation.catalogue_size(model, served.variables)

    def of_block(query: Query) -> Array:
        return evaluation.score_all(model, served.variables, query)

    return in_blocks(of_block, query, max(PAIRS // size, 1))


def num_items(model: nn.Module, served: Served) -> int:
    """Rows of the catalogue, id 0 included.

    >>> from rezoo.models import Popularity
    >>> num_items(Popularity(3), serve(Popularity(3), {"params": {"count": jnp.zeros(3)}}))
    3
    """
    if _is_spread(served):
        return items_of(model, served.variables).count
    if served.table is not None:
        return served.table.shape[1]
    return evaluation.catalogue_size(model, served.variables)


def _is_spread(served: Served) -> bool:
    return served.table is not None and served.table.ndim == 3
