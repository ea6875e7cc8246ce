"""Which array lies where on a mesh."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from rezoo.types import Variables

AXIS = "data"
"""Axis of the mesh along which batches and tables are spread, if no other is named."""


def rules(variables: Variables, *, axis: str = AXIS, dense: Collection[str] = ()) -> dict[str, Any]:
    """Where each array of these variables is to lie, as a tree of `PartitionSpec`, which may be edited.

    Tables of embeddings are spread by row; all others are whole on every device.

    Args:
      variables: arrays, or their shapes.
      axis: of the mesh.
      dense: names of modules whose tables are whole on every device, too.

    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import MF
    >>> batch = pairs([1], [2])
    >>> variables = MF(3, 5, dim=2).init(jax.random.key(0), batch.query, batch.item)
    >>> rules(variables, dense=["item_bias"])["params"]["user"]["embedding"]
    P('data',)
    """

    def rule(path: Any, leaf: Any) -> PartitionSpec:
        names = [str(key.key) for key in path]
        table = names[0] == "params" and names[-1] == "embedding" and leaf.ndim == 2
        return PartitionSpec(axis) if table and not set(names) & set(dense) else PartitionSpec()

    return jax.tree.map_with_path(rule, dict(variables))


def describe(variables: Variables, specs: Mapping[str, Any], devices: int) -> str:
    """A line for each array: its path, shape, where it lies, and bytes on each of the devices.

    >>> variables = {"params": {"user": {"embedding": jnp.zeros((10, 4))}}}
    >>> print(describe(variables, rules(variables), 8))
    params/user/embedding  10 × 4  by row along data          32 B a device
    all                                                       32 B a device
    """
    lines, total = [], 0
    flat_specs = jax.tree.leaves(specs, is_leaf=is_spec)
    for (path, leaf), spec in zip(jax.tree.leaves_with_path(dict(variables)), flat_specs, strict=True):
        size = leaf.dtype.itemsize * leaf.size
        if len(spec):
            size = leaf.dtype.itemsize * -(-leaf.shape[0] // devices) * (leaf.size // leaf.shape[0])
        total += size
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        lies = f"by row along {spec[0]}" if len(spec) else "whole"
        lines.append((name, " × ".join(map(str, leaf.shape)), lies, size))
    lines.append(("all", "", "", total))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line[:3], widths, strict=True))
        + f"  {line[3]:>10,} B a device"
        for line in lines
    )


def sharded(tree: Any, specs: Any, mesh: Mesh) -> Any:
    """The arrays of a tree on the devices of a mesh; where a spec says so, `[N …]` becomes `[n R …]`.

    Where the mesh has devices of several processes, each gives the same arrays, and holds its part.

    Raises:
      ValueError: if the mesh has no axis of that name.
    """

    def place(spec: PartitionSpec, leaf: Any) -> Any:
        if not len(spec):
            return _put(leaf, NamedSharding(_automatic(mesh), PartitionSpec()))
        on = axis_of(mesh, spec[0])
        return _put(by_holder(jnp.asarray(leaf), on.shape[spec[0]]), NamedSharding(on, spec))

    return jax.tree.map(place, specs, tree, is_leaf=is_spec)


def whole(tree: Any, specs: Any, like: Any) -> Any:
    """What `sharded` was given: arrays whose rows are in the order of ids.

    Of arrays over several processes, every device holds the whole.

    Args:
      tree: of `sharded`.
      specs: likewise.
      like: arrays or shapes that tell how many rows there are.
    """

    def collect(spec: PartitionSpec, leaf: Any, shape: Any) -> Any:
        if not len(spec):
            return leaf
        if leaf.is_fully_addressable:
            return by_id(leaf, shape.shape[0])
        everywhere = NamedSharding(leaf.sharding.mesh, PartitionSpec())
        return jax.jit(by_id, static_argnums=1, out_shardings=everywhere)(leaf, shape.shape[0])

    return jax.tree.map(collect, specs, tree, like, is_leaf=is_spec)


def by_holder(x: Shaped[Array, " N ..."], devices: int) -> Shaped[Array, " n R ..."]:
    """The rows of each device; those beyond N are 0.

    >>> by_holder(jnp.arange(5), 2).tolist()
    [[0, 2, 4], [1, 3, 0]]
    """
    x = jnp.pad(x, ((0, -len(x) % devices), *[(0, 0)] * (x.ndim - 1)))
    return x.reshape(-1, devices, *x.shape[1:]).swapaxes(0, 1)


def by_id(x: Shaped[Array, " n R ..."], rows: int) -> Shaped[Array, " N ..."]:
    """The inverse of `by_holder`.

    >>> by_id(by_holder(jnp.arange(5), 2), 5).tolist()
    [0, 1, 2, 3, 4]
    """
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])[:rows]


def spread(batch: Any, mesh: Mesh, axis: str = AXIS) -> Any:
    """A batch, its rows spread over the devices.

    Where the mesh has devices of several processes, each gives rows of its own, all equally many: together
    they are the batch, in the order of the processes.

    Raises:
      ValueError: if the devices of this process do not divide the number of its rows.
    """
    mesh = axis_of(mesh, axis)
    devices = mesh.shape[axis] * len(mesh.local_devices) // mesh.size
    rows = {leaf.shape[0] for leaf in jax.tree.leaves(batch)}
    if any(n % devices for n in rows):
        raise ValueError(f"{sorted(rows)} rows cannot be spread over {devices} devices: fill the batch up")
    on = NamedSharding(mesh, PartitionSpec(axis))
    if on.is_fully_addressable:
        return jax.device_put(batch, on)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(on, np.asarray(leaf)), batch)


def axis_of(mesh: Mesh, axis: str) -> Mesh:
    """The mesh, whose axes JAX lays out by itself.

    Raises:
      ValueError: if it has no such axis.
    """
    if axis not in mesh.axis_names:
        raise ValueError(
            f"the mesh has no axis {axis!r}, but {', '.join(mesh.axis_names)}: name one by axis="
        )
    return _automatic(mesh)


def _automatic(mesh: Mesh) -> Mesh:
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def _put(leaf: Any, on: NamedSharding) -> jax.Array:
    """`jax.device_put`, of which every process does its part."""
    if on.is_fully_addressable:
        return jax.device_put(leaf, on)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(leaf), on), impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, on, lambda index: host[index])


def is_spec(x: Any) -> bool:
    """Whether this is a leaf of a tree of specs."""
    return isinstance(x, PartitionSpec)
