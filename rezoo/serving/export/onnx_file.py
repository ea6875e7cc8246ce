"""Writes a saved model for ONNX Runtime."""

import importlib.metadata
import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from rezoo.errors import DataError, needed
from rezoo.serving import npz
from rezoo.serving.bundle import Saved
from rezoo.serving.checks import check
from rezoo.serving.export import programs
from rezoo.serving.export.folder import of_ids, shapes_of
from rezoo.serving.export.onnx_graph import IR_VERSION, OPSET, Graph, needed_by, read_by
from rezoo.serving.export.onnx_operations import convert
from rezoo.serving.folder import place
from rezoo.storage import durable

MARK = "onnx.json"
FILES = {MARK, "ids.npz", "recommend.onnx", "predict.onnx"}


def onnx(folder: str | Path, saved: Saved, *, k: int = 100) -> None:
    """Write `recommend.onnx` and `predict.onnx`, with all weights in them, and the raw ids in `ids.npz`.

    Inputs are `user` int32 `[rows]`, `history` int32 `[rows events]` and `features/NAME`, as far as the
    model reads them: dense ids, 0 for the unknown, and fitted features, `[rows …]`, or `[rows events …]` of
    each event of the history; and `exclude` int32 `[rows n]`, 0 for none, or `item` int32 `[rows]`. Types
    and shapes of features and of columns of events stand in `onnx.json`, too. `recommend` gives `ids` int32
    `[rows k]` and `scores`, best first, with id 0 and -inf where there are fewer items; `predict` gives
    `prediction` float32 `[rows]`. The numbers of rows, events and excluded items are open.

    Args:
      folder: where; an export of that name is replaced.
      saved: the model.
      k: length of the lists.

    Raises:
      DataError: if the model has an operation that cannot be written in ONNX here (the message names it),
        its weights are 2 GB or more, `k` is below 1, something else stands there, or the folder cannot be
        written.
      ModuleNotFoundError: without onnx (`pip install 'rezoo[onnx]'`).

    >>> import tempfile
    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx(f"{folder}/shop", shop, k=2)
    ...     json.loads(Path(f"{folder}/shop/onnx.json").read_text())["inputs"]["recommend"]
    ['user', 'exclude']
    """
    check(saved)
    if k < 1:
        raise DataError(f"k = {k}: give 1 or more")
    model, k = programs.parts(saved), min(k, saved.items.size)
    try:
        made = {"recommend": _recommend(model, k), "predict": _predict(model)}
    except DataError as error:
        raise DataError(f"{type(saved.model).__name__} cannot be written for ONNX: {error}") from error
    content = {
        "about": "inputs are dense ids, 1 for the first of ids.npz, and features as they were fitted",
        "rezoo": importlib.metadata.version("rezoo"),
        "model": type(saved.model).__name__,
        "k": k,
        "opset": OPSET,
        "features": shapes_of(model.features),
        "events": shapes_of(model.events),
        "inputs": {name: [one.name for one in proto.graph.input] for name, proto in made.items()},
    }
    try:
        with durable.folder(place(folder, FILES, MARK, "a model for ONNX")) as partial:
            for name, proto in made.items():
                (partial / f"{name}.onnx").write_bytes(proto.SerializeToString())
            npz.write(partial / "ids.npz", of_ids(saved))
            (partial / MARK).write_text(json.dumps(content, indent=1), "utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error}); what was there is as it was") from error


def _recommend(model: programs.Parts, k: int) -> Any:
    """The k highest of the scores of all items but those that are excluded."""
    graph, inputs, score = _traced(model, programs.scores)
    lowest, none, zero = graph.const(-np.inf, np.float32), graph.const(0, np.int32), graph.const(0, np.int64)
    score = graph.op("Where", graph.op("IsNaN", score), lowest, score)
    beyond = graph.op("Greater", "exclude", graph.const(model.saved.items.size - 1, np.int32))
    hidden = graph.op("Max", graph.op("Where", beyond, none, "exclude"), none)
    first = graph.op("Concat", graph.op("Shape", score, start=0, end=1), graph.ints([1]), axis=0)
    hidden = graph.op("Concat", graph.op("Expand", none, first), hidden, axis=1)  # item 0 is in no list
    gone = graph.op("Expand", lowest, graph.op("Shape", hidden))
    score = graph.op("ScatterElements", score, hidden, gone, axis=1)
    top, item = graph.op("TopK", score, graph.ints([k]), outputs=2, axis=1)
    item = graph.op("Where", graph.op("Equal", top, lowest), zero, item)
    inputs["exclude"] = jax.ShapeDtypeStruct(jax.export.symbolic_shape("rows, excluded"), jnp.int32)
    made = {"ids": (graph.cast(item, np.int32), np.int32), "scores": (top, np.float32)}
    return _model(graph, inputs, made, ["rows", k])


def _predict(model: programs.Parts) -> Any:
    graph, inputs, star = _traced(model, programs.predicted, "item")
    return _model(graph, inputs, {"prediction": (star, np.float32)}, ["rows"])


def _traced(model: programs.Parts, function: Any, *more: str) -> tuple[Graph, dict[str, Any], str]:
    """A function of a question and of further int32 `[rows]` as a graph, what it reads, and its value."""
    served, query = programs.arguments(model, *jax.export.symbolic_shape("rows, events"))
    takes = served, query, *[query["user"]] * len(more)
    names = [
        jax.tree.map_with_path(lambda path, _: path[-1].key, served),
        jax.tree.map_with_path(lambda path, _: "/".join(one.key for one in path), query),
    ]
    order, shapes = [*jax.tree.leaves(names), *more], jax.tree.leaves(takes)
    traced = jax.make_jaxpr(partial(function, model))(*takes)
    weights = dict(model.variables)
    if served["table"] is not None:
        weights["table"] = jax.jit(partial(programs.table, model))(model.variables)
    read = needed_by(traced.jaxpr)
    every = dict(zip(order, zip(traced.jaxpr.invars, shapes, strict=True), strict=True))
    inputs = {name: one for name, (var, one) in every.items() if var in read and name not in weights}
    inputs = inputs or {"user": query["user"]}
    graph = Graph()
    for name in every.keys() & weights.keys():
        graph.const(weights[name], name=name)
    for name, one in inputs.items():
        for axis, symbol in enumerate(map(str, one.shape)):
            if symbol in ("rows", "events") and symbol not in graph.sizes:
                graph.sizes[symbol] = graph.op("Shape", name, start=axis, end=axis + 1)
    (value,) = convert(graph, traced, order)
    return graph, inputs, value


def _model(graph: Graph, inputs: dict[str, Any], made: dict[str, Any], shape: list[Any]) -> Any:
    """The finished model, checked; what it gives has one shape."""
    helper, info = needed("onnx.helper"), needed("onnx.helper").make_tensor_value_info
    named = [helper.make_node("Identity", [value], [name]) for name, (value, _) in made.items()]
    nodes = [*graph.nodes, *named]
    takes = [
        info(
            name, graph.kind(one.dtype), [axis if isinstance(axis, int) else str(axis) for axis in one.shape]
        )
        for name, one in inputs.items()
    ]
    gives = [info(name, graph.kind(kind), shape) for name, (_, kind) in made.items()]
    stored = sorted(read_by(nodes) & set(graph.arrays))
    if sum(graph.arrays[name].nbytes for name in stored) >= 2**31 - 2**20:
        raise DataError("its weights are more than the 2 GB that a file of ONNX can hold")
    arrays = [needed("onnx.numpy_helper").from_array(graph.arrays[name], name) for name in stored]
    whole = helper.make_graph(nodes, "rezoo", takes, gives, arrays)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    needed("onnx.checker").check_model(model)
    return model
