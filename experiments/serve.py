"""A saved model behind a shop, over HTTP: events in, lists out.

    python experiments/serve.py MODEL_FOLDER --log events.sqlite --port 8000
    curl -X POST localhost:8000/events -d '{"visitor": "v1", "item": "tea", "k": 10}'
    curl 'localhost:8000/recommend?visitor=v1&k=10&seen=false'

MODEL_FOLDER is what `rezoo.serving.saved.save` wrote (`your_log.py` saves one), or a link to it. An event is
accepted when it is in the log; after a crash the open sessions are made again from it. Where the folder's
content is replaced, or the link shows elsewhere, the new model takes over without a pause; the same does
`POST /admin/reload` with the token that the environment variable REZOO_TOKEN holds. What can be asked stands
on /docs and in /openapi.json, what to watch in /metrics. With --smoke a small model is trained and asked.

With --ranker FOLDER2 the model chooses candidates, and the second, of any kind, orders them and predicts.
With --items items.csv (or Parquet …: a column of ids, a title, and any others) each item comes with its row,
what has no stock is not shown, and lists can be filtered and mixed, and say why:

    curl -X POST localhost:8000/recommend -d '{"visitor": "v1", "filters": {"category": ["tea", "coffee"],
        "price": {"max": 20}}, "at_most": {"brand": 2}, "reasons": true}'

Both are replaced like the model.

With --workers N there are N services, on N ports from --port on, each with a log and sessions of its own, and
started again when it ends. A proxy gives each visitor always the same one: the lines for nginx are printed.
How to put it behind a shop is told in `rezoo.serving.service`.

A page to try the model by clicking is at /; with --beside FOLDER2 it shows a second model too, which is sent
the same clicks, and how often each had the next one.
"""

import contextlib
import gc
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
import uvicorn
from common import check_counts, check_port, say
from starlette.applications import Starlette

from rezoo import recipes
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError
from rezoo.serving import saved, tables
from rezoo.serving.service.app import app
from rezoo.serving.service.asks import Settings
from rezoo.serving.service.connections import Guarded, room
from rezoo.serving.service.event_log import SqliteLog
from rezoo.serving.service.shop import Shop
from rezoo.serving.service.workers import supervise, upstream

KEPT = 75
"""Seconds that an idle connection is kept: more than a proxy keeps it (nginx: 60), which then ends it."""


@dataclass(frozen=True)
class Flags:
    """Flags of this experiment."""

    folder: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of the saved model."""
    ranker: Path | None = None
    """Folder of another saved model, which orders the candidates of the first and predicts."""
    items: Path | None = None
    """Table of the shop's items (CSV, Parquet …): id, title, any columns, such as price, category, stock."""
    beside: Path | None = None
    """Folder of a second model, served below /b, which the page shows beside the first."""
    log: Path = Path("events.sqlite")
    """File of the events, made if it is not there."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all."""
    port: int = 8000
    """Port to listen at; 0 for a free one."""
    slots: int = 10_000
    """Sessions that can be open at once."""
    idle: float = 1800.0
    """Seconds without an event after which a session is over."""
    length: int = 50
    """Events of a session that are kept."""
    window: float = 0.001
    """Seconds that a request waits for others to be answered with."""
    watch: float = 5.0
    """Seconds between looks for a new version of the folder."""
    power_cuts: bool = True
    """Wait for the disk, so that accepted events survive a power cut; a killed process loses none anyway."""
    workers: int = 1
    """Services, each on a port of its own from --port on, for some of the visitors each."""
    smoke: bool = False
    """Train a small model, serve it, ask it over HTTP, and stop."""
    out: Path = Path("runs/serve-smoke")
    """Working folder of --smoke."""


def main(flags: Flags) -> None:
    """Serve until it is stopped."""
    if flags.smoke:
        return smoke(flags.out)
    if flags.folder is None:
        raise DataError("name the folder of the saved model: your_log.py saves one")
    check_counts(flags, "workers")
    check_port(flags.port, flags.workers)
    if flags.workers > 1:
        several(flags, flags.folder)
    else:
        one(flags, flags.folder)


def one(flags: Flags, folder: Path) -> None:
    """A service, until it is stopped."""
    server = serving(flags, folder)
    print(f"{folder} at http://{flags.host}:{server.config.port}, events in {flags.log}", flush=True)
    gc.freeze()  # what was imported stays: no collection needs to look at it
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


def several(flags: Flags, folder: Path) -> None:
    """Services for some of the visitors each."""
    if not flags.port:
        raise DataError("--workers needs --port, the first of their ports")
    parts = [
        replace(flags, workers=1, port=flags.port + n, log=flags.log.with_stem(f"{flags.log.stem}-{n}"))
        for n in range(flags.workers)
    ]
    host = "127.0.0.1" if flags.host == "0.0.0.0" else flags.host
    print(upstream([f"{host}:{part.port}" for part in parts]), flush=True)
    supervise(partial(one, folder=folder), parts)


def serving(flags: Flags, folder: Path) -> uvicorn.Server:
    """The server, which is not yet running."""
    second = None
    if flags.beside is not None:
        second = application(flags, flags.beside, flags.log.with_stem(f"{flags.log.stem}-b"))
    config = uvicorn.Config(
        application(flags, folder, flags.log, ranker=flags.ranker, beside=second),
        host=flags.host,
        port=flags.port,
        log_level="warning",
        access_log=False,
        http=Guarded,
        ws="none",
        proxy_headers=False,
        limit_concurrency=room(),
        timeout_keep_alive=KEPT,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)


def application(
    flags: Flags, folder: Path, file: Path, *, ranker: Path | None = None, beside: Starlette | None = None
) -> Starlette:
    """The application of one model, whose events are kept in the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    log = SqliteLog(file, fsync=flags.power_cuts)
    settings = Settings(slots=flags.slots, idle=flags.idle, length=flags.length)
    return app(
        Shop(folder, log, settings, ranker=ranker, items=flags.items),
        token=os.environ.get("REZOO_TOKEN"),
        window=flags.window,
        watch=flags.watch,
        beside=beside,
    )


def smoke(out: Path) -> None:
    """A small model is trained, saved, served and asked."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 50, 2000), rng.integers(0, 80, 2000)
    log = from_columns({"user": user, "item": item, "title": [f"product {n}" for n in item]})
    saved.save(out / "model", recipes.gru4rec(log, jax.random.key(0), dim=8, num_epochs=1))
    saved.save(out / "ranker", recipes.popularity(log, jax.random.key(0)))
    shelves = {
        "item": np.arange(80),
        "title": [f"product {n}" for n in range(80)],
        "shelf": np.arange(80) % 4,
    }
    tables.write({name: np.asarray(column) for name, column in shelves.items()}, out / "items.csv")
    (out / "events.sqlite").unlink(missing_ok=True)
    flags = Flags(
        log=out / "events.sqlite", port=0, slots=100, ranker=out / "ranker", items=out / "items.csv"
    )
    server = serving(flags, out / "model")
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        begin = time.monotonic()
        while (told := asked(port, "/ready"))[0] != 200:
            if not thread.is_alive() or time.monotonic() - begin > 120:
                raise RuntimeError(f"the service is not ready: {told[1]}")
            time.sleep(0.1)
        print(f"ready after {time.monotonic() - begin:.1f} s: version {told[1]['version']}")
        for clicked in item[:3].tolist():
            status, answer = asked(port, "/events", {"visitor": "v1", "item": clicked, "k": 5})
            if status != 200 or len(answer["items"]) != 5:
                raise RuntimeError(f"the service answered {status}: {answer}")
            print(f"product {clicked}: then {', '.join(one['name'] for one in answer['items'])}")
        status, answer = asked(port, "/recommend?visitor=v1&k=5&seen=false")
        if status != 200 or {one["item"] for one in answer["items"]} & set(item[:3].tolist()):
            raise RuntimeError(f"the service answered {status}: {answer}")
        print("not yet seen:", ", ".join(one["name"] for one in answer["items"]))
        wanted = {"visitor": "v1", "k": 3, "filters": {"shelf": 2}, "reasons": True}
        status, answer = asked(port, "/recommend", wanted)
        if status != 200 or {one["about"]["shelf"] for one in answer["items"]} != {2}:
            raise RuntimeError(f"the service answered {status}: {answer}")
        for one in answer["items"]:
            why = " and ".join(reason["name"] for reason in one["because"]) or "no event of the session"
            print(f"of shelf 2: {one['name']}, because of {why}")
    finally:
        server.should_exit = True
        thread.join()


def asked(port: int, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON of a request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


if __name__ == "__main__":
    sys.excepthook = partial(say, flags=list(Flags.__dataclass_fields__))
    main(tyro.cli(Flags, prog="python experiments/serve.py", description=__doc__))
