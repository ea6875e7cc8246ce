"""Requests are worked on together, and each gets its own answer."""

import asyncio
import threading

import pytest

from rezoo.serving.service.batching import Batcher, BusyError


def test_everybody_gets_their_own_answer():
    sizes = []

    def work(requests):
        sizes.append(len(requests))
        return [ValueError("odd") if one % 10 == 3 else one * 2 for one in requests]

    async def main():
        batcher = Batcher(work, most=16, window=0.05)
        found = await asyncio.gather(*(batcher.ask(n) for n in range(40)), return_exceptions=True)
        batcher.stop()
        return found

    found = asyncio.run(main())
    for n, one in enumerate(found):
        assert isinstance(one, ValueError) if n % 10 == 3 else one == n * 2
    assert sum(sizes) == 40 and max(sizes) == 16


def test_too_many_are_refused_and_the_others_answered():
    go = threading.Event()

    def work(requests):
        go.wait(10)
        return requests

    async def main():
        batcher = Batcher(work, most=2, window=0.0, waiting=4)
        first = asyncio.ensure_future(batcher.ask(0))
        await asyncio.sleep(0.1)
        others = [asyncio.ensure_future(batcher.ask(n)) for n in range(1, 8)]
        await asyncio.sleep(0.1)
        go.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        batcher.stop()
        return found

    found = asyncio.run(main())
    assert found[:5] == [0, 1, 2, 3, 4] and all(isinstance(one, BusyError) for one in found[5:])


def test_work_that_fails_fails_its_batch_alone():
    def work(requests):
        if "bad" in requests:
            raise RuntimeError("broken")
        return requests

    async def main():
        batcher = Batcher(work, window=0.0)
        with pytest.raises(RuntimeError, match="broken"):
            await batcher.ask("bad")
        assert await batcher.ask("good") == "good"
        batcher.stop()

    asyncio.run(main())
