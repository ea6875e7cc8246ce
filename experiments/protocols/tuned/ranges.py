"""Where settings are searched: ranges by the name of a setting, for any model that has it."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Span(NamedTuple):
    """Numbers between two ends, evenly by their logarithm or by themselves."""

    low: float
    high: float
    even: bool = False
    """By themselves."""
    whole: bool = False


Axis = Span | tuple[Any, ...]
"""A span, or the values themselves."""


def sizes(default: int) -> tuple[int, ...]:
    """The power of two that is nearest to a width, half and twice of it."""
    middle = 2 ** round(math.log2(default))
    return middle // 2, middle, 2 * middle


def layers(default: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Layers of half, of the same and of twice the width."""
    return tuple(tuple(int(width * factor) for width in default) for factor in (0.5, 1, 2))


def of(*values: Any) -> Callable[[Any], Axis]:
    """The same for all models."""
    return lambda default: values


FIELDS: dict[str, Callable[[Any], Axis]] = {
    **dict.fromkeys(("dim", "hidden", "latent", "attention_width", "head_width"), sizes),
    **dict.fromkeys(("widths", "second_widths", "gate_widths", "bottom", "tower", "maps"), layers),
    **dict.fromkeys(("num_layers", "num_blocks", "num_crosses", "num_steps", "levels"), of(1, 2, 3)),
    **dict.fromkeys(("num_heads", "heads"), of(1, 2, 4)),
    **dict.fromkeys(("dropout", "state_dropout"), of(0.0, 0.1, 0.2, 0.3, 0.5)),
    **dict.fromkeys(("batch_norm", "tied", "idf"), of(False, True)),
    **dict.fromkeys(("alpha", "gamma"), of(0.3, 0.5, 0.7, 1.0)),
    "experts": of(2, 4, 8),
    "horizontal": sizes,
    "id_dropout": of(0.0, 0.25, 0.5, 0.75),
    "k": of(50, 100, 200, 500),
    "kernel": of(2, 3, 5),
    "memory": of(1, 2, 5, 10),
    "reduction": lambda default: tuple(type(default)(value) for value in (1, 2, 3)),
    "vertical": sizes,
    "window": of(3, 5, 7),
}
"""Of a constructor's arguments, from their defaults. They change shapes or programs."""


def near(factor: float, whole: bool = False) -> Callable[[Any], Axis]:
    """From the default over a factor to the default times it."""
    return lambda default: Span(default / factor, default * factor, whole=whole)


def between(low: float, high: float) -> Callable[[Any], Axis]:
    """The same for all models, evenly."""
    return lambda default: Span(low, high, even=True)


ARGUMENTS: dict[str, Callable[[Any], Axis]] = {
    **dict.fromkeys(("l1", "l2"), near(10)),
    "alpha": between(0.1, 1.0),
    "beta": between(0.0, 0.8),
    "candidates": near(2, whole=True),
    "dropout": of(0.0, 0.25, 0.5),
    "factors": near(4, whole=True),
    "item_exponent": between(0.2, 0.6),
    "neighbours": near(5, whole=True),
    "normalise": of(False, True),
    "num_epochs": of(8, 16, 32),
    "per_target": of(False, True),
    "recent": of(100, 500, 1000),
    "sharpening": between(0.0, 3.0),
    "shrink": between(0.0, 100.0),
    "unobserved": near(10),
    "user_exponent": between(0.0, 0.6),
    "window": of(1, 2, 3, 5),
}
"""Of the arguments of a fit in closed form."""


def of_fields(defaults: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Axis]:
    """The ranges of a model: of what has a name and a number in `FIELDS` and is not decided by the data."""
    found = {}
    for name, default in defaults.items():
        told = name in facts or (name == "id_dropout" and "item_features" not in facts)
        if name in FIELDS and not told and isinstance(default, int | float | tuple) and default != ():
            found[name] = FIELDS[name](default)
    return found


def drawn(axis: Axis, rng: np.random.Generator) -> Any:
    """A value of an axis."""
    if not isinstance(axis, Span):
        return axis[rng.integers(len(axis))]
    low, high = (axis.low, axis.high) if axis.even else (math.log(axis.low), math.log(axis.high))
    value = rng.uniform(low, high)
    value = value if axis.even else math.exp(value)
    return round(value) if axis.whole else float(f"{value:.4g}")


def said(value: Any) -> Any:
    """Settings, or ranges, as a result file has them: the ends of a span, the values of others."""
    if isinstance(value, Span):
        return f"{value.low:.4g} to {value.high:.4g}"
    if isinstance(value, Mapping):
        return {name: said(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [said(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return getattr(value, "__name__", value)
