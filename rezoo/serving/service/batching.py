"""Micro-batches: requests that come within a short time are worked on together, by one thread.

    batcher = Batcher(work, most=64, window=0.001, waiting=1024)
    answer = await batcher.ask(request)

`work` is called with a list of requests in the order in which they came, and returns an answer for each, or
an exception. It is called by no two threads at once, so it may own what it works on.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any


class BusyError(RuntimeError):
    """So many requests are waiting that this one would wait too long."""


class Batcher:
    """Collects requests and hands them to `work`.

    Args:
      work: `(requests) -> answers`.
      most: requests at once.
      window: seconds that a request waits for others, where those before it did not come alone.
      waiting: requests in the queue, above which new ones are refused.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Any]], Sequence[Any]],
        *,
        most: int = 64,
        window: float = 0.001,
        waiting: int = 1024,
    ):
        self._work, self._most, self._window = work, most, window
        self._queue: queue.Queue[tuple[Any, asyncio.Future[Any]] | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._run, name="rezoo-batcher", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Requests in the queue."""
        return self._queue.qsize()

    async def ask(self, request: Any) -> Any:
        """The answer of `work`.

        Raises:
          BusyError: if too many are waiting; what `work` gave or raised, if that is an exception.
        """
        future = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((request, future))
        except queue.Full:
            raise BusyError("too many requests are waiting") from None
        return await future

    def stop(self) -> None:
        """Answer what waits, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        over, several = False, False
        while not over:
            first = self._queue.get()
            if first is None:
                return
            batch, end = [first], time.monotonic() + several * self._window
            while len(batch) < self._most:
                try:
                    more = self._queue.get(timeout=max(0.0, end - time.monotonic()))
                except queue.Empty:
                    break
                if more is None:
                    over = True
                    break
                batch.append(more)
            several = len(batch) > 1
            self._answer(batch)

    def _answer(self, batch: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        try:
            answers = self._work([request for request, _ in batch])
        except Exception as error:
            answers = [error] * len(batch)
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for (_, future), answer in zip(batch, answers, strict=True):
            loops.setdefault(future.get_loop(), []).append((future, answer))
        for loop, pairs in loops.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in pairs:
        if future.done():  # who asked has gone
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
