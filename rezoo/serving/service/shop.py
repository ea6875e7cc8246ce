"""What the service does, without HTTP: events into the log and the sessions, questions into lists.

One thread calls `work`. A new version of the models is made by another (`renew`), with the sessions of the
log, and taken over between two batches: every answer is of one version.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rezoo.errors import DataError
from rezoo.serving import folder, saved
from rezoo.serving.service import asks
from rezoo.serving.service.answering import answer_alone, answer_sessions
from rezoo.serving.service.asks import DEFAULT, Ask, Settings
from rezoo.serving.service.catalogue import Catalogue
from rezoo.serving.service.engine import Engine
from rezoo.serving.service.event_log import Event, EventLog, LogFullError
from rezoo.serving.service.offer import Offer
from rezoo.serving.service.requests import (
    Answer,
    NotReadyError,
    Observe,
    Predict,
    Recommend,
)
from rezoo.serving.slots import FullError
from rezoo.storage import fingerprint

READ = 10_000
"""Events that are read from the log at once."""
TRIES = 10
"""How often what is replaced while it is read is read again."""


class Shop:
    """A model folder that is served, and the log of its events.

    Args:
      place: the folder, what `rezoo.serving.saved.save` wrote, or a link to it.
      log: where events are kept.
      settings: what is compiled.
      clock: seconds since 1970.
      ranker: folder of another model, which puts the candidates of the first in order.
      items: file of the shop's table of items, what `Catalogue.read` reads.

    Raises:
      ValueError: if a setting is a number with which nothing can be answered.
    """

    def __init__(
        self,
        place: str | Path,
        log: EventLog,
        settings: Settings = DEFAULT,
        clock: Callable[[], float] = time.time,
        *,
        ranker: str | Path | None = None,
        items: str | Path | None = None,
    ):
        asks.check(settings)
        self.folder, self.log, self.settings, self._clock = Path(place), log, settings, clock
        self._ranker, self._items = (None if one is None else Path(one) for one in (ranker, items))
        self.engine: Engine | None = None
        self.trouble: str | None = None
        """Why the folder's content is not served."""
        self.full = 0
        """Events whose visitor had no session because all slots were taken."""
        self._next: tuple[Engine, int] | None = None
        self._offer: tuple[Engine, Offer] | None = None
        self._models: str | None = None
        self._reading, self._renewing, self._handing = (threading.Lock() for _ in range(3))

    @property
    def version(self) -> str | None:
        """What answers, or will with the next request; None before the first is loaded."""
        with self._handing:
            newest = self.newest
            if self._offer is not None and self._offer[0] is newest:
                return self._offer[1].version
            return newest.version if newest else None

    @property
    def newest(self) -> Engine | None:
        """What answers the next request; None before the first is loaded."""
        return self._next[0] if self._next else self.engine

    def stamp(self) -> Any:
        """Another one whenever a folder or the table was replaced; looks at their names alone."""
        return [folder.version(one.resolve()) for one in self._places()]

    def content(self) -> str:
        """What names the content of the folders and of the table: a digest of their files."""
        return fingerprint.content(*(one.resolve() for one in self._places()))[:12]

    def _without_paths(self, text: str) -> str:
        """A text for those who ask the service, with the names of folders and not where they lie."""
        for place in self._places():
            for path in (place.resolve(), place.absolute(), place):
                text = text.replace(f"{path.parent}{os.sep}", "")
        return text

    def _places(self) -> list[Path]:
        return [one for one in (self.folder, self._ranker, self._items) if one is not None]

    def renew(self) -> str:
        """Load what is there, compile it, and make the open sessions again; `work` then takes it over.

        Where the table of items alone is another one, the models and their sessions stay.

        Returns:
          The version.

        Raises:
          DataError: if it cannot be served; what was served before goes on.
        """
        with self._renewing:
            try:
                name = self._renewed()
            except BaseException as error:
                self.trouble = f"{self.folder.name} cannot be served: {self._without_paths(str(error))}"
                if isinstance(error, OSError | DataError):
                    raise DataError(self.trouble) from error
                raise
            self.trouble = None
            return name

    def _renewed(self) -> str:
        for _ in range(TRIES):
            name = self.content()
            if name == self.version:
                return name
            models = fingerprint.content(*(one.resolve() for one in self._places() if one != self._items))
            table = None if self._items is None else Catalogue.read(self._items)
            newest = self.newest
            if newest is not None and models == self._models and table is not None:
                made = newest, Offer(newest.saved, newest.rows, table, name)
                if name == self.content():
                    with self._handing:
                        self._offer = made
                    return name
                continue
            first = saved.load(self.folder)
            ranker = None if self._ranker is None else saved.load(self._ranker)
            if name != self.content():
                continue
            engine = Engine(first, name, self.settings, ranker=ranker, table=table)
            made = engine, self._catch_up(engine, 0)
            with self._handing:
                self._next, self._models = made, models
            return name
        raise DataError(
            "it is being replaced all the time: replace a folder or a file as a whole, by one rename"
        )

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
        answers: list[Any] = [None] * len(requests)
        numbers = self._append(engine, requests, now, answers)
        pending: dict[int, Ask] = {}
        slots: set[int] = set()

        def flush() -> None:
            """Answer the pending questions as one batch."""
            if pending:
                answer_sessions(engine, requests, pending, answers)
            pending.clear()
            slots.clear()

        for n, one in enumerate(requests):
            if answers[n] is not None:
                continue
            try:
                if (ask := self._question(engine, one, now, numbers.get(n))) is None:
                    if isinstance(one, Predict):
                        flush()  # so that it knows what its visitor did
                    answers[n] = answer_alone(engine, one, now)
                else:
                    if ask.slot in slots or len(pending) == engine.settings.sizes[-1]:
                        flush()
                    pending[n] = ask
                    slots |= {ask.slot} - {-1}
            except Exception as error:
                answers[n] = error
        flush()
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
        if self._offer is not None:
            with self._handing:
                engine, offer = self._offer
                engine.offer, self._offer = offer, None

    def _append(
        self, engine: Engine, requests: Sequence[Any], now: float, answers: list[Any]
    ) -> dict[int, int | None]:
        """Numbers of the events among the requests; those that are refused have an error as their answer."""
        places = []
        for n, one in enumerate(requests):
            if isinstance(one, Observe):
                try:
                    engine.check(one.event, one.wanted)
                    places.append(n)
                except Exception as error:
                    answers[n] = error
        events = [
            requests[n].event._replace(received=now, context=dict(requests[n].wanted.context) or None)
            for n in places
        ]
        try:
            with self._reading:
                return dict(zip(places, self.log.append(events), strict=True)) if events else {}
        except LogFullError as error:
            for n in places:
                answers[n] = error
            return {}

    def _question(self, engine: Engine, one: Any, now: float, number: int | None) -> Ask | None:
        """What a request for a list asks of a session; None if there is none, or it asks something else."""
        if not isinstance(one, Observe | Recommend):
            return None
        if isinstance(one, Recommend):
            slot = -1 if one.visitor is None else engine.find(one.visitor, now)
            return None if slot < 0 else engine.of_slot(slot, one.wanted)
        event = one.event._replace(received=now)
        if number is None:  # it was observed when it came first
            return engine.of_slot(engine.find(event.visitor, now), one.wanted)
        try:
            return engine.open(event, one.wanted)
        except FullError:
            self.full += 1
            return engine.of_slot(-1, one.wanted)
