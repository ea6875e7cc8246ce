"""A model whose tables are spread over devices (`devices.sharding`): queries and items as vectors.

A device makes the vectors of the items that are its own, so a score is made where its item is, and no
table is moved. The model is given the rows that it looks up, as where tables are trained by row (see
`nn.embedding.Embed`).
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from rezoo.devices.sharding import gather_ids, together
from rezoo.devices.sharding.items import id_at, place_of, places_of
from rezoo.nn.embedding import Embed
from rezoo.types import Variables

Tables = dict[str, Array]
"""By path in the parameters, such as `item/embedding`."""
Read = Callable[[str, Array], Array]
"""`(path of a table, ids) -> their rows`."""


class Items(NamedTuple):
    """What a model makes its item vectors of."""

    count: int
    """Rows of the model's `table()`."""
    own: frozenset[str]
    """Tables with a row for each item."""


def split(variables: Variables) -> tuple[Tables, dict[str, Any]]:
    """(tables that are spread, `[n R D]`; all other variables).

    >>> variables = {"params": {"user": {"embedding": jnp.zeros((8, 2, 4))}, "scale": jnp.ones(1)}}
    >>> tables, others = split(variables)
    >>> list(tables), list(others["params"])
    (['user/embedding'], ['scale'])
    """
    params = flat(variables.get("params", {}))
    tables = {path for path, leaf in params.items() if path.endswith("/embedding") and jnp.ndim(leaf) == 3}
    rest = {path: leaf for path, leaf in params.items() if path not in tables}
    return {path: params[path] for path in tables}, {**variables, "params": unflatten_dict(rest, sep="/")}


def check_devices(tables: Tables, devices: int) -> None:
    """Check that the tables are spread over so many devices.

    Raises:
      ValueError: if they are not.
    """
    for path, table in tables.items():
        if len(table) != devices:
            raise ValueError(
                f"the table {path!r} is spread over {len(table)} devices, but the mesh has {devices}: place "
                "it by `sharding.sharded` on this mesh"
            )


def items_of(model: nn.Module, variables: Variables) -> Items:
    """What the model makes its item vectors of.

    Of the tables that `vectors` looks up, those with the most rows have one for each item; one that is named
    like a column of the collection `catalogue` is that column's.

    Raises:
      ValueError: if the model has no `vectors`.
    """
    if not hasattr(model, "vectors"):
        raise ValueError(
            f"{type(model).__name__} has no `vectors(item)`, so its items cannot be scored on the devices "
            "that hold them: bring its tables together by `sharding.whole`, and leave out mesh="
        )
    tables, others = split(variables)
    sizes: dict[str, int] = {}

    def note(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, Embed):
            sizes["/".join((*context.module.path, "embedding"))] = context.module.num_embeddings
        return method(*args, **kwargs)

    def zeros(path: str, ids: Array) -> Array:
        return jnp.zeros((*ids.shape, tables[path].shape[-1]), tables[path].dtype)

    with nn.intercept_methods(note):
        item = jnp.zeros(1, jnp.int32)
        jax.eval_shape(lambda: apply(model, tables, others, zeros, item, method="vectors"))
    here = {
        path: jax.ShapeDtypeStruct((sizes[path], table.shape[-1]), table.dtype)
        for path, table in tables.items()
        if path in sizes
    }
    params = unflatten_dict(flat(others["params"]) | here, sep="/")
    table = jax.eval_shape(lambda params: model.apply({**others, "params": params}, method="table"), params)
    of_ids = {path for path in here if path.split("/")[-2] not in variables.get("catalogue", {})}
    most = max((sizes[path] for path in of_ids), default=0)
    own = {path for path in of_ids if sizes[path] == most}
    return Items(table.shape[0], frozenset(own))


def of_inputs(
    model: nn.Module,
    tables: Tables,
    others: Variables,
    axis: str,
    *inputs: Any,
    method: str | None = None,
) -> Any:
    """`model.apply` to inputs of this device, on every device of `jax.shard_map`.

    Args:
      model: any.
      tables: the rows of this device, `[R D]`.
      others: variables that are whole on every device.
      axis: of the mesh.
      inputs: such as queries, and items.
      method: such as `encode`.
    """

    def read(path: str, ids: Array) -> Array:
        (found,) = together([gather_ids().fetch(tables[path], ids.ravel(), axis)], axis)
        return found.rows.reshape(*ids.shape, found.rows.shape[1])

    return apply(model, tables, others, read, *inputs, method=method)


def own_vectors(
    model: nn.Module, tables: Tables, others: Variables, items: Items, axis: str, **options: Any
) -> Float[Array, " R E"]:
    """`vectors` of this device's items; takes what `of_inputs` takes.

    Tables of features, which have a row for a value and not for an item, are made whole for it. What else is
    looked up in a table of items than an item's own row is NaN.
    """

    def read(path: str, ids: Array) -> Array:
        table = tables[path]
        if path not in items.own:
            devices = jax.lax.axis_size(axis)
            return jax.lax.all_gather(table, axis)[ids % devices, ids // devices]
        unknown = jax.lax.psum(jnp.where(jax.lax.axis_index(axis) == 0, table[0], 0), axis)
        place = place_of(ids, axis)
        place = jnp.where(place < 0, len(table), place)
        rows = table.at[place].get(mode="fill", fill_value=jnp.nan)
        return jnp.where((ids == 0)[..., None], jnp.broadcast_to(unknown, rows.shape), rows)

    own = id_at(jnp.arange(places_of(items.count, axis), dtype=jnp.int32), axis)
    return apply(model, tables, others, read, own, method="vectors", **options)


def apply(
    model: nn.Module,
    tables: Collection[str],
    others: Variables,
    read: Read,
    *inputs: Any,
    **options: Any,
) -> Any:
    """`model.apply`, which is given the rows that it looks up in the tables."""

    def given(variables: Variables) -> Any:
        return model.apply(variables, *inputs, mutable=["row_ids"], **options)

    return with_rows(given, tables, others, read)[0]


def with_rows(
    function: Callable[[Variables], tuple[Any, Any]], tables: Collection[str], others: Variables, read: Read
) -> tuple[Any, Any]:
    """`function(variables) -> (anything, collections)`, which is given the rows of tables in their place.

    It is called twice, first for the ids that it looks up: the model writes them in the collection `row_ids`.
    """

    def given(rows: dict[str, tuple[Array, ...]]) -> tuple[Any, Any]:
        return function({**others, "given_rows": unflatten_dict(rows, sep="/")})

    _, written = given(dict.fromkeys(tables, ()))
    ids = {path: calls for path, calls in flat(written.get("row_ids", {})).items() if path in tables}
    return given({path: tuple(read(path, one) for one in calls) for path, calls in ids.items()})


def flat(tree: Any) -> dict[str, Any]:
    """Leaves by path."""
    return cast(dict[str, Any], flatten_dict(tree, sep="/"))
