"""Arrays on a mesh of devices whose axes are Explicit, which is what `jax.make_mesh` makes.

There the layout of an array is part of its type, and where the layout of a result is ambiguous, JAX
raises an error instead of choosing. Here the choice is always the same: arrays with a row for each row of
a batch are laid out like the batch, all others are replicated on every device.

Where no axis is Explicit, as on a single device, these functions return their arguments unchanged.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Shaped


def layout(like: Any, *axes: Any) -> NamedSharding | None:
    """These axes of the mesh of `like`, as an `out_sharding`; None if no axis of that mesh is Explicit."""
    placed = isinstance(like, jax.Array) and not isinstance(like, Tracer)
    # An array's own mesh knows its devices, which operations outside of `jit` need.
    sharding = like.sharding if placed else jax.typeof(like).sharding
    if not isinstance(sharding, NamedSharding) or AxisType.Explicit not in sharding.mesh.axis_types:
        return None
    return NamedSharding(sharding.mesh, PartitionSpec(*axes))


def cut(x: Any) -> Any:
    """The mesh axis along which the rows of `x` are spread over devices; None if they are not."""
    spec = jax.typeof(x).sharding.spec
    return spec[0] if len(spec) else None


def parts(x: Array) -> int:
    """Over how many devices the rows of `x` are spread."""
    sharding = jax.typeof(x).sharding
    return x.shape[0] // sharding.shard_shape(x.shape)[0] if cut(x) else 1


def lookup(
    table: Shaped[Array | np.ndarray, " N ..."], ids: Int[Array, " *S"], **mode: Any
) -> Shaped[Array, " ..."]:
    """`table.at[ids].get(**mode)`, spread as the ids are."""
    table = jnp.asarray(table)
    axes = *jax.typeof(ids).sharding.spec, *jax.typeof(table).sharding.spec[1:]
    return table.at[ids].get(out_sharding=layout(ids, *axes) or layout(table, *axes), **mode)


def along(x: Shaped[Array, " B ..."], like: Shaped[Array, " ..."]) -> Shaped[Array, " B ..."]:
    """`x`, its rows spread as those of `like` are."""
    if not cut(like) or cut(x) == cut(like):
        return x
    return jax.sharding.reshard(x, layout(like, cut(like), *jax.typeof(x).sharding.spec[1:]))


def matmul(x: Float[Array, " B D"], weight: Float[Array | np.ndarray, " D E"]) -> Float[Array, " B E"]:
    """`x @ weight`; on an Explicit mesh every device gets the whole gradient of the weight.

    There JAX does not choose by itself how the gradient of a weight is spread that a loop uses.
    """
    return x @ weight if layout(x) is None else _explicit_matmul(x, weight)


@jax.custom_vjp
def _explicit_matmul(x: Array, weight: Array) -> Array:
    return x @ weight


def _forward(x: Array, weight: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ weight, (x, weight)


def _backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, weight = kept
    return gradient @ weight.T, jnp.matmul(x.T, gradient, out_sharding=layout(x, None, None))


_explicit_matmul.defvjp(_forward, _backward)


def alike(arrays: Sequence[Array]) -> list[Array]:
    """The arrays, their rows spread as those of the first whose rows are."""
    like = next((x for x in arrays if cut(x)), arrays[0])
    return [along(x, like) for x in arrays]


def everywhere(tree: Any) -> Any:
    """All arrays of a tree, whole on every device."""
    return jax.tree.map(
        lambda x: jax.sharding.reshard(x, layout(x)) if any(jax.typeof(x).sharding.spec) else x, tree
    )


def in_blocks(function: Any, rows: Any, block: int) -> Any:
    """`function` on blocks of `block` rows, one after the other; the last block is filled up with 0.

    Of rows that are spread over devices, each block has as many of every device.
    """
    leaves, tree = jax.tree.flatten(rows)
    if not isinstance(leaves[0].shape[0], int):  # symbolic, of an export
        return function(rows)
    leaves = alike([jnp.asarray(x) for x in leaves])
    total, devices, axis, like = leaves[0].shape[0], parts(leaves[0]), cut(leaves[0]), leaves[0]
    each = total // devices
    block = max(min(block // devices, each), 1)
    blocks = -(-each // block)

    def split(x: Array) -> Array:
        x = x.reshape(devices, each, *x.shape[1:], out_sharding=layout(like, axis))
        x = jnp.pad(x, [(0, 0), (0, -each % block)] + [(0, 0)] * (x.ndim - 2))
        x = x.reshape(devices, blocks, block, *x.shape[2:]).swapaxes(0, 1)
        return x.reshape(blocks, devices * block, *x.shape[3:])

    def joined(x: Array) -> Array:
        x = x.reshape(blocks, devices, block, *x.shape[2:], out_sharding=layout(like, None, axis))
        x = x.swapaxes(0, 1).reshape(devices, blocks * block, *x.shape[3:])[:, :each]
        return x.reshape(total, *x.shape[2:])

    out = jax.lax.map(function, jax.tree.unflatten(tree, [split(x) for x in leaves]))
    return jax.tree.map(joined, out)


def each_row(function: Any, rows: Any) -> Any:
    """`function` on one row after the other, of rows that are spread over devices on one of each."""
    like = alike(jax.tree.leaves(rows))[0]
    return in_blocks(jax.vmap(function), rows, 1) if cut(like) else jax.lax.map(function, rows)
