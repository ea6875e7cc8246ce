"""Gradients of looked-up rows, of tables that are never differentiated as a whole."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from rezoo.types import Aux, Batch, Objective

Calls = dict[str, tuple[Any, ...]]
"""By path of a table, an array for each call that looks it up: ids, rows, or gradients of rows."""


Value = Callable[[Any, Calls], tuple[Array, Aux]]
"""`(other parameters, rows) -> loss`."""


def by_rows(objective: Objective, constants: Any, key: jax.Array, batch: Batch) -> Value:
    """The objective as a function of the rows that it looks up, in the place of their tables."""

    def value(dense: Any, rows: Calls) -> tuple[Array, Aux]:
        given = unflatten_dict(rows, sep="/")
        return objective({"params": dense, **constants, "given_rows": given}, key, batch)

    return value


def ids_of(value: Value, dense: Any, tables: Collection[str]) -> Calls:
    """The ids that are looked up; a compiler keeps nothing else of this evaluation."""
    _, aux = value(dense, dict.fromkeys(tables, ()))
    if "row_ids" not in aux.sown:
        raise ValueError("the objective must return the model's collection 'row_ids' in Aux.sown")
    return looked_up_ids(aux, tables)


def looked_up_ids(aux: Aux, tables: Collection[str]) -> Calls:
    """What each call of each of the tables looked up."""
    calls = flat(aux.sown.get("row_ids", {}))
    return {path: looked_up for path, looked_up in calls.items() if path in tables}


def split(params: Any, tables: Collection[str]) -> tuple[dict[str, Any], Any]:
    """(tables by path, the other parameters)."""
    leaves = flat(params)
    rest = {path: leaf for path, leaf in leaves.items() if path not in tables}
    return {path: leaves[path] for path in tables}, unflatten_dict(rest, sep="/")


def join(params: Any, tables: Mapping[str, Any]) -> Any:
    """The other parameters with the tables put back."""
    return unflatten_dict(flat(params) | dict(tables), sep="/")


def flat(tree: Any) -> dict[str, Any]:
    """Leaves by path, "user/embedding"."""
    return cast(dict[str, Any], flatten_dict(tree, sep="/"))
