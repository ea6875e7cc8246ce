"""What a saved model makes of a question's raw ids and features, one question at a time.

A user whom training knew has the features of training, a stranger those that come with the question. A column
of the context that is not given counts as a missing value, as it did in training.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rezoo.data import batches
from rezoo.errors import DataError
from rezoo.serving import event_columns
from rezoo.serving.asking import stars
from rezoo.serving.bundle import Saved
from rezoo.serving.live import RATING
from rezoo.serving.reads import rates_history, reads_history
from rezoo.types import Query

Features = Mapping[str, np.ndarray]
"""One row of each column."""
NONE: Features = MappingProxyType({})
"""No columns."""


class Who(NamedTuple):
    """Who asks."""

    user: int = 0
    """Dense id, 0 for a stranger."""
    features: Features = NONE


class Past(NamedTuple):
    """What somebody did, oldest first."""

    items: Sequence[int] = ()
    """Dense ids, without what the model does not know."""
    columns: Features = NONE
    """What else the model reads of each, `[n …]`, such as its rating; without them it is unknown."""

    def and_then(self, more: "Past") -> "Past":
        """One after the other.

        >>> Past([1]).and_then(Past([2, 3])).items
        [1, 2, 3]
        """
        columns = {
            name: np.concatenate([self.columns.get(name, column[:0]), column])
            for name, column in more.columns.items()
        }
        return Past([*self.items, *more.items], columns=columns)


NO_PAST = Past()


class Translator:
    """Finds ids and makes features for one model.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": np.array([0, 3, 1], np.float32)}}
    >>> users, items = Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"]))
    >>> shop = Translator(Saved(Popularity(3), variables, users, items))
    >>> shop.item("tea"), shop.who("bob", None).user
    (2, 0)
    """

    def __init__(self, saved: Saved):
        self.saved = saved
        self._user, self.item = saved.users.finder(), saved.items.finder()
        self.nobody = Who(0, {name: np.asarray(column)[:1] for name, column in saved.user_columns.items()})
        context = saved.context_features
        self.no_context = context.transform({name: [None] for name in context.fitted})
        self.no_event = {name: one[0] for name, one in event_columns.nothing(saved, 1, 1).items()}
        if missing := sorted(set(self.no_event) - {"type", *event_columns.times(saved)}):
            raise DataError(
                f"{type(saved.model).__name__} reads the columns {', '.join(missing)} of each event, but the "
                "service is told their type and time alone: train a model of `type` and a `TimeGap`"
            )
        self.reads_history, self.rates_history = reads_history(saved), rates_history(saved)
        if self.rates_history:
            self.no_event[RATING] = np.zeros(1, np.float32)

    def who(self, raw: Any, features: Mapping[str, Any] | None) -> Who:
        """A user and their features: those that training knew, else those that are given.

        Raises:
          DataError: if a feature is missing or of another type than in training.
        """
        user = self._user(raw)
        if user or not features or not self.saved.user_features.fitted:
            return Who(
                user, {name: column[user : user + 1] for name, column in self.saved.user_columns.items()}
            )
        return Who(user, self.saved.user_features.transform({name: [one] for name, one in features.items()}))

    def knows_user(self, raw: Any) -> bool:
        """Whether training knew the user."""
        return self._user(raw) > 0

    def context(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The features of a question, such as the hour; missing ones as training had them.

        Raises:
          DataError: if one is of another type than in training.
        """
        fitted = self.saved.context_features
        if not values:
            return self.no_context
        return fitted.transform({name: [values.get(name)] for name in fitted.fitted})

    def missing(self, values: Mapping[str, Any]) -> list[str]:
        """Columns of the context that are not given."""
        return [name for name in self.saved.context_features.fitted if values.get(name) is None]

    def event(self, kind: str, time: int | float) -> Features:
        """What the model reads of an event beside its item: its type, time and rating where they are read.

        The service is told no ratings: that of every event is 1.

        Raises:
          DataError: if the time is not one of seconds since 1970.
        """
        if not self.no_event:
            return NONE
        names = event_columns.times(self.saved)
        told = event_columns.transformed(self.saved, {"type": [kind], **{name: [time] for name in names}})
        return {**told, RATING: np.ones(1, np.float32)} if self.rates_history else told

    def knows_type(self, kind: str) -> bool:
        """Whether training knew this type of events, or the model reads none."""
        return "type" not in self.no_event or bool(np.any(self.event(kind, 0)["type"]))

    def events(self, past: Past, width: int) -> dict[str, np.ndarray]:
        """What the model reads of the newest events of a past: `[1 width …]`."""
        rows, columns = event_columns.nothing(self.saved, 1, width), past.columns
        if self.rates_history:
            rows[RATING] = np.zeros((1, width), np.float32)
            columns = {RATING: np.ones(len(past.items)), **columns}
        for name, column in columns.items():
            some = column[-width:]
            rows[name][0, : len(some)] = some
        return rows

    def query(self, who: Who, past: Past, context: Features, width: int) -> Query:
        """One question to the model, with the newest events of a past; events without ratings count as 1."""
        features = {**self.nobody.features, **self.no_context, **who.features, **context}
        features |= self.events(past, width)
        return batches.queries([who.user], newest(past.items, width), features)

    def width(self, length: int) -> int:
        """Events of a question without a session: those that were saved with a user, `length` at least."""
        past = self.saved.history
        return length if past is None else max(length, past.shape[1])

    def past(
        self, user: int, raw: Sequence[Any] | None = None, ratings: Sequence[float] | None = None
    ) -> Past:
        """A given history, else the one that was saved with the user.

        Raises:
          DataError: if the model reads ratings and they are not given, not finite numbers, or not as many as
            the items.
        """
        if raw is None:
            if ratings is not None:
                raise DataError("ratings are of no history: give history too")
            return self._saved(user)
        if ratings is not None and len(ratings) != len(raw):
            raise DataError(
                f"history has {len(raw)} items and there are {len(ratings)} ratings: give one for each"
            )
        if self.rates_history and ratings is None and raw:
            raise DataError("the model weighs each event by its rating: give ratings beside the history")
        items = np.array([self.item(one) for one in raw], np.int32)
        told = {RATING: stars(ratings or ())[items > 0]} if self.rates_history else NONE
        return Past(items[items > 0].tolist(), told)

    def _saved(self, user: int) -> Past:
        if self.saved.history is None:
            return Past()
        row = self.saved.history[user]
        columns = dict(self.saved.history_columns)
        if self.saved.history_rating is not None:
            columns[RATING] = self.saved.history_rating
        return Past(row[row > 0].tolist(), {name: column[user][row > 0] for name, column in columns.items()})


def newest(values: Sequence[int], width: int) -> np.ndarray:
    """The newest of these values, oldest first: `[1 width]`, 0 after the last.

    >>> newest([1, 2, 3], 2).tolist(), newest([1], 2).tolist()
    ([[2, 3]], [[1, 0]])
    """
    row, some = np.zeros((1, width), np.int32), values[-width:]
    row[0, : len(some)] = some
    return row
