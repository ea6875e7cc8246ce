"""An ONNX graph under construction (https://onnx.ai/onnx/intro/concepts.html).

Numbers of rows and events stay open: a length that JAX writes as a symbol is read from an input's shape.
Unsigned integers, with which few operators of ONNX compute, are int64, cut to 32 bits after each operation.
"""

import ast
from collections.abc import Sequence
from typing import Any

import numpy as np

from rezoo.errors import DataError, needed

OPSET, IR_VERSION = 18, 8


class Graph:
    """Nodes under construction; values are known by their names."""

    def __init__(self, above: "Graph | None" = None):
        self.onnx = needed("onnx")
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = above.arrays if above else {}
        self.sizes: dict[str, str] = above.sizes if above else {}
        """Where each symbol's length stands: int64 `[1]`."""
        self.count: list[int] = above.count if above else [0]

    def name(self, kind: str) -> str:
        self.count[0] += 1
        return f"{kind}_{self.count[0]}"

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The value of a node, or its values where there are several."""
        made = [self.name(kind) for _ in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, made, **attributes))
        return made[0] if outputs == 1 else made

    def const(self, value: Any, kind: Any = None, name: str | None = None) -> str:
        array = np.asarray(value, kind)
        array = array.astype(np.int64) if array.dtype.kind == "u" else array
        name = name or self.name("constant")
        self.arrays[name] = array
        return name

    def ints(self, values: Sequence[Any]) -> str:
        return self.const(list(values), np.int64)

    def shape(self, axes: Sequence[Any]) -> str:
        """Lengths of axes, int64 `[n]`."""
        if all(isinstance(one, int | np.integer) for one in axes):
            return self.ints(axes)
        return self.op("Concat", *map(self.length, axes), axis=0)

    def length(self, axis: Any) -> str:
        """Length of an axis, int64 `[1]`."""
        if isinstance(axis, int | np.integer):
            return self.ints([axis])
        return self._evaluated(ast.parse(str(axis), mode="eval").body)

    def _evaluated(self, tree: ast.AST) -> str:
        operators = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul"}
        if isinstance(tree, ast.Name) and tree.id in self.sizes:
            return self.sizes[tree.id]
        if isinstance(tree, ast.Constant) and isinstance(tree.value, int):
            return self.ints([tree.value])
        if isinstance(tree, ast.BinOp) and type(tree.op) in operators:
            sides = self._evaluated(tree.left), self._evaluated(tree.right)
            return self.op(operators[type(tree.op)], *sides)
        raise DataError(f"the length {ast.unparse(tree)} of an axis cannot be written in ONNX")

    def kind(self, dtype: Any) -> int:
        """ONNX's number of a type."""
        if dtype == np.uint32:
            dtype = np.int64
        return self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def cast(self, value: str, dtype: Any) -> str:
        return self.op("Cast", value, to=self.kind(dtype))


def needed_by(jaxpr: Any) -> set[Any]:
    """The variables on which the outputs of a jaxpr depend."""
    found = {atom for atom in jaxpr.outvars if not hasattr(atom, "val")}
    for eqn in reversed(jaxpr.eqns):
        if found.intersection(eqn.outvars):
            found |= {atom for atom in eqn.invars if not hasattr(atom, "val")}
    return found


def read_by(nodes: Sequence[Any]) -> set[str]:
    """The values that nodes read, in their bodies too."""
    found = {name for node in nodes for name in node.input}
    for node in nodes:
        for attribute in node.attribute:
            found |= read_by(attribute.g.node)
    return found


def unknown(operation: Any, how: str = "") -> DataError:
    """The error for an operation of JAX, or a way to use it, that is not written in ONNX here."""
    return DataError(f"JAX's operation {operation.primitive.name!r}{how} is not written in ONNX here")
