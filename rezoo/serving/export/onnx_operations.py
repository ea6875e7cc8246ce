"""ONNX (https://onnx.ai/onnx/operators) for the operations of JAX that models here use."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.extend.core
import jax.numpy as jnp
import numpy as np

from rezoo.serving.export.onnx_graph import Graph, needed_by, unknown
from rezoo.serving.export.onnx_indexing import axes_of, gathered, iota, scattered, windowed

SAME = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow",
    "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal",
    "tanh": "Tanh", "logistic": "Sigmoid", "exp": "Exp", "log": "Log", "neg": "Neg", "abs": "Abs",
    "sqrt": "Sqrt", "erf": "Erf", "floor": "Floor", "sign": "Sign", "copy": "Identity",
    "stop_gradient": "Identity", "sin": "Sin", "cos": "Cos",
}  # fmt: skip
CALLS = {"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2"}
REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}


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
            raise unknown(eqn)
        made = [made] if isinstance(made, str) else made
        if kind in ("add", "sub", "mul") and eqn.outvars[0].aval.dtype == np.uint32:
            made = [graph.op("Mod", made[0], graph.const(2**32))]
        names |= dict(zip(eqn.outvars, made, strict=True))
    return [read(atom) for atom in jaxpr.jaxpr.outvars]


def closed(jaxpr: Any) -> Any:
    """A jaxpr without constants as a closed one."""
    return jax.extend.core.ClosedJaxpr(jaxpr, [])


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
    return _over(graph, REDUCTIONS[eqn.primitive.name], given[0], eqn.params["axes"])


def _over(graph: Graph, kind: str, value: str, axes: Sequence[int]) -> str:
    """A reduction over some axes; ONNX takes none for all of them."""
    return graph.op(kind, value, graph.ints(axes), keepdims=0) if axes else value


def _any(graph: Graph, eqn: Any, given: list[str]) -> str:
    kind = "ReduceMax" if eqn.primitive.name == "reduce_or" else "ReduceMin"
    return graph.cast(_over(graph, kind, graph.cast(given[0], np.int32), eqn.params["axes"]), np.bool_)


def _padded(graph: Graph, eqn: Any, given: list[str]) -> str:
    low, high, inside = zip(*eqn.params["padding_config"], strict=True)
    if any(inside):
        raise unknown(eqn, " between elements")
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


def _top(graph: Graph, eqn: Any, given: list[str]) -> list[str]:
    count = graph.ints([eqn.params["k"]])
    value, place = graph.op("TopK", given[0], count, outputs=2, axis=eqn.params["axis"])
    return [value, graph.cast(place, np.int32)]


def _highest(graph: Graph, eqn: Any, given: list[str]) -> str:
    """The highest value so far along the last axis."""
    kind, last = eqn.invars[0].aval.dtype, len(axes_of(eqn)) - 1
    if eqn.params["axis"] != last or eqn.params["reverse"]:
        raise unknown(eqn, " along another axis than the last")
    length = graph.length(axes_of(eqn)[last])
    ones = graph.op("Expand", graph.const(1, np.int64), graph.op("Concat", length, length, axis=0))
    so_far = graph.cast(graph.op("Trilu", ones, upper=0), np.bool_)
    least = -np.inf if jnp.issubdtype(kind, np.floating) else np.iinfo(kind).min
    each = graph.op(
        "Where", so_far, graph.op("Unsqueeze", given[0], graph.ints([last])), graph.const(least, kind)
    )
    return graph.op("ReduceMax", each, graph.ints([-1]), keepdims=0)


def _scan(graph: Graph, eqn: Any, given: list[str]) -> list[str]:
    """A loop over the first axis; what is the same in each turn is read from outside of the loop."""
    info, inner = graph.onnx.helper.make_tensor_value_info, eqn.params["jaxpr"]
    if "ft_in" in eqn.params:  # JAX 0.12
        consts, carried, _ = map(len, eqn.params["ft_in"].unpack())
    else:
        consts, carried = eqn.params["num_consts"], eqn.params["num_carry"]
    body, atoms = Graph(graph), inner.jaxpr.invars[consts:]
    names = [body.name("turn") for _ in atoms]
    made = [body.op("Identity", one) for one in convert(body, inner, [*given[:consts], *names])]
    takes, gives = (
        [info(name, graph.kind(one.dtype), _open(one.shape)) for name, one in zip(named, kinds, strict=True)]
        for named, kinds in ((names, [one.aval for one in atoms]), (made, inner.out_avals))
    )
    over = given[consts:]
    if len(over) == carried:  # ONNX goes over something
        end = graph.op("Squeeze", graph.length(eqn.params["length"]), graph.ints([0]))
        over = [*over, graph.op("Range", graph.const(0, np.int64), end, graph.const(1, np.int64))]
        takes.append(info(body.name("turn"), graph.kind(np.int64), []))
    scanned, backwards = len(over) - carried, int(eqn.params["reverse"])
    found = graph.op(
        "Scan",
        *over,
        outputs=len(made),
        body=graph.onnx.helper.make_graph(body.nodes, "turn", takes, gives),
        num_scan_inputs=scanned,
        scan_input_directions=[backwards] * scanned,
        **({"scan_output_directions": [backwards] * stacked} if (stacked := len(made) - carried) else {}),
    )
    return [found] if isinstance(found, str) else found


def _open(shape: Sequence[Any]) -> list[Any]:
    """Lengths that are known."""
    return [one if isinstance(one, int | np.integer) else None for one in shape]


def _selected(graph: Graph, eqn: Any, given: list[str]) -> str:
    which, otherwise, value = given
    if eqn.outvars[0].aval.dtype != np.bool_:
        return graph.op("Where", which, value, otherwise)
    kept = graph.op("And", graph.op("Not", which), otherwise)  # ONNX Runtime has no Where of booleans
    return graph.op("Or", graph.op("And", which, value), kept)


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
    "cummax": _highest,
    "dim_as_value": lambda g, e, x: g.cast(g.op("Squeeze", g.length(e.params["dim"]), g.ints([0])), np.int32),
    "dot_general": _product,
    "dynamic_slice": windowed,
    "expand_dims": lambda g, e, x: g.op("Unsqueeze", x[0], g.ints(e.params["dimensions"])),
    "expm1": lambda g, e, x: g.op("Sub", g.op("Exp", x[0]), g.const(1, np.float32)),
    "gather": gathered,
    "integer_pow": lambda g, e, x: g.op("Pow", x[0], g.const(e.params["y"], e.invars[0].aval.dtype)),
    "iota": iota,
    "is_finite": lambda g, e, x: g.op("Not", g.op("Or", g.op("IsInf", x[0]), g.op("IsNaN", x[0]))),
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
    **dict.fromkeys(("scatter", "scatter-add", "scatter-max", "scatter-min"), scattered),
    "select_n": _selected,
    "slice": lambda g, e, x: g.op(
        "Slice",
        x[0],
        g.shape(e.params["start_indices"]),
        g.shape(e.params["limit_indices"]),
        g.ints(range(len(axes_of(e)))),
        g.ints(e.params["strides"] or [1] * len(axes_of(e))),
    ),
    "split": lambda g, e, x: g.op(
        "Split", x[0], g.shape(e.params["sizes"]), outputs=len(e.params["sizes"]), axis=e.params["axis"]
    ),
    "square": lambda g, e, x: g.op("Mul", x[0], x[0]),
    "squeeze": lambda g, e, x: g.op("Squeeze", x[0], g.ints(e.params["dimensions"])),
    "stack": lambda g, e, x: g.op(
        "Concat", *(g.op("Unsqueeze", one, g.ints([e.params["axis"]])) for one in x), axis=e.params["axis"]
    ),
    "top_k": _top,
    "transpose": lambda g, e, x: g.op("Transpose", x[0], perm=e.params["permutation"]),
    **dict.fromkeys(REDUCTIONS, _reduced),
}
