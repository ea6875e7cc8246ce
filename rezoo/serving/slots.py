"""Who has which slot of the open sessions."""

import time
from collections.abc import Callable, Hashable


class FullError(RuntimeError):
    """Every slot has an open session, and none has been idle for long enough."""


class Slots:
    """Which slot each open session has, by a key of the caller's. Lives on the host.

    A session that has been idle for `idle` seconds is over: its slot is free for another, and its key
    begins a new session when it comes back.
    """

    def __init__(self, size: int, *, idle: float = 1800.0, clock: Callable[[], float] = time.monotonic):
        self.size, self.idle, self._clock = size, idle, clock
        self._open: dict[Hashable, tuple[int, float]] = {}  # slot and last use, least recent first
        self._free = list(range(size - 1, -1, -1))

    def __len__(self) -> int:
        """Open sessions."""
        return len(self._open)

    def open(self, key: Hashable) -> tuple[int, bool]:
        """The slot of a session, and whether it is new: then `begin` it.

        Raises:
          FullError: if it would be new and there is no slot for it.
        """
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

    def close(self, key: Hashable) -> None:
        """End a session.

        Raises:
          KeyError: if it is not open.
        """
        self._free.append(self._open.pop(key)[0])

    def _evict(self, now: float) -> None:
        while self._open:
            key, (_, used) = next(iter(self._open.items()))
            if now - used < self.idle:
                return
            self.close(key)
