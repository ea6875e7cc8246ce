"""What a model says of given items, or of all of them."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from rezoo.arrays import same_rows
from rezoo.devices.meshes import along, in_blocks
from rezoo.devices.sharding import AXIS
from rezoo.evaluation import spread
from rezoo.nn.features import catalogue_rows
from rezoo.nn.spread import items_of, split
from rezoo.types import Batch, Query, Variables


def score_all(
    model: nn.Module, variables: Variables, query: Query, *, num_items: int | None = None
) -> Float[Array, " B N"]:
    """The score of every item for each query; column 0 belongs to no item.

    A retriever (`encode`, `table`) takes one matrix product; any other model is called on the
    slate of all items. How many there are is given by `num_items`, else by a retriever's table, else by
    the collection `catalogue`, which may be longer than in training, else by the model (`num_items` or
    `sizes["item"]`).

    Raises:
      ValueError: if nothing tells how many there are, or a retriever has fewer than `num_items`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 2])}}
    >>> score_all(Popularity(3), variables, queries([1])).tolist()
    [[0.0, 3.0, 2.0]]
    """
    same_rows(query=query)
    if is_retriever(model):
        states = apply(model, variables, query, method="encode")
        table = apply(model, variables, method="table")
        if num_items is not None:
            table = table[: rows_of_catalogue(model, variables, num_items=num_items)]
        return jnp.einsum("bd,nd->bn", states, table)
    count = catalogue_size(model, variables) if num_items is None else num_items
    item = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32)[None], (query.user.shape[0], count))
    return apply(model, variables, query, along(item, query.user))


def is_retriever(model: nn.Module) -> bool:
    """Whether a score is the product of the query's vector and the item's: `encode`, `table`.

    >>> from rezoo.models import MF, NeuMF
    >>> is_retriever(MF(3, 3)), is_retriever(NeuMF(3, 3))
    (True, False)
    """
    return hasattr(model, "encode") and hasattr(model, "table")


def catalogue_size(model: Any, variables: Variables | None = None) -> int:
    """Rows of the collection `catalogue`, or of the model's item table.

    Raises:
      ValueError: if neither tells.

    >>> from rezoo.models import MF
    >>> catalogue_size(MF(num_users=3, num_items=9))
    9
    """
    size = told_size(model, variables)
    if size is None:
        raise ValueError(
            f"{type(model).__name__} has neither `num_items` nor `sizes['item']`: give num_items"
        )
    return size


def told_size(model: Any, variables: Variables | None = None) -> int | None:
    """As `catalogue_size`, None if nothing tells."""
    rows = catalogue_rows(variables or {}, 0) or getattr(model, "num_items", None)
    return rows or dict(getattr(model, "sizes", {})).get("item")


def predict(
    model: nn.Module,
    variables: Variables,
    batch: Batch,
    *,
    block: int = 4096,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> Float[Array, " B *C"]:
    """The model's score of every element of the batch, computed in blocks of rows.

    Args:
      model: any `Scorer`.
      variables: its variables.
      batch: its queries and items are read.
      block: rows at once.
      mesh: the devices that the tables are spread over, as by `devices.sharding`; each scores its share of
        the rows.
      axis: of the mesh, along which they are.

    Raises:
      ValueError: if the batch has not a row of items for each query; with `mesh`, if the tables are not
        spread over these devices, or the model uses one of them as a whole.

    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 2])}}
    >>> batch = pairs([1, 1], [2, 1])
    >>> predict(Popularity(3), variables, batch).tolist()
    [2.0, 3.0]
    """
    same_rows(query=batch.query, item=batch.item)
    rows = batch.query, batch.item
    return predicted(model, variables, rows, method=None, block=block, mesh=mesh, axis=axis)


def predict_tasks(
    model: nn.Module,
    variables: Variables,
    batch: Batch,
    *,
    block: int = 4096,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> dict[str, Float[Array, " B *C"]]:
    """A multi-task model's score by task of every element of the batch; takes what `predict` takes.

    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import SharedBottom
    >>> model = SharedBottom({"user": 3, "item": 3}, ["click", "buy"], dim=2, widths=[2], tower=[2])
    >>> batch = pairs([1, 2], [2, 2])
    >>> zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), batch.query, batch.item))
    >>> {task: score.tolist() for task, score in predict_tasks(model, zeros, batch).items()}
    {'buy': [0.0, 0.0], 'click': [0.0, 0.0]}
    """
    same_rows(query=batch.query, item=batch.item)
    rows = batch.query, batch.item
    return predicted(model, variables, rows, method="tasks", block=block, mesh=mesh, axis=axis)


class ByIdentity:
    """A model as a static argument of `jit`; models whose fields hold a dict have no hash of their own."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __hash__(self) -> int:
        return id(self.model)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and self.model is other.model


def compiled(*static: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate `function(model, *arrays, **static)` to be compiled once for each model and each shape.

    So it is not traced again in every call from outside of `jit`. Inside of it this changes nothing.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @partial(jax.jit, static_argnums=0, static_argnames=static)
        def of_one(one: ByIdentity, *arrays: Any, **options: Any) -> Any:
            return function(one.model, *arrays, **options)

        @wraps(function)
        def call(model: nn.Module, *arrays: Any, **options: Any) -> Any:
            return of_one(ByIdentity(model), *arrays, **options)

        return call

    return decorate


@compiled("block", "method", "mesh", "axis")
def predicted(
    model: nn.Module,
    variables: Variables,
    rows: tuple[Query, Array],
    *,
    block: int,
    method: str | None,
    mesh: Mesh | None,
    axis: str,
) -> Any:
    """What the model gives for each query and its items, in blocks, on one device or on those of a mesh."""
    if mesh is not None:
        return spread.predicted(model, variables, rows, mesh=mesh, axis=axis, block=block, method=method)
    return in_blocks(lambda rows: (apply(model, variables, *rows, method=method),), rows, block)[0]


def rows_of_catalogue(
    model: nn.Module, variables: Variables, mesh: Mesh | None = None, num_items: int | None = None
) -> int:
    """Rows of what the model ranks: `num_items` if given, else a retriever's table, else as `catalogue_size`.

    Raises:
      ValueError: if tables are spread and there is no mesh, or there is one and the model has no `vectors`;
        if the model is known to have fewer than `num_items`.
    """
    if num_items is not None:
        ranks = mesh is not None or is_retriever(model)
        rows = rows_of_catalogue(model, variables, mesh) if ranks else told_size(model, variables)
        if rows is not None and rows < num_items:
            raise ValueError(f"num_items = {num_items}, and the model has but {rows} items, 0 included")
        return num_items
    if mesh is not None:
        return items_of(model, variables).count
    if tables := split(variables)[0]:
        raise ValueError(f"the table {min(tables)!r} is spread over devices: give them by mesh=")
    if is_retriever(model):
        return jax.eval_shape(lambda: apply(model, variables, method="table")).shape[0]
    return catalogue_size(model, variables)


def apply(model: nn.Module, variables: Variables, *inputs: Any, method: str | None = None) -> Any:
    """`model.apply`, which without mutable collections gives the output alone.

    Variables and inputs may be NumPy's, such as `jax.device_get` leaves them.

    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 2])}}
    >>> apply(Popularity(3), variables, method="table").tolist()
    [[0.0], [3.0], [2.0]]
    """
    variables, inputs = jax.tree.map(_on_device, (variables, inputs))
    return model.apply(variables, *inputs, method=method)


def _on_device(leaf: Any) -> Any:
    return jnp.asarray(leaf) if isinstance(leaf, np.ndarray | np.generic) else leaf
