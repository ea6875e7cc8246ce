"""What a question names that a saved model does not know, and what is done about it.

answers.predict(film, users, items)                               # warns, or raises if all is unknown
answers.predict(film, users, items, on_unknown=answers.ignore)    # they get the prior
answers.predict(film, users, items, on_unknown=lambda unknown: log.info(str(unknown)))
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rezoo.errors import DataError

FATE = "Unknown users and items get the prior, unknown ids of lists are left out"


class Strangers(NamedTuple):
    """The distinct ids of one kind that are unknown."""

    raw: tuple[Any, ...] = ()
    """As they were asked for, in that order."""
    asked: int = 0
    """Distinct ids that were asked for, known and unknown."""


ALL_KNOWN = Strangers()


class Unknown(NamedTuple):
    """What is unknown of a question."""

    users: Strangers = ALL_KNOWN
    """Without those placed by features or by a history that came with the question; none where the model
    does not read who asks."""
    items: Strangers = ALL_KNOWN
    """Without those placed by features."""
    history: Strangers = ALL_KNOWN
    """Items of the histories that came with the question: they are left out."""
    exclude: Strangers = ALL_KNOWN
    """Items that were to be left out of the lists."""

    def __bool__(self) -> bool:
        return any(part.raw for part in self)

    @property
    def nothing_known(self) -> tuple[str, ...]:
        """Of `users`, `items` and `history` those of which everything is unknown."""
        return tuple(
            name for name in self._fields[:3] if 0 < getattr(self, name).asked == len(getattr(self, name).raw)
        )

    def __str__(self) -> str:
        names = ("users", "items", "items of histories", "items to exclude")
        told = []
        for name, part in zip(names, self, strict=True):
            if part.raw:
                first = ", ".join(map(str, part.raw[:3])) + (" …" if len(part.raw) > 3 else "")
                told.append(f"{len(part.raw):,} of {part.asked:,} {name} unknown: {first}")
        return "; ".join(told)


OnUnknown = Callable[[Unknown], None]
"""Called before a question with unknown ids is answered; it may raise."""


class UnknownIds(UserWarning):
    """Some ids of a question are unknown to the model."""


def warn(unknown: Unknown) -> None:
    """Warn, or refuse the question if nothing of its users, its items or its histories is known.

    Raises:
      DataError: if so.

    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     warn(Unknown(users=Strangers(("zoe",), 2)))
    >>> told[0].category.__name__
    'UnknownIds'
    """
    refuse(unknown)
    warnings.warn(f"{unknown}. {FATE}", UnknownIds, stacklevel=3)


def refuse(unknown: Unknown) -> None:
    """Refuse the question if nothing of its users, its items or its histories is known.

    Raises:
      DataError: if so.

    >>> refuse(Unknown(users=Strangers(("zoe",), 2)))  # one of two is known
    """
    if unknown.nothing_known:
        spelt = "Are the ids spelt as in training?"
        if "history" in unknown.nothing_known:
            spelt += " Is something else between those of a history? Then give a table's separator=','."
        raise DataError(
            f"{unknown}. Nothing is known of the {' and the '.join(unknown.nothing_known)}. {spelt} For the "
            "prior, the answer for an unknown user or item, pass on_unknown=answers.ignore."
        )


def ignore(unknown: Unknown) -> None:
    """Answer without a warning.

    >>> ignore(Unknown(users=Strangers(("zoe",), 1)))
    """


def strangers(raw: Sequence[Any] | np.ndarray, dense: np.ndarray, unknown: np.ndarray) -> Strangers:
    """The distinct raw ids where `unknown`, of those whose dense ids are given, 0 where there is none.

    >>> strangers(["ann", "zoe", "zoe"], np.array([1, 0, 0]), np.array([False, True, True]))
    Strangers(raw=('zoe',), asked=2)
    """
    values = raw if isinstance(raw, np.ndarray) else np.fromiter(raw, object, len(raw))
    nameless = dense == 0
    names = {str(value).strip(): None for value in values[nameless].tolist()}
    found: dict[str, Any] = {}
    for value in values[unknown].tolist():
        found.setdefault(str(value).strip(), value)
    return Strangers(tuple(found.values()), len(np.unique(dense[~nameless])) + len(names))
