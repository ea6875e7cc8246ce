"""Gradients of looked-up rows, of tables that are never differentiated as a whole."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, NoReturn, cast

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from rezoo.devices.meshes import everywhere
from rezoo.types import Aux, Batch, Objective


def gradients(
    objective: Objective, constants: Any, key: jax.Array, batch: Batch, dense: Any, tables: dict[str, Array]
) -> tuple[Array, Aux, Any, dict[str, tuple[Array, Array]]]:
    """(loss, aux, gradient of `dense`, {table: (ids, gradient of each id's row)})."""

    def value(dense: Any, taps: dict[str, Any], anchor: Array) -> tuple[Array, Aux]:
        held = {path: _only_looked_up(path, table, anchor) for path, table in tables.items()}
        taps = unflatten_dict(taps, sep="/")
        return objective({"params": join(dense, held), **constants, "row_taps": taps}, key, batch)

    plain = {"params": join(dense, tables), **constants}
    shapes = jax.eval_shape(objective, plain, key, batch)[1]
    if "row_ids" not in shapes.sown:
        raise ValueError("the objective must return the model's collection 'row_ids' in Aux.sown")
    calls = looked_up_ids(shapes, tables)
    taps = {
        path: tuple(jnp.zeros((*ids.shape, tables[path].shape[1]), tables[path].dtype) for ids in looked_up)
        for path, looked_up in calls.items()
    }
    (loss, aux), (grads, row_grads, _) = jax.value_and_grad(value, (0, 1, 2), has_aux=True)(
        dense, taps, jnp.float32(0)
    )
    by_table = {
        path: (
            jnp.concatenate([ids.reshape(-1) for ids in everywhere(looked_up)]),
            jnp.concatenate([grad.reshape(-1, grad.shape[-1]) for grad in everywhere(row_grads[path])]),
        )
        for path, looked_up in looked_up_ids(aux, tables).items()
    }
    return loss, aux, grads, by_table


def looked_up_ids(aux: Aux, tables: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What each call of each of the tables looked up."""
    calls = flat(aux.sown.get("row_ids", {}))
    return {path: looked_up for path, looked_up in calls.items() if path in tables}


def split(params: Any, tables: Collection[str]) -> tuple[dict[str, Array], Any]:
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


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _only_looked_up(path: str, table: Array, anchor: Array) -> Any:
    """`table`, refusing to be differentiated; through the anchor it counts as a variable."""
    return table


def _refuse(path: str, residual: None, cotangent: Array) -> NoReturn:
    raise ValueError(
        f"the loss depends on the whole table {path!r} (a tied softmax, `table()`), so it cannot be trained "
        f"row by row: leave it to the dense optimizer by init_state(…, dense=[{path.split('/')[-2]!r}])"
    )


_only_looked_up.defvjp(lambda path, table, anchor: (table, None), _refuse)
