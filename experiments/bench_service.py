"""What the service bears: an event and the list of ten after it, by GRU4Rec, over HTTP from another process.

    python experiments/bench_service.py --record --peers-python PEERS/bin/python

`serve.py` is started on an untrained GRU4Rec of 600 products and of 10⁵ (64 numbers a product: what a model
has learnt does not change its time). Server and load share the machine's cores. The parts:

- loops: 200 requests a second, sent when they are due whatever is still waiting (open loop, so that a slow
  answer delays none of the next ones' clocks), for --minutes: the median and the 99th percentile of the time
  from when a request was due to its answer. Then 64 connections that send their next request when the last
  is answered (closed loop): answers a second. Events are kept in an SQLite file; with --power-cuts each is on
  the disk before it is accepted.
- sessions: 10⁵ visitors and 10⁶ events by the closed loop, over 600 products: the memory when all sessions
  are open, and at the end.
- start: the time from the start of the process until it answers, with 10⁵ products and 10⁶ events in its log,
  of 10⁵ visitors whose sessions are all still open.
- peers: the closed loop beside a plain FastAPI application that asks PyTorch for each
  request and keeps sessions in memory, and beside Cornac's service, which recommends by its matrix
  factorisation to a known user and takes no event before. Both are one process, as ours; contenders take
  turns, and a figure is the median of the rounds.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import HERE, Flags, Results, start
from protocols.http_load import CONNECTIONS, Server, closed_loop, get, open_loop, post
from turns import PEERS, take_turns

from rezoo.data import batches
from rezoo.data.ids import Ids
from rezoo.models import GRU4Rec
from rezoo.serving import bundle, saved
from rezoo.serving.service.event_log import Event, SqliteLog

RATE, VISITORS, DIM = 200, 5_000, 64
OPEN = f"event and list of 10, {RATE} requests/s, open loop"
CLOSED = f"event and list of 10, {CONNECTIONS} connections, closed loop"


@dataclass(frozen=True)
class ServiceFlags(Flags):
    """Flags of this experiment."""

    minutes: float = 5.0
    """Of the open loop."""
    power_cuts: bool = False
    """Wait for the disk with every event."""
    rounds: int = 3
    """Turns that each contender takes."""
    peers_python: Path | None = None
    """A Python with fastapi, uvicorn, torch, cornac, flask and gunicorn; without it peers is left out."""
    parts: tuple[str, ...] = ("loops", "sessions", "start", "peers")
    """What to measure."""


def main(flags: ServiceFlags, results: Results) -> None:
    """The parts."""
    for part in flags.parts:
        PARTS[part](flags, results)
    results.finish()


def loops(flags: ServiceFlags, results: Results) -> None:
    """Both loops, on both catalogues."""
    for items in (600,) if flags.smoke else (600, 100_000):
        name = products(items)
        with service(flags, results.out, items, 2 * VISITORS) as server:
            asyncio.run(closed_loop(server.port, events(items), 1.0))  # as a shop that is open already
            begin = time.monotonic()
            seconds = 1.0 if flags.smoke else 60 * flags.minutes
            waited, errors = asyncio.run(open_loop(server.port, events(items), RATE, seconds))
            half, most = np.percentile(waited, (50, 99)) * 1000
            measured = {"ms p50": half, "ms p99": most, "errors": errors}
            put(results, name, OPEN, measured, time.monotonic() - begin)
            begin = time.monotonic()
            seconds = 1.0 if flags.smoke else 30.0
            answers, errors = asyncio.run(closed_loop(server.port, events(items), seconds))
            measured = {"answers per second": answers, "errors": errors}
            put(results, name, CLOSED, measured, time.monotonic() - begin)
            put(results, name, "after both loops", {"MiB of memory": server.memory()}, 0.0)
            put(results, name, "from start", {"seconds to ready": server.seconds}, 0.0)


def sessions(flags: ServiceFlags, results: Results) -> None:
    """Memory while many events come to many open sessions."""
    visitors, many = (200, 2_000) if flags.smoke else (100_000, 1_000_000)
    with service(flags, results.out, 600, visitors) as server:
        begin = time.monotonic()
        first = (event(visitor, visitor % 600) for visitor in range(visitors))
        errors = asyncio.run(closed_loop(server.port, first))[1]
        opened = server.memory()
        rest = islice(events(600, visitors), many - visitors)
        errors += asyncio.run(closed_loop(server.port, rest))[1]
        measured = {
            "open sessions": server.metric("rezoo_open_sessions"),
            "MiB of memory, all sessions just open": opened,
            "MiB of memory, at the end": server.memory(),
            "errors": errors,
        }
        put(
            results,
            products(600),
            f"{many:,} events of {visitors:,} visitors",
            measured,
            time.monotonic() - begin,
        )


def restart(flags: ServiceFlags, results: Results) -> None:
    """Sessions made again from a long log."""
    visitors, many, items = (200, 2_000, 600) if flags.smoke else (100_000, 1_000_000, 100_000)
    file = new_log(results.out / "events-logged.sqlite")
    log, rng, now = SqliteLog(file, fsync=False), np.random.default_rng(0), time.time()
    for begin in range(0, many, 10_000):
        some = range(begin, min(begin + 10_000, many))
        visitor, item = rng.integers(visitors, size=len(some)), rng.integers(items, size=len(some))
        received = (now - (many - n) / 1000 for n in some)
        rows = zip(some, visitor.tolist(), item.tolist(), received, strict=True)
        log.append([Event(f"{n}", f"v{v}", f"product-{i}", "click", at, at) for n, v, i, at in rows])
    log.close()
    with Server(command(flags, results.out, items, visitors, file)) as server:
        measured = {
            "seconds to ready": server.seconds,
            "open sessions": server.metric("rezoo_open_sessions"),
            "MiB of memory": server.memory(),
        }
        put(results, products(items), f"from start, {many:,} events in the log", measured, server.seconds)


def beside(flags: ServiceFlags, results: Results) -> None:
    """Answers a second in turns with other services."""
    if flags.peers_python is None:
        print("peers are left out: give --peers-python")
        return
    for items in (600,) if flags.smoke else (600, 100_000):
        contest(flags, results, str(flags.peers_python.absolute()), items)


def contest(flags: ServiceFlags, results: Results, python: str, items: int) -> None:
    """Answers a second over a catalogue, in turns."""
    begin, seconds = time.monotonic(), 1.0 if flags.smoke else 10.0
    own, sizes = results.out / f"cornac-{items}", ["PORT", str(items), str(DIM)]
    users = (get(f"/recommend?uid=v{n % 1000}&k=10") for n in count())
    contenders = {
        "GRU4Rec": (service(flags, results.out, items, 2 * VISITORS), events(items)),
        "GRU4Rec, FastAPI and PyTorch": (
            Server([python, str(PEERS / "serve_fastapi.py"), *sizes]),
            events(items),
        ),
        "MF, Cornac's service": (
            Server([python, str(PEERS / "serve_cornac.py"), *sizes, str(own)], "/recommend?uid=v1&k=10"),
            users,
        ),
    }

    def turn(server: Server, messages: Iterator[bytes]) -> float:
        answers, errors = asyncio.run(closed_loop(server.port, messages, seconds))
        if errors:
            raise RuntimeError(f"{errors} requests were not answered")
        return answers

    with ExitStack() as stack:
        for server, _ in contenders.values():
            stack.enter_context(server)
        turns = {name: lambda one=one: turn(*one) for name, one in contenders.items()}
        speeds = take_turns(turns, 1 if flags.smoke else flags.rounds)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, value in medians.items():
        ratio = medians["GRU4Rec"] / value
        print(f"{products(items)}, {name}: {value:.0f} answers a second; rezoo {ratio:.1f} ×")
        measured = {"answers per second": value, "times slower than rezoo": ratio}
        protocol = f"{CONNECTIONS} connections, closed loop, in turns"
        put(results, products(items), protocol, measured, time.monotonic() - begin, model=name)


PARTS = {"loops": loops, "sessions": sessions, "start": restart, "peers": beside}


def put(
    results: Results,
    dataset: str,
    protocol: str,
    measured: Mapping[str, float],
    seconds: float,
    model: str = "GRU4Rec",
) -> None:
    """Metrics of one measurement."""
    with results.together():
        for metric, value in measured.items():
            results.put(model, dataset, protocol, metric, float(value), seconds=seconds)


def products(items: int) -> str:
    """What a catalogue is called."""
    return f"{items:,} products"


def service(flags: ServiceFlags, out: Path, items: int, slots: int) -> Server:
    """`serve.py`, with an empty log."""
    return Server(command(flags, out, items, slots, new_log(out / f"events-{items}.sqlite")))


def new_log(file: Path) -> Path:
    """The file, without what an earlier run left there."""
    for old in file.parent.glob(f"{file.name}*"):
        old.unlink()
    return file


def command(flags: ServiceFlags, out: Path, items: int, slots: int, log: Path) -> list[str]:
    """Of `serve.py` on an untrained GRU4Rec."""
    place = out / f"model-{items}"
    if not place.exists():
        saved.save(place, model(items))
    disk = "--power-cuts" if flags.power_cuts else "--no-power-cuts"
    words = [str(HERE / "serve.py"), str(place), "--log", str(log), disk, "--slots", str(slots)]
    return [sys.executable, *words, "--port", "PORT"]


def model(items: int) -> bundle.Saved:
    """An untrained GRU4Rec."""
    network = GRU4Rec(items + 1, DIM)
    query = batches.queries(history=np.ones((1, 2), np.int32))
    variables = network.init(jax.random.key(0), query, jnp.ones(1, jnp.int32))
    ids = Ids(np.array([f"product-{n}" for n in range(items)]))
    return bundle.Saved(network, variables, Ids(np.array(["nobody"])), ids)


def event(visitor: int, item: int) -> bytes:
    """A request: an event, and the list after it."""
    told = {"visitor": f"v{visitor}", "item": f"product-{item}", "k": 10}
    return post("/events", json.dumps(told).encode())


def events(items: int, visitors: int = VISITORS) -> Iterator[bytes]:
    """Events of random visitors, without end."""
    rng = np.random.default_rng(0)
    while True:
        yield event(int(rng.integers(visitors)), int(rng.integers(items)))


if __name__ == "__main__":
    main(*start(__file__, __doc__, ServiceFlags))
