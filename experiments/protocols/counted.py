"""Bytes of a step: what its collectives send, and what each device's memory reads and writes."""

import math
import re
from typing import Any

import jax
import numpy as np

COLLECTIVE = re.compile(r"= (.*?) (all-to-all|all-gather|all-reduce|reduce-scatter)(?:-start)?\(")
ARRAY = re.compile(r"(pred|s8|u8|s32|u32|f32|s64|f64)\[([\d,]*)\]")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s64": 8, "f64": 8}
WHOLE = ("all_to_all", "all_gather", "reduce_scatter", "cumsum", "dot_general")
"""Operations that read their inputs from memory and write their results there."""
SORTING = 4
"""Times that a sort of 32-bit keys reads and writes them, by eight bits at a time."""
BURST = 64
"""Bytes that memory reads or writes at least for a row anywhere."""


def sent_bytes(program: Any) -> float:
    """Bytes of the results of a device's collectives, in a compiled program."""
    return float(sum(_array_bytes(result) for result, _ in COLLECTIVE.findall(program.as_text())))


def collectives(program: Any) -> int:
    """How many there are in a compiled program."""
    return len(COLLECTIVE.findall(program.as_text()))


def memory_bytes(function: Any, *arguments: Any, devices: int = 1) -> float:
    """Bytes that each device's memory reads and writes at least, where all else is fused.

    Counted are rows looked up or written, by the rows and not by their table, sorts, products, and what
    collectives take and give. What stands outside of `jax.shard_map` is divided evenly.

    Args:
      function: of arrays, without loops.
      arguments: arrays or shapes.
      devices: over which the batch is spread.

    Raises:
      ValueError: if there is a loop.
    """
    return _bytes(jax.make_jaxpr(function)(*arguments).jaxpr, 1 / devices)


def _array_bytes(text: str) -> int:
    """Bytes of the arrays that a result of an instruction consists of."""
    sizes = ((kind, [int(n) for n in shape.split(",") if n]) for kind, shape in ARRAY.findall(text))
    return sum(BYTES.get(kind, 4) * int(np.prod(shape, dtype=np.int64)) for kind, shape in sizes)


def _bytes(program: Any, share: float) -> float:
    total = 0.0
    for one in program.eqns:
        name = one.primitive.name
        if name in ("while", "scan"):
            raise ValueError(f"a loop ({name}) is run an unknown number of times: give a function without")
        if name == "gather" or name.startswith("scatter"):
            total += share * _rows(name, one)
        elif inner := [below for value in one.params.values() for below in _programs(value)]:
            total += sum(_bytes(below, 1.0 if name == "shard_map" else share) for below in inner)
        elif name == "sort":
            total += share * 2 * SORTING * sum(map(_size, one.invars))
        elif name in WHOLE:
            total += share * sum(map(_size, (*one.invars, *one.outvars)))
    return total


def _rows(name: str, one: Any) -> float:
    """Of rows that lie anywhere: those, their numbers, and the array that they are copied to or from."""
    index = one.invars[1]
    moved = _size(one.outvars[0] if name == "gather" else one.invars[2])
    anywhere = max(moved, BURST * math.prod(index.aval.shape[:-1]))
    times = 1 if name in ("gather", "scatter") else 2  # to add to a row is to read it and to write it
    return _size(index) + moved + times * anywhere


def _programs(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [below for one in value for below in _programs(one)]
    value = getattr(value, "jaxpr", value)
    return [value] if hasattr(value, "eqns") else []


def _size(variable: Any) -> int:
    return math.prod(variable.aval.shape) * variable.aval.dtype.itemsize
