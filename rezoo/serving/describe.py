"""Models as JSON: the name of a class in `rezoo.models` and its fields; nothing is pickled.

A field may be a number, a text, None, a list of these, a mapping with text keys, an array, or a
function or class that stands at the top of a module of rezoo. A function of another place can be a
class's default, which is not written down, and nothing else.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import rezoo.models
from rezoo.data.errors import DataError


def describe(model: nn.Module) -> dict[str, Any]:
    """`{"class": name, "fields": {…}}`.

    Raises:
      DataError: if the class is not one of `rezoo.models`, or a field cannot be written down.
    """
    name = type(model).__name__
    if getattr(rezoo.models, name, None) is not type(model):
        raise DataError(f"{name} is not a model of rezoo.models, so it cannot be rebuilt from its name")
    fields = {}
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if field.name in ("parent", "name") or (
            callable(value) and value is field.default and not _own(value)
        ):
            continue
        fields[field.name] = encode(value, f"{name}.{field.name}")
    return {"class": name, "fields": fields}


def rebuild(description: Mapping[str, Any]) -> nn.Module:
    """The model that `describe` described.

    Raises:
      DataError: if this rezoo has no such class, or the class no such field.
    """
    name = description["class"]
    if name not in rezoo.models.__all__:
        raise DataError(f"this version of rezoo has no model {name!r}")
    kind = getattr(rezoo.models, name)
    fields = {field: decode(value) for field, value in description["fields"].items()}
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(fields) - known):
        raise DataError(f"{name} of this version of rezoo has no field {unknown[0]!r}")
    try:
        return kind(**fields)
    except TypeError as error:
        raise DataError(f"{name} of this version of rezoo wants another field: {error}") from error


def encode(value: Any, place: str) -> Any:
    """A value for JSON; `place` is what an error calls it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        return {"array": array.tolist(), "dtype": array.dtype.name} if array.ndim else array.item()
    if isinstance(value, list | tuple):
        return [encode(one, place) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"mapping": {key: encode(one, f"{place}[{key!r}]") for key, one in value.items()}}
    if callable(value) and _own(value):
        return {"function": f"{value.__module__}.{value.__qualname__}"}
    raise DataError(
        f"{place} is {value!r}, which cannot be saved: use a function that stands at the top of a module of "
        "rezoo, a number, a text, or a list, mapping or array of these"
    )


def decode(value: Any) -> Any:
    """What `encode` encoded; lists become tuples, arrays of one number numbers."""
    if isinstance(value, list):
        return tuple(decode(one) for one in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return jnp.array(value["array"], value["dtype"])
    if "mapping" in value:
        return {key: decode(one) for key, one in value["mapping"].items()}
    module, _, name = value["function"].rpartition(".")
    if module.split(".")[0] != "rezoo":
        raise DataError(f"{value['function']} is not a function of rezoo")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"this version of rezoo has no {value['function']}") from error


def _own(value: Any) -> bool:
    """Whether rezoo has this function or class under its own name."""
    module, name = getattr(value, "__module__", "") or "", getattr(value, "__qualname__", ".")
    if module.split(".")[0] != "rezoo":
        return False
    return getattr(importlib.import_module(module), name, None) is value
