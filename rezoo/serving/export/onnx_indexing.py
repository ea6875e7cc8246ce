"""ONNX for JAX's operations that read or write places that are computed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.serving.export.onnx_graph import Graph, unknown


def axes_of(eqn: Any) -> tuple[Any, ...]:
    """Lengths of the first argument's axes."""
    return eqn.invars[0].aval.shape


def gathered(graph: Graph, eqn: Any, given: list[str]) -> str:
    """Slices of one axis at places that are computed: a table's rows, `take_along_axis`, a window."""
    how, sizes, shape = eqn.params["dimension_numbers"], eqn.params["slice_sizes"], axes_of(eqn)
    rank, places = len(shape), len(eqn.invars[1].aval.shape) - 1
    batch = tuple(how.operand_batching_dims)
    (axis,) = how.start_index_map if len(how.start_index_map) == 1 else (-1,)
    whole = all(sizes[n] == shape[n] for n in range(rank) if n != axis and n not in batch)
    if axis < 0 or not whole or batch not in ((), (0,)) or tuple(how.start_indices_batching_dims) != batch:
        raise unknown(eqn, " of several axes at once")
    place = graph.cast(given[1], np.int64)
    if not how.collapsed_slice_dims and not batch and not places:
        end = graph.op("Add", place, graph.length(sizes[axis]))
        return graph.op("Slice", given[0], place, end, graph.ints([axis]))
    if tuple(how.collapsed_slice_dims) != (axis,) or (batch and axis != 1):
        raise unknown(eqn, " of several axes at once")
    last = graph.op("Sub", graph.length(shape[axis]), graph.ints([1]))
    inside = graph.op("Min", graph.op("Max", place, graph.ints([0])), last)
    if batch:
        found = graph.op("GatherND", given[0], inside, batch_dims=1)
    else:
        found = graph.op("Gather", given[0], graph.op("Squeeze", inside, graph.ints([places])), axis=axis)
    if eqn.params["mode"] != jax.lax.GatherScatterMode.FILL_OR_DROP:
        return found
    fits = graph.op("Squeeze", graph.op("Equal", place, inside), graph.ints([places]))
    ahead, behind = (0, rank - 1 - len(batch)) if batch else (axis, rank - 1 - axis)
    if more := [*range(ahead), *range(ahead + places, ahead + places + behind)]:
        fits = graph.op("Unsqueeze", fits, graph.ints(more))
    kind = eqn.outvars[0].aval.dtype
    fill = eqn.params["fill_value"]
    if fill is None:
        fill = np.nan if jnp.issubdtype(kind, np.floating) else np.iinfo(kind).min
    return graph.op("Where", fits, found, graph.const(fill, kind))


def scattered(graph: Graph, eqn: Any, given: list[str]) -> str:
    """Single elements put at places that are computed; those beyond the array go to a row that is cut off."""
    how, rank = eqn.params["dimension_numbers"], len(axes_of(eqn))
    axes, rows = (
        tuple(how.scatter_dims_to_operand_dims),
        (*how.operand_batching_dims, *how.update_window_dims),
    )
    if (*rows, *axes) != tuple(range(rank)) or len(rows) > 1:
        raise unknown(eqn, " of slices")
    length, none = graph.length(axes_of(eqn)[0]), graph.const(0, np.int64)
    place = graph.cast(given[1], np.int64)
    if rows:  # the place within each row, to which the row's own number is added
        shape = eqn.invars[2].aval.shape
        whole = graph.shape([*shape, 1])
        row = graph.op("Range", none, graph.op("Squeeze", length, graph.ints([0])), graph.const(1, np.int64))
        row = graph.op("Unsqueeze", row, graph.ints(range(1, len(shape) + 1)))
        both = (graph.op("Expand", one, whole) for one in (row, place))
        place = graph.op("Concat", *both, axis=-1)
    fits = graph.op("Less", place, graph.shape(axes_of(eqn)))
    fits = graph.op("And", fits, graph.op("GreaterOrEqual", place, none))
    fits = graph.op("ReduceMin", graph.cast(fits, np.int32), graph.ints([-1]), keepdims=1)
    beyond = graph.op("Concat", length, graph.ints([0] * (rank - 1)), axis=0)
    place = graph.op("Where", graph.cast(fits, np.bool_), place, beyond)
    padded = graph.op("Pad", given[0], graph.ints([0] * rank + [1] + [0] * (rank - 1)))
    _, _, how_often = eqn.primitive.name.partition("-")
    found = graph.op("ScatterND", padded, place, given[2], reduction=how_often or "none")
    return graph.op("Slice", found, graph.ints([0]), length, graph.ints([0]))


def windowed(graph: Graph, eqn: Any, given: list[str]) -> str:
    """A slice whose start is computed, moved so far that it lies within the array."""
    sizes = graph.shape(eqn.params["slice_sizes"])
    starts = [graph.op("Reshape", graph.cast(one, np.int64), graph.ints([1])) for one in given[1:]]
    start = graph.op("Max", graph.op("Concat", *starts, axis=0), graph.const(0, np.int64))
    start = graph.op("Min", start, graph.op("Sub", graph.shape(axes_of(eqn)), sizes))
    return graph.op("Slice", given[0], start, graph.op("Add", start, sizes))


def iota(graph: Graph, eqn: Any, given: list[str]) -> str:
    """0, 1, 2 … along one axis."""
    shape, axis, kind = (eqn.params[name] for name in ("shape", "dimension", "dtype"))
    end = graph.op("Squeeze", graph.length(shape[axis]), graph.ints([0]))
    counted = graph.cast(graph.op("Range", graph.const(0), end, graph.const(1)), kind)
    more = [n for n in range(len(shape)) if n != axis]
    counted = graph.op("Unsqueeze", counted, graph.ints(more)) if more else counted
    return graph.op("Expand", counted, graph.shape(shape))
