"""Two stages: a retriever chooses candidates among all products, a ranker puts them in order.

    first = two_stage.index(retriever, variables, available=stock > 0)
    ids, scores = two_stage.recommend(first, (ranker, its_variables), query, k=10, exclude=seen,
                                   rules=(two_stage.at_most(category, 3),))

Both functions are pure: jit what is asked often. The item vectors are computed once, by `index`, and
read by every request; the candidates are exactly those of the highest inner product, as the table is
gone through in blocks (`rezoo.serving.ivf` finds most of them sooner). Business rules are functions of
(query, items, scores) that give new scores, with -inf for what must not be shown. Where tables are spread
over devices (`rezoo.devices.sharding`), `index` and `recommend` take their `mesh=`: candidates are found and
scored where their rows are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from rezoo import evaluation
from rezoo.arrays import across, at_least_1, best_of
from rezoo.devices.sharding import AXIS
from rezoo.devices.sharding.layout import by_holder
from rezoo.evaluation import spread
from rezoo.nn import events
from rezoo.nn.embedding import has_row, rows_or_zero
from rezoo.nn.inner import with_columns
from rezoo.nn.spread import items_of
from rezoo.types import Query, Variables

Rule = Callable[[Query, Int[Array, " B C"], Float[Array, " B C"]], Float[Array, " B C"]]
"""`(query, item, score) -> score`; later rules see what earlier ones left."""


class Stage(NamedTuple):
    """A model and its variables."""

    model: nn.Module
    variables: Variables


class Indexed(nn.Module):
    """A retriever whose item vectors were computed before: collection `index`."""

    model: nn.Module
    columns: Sequence[str] | None = None
    """Features of the query that the model reads; the ranker may know more."""

    def encode(self, query: Query) -> Float[Array, " B D"]:
        if self.columns is not None:
            query = query._replace(features={name: query.features[name] for name in self.columns})
        state = self.model.encode(query)  # pyright: ignore[reportAttributeAccessIssue]
        return with_columns(state, 1.0)

    def table(self) -> Float[Array, " N D"]:
        return self.get_variable("index", "table")

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        rows = rows_or_zero(self.table(), item)
        return jnp.einsum("bd,b...d->b...", self.encode(query), rows)


class Renumbered(nn.Module):
    """A model asked in the item ids of another; collection `ids`: for each of them its own, 0 for none."""

    model: nn.Module

    @property
    def event_features(self) -> Mapping[str, events.EventFeature]:
        """The columns of events that it reads."""
        return events.kinds(self.model)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        own = self.get_variable("ids", "item")
        query = query._replace(history=rows_or_zero(own, query.history))
        order = jnp.argsort(query.history == 0, axis=1, stable=True)
        columns = *self.event_features, "history_rating"
        query = events.each(query, columns, lambda x: jnp.take_along_axis(x, across(order, x), axis=1))
        return self.model(query, rows_or_zero(own, item))


def renumbered(model: nn.Module, variables: Variables, own: Int[Array, " N"]) -> Stage:
    """A stage whose model has item ids of its own: `own[i]` is that of the other stage's item i, or 0.

    It scores an item that it does not know as it scores the unknown one. Histories are translated, too; an
    event of an item that it does not know is left out, with its columns and its rating.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 9, 8])}}
    >>> second = renumbered(Popularity(3), variables, jnp.array([0, 2, 0, 1]))
    >>> ids, scores = rank(second, queries([1]), jnp.array([[1, 2, 3]]), 3)
    >>> ids.tolist(), scores.tolist()
    ([[3, 1, 2]], [[9.0, 8.0, 0.0]])
    """
    inner = {kind: {"model": tree} for kind, tree in variables.items()}
    return Stage(Renumbered(model), {**inner, "ids": {"item": own}})


def index(
    model: nn.Module,
    variables: Variables,
    *,
    available: Bool[Array, " N"] | None = None,
    columns: Sequence[str] | None = None,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> Stage:
    """The retriever `model` with its item vectors computed.

    Args:
      model: a retriever.
      variables: its variables.
      available: which items may be retrieved; all if not given.
      columns: features of the query that the model reads; all if not given.
      mesh: the devices that the tables are spread over; the item vectors stay with them.
      axis: of the mesh, along which they are.

    Raises:
      ValueError: if the model is not a retriever, or `available` has not one value per item; with `mesh`, as
        `evaluation.recommend`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> first = index(Popularity(3), variables, available=jnp.array([False, False, True]))
    >>> retrieve(first, queries([1]), 1)[0].tolist()
    [[2]]
    """
    if not evaluation.is_retriever(model):
        raise ValueError(f"{type(model).__name__} has no `encode` and `table`, so it cannot be a first stage")
    if mesh is None:
        table = evaluation.apply(model, variables, method="table")
        count = len(table)
    else:
        table = spread.item_vectors(model, variables, mesh, axis)
        count = items_of(model, variables).count
    available = jnp.ones(count, bool) if available is None else available
    if len(available) != count:
        raise ValueError(f"available has {len(available)} values, but there are {count} items")
    if mesh is not None:
        available = by_holder(available, len(table))
    absent = jnp.where(available, 0.0, -jnp.inf)[..., None]
    inner = {kind: {"model": tree} for kind, tree in variables.items()}
    table = jnp.concatenate([table, absent], axis=-1)
    return Stage(Indexed(model, columns), {**inner, "index": {"table": table}})


def recommend(
    first: Stage,
    second: Stage,
    query: Query,
    k: int,
    *,
    candidates: int = 100,
    exclude: Int[Array, " B S"] | None = None,
    rules: Sequence[Rule] = (),
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """The k best of the first stage's candidates by the second's scores, best first.

    Where fewer are left, the list ends with id 0 and score -inf.

    Args:
      first: the retriever, of `index` or of `ivf.index`.
      second: the ranker, any model.
      query: who asks.
      k: length of the lists, at most `candidates`.
      candidates: how many the retriever hands over.
      exclude: items that must not be retrieved, such as what was bought already; 0 = padding.
      rules: applied to the ranker's scores one after the other.
      mesh: the devices that the tables of both stages are spread over, as for `index`.
      axis: of the mesh, along which they are.

    Raises:
      ValueError: if k is less than 1 or larger than `candidates`, or only one of this and `index` was given a
        mesh.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> stage = lambda *score: (Popularity(4), {"params": {"count": jnp.array([0.0, *score])}})
    >>> query = queries([1])
    >>> first, second = index(*stage(9, 8, 1)), Stage(*stage(1, 2, 3))
    >>> ids, scores = recommend(first, second, query, 2, candidates=2)
    >>> ids.tolist(), scores.tolist()  # item 3, the second stage's best, is not a candidate
    ([[2, 1]], [[2.0, 1.0]])
    """
    at_least_1(k=k)
    if k > candidates:
        raise ValueError(f"a list of k = {k} cannot be made of {candidates} candidates: ask for more of them")
    item, _ = retrieve(first, query, candidates, exclude=exclude, mesh=mesh, axis=axis)
    return rank(second, query, item, k, rules=rules, mesh=mesh, axis=axis)


def retrieve(
    first: Stage,
    query: Query,
    count: int,
    *,
    exclude: Int[Array, " B S"] | None = None,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> tuple[Int[Array, " B count"], Float[Array, " B count"]]:
    """The first stage's candidates and their scores, best first; 0 and -inf where it has fewer.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> first = index(Popularity(4), {"params": {"count": jnp.array([0.0, 9, 8, 1])}})
    >>> retrieve(first, queries([1]), 2)[0].tolist()
    [[1, 2]]
    """
    table = first.variables["index"]["table"] if isinstance(first.model, Indexed) else None
    if (mesh is not None) != (table is not None and table.ndim == 3):
        raise ValueError("mesh= is the one of `index`: give it there and here, or nowhere")
    exclude = jnp.zeros((query.user.shape[0], 0), jnp.int32) if exclude is None else exclude
    if hasattr(first.model, "nearest"):
        return evaluation.apply(first.model, first.variables, query, count, exclude, method="nearest")
    if mesh is None:
        return evaluation.recommend(first.model, first.variables, query, count, exclude=exclude)
    assert table is not None
    total = table.shape[0] * table.shape[1]
    others = {kind: tree for kind, tree in first.variables.items() if kind != "index"}
    at_once = {"length": min(count, total), "total": total, "block": 256, "item_block": 2**16}
    rows = query, exclude
    ids, top, _ = spread.best(first.model, others, rows, mesh=mesh, axis=axis, vectors=table, **at_once)
    return (ids, top) if ids.shape[1] == count else best_of(ids, top, count)


def rank(
    stage: Stage,
    query: Query,
    item: Int[Array, " B C"],
    k: int,
    *,
    rules: Sequence[Rule] = (),
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """The k best of each query's candidates, best first; candidate 0 is none.

    `mesh` and `axis` are those of `recommend`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> second = Stage(Popularity(4), {"params": {"count": jnp.array([0.0, 1, 2, 3])}})
    >>> query = queries([1])
    >>> rank(second, query, jnp.array([[1, 3, 0]]), 3)[0].tolist()
    [[3, 1, 0]]
    """
    model, variables = stage
    if mesh is None:
        score = evaluation.apply(model, variables, query, item)
    else:
        rows, block = (query, item), query.user.shape[0]
        score = spread.predicted(model, variables, rows, mesh=mesh, axis=axis, block=block, method=None)
    score = jnp.where(item > 0, score, -jnp.inf)
    for rule in rules:
        score = rule(query, item, score)
    return best_of(item, score, k)


def boost(amount: Float[Array, " N"]) -> Rule:
    """Add an amount of its own to each item's score: a margin, a campaign; nothing to an item that has none.

    >>> from rezoo.data.batches import queries
    >>> query = queries([1])
    >>> boost(jnp.array([0.0, 0.0, 0.5]))(query, jnp.array([[1, 2]]), jnp.array([[3.0, 3.0]])).tolist()
    [[3.0, 3.5]]
    """
    return lambda query, item, score: score + rows_or_zero(amount, item)


def only(allowed: Bool[Array, " N"]) -> Rule:
    """Show allowed items alone, none of those that came later.

    >>> from rezoo.data.batches import queries
    >>> query = queries([1])
    >>> only(jnp.array([False, False, True]))(query, jnp.array([[1, 2]]), jnp.array([[3.0, 3.0]])).tolist()
    [[-inf, 3.0]]
    """
    return lambda query, item, score: jnp.where(rows_or_zero(allowed, item), score, -jnp.inf)


def at_most(group: Int[Array, " N"], count: int) -> Rule:
    """Show at most `count` items of one group, the best ones.

    An item that came later counts for no group.

    Raises:
      ValueError: if `count` is below 1.

    >>> from rezoo.data.batches import queries
    >>> query, category = queries([1]), jnp.array([0, 7, 7, 8])
    >>> at_most(category, 1)(query, jnp.array([[1, 2, 3]]), jnp.array([[1.0, 3.0, 2.0]])).tolist()
    [[-inf, 3.0, 2.0]]
    """
    at_least_1(count=count)

    def rule(query: Query, item: Array, score: Array) -> Array:
        of, grouped = rows_or_zero(group, item), has_row(item, len(group))
        place = jnp.arange(score.shape[1])
        above = score[:, None, :] > score[:, :, None]
        tied = (score[:, None, :] == score[:, :, None]) & (place[None, None, :] < place[None, :, None])
        peers = (
            (of[:, None, :] == of[:, :, None]) & grouped[:, None, :] & grouped[:, :, None] & (above | tied)
        )
        return jnp.where(peers.sum(axis=2) < count, score, -jnp.inf)

    return rule
