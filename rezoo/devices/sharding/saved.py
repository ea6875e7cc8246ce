"""Checkpoints of arrays that are spread over devices, from which any number of devices can go on.

A table is written with its rows in the order of ids, each process its part, and read likewise: no process
ever holds the whole.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from rezoo.devices.sharding.layout import axis_of, is_spec
from rezoo.errors import DataError
from rezoo.storage import checkpoint

ROWS = "rows"
"""Note of a checkpoint: how many rows each spread array has, by its path."""


def save(
    folder: str | Path,
    step: int,
    tree: Any,
    specs: Any,
    like: Any,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """`storage.checkpoint.save` of a tree by `sharded`; every process calls it.

    Args:
      folder: one that all processes share.
      step: as there.
      tree: of `sharded`, or of steps after it.
      specs: those that `sharded` was given.
      like: arrays or shapes as on one device, which tell how many rows there are.
      notes: as there.

    Raises:
      OSError: as there.

    >>> import tempfile
    >>> from rezoo.devices.sharding import sharded
    >>> eight, two = (jax.make_mesh((n,), ("data",), devices=jax.devices()[:n]) for n in (8, 2))
    >>> state, specs = {"item": jnp.arange(5)}, {"item": PartitionSpec("data")}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder, 1, sharded(state, specs, eight), specs, state)
    ...     restore(folder, specs, state, two)[0]["item"].tolist()
    [[0, 2, 4], [1, 3, 0]]
    """

    def order(spec: PartitionSpec, leaf: Any, shape: Any) -> Any:
        return in_order(leaf, leaf.sharding.mesh, spec[0], shape.shape[0]) if len(spec) else leaf

    ordered = jax.tree.map(order, specs, tree, like, is_leaf=is_spec)
    spread = [n for n, spec in enumerate(jax.tree.leaves(specs, is_leaf=is_spec)) if len(spec)]
    checkpoint.save(folder, step, ordered, {**(notes or {}), ROWS: _rows(specs, like)}, filled_up=spread)


def restore(folder: str | Path, specs: Any, like: Any, mesh: Mesh) -> tuple[Any, dict[str, Any]] | None:
    """The newest checkpoint of `save`, as by `sharded` on this mesh, and its notes; None if there is none.

    Args:
      folder: of `save`.
      specs: likewise.
      like: likewise.
      mesh: the devices; not necessarily those that saved.

    Raises:
      DataError: if the checkpoint has other arrays or other numbers of rows, or is damaged.
    """

    def shape(spec: PartitionSpec, leaf: Any) -> Any:
        on = NamedSharding(axis_of(mesh, spec[0] if len(spec) else mesh.axis_names[0]), spec)
        if not len(spec):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=on)
        rows = _filled(leaf.shape[0], on.mesh.shape[spec[0]])
        return jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype, sharding=on)

    found = checkpoint.restore(folder, jax.tree.map(shape, specs, like, is_leaf=is_spec), other_rows=True)
    if found is None:
        return None
    ordered, notes = found
    if (saved := notes.pop(ROWS)) != (ours := _rows(specs, like)):
        name = next(name for name in sorted({*saved, *ours}) if saved.get(name) != ours.get(name))
        raise DataError(
            f"{folder}: the checkpoint has {saved.get(name, 0):,} rows of {name}, this run "
            f"{ours.get(name, 0):,}: it is of another catalogue; give another folder"
        )

    def place(spec: PartitionSpec, leaf: Any, like: Any) -> Any:
        return by_owner(leaf, leaf.sharding.mesh, spec[0], like.shape[0]) if len(spec) else leaf

    return jax.tree.map(place, specs, ordered, like, is_leaf=is_spec), notes


@partial(jax.jit, static_argnames=("mesh", "axis", "rows"))
def in_order(x: Shaped[Array, " n R ..."], mesh: Mesh, axis: str, rows: int) -> Shaped[Array, " P ..."]:
    """Rows in the order of ids, those beyond `rows` 0; each device a block of them.

    >>> from rezoo.devices.sharding import sharded
    >>> mesh = axis_of(jax.make_mesh((2,), ("data",), devices=jax.devices()[:2]), "data")
    >>> x = sharded(jnp.arange(1, 6), PartitionSpec("data"), mesh)
    >>> in_order(x, mesh, "data", 5).tolist()
    [1, 2, 3, 4, 5, 0, 0, 0]
    """
    size = mesh.shape[axis]

    def local(x: Array) -> Array:
        x = jnp.pad(x[0], ((0, -x.shape[1] % size), *[(0, 0)] * (x.ndim - 2)))
        blocks = jax.lax.all_to_all(x.reshape(size, -1, *x.shape[1:]), axis, 0, 0)
        x = blocks.swapaxes(0, 1).reshape(x.shape)
        ids = jax.lax.axis_index(axis) * len(x) + jnp.arange(len(x))
        return jnp.where((ids < rows).reshape(-1, *[1] * (x.ndim - 1)), x, jnp.zeros_like(x))

    return _over(mesh, axis, local)(x)


@partial(jax.jit, static_argnames=("mesh", "axis", "rows"))
def by_owner(x: Shaped[Array, " P ..."], mesh: Mesh, axis: str, rows: int) -> Shaped[Array, " n R ..."]:
    """The inverse of `in_order`."""
    size = mesh.shape[axis]

    def local(x: Array) -> Array:
        blocks = x.reshape(-1, size, *x.shape[1:]).swapaxes(0, 1)
        return jax.lax.all_to_all(blocks, axis, 0, 0).reshape(1, *x.shape)[:, : -(-rows // size)]

    return _over(mesh, axis, local)(x)


def _over(mesh: Mesh, axis: str, local: Any) -> Any:
    return jax.shard_map(local, mesh=mesh, in_specs=PartitionSpec(axis), out_specs=PartitionSpec(axis))


def _filled(rows: int, devices: int) -> int:
    """Rows of `in_order`."""
    return -(-rows // devices**2) * devices**2


def _rows(specs: Any, like: Any) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for (path, leaf), spec in zip(
        jax.tree.leaves_with_path(like), jax.tree.leaves(specs, is_leaf=is_spec), strict=True
    ):
        if len(spec):
            sizes[jax.tree_util.keystr(path, simple=True, separator="/")] = leaf.shape[0]
    return sizes
