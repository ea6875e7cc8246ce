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

from rezoo.arrays import above_0, at_least_0, at_least_1
from rezoo.errors import DataError, needed
from rezoo.serving.service import api, guide
from rezoo.serving.service.batching import Batcher, BusyError
from rezoo.serving.service.deadlines import Deadlines
from rezoo.serving.service.event_log import Event, LogFullError
from rezoo.serving.service.fields import from_json, from_query
from rezoo.serving.service.requests import (
    Answer,
    NotReadyError,
    Observe,
    Predict,
    Recommend,
    Similar,
    UnknownItemError,
    Wanted,
)
from rezoo.serving.service.shop import Shop

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
from starlette.routing import BaseRoute, Mount, Route  # noqa: E402
from starlette.types import Receive, Scope, Send  # noqa: E402

MOST_BODY = 2**16
"""Bytes of a request."""
BESIDE = "b"
"""Where the second model is served."""
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
    beside: Starlette | None = None,
) -> Starlette:
    """The application.

    Args:
      shop: what is served; its model is loaded in the background, and `/ready` says when it answers.
      token: of `POST /admin/reload`, which is refused where there is none.
      window: seconds that a request waits for others to be answered with.
      waiting: requests that may wait; more are refused with 503.
      watch: look for a new version of the folder so often, in seconds; never if not given.
      beside: the application of a second model, served below `/b`; the guide shows both.

    Raises:
      ValueError: if a number of seconds or of requests is none that can be waited for.

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
    at_least_0(window=window)
    at_least_1(waiting=waiting)
    above_0(watch=watch)
    settings = shop.settings
    fields: dict[str, Any] = {
        name: fields(settings)
        for name, fields in (
            ("events", api.event),
            ("recommend", api.recommend),
            ("predict", api.predict),
            ("items", api.items),
        )
    }

    def work(requests: Any) -> list[Any]:
        metrics.batch.observe(len(requests))
        return shop.work(requests)

    batcher = Batcher(work, most=settings.sizes[-1], window=window, waiting=waiting)
    patience = Deadlines(PATIENCE)
    metrics = Metrics(shop, lambda: len(batcher))

    def newest() -> Any:
        if shop.newest is None:
            raise NotReadyError(shop.trouble or "the model is being loaded: ask again in some seconds")
        return shop.newest

    async def ask(request: Any) -> Answer:
        newest()
        with patience.limit():
            return await batcher.ask(request)

    async def body(request: Request) -> Any:
        try:
            with patience.limit():
                return _json(await _body(request))
        except TimeoutError:
            raise DataError(f"the body has not come within {PATIENCE:.0f} seconds") from None

    async def events(request: Request) -> dict[str, Any]:
        values = from_json(await body(request), fields["events"])
        event = Event(
            key=values.get("key") or uuid.uuid4().hex,
            visitor=values["visitor"],
            item=values["item"],
            type=values.get("type", "click"),
            time=values.get("time", time.time()),
            user=values.get("user"),
            features=values.get("features"),
        )
        wanted = _wanted(values, 0)
        answer = await ask(Observe(event, wanted))
        if not answer.duplicate:
            metrics.events.inc()
        told = {"accepted": True, "number": answer.number, "duplicate": answer.duplicate, "key": event.key}
        return told | _told(answer, wanted)

    async def recommend(request: Request) -> dict[str, Any]:
        if request.method == "GET":
            values = from_query(_once(request), fields["recommend"])
        else:
            values = from_json(await body(request), fields["recommend"])
        wanted = _wanted(values, 10)
        return _told(await ask(Recommend(wanted, **_who(values))), wanted)

    async def predict(request: Request) -> dict[str, Any]:
        values = from_json(await body(request), fields["predict"])
        asked = Predict(values["items"], **_who(values), context=values.get("context", {}))
        return _told(await ask(asked), Wanted())

    async def items(request: Request) -> dict[str, Any]:
        texts, offer = _once(request), newest().offer
        own = {name: text for name, text in texts.items() if name in fields["items"]}
        values = from_query(own, fields["items"])
        others = {name: text for name, text in texts.items() if name not in own}
        filters = values.pop("filters", {}) | offer.table.from_texts(others)
        page = await asyncio.to_thread(offer.table.page, filters, **values)
        return {"version": offer.version} | page

    async def similar(request: Request) -> dict[str, Any]:
        values = from_query(_once(request), {"k": fields["recommend"]["k"]})
        values |= from_json(request.path_params, {"item": fields["events"]["item"]})
        one = Similar(values["item"], values.get("k", 10))
        return _told(await ask(one), Wanted(one.k))

    async def health(request: Request) -> dict[str, Any]:
        return {"status": "alive"}

    async def ready(request: Request) -> dict[str, Any]:
        told = {"status": "ready", "items": newest().told}
        return told | {"version": shop.version, "trouble": shop.trouble}

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

    of_guide: dict[str, dict[str, Any]] = {}

    async def describe_guide(request: Request) -> dict[str, Any]:
        engine = newest()
        if (about := of_guide.get(engine.version)) is None:
            about = await asyncio.to_thread(guide.described, engine, fields["recommend"])
            of_guide.clear()
            of_guide[engine.version] = about
        return about | {"beside": BESIDE + "/" if beside else None}

    def counted(route: str, function: Callable[[Request], Awaitable[Any]]) -> Endpoint:
        seconds = metrics.seconds.labels(route)

        async def answer(request: Request) -> Response:
            begin = time.perf_counter()
            response = await _answered(function, request)
            metrics.requests.labels(route, response.status_code).inc()
            seconds.observe(time.perf_counter() - begin)
            return response

        return Endpoint(answer)

    routes: list[BaseRoute] = [
        Route(path, counted(path.replace(":path", ""), function), methods=methods)
        for path, function, methods in (
            ("/events", events, ["POST"]),
            ("/recommend", recommend, ["GET", "POST"]),
            ("/predict", predict, ["POST"]),
            ("/items", items, ["GET"]),
            ("/items/{item:path}/similar", similar, ["GET"]),
            ("/health", health, ["GET"]),
            ("/ready", ready, ["GET"]),
            ("/metrics", numbers, ["GET"]),
            ("/admin/reload", reload, ["POST"]),
            ("/openapi.json", describe, ["GET"]),
            ("/docs", page, ["GET"]),
            ("/guide.json", describe_guide, ["GET"]),
        )
    ]
    for name, (content, kind) in guide.files().items():
        path = "/" if name == "index.html" else f"/guide/{name}"
        routes.append(Route(path, _file(content, kind)))
    if beside:
        routes.append(Mount(f"/{BESIDE}", beside))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_keep(shop, watch))
        async with beside.router.lifespan_context(beside) if beside else contextlib.nullcontext():
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


class Endpoint:
    """An ASGI application of one function, whose errors are answers already."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]):
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)


def _file(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """What answers with a file of the guide."""

    async def send(request: Request) -> Response:
        return Response(content, media_type=kind, headers=guide.HEADERS)

    return send


async def _keep(shop: Shop, watch: float | None) -> None:
    """Load the model, and whatever takes its place."""
    stamp = None
    while True:
        if (now := shop.stamp()) != stamp or shop.version is None:
            stamp = now
            try:
                await asyncio.to_thread(shop.renew)
            except Exception as error:
                _log.error("%s cannot be served: %s", shop.folder, error.__cause__ or error)
        if watch is None and shop.version is not None:
            return
        await asyncio.sleep(watch or 5.0)


async def _answered(function: Callable[[Request], Awaitable[Any]], request: Request) -> Response:
    """The answer of a function as JSON, or its error."""
    try:
        answer = await function(request)
        return answer if isinstance(answer, Response) else Told(answer)
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


async def _body(request: Request) -> bytes:
    """The body of a request, of `MOST_BODY` bytes at most."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY:
            raise TooLargeError(f"the body has more than {MOST_BODY:,} bytes: send less at once")
        parts.append(part)
    return b"".join(parts)


def _json(body: bytes) -> Any:
    """What a body holds."""
    try:
        return _read(body.decode())
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


_read = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_object).decode
_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Told(JSONResponse):
    """JSON by an encoder that is made once."""

    def render(self, content: Any) -> bytes:
        return _write(content).encode()


def _once(request: Request) -> Mapping[str, str]:
    """The values of the address, each of which is there once."""
    pairs = request.query_params.multi_items()
    if len({name for name, _ in pairs}) < len(pairs):
        raise DataError("a value of the address is there twice: give each once, lists with commas")
    return dict(pairs)


def _wanted(values: Mapping[str, Any], k: int) -> Wanted:
    """What list a request wants, of k places if it does not say."""
    return Wanted(k)._replace(**{name: values[name] for name in Wanted._fields if name in values})


def _who(values: Mapping[str, Any]) -> dict[str, Any]:
    """Who is asked about."""
    if "visitor" in values and ("user" in values or "history" in values):
        raise DataError("give a visitor, whose session is open, or a user and a history, not both")
    names = ("visitor", "user", "history", "features", "ratings")
    if not set(names[:4]) & set(values):
        raise DataError("who asks? give a visitor, a user, a history or features")
    return {name: values[name] for name in names if name in values}


def _told(answer: Answer, wanted: Wanted) -> dict[str, Any]:
    """An answer as JSON."""
    told: dict[str, Any] = {"version": answer.version, "unknown": answer.unknown}
    told |= {"items": answer.items} if wanted.k else {}
    return told | ({"reason": answer.reason} if wanted.reasons else {})
