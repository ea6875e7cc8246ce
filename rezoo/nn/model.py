"""The base of all models: a Linen module whose sizes are checked where they are given."""

import functools
import operator
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, Union, get_args, get_origin

import flax.linen as nn
from jax.core import Tracer

from rezoo.types import Names, Sizes


class Model(nn.Module):
    """A Linen module that refuses a size of 0 where it is given, before an array of that shape fails or is
    empty.

    A field of the type `int` is a whole number from 1 on, one of `Annotated[int, range(a, b)]` from a on, as
    `types.Count`; so is each number of a sequence or a mapping. `types.Sizes` and `types.Names`
    are not empty.

    Raises:
      ValueError: on another number, on none where there should be one, or on names that are not different.

    >>> class Factors(Model):
    ...     dim: int = 8
    >>> Factors(0)
    Traceback (most recent call last):
    ValueError: Factors: dim = 0: give 1 or more
    """

    def __post_init__(self) -> None:
        for name, kind in _sizes(type(self)):
            _check(f"{type(self).__name__}: {name}", getattr(self, name), kind)
        super().__post_init__()


@functools.cache
def _sizes(model: type[nn.Module]) -> list[tuple[str, Any]]:
    """The fields that hold whole numbers, and their types."""
    return [(field.name, field.type) for field in fields(model) if _has_numbers(field.type)]


def _has_numbers(kind: Any) -> bool:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return isinstance(args[1], range) or kind in (Sizes, Names)
    return kind is int or (origin in (*UNIONS, Sequence, Mapping) and any(map(_has_numbers, args)))


UNIONS = Union, types.UnionType


def _check(place: str, value: Any, kind: Any) -> None:
    """Whether each number that a value of this type holds is large enough."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in UNIONS:
        if value is not None and not callable(value):
            _check(place, value, next(arg for arg in args if _has_numbers(arg)))
    elif origin is Mapping:
        if not isinstance(value, Mapping):
            raise ValueError(f"{place} = {value!r}: give a number for each name")
        for name, one in value.items():
            _check(f"{place}[{name!r}]", one, args[1])
    elif kind == Names:
        if isinstance(value, str) or not isinstance(value, Sequence) or not 0 < len({*value}) == len(value):
            raise ValueError(f"{place} = {value!r}: give a sequence of different names, one or more")
    elif kind == Sizes:
        _check(place, value, args[0])
        if not len(value):
            raise ValueError(f"{place} = {value!r}: give one number or more")
    elif origin is Sequence:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"{place} = {value!r}: give a sequence of numbers")
        for n, one in enumerate(value):
            _check(f"{place}[{n}]", one, args[0])
    elif not isinstance(value, Tracer):
        least = args[1].start if origin is Annotated else 1
        try:
            number = operator.index(value)
        except TypeError:
            number = None
        if number is None or isinstance(value, bool):
            raise ValueError(f"{place} = {value!r}: give a whole number")
        if number < least:
            raise ValueError(f"{place} = {number}: give {least} or more")
