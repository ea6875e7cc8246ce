"""What a question asks in the ids and features of the models, and what is fixed when they are compiled."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rezoo.arrays import above_0, at_least_0, at_least_1
from rezoo.serving.service.translate import NONE, Features, Who


class Settings(NamedTuple):
    """What is fixed when an engine is compiled."""

    sizes: tuple[int, ...] = (1, 8, 64)
    """Rows of a batch; a batch is filled up to the next of them."""
    slots: int = 10_000
    """Sessions that can be open at once."""
    length: int = 50
    """Newest events of a session, or of a history that comes with a question."""
    k: int = 100
    """The longest list."""
    exclude: int = 100
    """Items that a question may leave out."""
    idle: float = 1800.0
    """Seconds after which a session is over."""
    items: tuple[int, ...] = (16, 128)
    """Items of a prediction; filled up to the next of them."""
    candidates: int = 200
    """Items that a ranker puts in order."""


DEFAULT = Settings()


def check(settings: Settings) -> None:
    """Check that every number is one that can be meant.

    Raises:
      ValueError: that names the first which is none.

    >>> check(Settings(slots=0))
    Traceback (most recent call last):
    ValueError: slots = 0: give 1 or more, a whole number
    """
    numbers = {name: value for name, value in settings._asdict().items() if name not in ("idle", "exclude")}
    for name in ("sizes", "items"):
        sizes = numbers.pop(name)
        numbers |= {f"{name}[{n}]": size for n, size in enumerate(sizes)}
        if not sizes or list(sizes) != sorted(set(sizes)):
            raise ValueError(f"{name} = {sizes}: give one number or more, each above the one before")
    at_least_1(**numbers)
    at_least_0(exclude=settings.exclude)
    above_0(idle=settings.idle)


class Ask(NamedTuple):
    """One question, in dense ids."""

    slot: int = -1
    """Of an open session; -1 for none."""
    fresh: bool = False
    """Whether that session begins here."""
    signed_in: bool = False
    """Whether its visitor says here who they are: it goes on as theirs, after their past."""
    who: Who = Who()
    item: int = 0
    """What the session's visitor does now; 0 = nothing, or what the model does not know."""
    event: Features = NONE
    """What else the model reads of it, such as its type and time."""
    exclude: Sequence[int] = ()
    seen: bool = True
    """Whether what was seen in the session may be in the list."""
    context: Features = NONE
    """Of the question itself, such as the hour."""
    allowed: np.ndarray | None = None
    """Which items may be listed, bool `[N]`; all that the shop has, if not given."""
    ranked: Who | None = None
    """Who asks, as the ranker knows them, with its columns of the context."""


def columns(asks: Sequence[Ask], like: Ask, exclude: int) -> dict[str, Any]:
    """The questions as arrays, a row each; `like` has the features where a question has none.

    >>> batch = columns([Ask(slot=3, item=7, exclude=[5]), Ask()], Ask(), 2)
    >>> batch["slot"].tolist(), batch["item"].tolist(), batch["exclude"].tolist()
    ([3, -1], [7, 0], [[5, 0], [0, 0]])
    """
    batch = {
        "slot": np.array([ask.slot for ask in asks], np.int32),
        "fresh": np.array([ask.fresh for ask in asks], bool),
        "user": np.array([ask.who.user for ask in asks], np.int32),
        "item": np.array([ask.item for ask in asks], np.int32),
        "seen": np.array([ask.seen for ask in asks], bool),
        "exclude": np.zeros((len(asks), exclude), np.int32),
        "event": _stacked([ask.event for ask in asks], like.event),
        "features": _stacked([begins_with(ask) for ask in asks], begins_with(like)),
        "context": _stacked([ask.context for ask in asks], like.context),
    }
    for row, ask in zip(batch["exclude"], asks, strict=True):
        row[: len(ask.exclude)] = ask.exclude
    if like.ranked is not None:
        who = [ask.ranked or like.ranked for ask in asks]
        batch["ranker_user"] = np.array([one.user for one in who], np.int32)
        batch["ranker_features"] = _stacked([one.features for one in who], like.ranked.features)
    return batch


def begins_with(ask: Ask) -> Features:
    """Features that a session holds, if it begins with this question.

    >>> dict(begins_with(Ask(context={"hour": np.array([3])})))
    {'hour': array([3])}
    """
    return {**ask.who.features, **ask.context}


def _stacked(rows: Sequence[Features], like: Features) -> dict[str, np.ndarray]:
    """One array for each column."""
    return {name: np.concatenate([row.get(name, one) for row in rows]) for name, one in like.items()}
