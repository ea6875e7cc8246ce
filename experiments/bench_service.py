"""What the service bears: an event and the list of ten after it, by GRU4Rec, over HTTP from another process.

    python experiments/bench_service.py --record

`serve.py` is started on an untrained GRU4Rec of 600 products and of 10⁵ (64 numbers a product: what a model
has learnt does not change its time). First 200 requests a second, sent when they are due whatever is still
waiting (open loop, so that a slow answer delays none of the next ones' clocks), for --minutes: the median and
the 99th percentile of the time from when a request was due to its answer. Then 64 connections that send
their next request when the last is answered (closed loop): answers a second. Events are kept in an SQLite
file; with --power-cuts each is on the disk before it is accepted. Server and load share the machine's cores.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httptools
import jax
import jax.numpy as jnp
import numpy as np
from common import HERE, Flags, Results, start

from rezoo.data import batches
from rezoo.data.ids import Ids
from rezoo.models import GRU4Rec
from rezoo.serving import bundle, saved

SIZES = {"600 products": 600, "100,000 products": 100_000}
RATE, CONNECTIONS, VISITORS = 200, 64, 5_000
OPEN = "event and list of 10, 200 requests/s, open loop"
CLOSED = "event and list of 10, 64 connections, closed loop"


@dataclass(frozen=True)
class ServiceFlags(Flags):
    """Flags of this experiment."""

    minutes: float = 5.0
    """Of the open loop."""
    power_cuts: bool = False
    """Wait for the disk with every event."""


def main(flags: ServiceFlags, results: Results) -> None:
    """Both loops, on both catalogues."""
    for dataset, items in SIZES.items():
        if flags.smoke and items > 1000:
            continue
        place = results.out / f"model-{items}"
        saved.save(place, model(items))
        log = results.out / f"events-{items}.sqlite"
        for file in results.out.glob(f"{log.name}*"):
            file.unlink()
        with Server(place, log, flags.power_cuts) as server:
            asyncio.run(closed_loop(server.port, items, 1.0))  # as a shop that is open already
            begin = time.monotonic()
            seconds = 2.0 if flags.smoke else 60 * flags.minutes
            waited, errors = asyncio.run(open_loop(server.port, items, seconds))
            half, most = np.percentile(waited, (50, 99)) * 1000
            key = ("GRU4Rec", dataset, OPEN)
            with results.together():
                for metric, value in (("ms p50", half), ("ms p99", most), ("errors", errors)):
                    results.put(*key, metric, float(value), seconds=time.monotonic() - begin)
            begin = time.monotonic()
            answers, errors = asyncio.run(closed_loop(server.port, items, 2.0 if flags.smoke else 30.0))
            with results.together():
                for metric, value in (("answers per second", answers), ("errors", errors)):
                    key = ("GRU4Rec", dataset, CLOSED, metric)
                    results.put(*key, float(value), seconds=time.monotonic() - begin)
            results.put("GRU4Rec", dataset, "after both loops", "MiB of memory", server.memory(), seconds=0.0)
            results.put("GRU4Rec", dataset, "from start", "seconds to ready", server.seconds, seconds=0.0)
    results.finish()


def model(items: int) -> bundle.Saved:
    """An untrained GRU4Rec."""
    network = GRU4Rec(items + 1, 64)
    query = batches.queries(history=np.ones((1, 2), np.int32))
    variables = network.init(jax.random.key(0), query, jnp.ones(1, jnp.int32))
    ids = Ids(np.array([f"product-{n}" for n in range(items)]))
    return bundle.Saved(network, variables, Ids(np.array(["nobody"])), ids)


class Server:
    """`serve.py` in a process of its own."""

    def __init__(self, place: Path, log: Path, power_cuts: bool):
        self.port = free_port()
        disk = "--power-cuts" if power_cuts else "--no-power-cuts"
        command = [sys.executable, str(HERE / "serve.py"), str(place), "--log", str(log), disk]
        self._command = [*command, "--port", str(self.port), "--slots", str(2 * VISITORS)]

    def __enter__(self) -> "Server":
        begin = time.monotonic()
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while asyncio.run(status(self.port)) != 200:
            if self._process.poll() is not None or time.monotonic() - begin > 120:
                self._process.kill()
                raise RuntimeError("serve.py did not start")
            time.sleep(0.05)
        self.seconds = time.monotonic() - begin
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.terminate()
        self._process.wait(30)

    def memory(self) -> float:
        """MiB that the process holds; 0 where /proc does not tell."""
        file = Path(f"/proc/{self._process.pid}/statm")
        return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if file.exists() else 0.0


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def status(port: int) -> int:
    """The status of /ready, 0 if nobody answers."""
    try:
        connection = await Connection.open(port)
    except OSError:
        return 0
    found = await connection.ask(b"GET /ready HTTP/1.1\r\nHost: shop\r\n\r\n")
    connection.close()
    return found


class Connection:
    """One connection that is kept open; a request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def ask(self, request: bytes) -> int:
        """Send a request, read the whole answer, and return its status; 0 if there is none."""
        answer = Answer()
        parser = httptools.HttpResponseParser(answer)
        self._writer.write(request)
        while not answer.whole:
            part = await self._reader.read(2**16)
            if not part:
                return 0
            parser.feed_data(part)
        return parser.get_status_code()


class Answer:
    """Whether an answer is there as a whole."""

    whole = False

    def on_message_complete(self) -> None:
        """What httptools calls."""
        self.whole = True


def requests(items: int) -> Callable[[], bytes]:
    """Events of random visitors."""
    rng = np.random.default_rng(0)

    def one() -> bytes:
        body = json.dumps(
            {"visitor": f"v{rng.integers(VISITORS)}", "item": f"product-{rng.integers(items)}", "k": 10}
        ).encode()
        head = f"POST /events HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    return one


async def open_loop(port: int, items: int, seconds: float) -> tuple[np.ndarray, int]:
    """Seconds from when each request was due to its answer, and how many were not answered by 200."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await Connection.open(port))
    request, waited, errors = requests(items), [], 0
    clock = asyncio.get_running_loop().time
    begin = clock()

    async def one(due: float, message: bytes) -> None:
        nonlocal errors
        connection = await free.get()
        errors += await connection.ask(message) != 200
        waited.append(clock() - due)
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as group:
        for n in range(int(RATE * seconds)):
            due, message = begin + n / RATE, request()
            if (early := due - clock()) > 0:
                await asyncio.sleep(early)
            group.create_task(one(due, message))
    while not free.empty():
        free.get_nowait().close()
    return np.array(waited), errors


async def closed_loop(port: int, items: int, seconds: float) -> tuple[float, int]:
    """Answers a second, and how many were not 200."""
    request, count, errors = requests(items), 0, 0
    clock = asyncio.get_running_loop().time
    end = clock() + seconds

    async def one() -> None:
        nonlocal count, errors
        connection = await Connection.open(port)
        while clock() < end:
            errors += await connection.ask(request()) != 200
            count += 1
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(one())
    return count / seconds, errors


if __name__ == "__main__":
    main(*start(__file__, __doc__, ServiceFlags))
