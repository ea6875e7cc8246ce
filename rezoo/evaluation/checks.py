"""What is wrong with the input or the scores, said at the public door.

Shapes are always known. Values are known where an array is not traced: outside of `jit` and `vmap`, or
where they close over it.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from rezoo import metrics
from rezoo.arrays import at_least_1


def rows(ndim: int, **arrays: Any) -> None:
    """One row for each of the first array, and `ndim` axes for all others.

    Raises:
      ValueError: if that is not so.
    """
    (first, of), *others = arrays.items()
    for name, array in others:
        shape = np.shape(array)
        if len(shape) != ndim or shape[0] != np.shape(of)[0]:
            wanted = ", ".join([str(np.shape(of)[0]), "columns"][:ndim])
            raise ValueError(
                f"{name} has the shape {list(shape)}: give it [{wanted}], a row for each of {first}"
            )


def lengths(k: Any) -> None:
    """The lengths of lists at which is measured.

    Raises:
      ValueError: if they are no list, or one is below 1.
    """
    if np.ndim(k) != 1:
        raise ValueError(f"k = {k}: give a list of lengths, such as k=[10]")
    at_least_1(k=min(k, default=1))


def propensity(given: Any, size: int) -> None:
    """That of each item of a catalogue of `size` rows.

    Raises:
      ValueError: if there are more, or fewer, or one is not above 0; that of item 0 does not matter.
    """
    if np.shape(given) != (size,):
        raise ValueError(
            f"propensity has the shape {list(np.shape(given))}: give it [{size}], one of each item"
        )
    if not isinstance(given, Tracer) and not (np.asarray(given)[1:] > 0).all():
        raise ValueError("a propensity is not above 0: metrics.propensities makes them of counts")


MISS, EXCLUDES = "each is a miss", "they exclude nothing"


def warn_of_unknown(name: str, ids: Any, size: int, what: str, *, negative: bool) -> None:
    """Ids beyond a catalogue of `size` rows, or `negative` ones too, with the row of the first."""
    if ids is None or isinstance(ids, Tracer):
        return
    array = np.asarray(ids)
    unknown = np.argwhere((array >= size) | (negative & (array < 0)))
    if len(unknown):
        at = tuple(unknown[0])
        told = f"{len(unknown)} ids of {name} are not in the catalogue, whose ids are 1 … {size - 1}; {what}"
        warnings.warn(f"{told}. The first is {array[at]} in row {at[0]}", stacklevel=3)


def warn_of_repeated(target: Any) -> None:
    """Targets that stand more than once in their row."""
    if isinstance(target, Tracer):
        return
    with jax.ensure_compile_time_eval():  # the targets are there, where a program around them is traced
        asked = jnp.asarray(target) != 0
        again = np.argwhere(asked & ~metrics.distinct(jnp.asarray(target), asked))
    if len(again):
        row, column = again[0]
        warnings.warn(
            f"{len(again)} targets stand a second time in their row, such as {target[row, column]} in row "
            f"{row}: their rank is inf; give metrics where=metrics.distinct(target, target != 0)",
            stacklevel=3,
        )


def warn_of_nan(count: Any, what: str) -> None:
    """How many scores are NaN."""
    if not isinstance(count, Tracer) and (number := int(np.sum(count))):
        warnings.warn(f"{number} scores are NaN, {what}: the model is broken", stacklevel=3)
