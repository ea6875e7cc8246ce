"""Models as JSON: the name of a class in `rezoo.models` and its fields; nothing is pickled.

A field is written as a number, a text, None, a list or mapping of these, an array, or the name of a
function with the arguments that were set, and read by the type that the model's class gives it
(`rezoo.data.typed`): a function must be one that this type names. A field that cannot be written down is
left out if it is the class's default, and is an error otherwise.
"""

import dataclasses
import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

import rezoo.models
from rezoo.data import typed
from rezoo.errors import DataError

SIZE = 1_000_000
"""The largest number in a model's fields that needs no array with such an axis: of neighbours, of events."""

RENAMED = {
    "MMoE": {"heads": "task_names"},
    "PLE": {"heads": "task_names", "own": "num_task_experts", "common": "num_shared_experts"},
    "SharedBottom": {"heads": "task_names"},
}
"""Fields by the names that earlier versions wrote, and what they are called now."""


def describe(model: nn.Module, largest: int = 0) -> dict[str, Any]:
    """`{"class": name, "fields": {…}}`, of which `rebuild` makes the same.

    Raises:
      DataError: if the class is not one of `rezoo.models`, or a field cannot be written down.
    """
    name = type(model).__name__
    if getattr(rezoo.models, name, None) is not type(model):
        raise DataError(f"{name} is not a model of rezoo.models, so it cannot be rebuilt from its name")
    fields, kinds = {}, typed.arguments(type(model))
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        try:
            if field.name in kinds:
                fields[field.name] = write(value, kinds[field.name], f"{name}.{field.name}")
        except DataError:
            if value is not field.default:
                raise
    description = {"class": name, "fields": fields}
    rebuild(description, largest)
    return description


def longest(variables: Any) -> int:
    """The longest axis of a model's arrays."""
    return max((axis for leaf in jax.tree.leaves(variables) for axis in np.shape(leaf)), default=0)


def rebuild(description: Any, largest: int) -> nn.Module:
    """The model that `describe` described.

    Args:
      description: what was read from a file.
      largest: the `longest` axis of its arrays: a model of larger numbers cannot be theirs, and is refused
        before anything is made of it.

    Raises:
      DataError: if this rezoo has no such class, or the class no such field, or a field not this value.
    """
    if not isinstance(description, dict) or set(description) != {"class", "fields"}:
        raise DataError("the model is not described by a class and its fields")
    name, fields = description["class"], description["fields"]
    if not isinstance(name, str) or name not in rezoo.models.__all__:
        raise DataError(f"this version of rezoo has no model {name!r}")
    model, kinds = getattr(rezoo.models, name), typed.arguments(getattr(rezoo.models, name))
    if not isinstance(fields, dict):
        raise DataError("the model's fields are not given by name")
    now = RENAMED.get(name, {})
    fields = {str(now.get(field, field)): value for field, value in fields.items()}
    if unknown := sorted(set(fields) - set(kinds)):
        raise DataError(f"{name} of this version of rezoo has no field {unknown[0]!r}")
    try:
        values = {
            field: typed.read(value, kinds[field], f"{name}.{field}") for field, value in fields.items()
        }
    except RecursionError as error:
        raise DataError(f"{name} has models within models, too many of them") from error
    for field, value in values.items():
        for number in _integers(value):
            if not 0 <= number <= max(largest, SIZE):
                raise DataError(f"{name}.{field} = {number}, but no array has more than {largest} rows")
    try:
        return model(**values)
    except TypeError as error:
        raise DataError(f"{name} of this version of rezoo wants another field: {error}") from error
    except ValueError as error:  # a size that no model has
        raise DataError(str(error)) from error


def write(value: Any, kind: Any, place: str) -> Any:
    """A value for JSON, which `typed.read` makes the same of; `place` is what an error calls it.

    Raises:
      DataError: if it is not of the type `kind`.
    """
    written = _encoded(value, place)
    typed.read(written, kind, place)
    return written


def _encoded(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        return {"array": array.tolist(), "dtype": array.dtype.name} if array.ndim else array.item()
    if hasattr(value, "_fields"):
        return {name: _encoded(one, f"{place}.{name}") for name, one in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_encoded(one, place) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"mapping": {key: _encoded(one, f"{place}[{key!r}]") for key, one in value.items()}}
    if isinstance(value, functools.partial):
        function = _encoded(value.func, place)
        given = inspect.signature(value.func).bind_partial(*value.args, **value.keywords).arguments
        return function | {
            "arguments": {name: _encoded(one, f"{place}.{name}") for name, one in given.items()}
        }
    if callable(value) and hasattr(value, "__qualname__"):
        return {"function": typed.called(value)}
    raise DataError(f"{place} is {value!r}, which cannot be saved")


def _integers(value: Any) -> Iterator[int]:
    """Every number of rows, units or layers that a field asks for."""
    if isinstance(value, functools.partial):
        value = value.keywords
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple):
        for one in value:
            yield from _integers(one)
    elif type(value) is int:
        yield value
