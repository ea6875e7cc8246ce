"""Time limits of many tasks, which share one timer: `asyncio.timeout` sets and cancels one for each."""

import asyncio
from collections import deque
from typing import Any

LOOKS = 10
"""How often overdue tasks are looked for within the time that they have."""


class Deadlines:
    """Limits of equally many seconds.

    Args:
      seconds: that a task has; a tenth more, at most.

    >>> async def slow():
    ...     with Deadlines(0.01).limit():
    ...         await asyncio.sleep(60)
    >>> asyncio.run(slow())
    Traceback (most recent call last):
    TimeoutError
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._open: deque[Limit] = deque()  # the oldest first
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def limit(self) -> "Limit":
        """A context, out of which a TimeoutError comes if it takes too long."""
        return Limit(self)

    def begin(self, limit: "Limit") -> None:
        """Watch a limit from now on."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._timer = loop, None
            self._open.clear()
        limit.end = loop.time() + self._seconds
        while self._open and self._open[0].over:
            self._open.popleft()
        self._open.append(limit)
        if self._timer is None:
            self._timer = loop.call_later(self._seconds / LOOKS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._open and (self._open[0].over or self._open[0].end <= loop.time()):
            self._open.popleft().expire()
        self._timer = loop.call_later(self._seconds / LOOKS, self._look, loop) if self._open else None


class Limit:
    """One time limit of `Deadlines`."""

    __slots__ = ("_cancelled", "_deadlines", "_expired", "_task", "end", "over")

    def __init__(self, deadlines: Deadlines):
        self._deadlines, self._expired, self.over, self.end = deadlines, False, False, 0.0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a limit is for a task"
        self._task, self._cancelled = task, task.cancelling()
        self._deadlines.begin(self)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.over = True
        if not self._expired:
            return
        if self._task.uncancel() <= self._cancelled and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task, if it is still within the limit."""
        if not self.over:
            self._expired = True
            self._task.cancel()
