"""What the service does, without HTTP: events into the log and the sessions, questions into lists.

One thread calls `work`. A new version of the model is made by another (`renew`), with the sessions of the
log, and taken over between two batches: every answer is of one version.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rezoo.errors import DataError
from rezoo.serving import folder, saved
from rezoo.serving.service.engine import DEFAULT, Ask, Engine, Settings
from rezoo.serving.service.event_log import Event, EventLog, LogFullError
from rezoo.serving.slots import FullError
from rezoo.storage import fingerprint

READ = 10_000
"""Events that are read from the log at once."""


class Observe(NamedTuple):
    """An event, and the list after it."""

    event: Event
    k: int = 0
    """Places of the list; 0 for none."""
    exclude: Sequence[Any] = ()
    seen: bool = True
    """Whether the list may have what was seen in the session."""


class Recommend(NamedTuple):
    """A list, for a visitor's session, or for a user after a history."""

    k: int = 10
    visitor: str | None = None
    user: str | int | None = None
    features: Mapping[str, Any] | None = None
    history: Sequence[Any] | None = None
    exclude: Sequence[Any] = ()
    seen: bool = True


class Similar(NamedTuple):
    """Items like an item."""

    item: str | int
    k: int = 10


class Answer(NamedTuple):
    """A list, best first."""

    version: str
    """Of the model that answered."""
    items: list[Any]
    """Raw ids."""
    scores: list[float]
    names: list[str] | None
    unknown: dict[str, list[Any]]
    """What of the question the model does not know, by what it is."""
    number: int | None = None
    """Of the event in the log."""
    duplicate: bool = False
    """Whether the event was in the log before."""


class NotReadyError(RuntimeError):
    """The model is still being loaded."""


class UnknownItemError(LookupError):
    """The model does not know the item."""


class Shop:
    """A model folder that is served, and the log of its events.

    Args:
      place: the folder, what `rezoo.serving.saved.save` wrote, or a link to it.
      log: where events are kept.
      settings: what is compiled.
      clock: seconds since 1970.
    """

    def __init__(
        self,
        place: str | Path,
        log: EventLog,
        settings: Settings = DEFAULT,
        clock: Callable[[], float] = time.time,
    ):
        self.folder, self.log, self.settings, self._clock = Path(place), log, settings, clock
        self.engine: Engine | None = None
        self.trouble: str | None = None
        """Why the folder's content is not served."""
        self.full = 0
        """Events whose visitor had no session because all slots were taken."""
        self._next: tuple[Engine, int] | None = None
        self._reading, self._renewing, self._handing = (threading.Lock() for _ in range(3))

    @property
    def version(self) -> str | None:
        """What answers, or will with the next request; None before the first is loaded."""
        return self.newest.version if self.newest else None

    @property
    def newest(self) -> Engine | None:
        """What answers the next request; None before the first is loaded."""
        return self._next[0] if self._next else self.engine

    def stamp(self) -> Any:
        """Another one whenever the folder was replaced; looks at its name alone."""
        return folder.version(self.folder.resolve())

    def content(self) -> str:
        """What names the content of the folder: a digest of its files."""
        return fingerprint.content(self.folder.resolve())[:12]

    def renew(self) -> str:
        """Load the folder, compile it, and make the open sessions again; `work` then takes it over.

        Returns:
          The version.

        Raises:
          DataError: if the folder cannot be served; what was served before goes on.
        """
        with self._renewing:
            try:
                name = self._renewed()
            except BaseException as error:
                self.trouble = f"{self.folder.name} cannot be served: {error}"
                if isinstance(error, OSError):
                    raise DataError(self.trouble) from error
                raise
            self.trouble = None
            return name

    def _renewed(self) -> str:
        name = self.content()
        if name == self.version:
            return name
        engine = Engine(saved.load(self.folder), name, self.settings)
        made = engine, self._catch_up(engine, 0)
        with self._handing:
            self._next = made
        return name

    def _catch_up(self, engine: Engine, last: int) -> int:
        """Let an engine observe the events after a number; the number of the newest."""

        def events() -> Iterator[Event]:
            nonlocal last
            while some := self._read(last):
                last = some[-1][0]
                yield from (event for _, event in some)

        engine.replay(events())
        return last

    def _read(self, after: int) -> list[tuple[int, Event]]:
        """Some events, so few that nobody waits long for the log."""
        with self._reading:
            return list(islice(self.log.read(after), READ))

    def work(self, requests: Sequence[Any]) -> list[Any]:
        """An answer for each request, in their order, or an exception."""
        self._take_over()
        engine, now = self.engine, self._clock()
        if engine is None:
            raise NotReadyError("the model is being loaded")
        answers: list[Any] = [self._refusal(engine, one) for one in requests]
        numbers = self._append(requests, now, answers)
        pending: dict[int, Ask] = {}
        slots: set[int] = set()
        for n, one in enumerate(requests):
            if answers[n] is not None:
                continue
            try:
                if isinstance(one, Similar):
                    answers[n] = self._similar(engine, one)
                elif (ask := self._question(engine, one, now, numbers.get(n))) is None:
                    answers[n] = self._without_session(engine, one)
                else:
                    if ask.slot in slots or len(pending) == engine.settings.sizes[-1]:
                        self._flush(engine, requests, pending, answers)
                        slots.clear()
                    pending[n] = ask
                    slots |= {ask.slot} - {-1}
            except Exception as error:
                answers[n] = error
        self._flush(engine, requests, pending, answers)
        for n, number in numbers.items():
            if isinstance(answers[n], Answer):
                answers[n] = answers[n]._replace(number=number, duplicate=number is None)
        return answers

    def _take_over(self) -> None:
        """The version that was made meanwhile, with the events that came since."""
        if self._next is not None:
            engine, last = made = self._next
            self._catch_up(engine, last)
            with self._handing:
                self.engine, self._next = engine, None if self._next is made else self._next

    def _refusal(self, engine: Engine, one: Any) -> Exception | None:
        """Why an event cannot be observed, and is not kept."""
        if isinstance(one, Observe) and (event := one.event).features:
            try:
                engine.user(event.visitor if event.user is None else event.user, event.features)
            except DataError as error:
                return error
        return None

    def _append(self, requests: Sequence[Any], now: float, answers: list[Any]) -> dict[int, int | None]:
        """Numbers of the events among the requests; where the log is full, that is their answer."""
        places = [n for n, one in enumerate(requests) if isinstance(one, Observe) and answers[n] is None]
        events = [requests[n].event._replace(received=now) for n in places]
        try:
            with self._reading:
                return dict(zip(places, self.log.append(events), strict=True)) if events else {}
        except LogFullError as error:
            for n in places:
                answers[n] = error
            return {}

    def _question(self, engine: Engine, one: Any, now: float, number: int | None) -> Ask | None:
        """What a request asks of a session; None for a list of somebody who has none open."""
        exclude = [engine.item(raw) for raw in one.exclude]
        if isinstance(one, Recommend):
            slot = -1 if one.visitor is None else engine.find(one.visitor, now)
            return None if slot < 0 else Ask(slot, exclude=exclude, seen=one.seen)
        event = one.event._replace(received=now)
        if number is None:  # it was observed when it came first
            return Ask(engine.find(event.visitor, now), exclude=exclude, seen=one.seen)
        try:
            return engine.open(event)._replace(exclude=exclude, seen=one.seen)
        except FullError:
            self.full += 1
            return Ask(exclude=exclude, seen=one.seen)

    def _flush(
        self, engine: Engine, requests: Sequence[Any], pending: dict[int, Ask], answers: list[Any]
    ) -> None:
        """Answer the pending questions as one batch."""
        if pending:
            ids, scores = engine.answer(list(pending.values()))
            for row, n in enumerate(pending):
                answers[n] = self._listed(engine, requests[n], ids[row], scores[row])
            pending.clear()

    def _without_session(self, engine: Engine, one: Recommend) -> Answer:
        """A list for a user after a history; a visitor without a session may be a user."""
        user, features = engine.user(one.visitor if one.user is None else one.user, one.features)
        raw = one.history
        history = [engine.item(item) for item in raw or ()]
        if raw is None and engine.saved.history is not None:
            history = engine.saved.history[user].tolist()
        history = [item for item in history if item]
        exclude = [engine.item(item) for item in one.exclude] + ([] if one.seen else history)
        exclude = exclude[-engine.settings.exclude :]
        return self._listed(engine, one, *engine.ask(user, features, history, exclude))

    def _similar(self, engine: Engine, one: Similar) -> Answer:
        item = engine.item(one.item)
        if not item:
            raise UnknownItemError(f"the model does not know the item {one.item!r}")
        return self._listed(engine, one, *engine.similar(item))

    def _listed(self, engine: Engine, one: Any, ids: np.ndarray, scores: np.ndarray) -> Answer:
        """A list in raw ids, with what the model did not know of the question."""
        real = ids[: one.k] > 0
        ids, scores = ids[: one.k][real], scores[: one.k][real]
        items = engine.saved.items
        names = None if items.names is None else items.name(ids).tolist()
        return Answer(
            engine.version, items.decode(ids).tolist(), scores.tolist(), names, _unknown(engine, one)
        )


def _unknown(engine: Engine, one: Any) -> dict[str, list[Any]]:
    asked: dict[str, Sequence[Any]] = {"exclude": getattr(one, "exclude", ())}
    if isinstance(one, Observe):
        asked["item"] = [one.event.item]
        asked["user"] = [] if one.event.user is None else [one.event.user]
    elif isinstance(one, Recommend):
        asked["history"] = one.history or ()
        asked["user"] = [] if one.user is None else [one.user]
    found = {
        name: [raw for raw in raws if not (engine.user(raw, None)[0] if name == "user" else engine.item(raw))]
        for name, raws in asked.items()
    }
    return {name: raws for name, raws in found.items() if raws}
