"""The append-only log of events, from which open sessions are made again after a crash and models refreshed.

    log = SqliteLog("events/events.sqlite")
    log.append([Event("e1", "visitor 7", "tea", "click", 1.0, 1.0)])     # [1]: its number

`EventLog` is an interface of three methods; put your own behind it, over PostgreSQL or Kafka.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rezoo.errors import DataError


class Event(NamedTuple):
    """What a visitor did."""

    key: str
    """Of one event, chosen by who sends it: an event that is sent twice is there once."""
    visitor: str
    item: str | int
    """Raw id, as the model's ids are."""
    type: str = "click"
    time: float = 0.0
    """When it happened, in seconds since 1970, by the clock of who sent it."""
    received: float = 0.0
    """When it arrived, by the clock of the service; orders sessions and ends idle ones."""
    user: str | int | None = None
    """Raw id of the customer, if the visitor has signed in."""
    features: dict[str, Any] | None = None
    """Of the visitor, raw."""
    context: dict[str, Any] | None = None
    """Features of the moment, such as the hour, raw."""


class LogFullError(OSError):
    """The log cannot be written to: the event is not accepted."""


@runtime_checkable
class EventLog(Protocol):
    """Where events are kept. Called by one thread at a time."""

    def append(self, events: Sequence[Event]) -> list[int | None]:
        """Keep all of them, or none; numbers rise, and are None for events whose key was there.

        Raises:
          LogFullError: if they cannot be kept.
        """
        ...

    def read(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """Numbers and events above a number, in order."""
        ...

    def close(self) -> None: ...


COLUMNS = "number", *Event._fields
"""Of the table of an `SqliteLog`."""


class SqliteLog:
    """Events in an SQLite file in WAL mode, whose transactions survive SIGKILL.

    A file of an older version, without contexts, is given the column when it is opened to be appended to.

    Args:
      file: made if it is not there; `:memory:` for a log that ends with the process.
      fsync: wait for the disk, so that accepted events survive a power cut, too.
      patience: seconds to wait for another process to let the file go.
      read_only: read what another process writes; nothing can be appended.

    Raises:
      DataError: if the file is not such a log, or another process writes to it.

    >>> log = SqliteLog(":memory:")
    >>> log.append([Event("a", "ann", "tea"), Event("b", "bob", 7), Event("a", "ann", "tea")])
    [1, 2, None]
    >>> [(number, event.item) for number, event in log.read(after=1)]
    [(2, 7)]
    """

    def __init__(
        self, file: str | Path, *, fsync: bool = True, patience: float = 5.0, read_only: bool = False
    ):
        self._owner = contextlib.ExitStack()
        try:
            if read_only:
                self._sql = sqlite3.connect(f"{Path(file).absolute().as_uri()}?mode=ro", uri=True)
                self._check()
                return
            if str(file) != ":memory:":
                self._owner.enter_context(_sole(Path(f"{file}-owner"), patience))
            self._sql = sqlite3.connect(file, timeout=patience, isolation_level=None, check_same_thread=False)
            self._sql.execute("PRAGMA journal_mode = WAL")
            self._sql.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
            self._sql.execute(
                "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, "
                "visitor TEXT NOT NULL, item TEXT NOT NULL, type TEXT NOT NULL, time REAL NOT NULL, "
                "received REAL NOT NULL, user TEXT, features TEXT, context TEXT) STRICT"
            )
            if self._check():
                self._sql.execute("ALTER TABLE events ADD COLUMN context TEXT")
        except (sqlite3.Error, OSError) as error:
            self._owner.close()
            raise DataError(
                f"{file} cannot be opened as a log of events ({error}): give another file, or end the "
                "process that writes to it"
            ) from error

    def append(self, events: Sequence[Event]) -> list[int | None]:
        numbers: list[int | None] = []
        try:
            with self._sql:  # commits, or takes all back
                self._sql.execute("BEGIN IMMEDIATE")
                for event in events:
                    row = self._sql.execute(
                        f"INSERT INTO events ({', '.join(Event._fields)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
                        "ON CONFLICT (key) DO NOTHING RETURNING number",
                        _row(event),
                    ).fetchone()
                    numbers.append(row and row[0])
        except sqlite3.Error as error:
            raise LogFullError(f"the log of events cannot be written to: {error}") from error
        return numbers

    def read(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        lacking = self._check()
        names = ", ".join(f"NULL AS {name}" if name in lacking else name for name in COLUMNS)
        rows = self._sql.execute(f"SELECT {names} FROM events WHERE number > ? ORDER BY number", (after,))
        for number, key, visitor, item, kind, time, received, *raw in rows:
            yield number, Event(key, visitor, json.loads(item), kind, time, received, *map(_loads, raw))

    def _check(self) -> set[str]:
        """Columns that the file lacks: none, or that of contexts.

        Raises:
          sqlite3.OperationalError: if it lacks others.
        """
        there = {name for _, name, *_ in self._sql.execute("PRAGMA table_info (events)")}
        if others := {*COLUMNS} - there - {"context"}:
            raise sqlite3.OperationalError(f"no such column: {', '.join(sorted(others))}")
        return {*COLUMNS} - there

    def close(self) -> None:
        """Nothing can be read or appended afterwards."""
        self._sql.close()
        self._owner.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never opened
            self.close()


@contextlib.contextmanager
def _sole(file: Path, patience: float) -> Iterator[None]:
    """Hold a file that one process can hold; it is let go when the process ends, however it ends.

    Raises:
      OSError: if another process holds it for longer than `patience` seconds.
    """
    import fcntl

    end = monotonic() + patience
    with file.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() > end:
                    raise BlockingIOError("another process writes to it") from None
                sleep(0.05)
        yield


def _row(event: Event) -> tuple[Any, ...]:
    raw = event.user, event.features, event.context
    optional = (None if one is None else json.dumps(one) for one in raw)
    item = json.dumps(event.item)
    return event.key, event.visitor, item, event.type, event.time, event.received, *optional


def _loads(text: str | None) -> Any:
    return None if text is None else json.loads(text)
