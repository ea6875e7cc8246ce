"""Sums over the neighbours of each node of a graph, of which each has another number.

A scatter adds one edge after the other. Here nodes of about as many neighbours are taken together, as a table
of neighbours `[W n]` whose W rows are looked up and added, which XLA makes one loop that copies no vector;
whoever has more than the widest table is a sum of sums. The work grows with the edges, whatever the
largest number of neighbours, and the same program runs on every backend and can be exported.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import offsets_of, ranges
from rezoo.devices.meshes import lookup

WIDTHS = (8, 16)
"""Rows of the tables; longer sums are slower for each vector that they add."""

Neighbours = Mapping[str, Any]
"""Of each node, for `sums`: arrays by name, which may stand in a collection of variables."""


def neighbours(
    node: Int[np.ndarray, " E"], neighbour: Int[np.ndarray, " E"], num_nodes: int
) -> dict[str, Any]:
    """The neighbours of each node, laid out for `sums`.

    Args:
      node: of each edge, 0 … num_nodes - 1.
      neighbour: of each edge, the row of what will be summed, from 1.
      num_nodes: nodes without an edge have the sum 0.
    """
    neighbour = neighbour[np.argsort(node, kind="stable")]
    count = np.bincount(node, minlength=num_nodes)
    start = offsets_of(count)[:-1]
    size = np.searchsorted(WIDTHS, count)
    laid, nodes = {}, []
    for number, width in enumerate(WIDTHS):
        alike = np.flatnonzero(size == number)
        if len(alike):
            nodes.append(alike)
            laid[f"of_{width}"] = _table(neighbour, start[alike], count[alike], width)
    many = np.flatnonzero(size == len(WIDTHS))
    if len(many):
        nodes.append(many)
        laid["part"], laid["of_parts"] = _parts(neighbour, start[many], count[many])
    place = np.empty(num_nodes, np.int32)
    place[np.concatenate(nodes)] = np.arange(num_nodes)
    return laid | {"place": place}


def sums(of: Neighbours, x: Float[Array, " M D"]) -> Float[Array, " N D"]:
    """The sum of the rows of each node's neighbours; `x[0]` must be 0.

    >>> of = neighbours(np.array([1, 1, 2]), np.array([1, 2, 2]), 3)
    >>> sums(of, jnp.array([[0.0], [3.0], [4.0]])).tolist()
    [[0.0], [7.0], [4.0]]
    """
    found = [_added(x, of[name]) for width in WIDTHS if (name := f"of_{width}") in of]
    if "part" in of:
        found.append(sums(of["of_parts"], _added(x, of["part"])))
    return _looked_up(jnp.concatenate(found), jnp.asarray(of["place"]))


def _added(x: Float[Array, " M D"], table: Int[Array | np.ndarray, " W S"]) -> Float[Array, " S D"]:
    """`x[table].sum(0)` as additions of vectors; as a reduction it would add number by number."""
    first, *others = jnp.asarray(table)
    total = _looked_up(x, first)
    for ids in others:
        total = total + _looked_up(x, ids)
    return total


def _looked_up(x: Float[Array, " M D"], ids: Int[Array, " S"]) -> Float[Array, " S D"]:
    return lookup(x, ids, mode="clip", wrap_negative_indices=False)


def _table(
    neighbour: Int[np.ndarray, " E"], start: Int[np.ndarray, " S"], count: Int[np.ndarray, " S"], width: int
) -> Int[np.ndarray, " W S"]:
    """`neighbour[start:start + count]` of each node, filled up with 0."""
    row = np.arange(width)[:, None]
    edge = np.where(row < count, start + row, len(neighbour))
    return np.append(neighbour, 0)[edge].astype(np.int32)


def _parts(
    neighbour: Int[np.ndarray, " E"], start: Int[np.ndarray, " S"], count: Int[np.ndarray, " S"]
) -> tuple[Int[np.ndarray, " W P"], dict[str, Any]]:
    """The neighbours of each node in parts of the widest table, and which parts are whose.

    The first part is nobody's and is 0.
    """
    width = WIDTHS[-1]
    parts = -(-count // width)
    owner = np.repeat(np.arange(len(parts)), parts)
    done = width * ranges(np.zeros_like(parts), parts)
    table = _table(neighbour, start[owner] + done, np.minimum(count[owner] - done, width), width)
    whose = neighbours(owner, np.arange(1, len(owner) + 1), len(parts))
    return np.pad(table, ((0, 0), (1, 0))), whose
