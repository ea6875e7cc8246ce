"""Who has which slot of the open sessions, and who holds their arrays.

owner = Owner(Slots(100_000), live.start(model, served, 100_000))

def click(sessions, slot, new):                 # observe and begin donate the sessions
    if new:
        sessions = begin(served, sessions, jnp.array([slot]), query)
    sessions = observe(served, sessions, jnp.array([slot]), jnp.array([item]))
    return sessions, recommend(served, sessions, jnp.array([slot]), k=10)

ids, scores = owner.visit("visitor 17", click)  # from any thread
"""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from rezoo.arrays import at_least_1

Answer = TypeVar("Answer")


class FullError(RuntimeError):
    """Every slot has an open session, and none has been idle for long enough."""


class Slots:
    """Which slot each open session has, by a key of the caller's. Lives on the host.

    A session that has been idle for `idle` seconds is over: its slot is free for another, and its key
    begins a new session when it comes back.

    Several threads may call it. That a slot is still its session's when it is used, and that two threads
    do not donate the same arrays, is `Owner`'s task.
    """

    def __init__(self, size: int, *, idle: float = 1800.0, clock: Callable[[], float] = time.monotonic):
        at_least_1(size=size)
        if not idle > 0:
            raise ValueError(f"idle = {idle}: give seconds above 0")
        self.size, self.idle, self._clock = size, idle, clock
        self._open: dict[Hashable, tuple[int, float]] = {}  # slot and last use, least recent first
        self._free = list(range(size - 1, -1, -1))
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """Open sessions."""
        with self._lock:
            return len(self._open)

    def open(self, key: Hashable) -> tuple[int, bool]:
        """The slot of a session, and whether it is new: then `begin` it.

        Raises:
          FullError: if it would be new and there is no slot for it.
        """
        with self._lock:
            now = self._clock()
            self._evict(now)
            new = key not in self._open
            if new and not self._free:
                oldest = now - next(iter(self._open.values()))[1]
                raise FullError(
                    f"all {self.size} slots have an open session, the most idle one for {oldest:.0f} of "
                    f"{self.idle:.0f} s: start with more slots, a shorter `idle`, or close sessions"
                )
            slot = self._free.pop() if new else self._open.pop(key)[0]
            self._open[key] = slot, now
            return slot, new

    def find(self, key: Hashable) -> int | None:
        """The slot of a session, None if it is not open; it does not stay open longer by that."""
        with self._lock:
            self._evict(self._clock())
            return self._open[key][0] if key in self._open else None

    def close(self, key: Hashable) -> None:
        """End a session.

        Raises:
          KeyError: if it is not open.
        """
        with self._lock:
            self._free.append(self._open.pop(key)[0])

    def _evict(self, now: float) -> None:
        while self._open:
            key, (_, used) = next(iter(self._open.items()))
            if now - used < self.idle:
                return
            self.close(key)


class Owner:
    """Holds the arrays of the open sessions, for one visit at a time.

    A step that takes donated sessions leaves none behind but those that it returns, so nobody else may
    have them: they are given to `visit`'s function alone, and what it returns is held from then on.
    """

    def __init__(self, slots: Slots, sessions: Any):
        self._slots, self._sessions, self._lock = slots, sessions, threading.Lock()

    def visit(self, key: Hashable, function: Callable[[Any, int, bool], tuple[Any, Answer]]) -> Answer:
        """`function(sessions, slot, new) -> (sessions, answer)` for the session of this key; the answer.

        No other visit begins before it ends, so the slot is this session's all the while. If it raises, a
        session that is new does not stay open, and the sessions are those of before: a function that
        raises must not have donated them.

        Raises:
          FullError: as `Slots.open`.
        """
        with self._lock:
            slot, new = self._slots.open(key)
            try:
                self._sessions, answer = function(self._sessions, slot, new)
            except BaseException:
                if new:
                    self._slots.close(key)
                raise
            return answer

    def close(self, key: Hashable) -> None:
        """End a session, between two visits.

        Raises:
          KeyError: if it is not open.
        """
        with self._lock:
            self._slots.close(key)
