"""ONNX (https://onnx.ai/onnx/operators) from the operations that JAX traces, for those that models here use.

Numbers of rows and events stay open: a length that JAX writes as a symbol is read from an input's shape.
Unsigned integers, with which few operators of ONNX compute, are int64, cut to 32 bits after each operation.
"""

import ast
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from rezoo.errors import DataError, needed

OPSET, IR_VERSION = 18, 8
SAME = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow",
    "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal",
    "tanh": "Tanh", "logistic": "Sigmoid", "exp": "Exp", "log": "Log", "neg": "Neg", "abs": "Abs",
    "sqrt": "Sqrt", "erf": "Erf", "floor": "Floor", "sign": "Sign", "copy": "Identity",
    "stop_gradient": "Identity", "cumsum": "CumSum",
}  # fmt: skip
CALLS = {"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2"}
REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}


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


def convert(graph: Graph, jaxpr: Any, inputs: Sequence[str]) -> list[str]:
    """The values of a closed jaxpr's outputs, of inputs by name.

    Raises:
      DataError: if it has an operation that is not known here; the message names it.
    """
    names = dict(zip(jaxpr.jaxpr.invars, inputs, strict=True))
    names |= {var: graph.const(value) for var, value in zip(jaxpr.jaxpr.constvars, jaxpr.consts, strict=True)}

    def read(atom: Any) -> str:
        return graph.const(atom.val, atom.aval.dtype) if hasattr(atom, "val") else names[atom]

    alive = needed_by(jaxpr.jaxpr)
    for eqn in jaxpr.jaxpr.eqns:
        if not alive.intersection(eqn.outvars):
            continue
        kind = eqn.primitive.name
        given = [read(atom) for atom in eqn.invars]
        if kind in CALLS:
            inner = eqn.params.get("jaxpr") or eqn.params["call_jaxpr"]
            made = convert(graph, inner if hasattr(inner, "consts") else closed(inner), given)
        elif kind in OPERATIONS:
            made = OPERATIONS[kind](graph, eqn, given)
        elif kind in SAME:
            made = graph.op(SAME[kind], *given)
        else:
            raise DataError(f"JAX's operation {kind!r} is not among those that are written in ONNX here")
        made = [made] if isinstance(made, str) else made
        if kind in ("add", "sub", "mul") and eqn.outvars[0].aval.dtype == np.uint32:
            made = [graph.op("Mod", made[0], graph.const(2**32))]
        names |= dict(zip(eqn.outvars, made, strict=True))
    return [read(atom) for atom in jaxpr.jaxpr.outvars]


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


def closed(jaxpr: Any) -> Any:
    """A jaxpr without constants as a closed one."""
    return jax.extend.core.ClosedJaxpr(jaxpr, [])


def _axes(eqn: Any) -> tuple[Any, ...]:
    return eqn.invars[0].aval.shape


def _broadcast(graph: Graph, eqn: Any, given: list[str]) -> str:
    shape, kept = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    value, more = given[0], [axis for axis in range(len(shape)) if axis not in kept]
    if more and kept:
        value = graph.op("Unsqueeze", value, graph.ints(more))
    return graph.op("Expand", value, graph.shape(shape))


def _cast(graph: Graph, eqn: Any, given: list[str]) -> str:
    value = graph.cast(given[0], eqn.params["new_dtype"])
    return graph.op("Mod", value, graph.const(2**32)) if eqn.params["new_dtype"] == np.uint32 else value


def _logical(word: str) -> Callable[..., str]:
    def made(graph: Graph, eqn: Any, given: list[str]) -> str:
        truth = eqn.invars[0].aval.dtype == np.bool_
        return graph.op(word if truth else f"Bitwise{word}", *given)

    return made


def _reduced(graph: Graph, eqn: Any, given: list[str]) -> str:
    axes = graph.ints(eqn.params["axes"])
    return graph.op(REDUCTIONS[eqn.primitive.name], given[0], axes, keepdims=0)


def _any(graph: Graph, eqn: Any, given: list[str]) -> str:
    kind = "ReduceMax" if eqn.primitive.name == "reduce_or" else "ReduceMin"
    found = graph.op(kind, graph.cast(given[0], np.int32), graph.ints(eqn.params["axes"]), keepdims=0)
    return graph.cast(found, np.bool_)


def _padded(graph: Graph, eqn: Any, given: list[str]) -> str:
    low, high, inside = zip(*eqn.params["padding_config"], strict=True)
    if any(inside):
        raise DataError("JAX's operation 'pad' between elements is not written in ONNX here")
    return graph.op("Pad", given[0], graph.ints([*low, *high]), given[1])


def _product(graph: Graph, eqn: Any, given: list[str]) -> str:
    (left, right), (left_rows, right_rows) = eqn.params["dimension_numbers"]
    ranks = [len(atom.aval.shape) for atom in eqn.invars]
    if not left_rows and ranks[1] == 2 and tuple(left) == (ranks[0] - 1,) and tuple(right) == (0,):
        return graph.op("MatMul", *given)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    one = [next(letters) for _ in range(ranks[0])]
    two = [next(letters) for _ in range(ranks[1])]
    for a, b in zip((*left, *left_rows), (*right, *right_rows), strict=True):
        two[b] = one[a]
    rows = [one[axis] for axis in left_rows]
    gone = {one[axis] for axis in left} | set(rows)
    free = [letter for letter in (*one, *two) if letter not in gone]
    return graph.op("Einsum", *given, equation=f"{''.join(one)},{''.join(two)}->{''.join([*rows, *free])}")


def _gathered(graph: Graph, eqn: Any, given: list[str]) -> str:
    """Slices of one axis at places that are computed: a table's rows, `take_along_axis`, a window."""
    how, sizes, shape = eqn.params["dimension_numbers"], eqn.params["slice_sizes"], _axes(eqn)
    rank, places = len(shape), len(eqn.invars[1].aval.shape) - 1
    batch = tuple(how.operand_batching_dims)
    (axis,) = how.start_index_map if len(how.start_index_map) == 1 else (-1,)
    whole = all(sizes[n] == shape[n] for n in range(rank) if n != axis and n not in batch)
    if axis < 0 or not whole or batch not in ((), (0,)) or tuple(how.start_indices_batching_dims) != batch:
        raise DataError("JAX's operation 'gather' of several axes at once is not written in ONNX here")
    place = graph.cast(given[1], np.int64)
    if not how.collapsed_slice_dims and not batch and not places:
        end = graph.op("Add", place, graph.length(sizes[axis]))
        return graph.op("Slice", given[0], place, end, graph.ints([axis]))
    if tuple(how.collapsed_slice_dims) != (axis,) or (batch and axis != 1):
        raise DataError("JAX's operation 'gather' of several axes at once is not written in ONNX here")
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


def _iota(graph: Graph, eqn: Any, given: list[str]) -> str:
    shape, axis, kind = (eqn.params[name] for name in ("shape", "dimension", "dtype"))
    end = graph.op("Squeeze", graph.length(shape[axis]), graph.ints([0]))
    counted = graph.cast(graph.op("Range", graph.const(0), end, graph.const(1)), kind)
    more = [n for n in range(len(shape)) if n != axis]
    counted = graph.op("Unsqueeze", counted, graph.ints(more)) if more else counted
    return graph.op("Expand", counted, graph.shape(shape))


def _scan(graph: Graph, eqn: Any, given: list[str]) -> list[str]:
    """A loop over the first axis; what is the same in each turn is read from outside of the loop."""
    helper, inner, consts = graph.onnx.helper, eqn.params["jaxpr"], eqn.params["num_consts"]
    carried = eqn.params["num_carry"]
    if len(given) == consts + carried:
        raise DataError("JAX's operation 'scan' over nothing is not written in ONNX here")
    body, atoms = Graph(graph), inner.jaxpr.invars[consts:]
    names = [body.name("turn") for _ in atoms]
    made = [body.op("Identity", one) for one in convert(body, inner, [*given[:consts], *names])]
    outer = [
        helper.make_tensor_value_info(n, graph.kind(a.aval.dtype), None)
        for n, a in zip(names, atoms, strict=True)
    ]
    out = [
        helper.make_tensor_value_info(n, graph.kind(a.aval.dtype), None)
        for n, a in zip(made, inner.jaxpr.outvars, strict=True)
    ]
    scanned, backwards = len(names) - carried, int(eqn.params["reverse"])
    found = graph.op(
        "Scan",
        *given[consts:],
        outputs=len(made),
        body=helper.make_graph(body.nodes, "turn", outer, out),
        num_scan_inputs=scanned,
        scan_input_directions=[backwards] * scanned,
        scan_output_directions=[backwards] * (len(made) - carried),
    )
    return [found] if isinstance(found, str) else found


OPERATIONS: dict[str, Callable[[Graph, Any, list[str]], Any]] = {
    "and": _logical("And"),
    "argmax": lambda g, e, x: g.cast(
        g.op("ArgMax", x[0], axis=e.params["axes"][0], keepdims=0), e.params["index_dtype"]
    ),
    "broadcast_in_dim": _broadcast,
    "clamp": lambda g, e, x: g.op("Min", g.op("Max", x[1], x[0]), x[2]),
    "concatenate": lambda g, e, x: g.op("Concat", *x, axis=e.params["dimension"]),
    "convert_element_type": _cast,
    "cumsum": lambda g, e, x: g.op(
        "CumSum", x[0], g.const(e.params["axis"]), reverse=int(e.params["reverse"])
    ),
    "dim_as_value": lambda g, e, x: g.cast(g.op("Squeeze", g.length(e.params["dim"]), g.ints([0])), np.int32),
    "dot_general": _product,
    "expand_dims": lambda g, e, x: g.op("Unsqueeze", x[0], g.ints(e.params["dimensions"])),
    "expm1": lambda g, e, x: g.op("Sub", g.op("Exp", x[0]), g.const(1, np.float32)),
    "gather": _gathered,
    "integer_pow": lambda g, e, x: g.op("Pow", x[0], g.const(e.params["y"], e.invars[0].aval.dtype)),
    "iota": _iota,
    "log1p": lambda g, e, x: g.op("Log", g.op("Add", x[0], g.const(1, np.float32))),
    "ne": lambda g, e, x: g.op("Not", g.op("Equal", *x)),
    "not": _logical("Not"),
    "or": _logical("Or"),
    "pad": _padded,
    "reduce_and": _any,
    "reduce_or": _any,
    "rem": lambda g, e, x: g.op("Mod", *x, fmod=1),
    "reshape": lambda g, e, x: g.op("Reshape", x[0], g.shape(e.params["new_sizes"])),
    "rsqrt": lambda g, e, x: g.op("Reciprocal", g.op("Sqrt", x[0])),
    "scan": _scan,
    "select_n": lambda g, e, x: g.op("Where", x[0], x[2], x[1]),
    "slice": lambda g, e, x: g.op(
        "Slice",
        x[0],
        g.shape(e.params["start_indices"]),
        g.shape(e.params["limit_indices"]),
        g.ints(range(len(_axes(e)))),
        g.ints(e.params["strides"] or [1] * len(_axes(e))),
    ),
    "split": lambda g, e, x: g.op(
        "Split", x[0], g.shape(e.params["sizes"]), outputs=len(e.params["sizes"]), axis=e.params["axis"]
    ),
    "square": lambda g, e, x: g.op("Mul", x[0], x[0]),
    "squeeze": lambda g, e, x: g.op("Squeeze", x[0], g.ints(e.params["dimensions"])),
    "stack": lambda g, e, x: g.op(
        "Concat", *(g.op("Unsqueeze", one, g.ints([e.params["axis"]])) for one in x), axis=e.params["axis"]
    ),
    "transpose": lambda g, e, x: g.op("Transpose", x[0], perm=e.params["permutation"]),
    **dict.fromkeys(REDUCTIONS, _reduced),
}
