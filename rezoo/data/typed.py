"""Values from JSON, checked against type annotations; a value of any other type is refused.

A type is `bool`, `int`, `float`, `str`, None, an array, a sequence, a mapping with text keys, a
`NamedTuple`, a union of these, or one that names what it allows:

    Annotated[int, range(1, 100)]                     # one of these numbers
    Annotated[Callable[..., nn.Module], GRU, LSTM]    # one of these functions or classes
    Annotated[Callable[..., nn.Module], "rezoo.models.session"]    # or what this package exports

A function is looked up among those of its type, so that a file cannot name any other, and may come
with arguments, which are read by the function's own annotations.
"""

import functools
import importlib
import inspect
import json
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.errors import DataError

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES += ("float16", "bfloat16", "float32", "float64")
MOVED = {
    f"rezoo.serving.saved.{name}": f"rezoo.serving.bundle.{name}" for name in ("identity", "probability")
}
"""Functions by the names that earlier versions wrote, and where they are now."""
LONGEST = 10_000
"""Elements of a sequence or a mapping."""


def from_file(path: Path, most: int) -> Any:
    """The JSON of a file of at most `most` bytes.

    Raises:
      DataError: if there is no such file, or it is larger, or is not JSON.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path} is missing, or is not a file")
        if (size := path.stat().st_size) > most:
            raise DataError(f"{path} has {size} bytes, more than the {most} that are read")
        return json.loads(path.read_bytes().decode())
    except DataError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def read(value: Any, kind: Any, place: str) -> Any:
    """A value of the type `kind`; `place` is what an error calls it. Sequences become tuples.

    Raises:
      DataError: if it is not of this type.

    >>> read([64, 32], Sequence[int], "widths")
    (64, 32)
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated and isinstance(args[1], range):
        if (number := read(value, args[0], place)) not in args[1]:
            raise DataError(f"{place} = {number} is not within {args[1].start} … {args[1].stop - 1}")
        return number
    if origin is Annotated and get_origin(args[0]) is Callable:
        return _function(value, args[1:], place)
    if origin is Annotated:
        return read(value, args[0], place)
    if origin in (Union, types.UnionType):
        return _first(value, args, place)
    if origin in (tuple, Sequence):
        return _sequence(value, args, place)
    if origin is Mapping:
        return _mapping(value, args[1], place)
    if hasattr(kind, "_fields"):
        return _named(value, kind, place)
    special = {jax.Array: _array, np.ndarray: column, float: _float, int: _int, str: _text}
    if kind in special:
        return special[kind](value, place)
    if kind not in (bool, types.NoneType) or type(value) is not kind:
        raise _expected(value, getattr(kind, "__name__", str(kind)), place)
    return value


def called(function: Callable[..., Any]) -> str:
    """The name that a function or class is written by, which for JAX's own is that of its public module."""
    name = getattr(function, "__name__", "")
    if getattr(jax.nn, name, None) is function:
        return f"jax.nn.{name}"
    return f"{function.__module__}.{function.__qualname__}"


def arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """The type of each argument of a function, or of each field of a module."""
    hints = get_type_hints(function, include_extras=True)
    names = inspect.signature(function).parameters
    return {name: hints[name] for name in names if name in hints and name not in ("parent", "name")}


def column(value: Any, place: str) -> np.ndarray:
    """A list of texts, truth values, integers or floats as an array `[n]`.

    Raises:
      DataError: if it is not a list, or of several types, or has NaN or integers beyond 64 bits.
    """
    kinds = set(map(type, value)) if isinstance(value, list) else {dict}
    if kinds == {str}:
        return np.array([_text(one, place) for one in value])
    if kinds <= {int, float} or kinds == {bool}:
        array = np.array(value)
        if array.dtype.kind in "biuf" and not np.isnan(array).any():
            return array
    raise _expected(value, "list of texts or of numbers", place)


def _function(value: Any, allowed: tuple[Any, ...], place: str) -> Any:
    """One of the functions that a type names, perhaps with arguments."""
    if not isinstance(value, dict) or not {"function"} <= set(value) <= {"function", "arguments"}:
        raise _expected(value, "function", place)
    wanted = MOVED.get(value["function"], value["function"]) if isinstance(value["function"], str) else None
    found = next((one for one in _all_of(allowed) if called(one) == wanted), None)
    if found is None:
        names = ", ".join(f"one of {one}" if isinstance(one, str) else called(one) for one in allowed)
        raise DataError(f"{place} is {_shown(value['function'])}, but can only be {names}")
    if "arguments" not in value:
        return found
    given, known = value["arguments"], arguments(found)
    if not isinstance(given, dict) or not set(given) <= set(known):
        raise _expected(given, f"mapping with arguments of {called(found)} ({', '.join(known)})", place)
    return functools.partial(
        found, **{name: read(one, known[name], f"{place}.{name}") for name, one in given.items()}
    )


def _all_of(allowed: Iterable[Any]) -> Iterator[Any]:
    """Functions and classes, with those that a package among them exports."""
    for one in allowed:
        if isinstance(one, str):
            package = importlib.import_module(one)
            yield from (getattr(package, name) for name in package.__all__)
        else:
            yield one


def _first(value: Any, kinds: tuple[Any, ...], place: str) -> Any:
    """The value as the first of several types that it fits."""
    errors = []
    for kind in kinds:
        try:
            return read(value, kind, place)
        except DataError as error:
            errors.append(str(error))
    raise DataError(", or ".join(errors))


def _sequence(value: Any, kinds: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    """`Sequence[T]`, or a tuple of fixed length."""
    kinds = kinds[:1] if kinds[-1] is Ellipsis else kinds
    if not isinstance(value, list) or len(value) > LONGEST:
        raise _expected(value, f"list of at most {LONGEST}", place)
    kinds = kinds * len(value) if len(kinds) == 1 else kinds
    if len(value) != len(kinds):
        raise _expected(value, f"list of {len(kinds)}", place)
    return tuple(read(one, kind, place) for one, kind in zip(value, kinds, strict=True))


def _mapping(value: Any, kind: Any, place: str) -> dict[str, Any]:
    inner = value.get("mapping") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(inner, dict) or len(inner) > LONGEST:
        raise _expected(value, f"mapping of at most {LONGEST}", place)
    return {_text(key, place): read(one, kind, f"{place}[{key!r}]") for key, one in inner.items()}


def _named(value: Any, kind: Any, place: str) -> Any:
    """A `NamedTuple` from a value for each of its fields."""
    if not isinstance(value, dict) or set(value) != set(kind._fields):
        raise _expected(value, f"mapping with {', '.join(kind._fields)}", place)
    hints = get_type_hints(kind, include_extras=True)
    return kind(**{name: read(value[name], hints[name], f"{place}.{name}") for name in kind._fields})


def _array(value: Any, place: str) -> jax.Array:
    if not isinstance(value, dict) or set(value) != {"array", "dtype"} or value["dtype"] not in DTYPES:
        raise _expected(value, "array", place)
    try:
        array = np.array(value["array"])
    except (ValueError, RecursionError):
        array = np.array("ragged")
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise _expected(value, "array of finite numbers", place)
    return jnp.asarray(array.astype(jax.dtypes.canonicalize_dtype(value["dtype"])))


def _int(value: Any, place: str) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise _expected(value, "integer", place)
    return value


def _float(value: Any, place: str) -> float:
    if type(value) not in (int, float) or value != value or (type(value) is int and abs(value) >= 2**63):
        raise _expected(value, "number", place)
    return float(value)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
        raise _expected(value, "text", place)
    return value


def _expected(value: Any, what: str, place: str) -> DataError:
    return DataError(f"{place} is {_shown(value)}; expected {what}")


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]} …"
