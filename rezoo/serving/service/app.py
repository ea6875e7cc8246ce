"""The service over HTTP: a Starlette application around `Shop`.

    shop = Shop("runs/shop", SqliteLog("events.sqlite"))
    uvicorn.run(app(shop, token="…"))

Answers and errors are JSON in raw ids. An error is `{"error": "what is wrong, and what to do"}` with status
400 (the request), 401 (no token), 404 (no such item or address), 405 (another method), 413 (too large), 503
(not ready, or too many requests wait; with Retry-After) or 507 (the log of events is full).
"""

import asyncio
import contextlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from rezoo.errors import DataError, needed
from rezoo.serving.service import api
from rezoo.serving.service.batching import Batcher, BusyError
from rezoo.serving.service.event_log import Event, LogFullError
from rezoo.serving.service.fields import from_json, from_query
from rezoo.serving.service.shop import (
    Answer,
    NotReadyError,
    Observe,
    Recommend,
    Shop,
    Similar,
    UnknownItemError,
)

for package in ("starlette", "prometheus_client"):
    needed(package)
from prometheus_client import (  # noqa: E402
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.exceptions import HTTPException  # noqa: E402
from starlette.requests import ClientDisconnect, Request  # noqa: E402
from starlette.responses import JSONResponse, Response  # noqa: E402
from starlette.routing import Route  # noqa: E402

MOST_BODY = 2**16
"""Bytes of a request."""
PATIENCE = 10.0
"""Seconds in which a request must have arrived, and in which it is answered."""
STATUS = {
    DataError: 400,
    UnknownItemError: 404,
    BusyError: 503,
    NotReadyError: 503,
    TimeoutError: 503,
    LogFullError: 507,
}
_log = logging.getLogger(__name__)


class TooLargeError(ValueError):
    """A body of more than `MOST_BODY` bytes."""


class Metrics:
    """What is counted, for Prometheus."""

    def __init__(self, shop: Shop, waiting: Callable[[], int]):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        common: dict[str, Any] = {"registry": self.registry, "namespace": "rezoo"}
        self.requests = Counter("requests", "Requests, by route and status.", ["route", "status"], **common)
        buckets = (0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.02, 0.03, 0.05, 0.1, 0.25, 1, 5)
        self.seconds = Histogram(
            "request_seconds", "Time until the answer.", ["route"], buckets=buckets, **common
        )
        self.batch = Histogram(
            "batch_requests", "Requests of a batch.", buckets=(1, 2, 4, 8, 16, 32, 64), **common
        )
        self.events = Counter("events", "Events that were accepted for the first time.", **common)
        Gauge("waiting_requests", "Requests in the queue.", **common).set_function(waiting)
        Gauge("open_sessions", "Sessions that are open.", **common).set_function(
            lambda: len(shop.newest.slots) if shop.newest else 0
        )
        Gauge("events_without_session", "Events that found all sessions taken.", **common).set_function(
            lambda: shop.full
        )
        Gauge("folder_refused", "1 if the newest content cannot be served.", **common).set_function(
            lambda: float(shop.trouble is not None)
        )
        Gauge("ready", "1 if questions are answered.", **common).set_function(
            lambda: float(shop.newest is not None)
        )


def app(
    shop: Shop,
    *,
    token: str | None = None,
    window: float = 0.001,
    waiting: int = 1024,
    watch: float | None = None,
) -> Starlette:
    """The application.

    Args:
      shop: what is served; its model is loaded in the background, and `/ready` says when it answers.
      token: of `POST /admin/reload`, which is refused where there is none.
      window: seconds that a request waits for others to be answered with.
      waiting: requests that may wait; more are refused with 503.
      watch: look for a new version of the folder so often, in seconds; never if not given.

    >>> import tempfile
    >>> import numpy as np
    >>> from starlette.testclient import TestClient
    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> from rezoo.serving import bundle, saved
    >>> from rezoo.serving.service.event_log import SqliteLog
    >>> variables = {"params": {"count": np.array([0, 3, 1], np.float32)}}
    >>> users, items = Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved.save(f"{folder}/shop", bundle.Saved(Popularity(3), variables, users, items))
    ...     with TestClient(app(Shop(f"{folder}/shop", SqliteLog(":memory:")))) as client:
    ...         while client.get("/ready").status_code != 200:
    ...             time.sleep(0.1)
    ...         client.get("/recommend?visitor=v1&k=1").json()["items"]
    [{'item': 'hat', 'score': 3.0}]
    """
    settings = shop.settings
    fields: dict[str, Any] = {"events": api.event(settings), "recommend": api.recommend(settings)}

    def work(requests: Any) -> list[Any]:
        metrics.batch.observe(len(requests))
        return shop.work(requests)

    batcher = Batcher(work, most=settings.sizes[-1], window=window, waiting=waiting)
    metrics = Metrics(shop, lambda: len(batcher))

    async def ask(request: Any) -> Answer:
        if shop.version is None:
            raise NotReadyError("the model is being loaded: ask again in some seconds")
        async with asyncio.timeout(PATIENCE):
            return await batcher.ask(request)

    async def events(request: Request) -> dict[str, Any]:
        values = from_json(await _body(request), fields["events"])
        event = Event(
            key=values.get("key") or uuid.uuid4().hex,
            visitor=values["visitor"],
            item=values["item"],
            type=values.get("type", "click"),
            time=values.get("time", time.time()),
            user=values.get("user"),
            features=values.get("features"),
        )
        one = Observe(event, values.get("k", 0), values.get("exclude", ()), values.get("seen", True))
        answer = await ask(one)
        if not answer.duplicate:
            metrics.events.inc()
        told = {"accepted": True, "number": answer.number, "duplicate": answer.duplicate, "key": event.key}
        return told | _told(answer, one.k)

    async def recommend(request: Request) -> dict[str, Any]:
        if request.method == "GET":
            values = from_query(_once(request), fields["recommend"])
        else:
            values = from_json(await _body(request), fields["recommend"])
        if "visitor" in values and ("user" in values or "history" in values):
            raise DataError("give a visitor, whose session is open, or a user and a history, not both")
        if not {"visitor", "user", "history", "features"} & set(values):
            raise DataError("who asks? give a visitor, a user, a history or features")
        values.setdefault("k", 10)
        one = Recommend(**values)
        return _told(await ask(one), one.k)

    async def similar(request: Request) -> dict[str, Any]:
        values = from_query(_once(request), {"k": fields["recommend"]["k"]})
        values |= from_json(request.path_params, {"item": fields["events"]["item"]})
        one = Similar(values["item"], values.get("k", 10))
        return _told(await ask(one), one.k)

    async def health(request: Request) -> dict[str, Any]:
        return {"status": "alive"}

    async def ready(request: Request) -> dict[str, Any]:
        if shop.version is None:
            raise NotReadyError(shop.trouble or "the model is being loaded: ask again in some seconds")
        return {"status": "ready", "version": shop.version, "trouble": shop.trouble}

    async def reload(request: Request) -> dict[str, Any]:
        given = request.headers.get("authorization", "")
        if token is None or not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise PermissionError("give the token of the service: Authorization: Bearer …")
        before = shop.version
        version = await asyncio.to_thread(shop.renew)
        return {"version": version, "before": before}

    async def numbers(request: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def describe(request: Request) -> Response:
        return JSONResponse(api.openapi(settings))

    async def page(request: Request) -> Response:
        return Response(api.page(settings), media_type="text/html; charset=utf-8")

    def counted(route: str, function: Callable[[Request], Awaitable[Any]]) -> Any:
        async def handle(request: Request) -> Response:
            begin = time.perf_counter()
            response = await _answered(function, request)
            metrics.requests.labels(route, response.status_code).inc()
            metrics.seconds.labels(route).observe(time.perf_counter() - begin)
            return response

        return handle

    routes = [
        Route(path, counted(path.replace(":path", ""), function), methods=methods)
        for path, function, methods in (
            ("/events", events, ["POST"]),
            ("/recommend", recommend, ["GET", "POST"]),
            ("/items/{item:path}/similar", similar, ["GET"]),
            ("/health", health, ["GET"]),
            ("/ready", ready, ["GET"]),
            ("/metrics", numbers, ["GET"]),
            ("/admin/reload", reload, ["POST"]),
            ("/openapi.json", describe, ["GET"]),
            ("/docs", page, ["GET"]),
        )
    ]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_keep(shop, watch))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(batcher.stop)
        shop.log.close()

    async def refused(request: Request, error: Any) -> Response:
        metrics.requests.labels("other", error.status_code).inc()
        what = f"{request.method} is not for this address" if error.status_code == 405 else error.detail
        told = {"error": f"{what}: /docs says what can be asked"}
        return JSONResponse(told, error.status_code, error.headers)

    application = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: refused})
    application.router.redirect_slashes = False  # it reads addresses that are no UTF-8
    return application


async def _keep(shop: Shop, watch: float | None) -> None:
    """Load the model, and whatever takes its place."""
    stamp = None
    while True:
        if (now := shop.stamp()) != stamp or shop.version is None:
            stamp = now
            try:
                await asyncio.to_thread(shop.renew)
            except Exception as error:
                _log.error("%s cannot be served: %s", shop.folder, error)
        if watch is None and shop.version is not None:
            return
        await asyncio.sleep(watch or 5.0)


async def _answered(function: Callable[[Request], Awaitable[Any]], request: Request) -> Response:
    """The answer of a function as JSON, or its error."""
    try:
        answer = await function(request)
        return answer if isinstance(answer, Response) else JSONResponse(answer)
    except PermissionError as error:
        return JSONResponse({"error": str(error)}, 401, {"WWW-Authenticate": "Bearer"})
    except TooLargeError as error:
        return JSONResponse({"error": str(error)}, 413)
    except ClientDisconnect:
        return Response(status_code=400)
    except tuple(STATUS) as error:
        status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
        headers = {"Retry-After": "1"} if status == 503 else {}
        return JSONResponse({"error": str(error) or "it takes too long"}, status, headers)
    except Exception:
        _log.exception("a request failed")
        return JSONResponse({"error": "this should not have happened; the service's log has more"}, 500)


async def _body(request: Request) -> Any:
    """The JSON of a request, of `MOST_BODY` bytes at most, which has to come soon."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.stream():
                size += len(part)
                if size > MOST_BODY:
                    raise TooLargeError(f"the body has more than {MOST_BODY:,} bytes: send less at once")
                parts.append(part)
    except TimeoutError:
        raise DataError(f"the body has not come within {PATIENCE:.0f} seconds") from None
    try:
        return json.loads(b"".join(parts).decode(), parse_constant=_no_number, object_pairs_hook=_object)
    except DataError:
        raise
    except (ValueError, RecursionError):
        raise DataError("the body is not JSON in UTF-8: send an object, as /openapi.json describes") from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ: of two equal ones, a proxy may read the other."""
    if len(found := dict(pairs)) < len(pairs):
        raise DataError("a field of the body is there twice: give each once")
    return found


def _once(request: Request) -> Mapping[str, str]:
    """The values of the address, each of which is there once."""
    pairs = request.query_params.multi_items()
    if len({name for name, _ in pairs}) < len(pairs):
        raise DataError("a value of the address is there twice: give each once, lists with commas")
    return dict(pairs)


def _told(answer: Answer, k: int) -> dict[str, Any]:
    """An answer as JSON."""
    told: dict[str, Any] = {"version": answer.version, "unknown": answer.unknown}
    if k:
        columns = {"item": answer.items, "score": answer.scores}
        columns |= {} if answer.names is None else {"name": answer.names}
        told["items"] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return told
