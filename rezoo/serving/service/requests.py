"""What the service is asked, and what it answers, in raw ids."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rezoo.serving.service.event_log import Event


class Wanted(NamedTuple):
    """What list is wanted."""

    k: int = 10
    """Places; 0 for no list."""
    exclude: Sequence[Any] = ()
    seen: bool = True
    """Whether the list may have what was seen in the session, or is in the history."""
    filters: Mapping[str, Any] = {}
    """Conditions on columns of the table of items."""
    at_most: Mapping[str, int] = {}
    """How many items of one value of a column the list may have."""
    context: Mapping[str, Any] = {}
    """Features of this question, such as the hour."""
    reasons: bool = False
    """Whether each item comes with why it is there."""


class Observe(NamedTuple):
    """An event, and the list after it."""

    event: Event
    wanted: Wanted = Wanted(0)


class Recommend(NamedTuple):
    """A list, for a visitor's session, or for a user after a history."""

    wanted: Wanted = Wanted()
    visitor: str | None = None
    user: str | int | None = None
    features: Mapping[str, Any] | None = None
    history: Sequence[Any] | None = None
    ratings: Sequence[float] | None = None


class Predict(NamedTuple):
    """What the model says of given items."""

    items: Sequence[Any]
    visitor: str | None = None
    user: str | int | None = None
    features: Mapping[str, Any] | None = None
    history: Sequence[Any] | None = None
    ratings: Sequence[float] | None = None
    context: Mapping[str, Any] = {}


class Similar(NamedTuple):
    """Items like an item."""

    item: str | int
    k: int = 10


class Answer(NamedTuple):
    """What the service says."""

    version: str
    """Of what answered."""
    items: list[dict[str, Any]]
    """For JSON: of a list, best first, `item`, `score`, and `name`, `about`, `because` where there are any;
    of a prediction `item` and `prediction`."""
    unknown: dict[str, Any]
    """What of the question is unknown, by what it is."""
    number: int | None = None
    """Of the event in the log."""
    duplicate: bool = False
    """Whether the event was in the log before."""
    reason: str | None = None
    """How the reasons were found; see `rezoo.serving.service.reasons`."""


class NotReadyError(RuntimeError):
    """The model is still being loaded."""


class UnknownItemError(LookupError):
    """The model does not know the item."""
