"""Requests of clients that are broken or hostile: stated statuses, no traceback, and others are answered."""

import contextlib
import logging
import os
import re
import select
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import jax
import pytest
import schemathesis
import uvicorn
from conftest import resident
from served import ask
from shops import SETTINGS, log

from rezoo.recipes import networks
from rezoo.serving import saved
from rezoo.serving.service import app as http
from rezoo.serving.service import connections
from rezoo.serving.service.connections import Guarded
from rezoo.serving.service.event_log import SqliteLog
from rezoo.serving.service.shop import Shop

REQUESTS = int(os.environ.get("REZOO_REQUESTS", "300"))
PATIENCE = 1.0


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """Of a service in this process, whose model reads features of several kinds."""
    place = tmp_path_factory.mktemp("shop") / "model"
    users = {
        "user": [f"u{n}" for n in range(20)],
        "age": [n % 2 for n in range(20)],
        "income": [n * 1.5 for n in range(20)],
        "likes": [["tea", "hats"][: n % 3] for n in range(20)],
    }
    saved.save(place, networks.wide_deep(log(), jax.random.key(0), users=users, dim=4, num_epochs=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "PATIENCE", PATIENCE)
        patch.setattr(connections, "PATIENCE", PATIENCE)
        config = uvicorn.Config(
            http.app(Shop(place, SqliteLog(":memory:"), SETTINGS), token="secret"),
            port=0,
            http=Guarded,
            ws="none",
            limit_concurrency=700,
            timeout_keep_alive=30,
            log_config=None,
            access_log=False,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        end = time.monotonic() + 120
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        while ask(port, "/ready")[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
        yield port
        server.should_exit = True
        thread.join()


@pytest.fixture(autouse=True)
def nothing_failed(caplog):
    caplog.set_level(logging.WARNING)
    yield
    for record in caplog.get_records("call"):
        assert record.levelno < logging.ERROR and not record.exc_info, record.getMessage()


def sent(port, data, patience=4 * PATIENCE):
    """The statuses that come back, until the connection is closed or nothing comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as one:
        told = b""
        try:
            one.sendall(data)
            while part := one.recv(2**16):
                told += part
        except TimeoutError:
            raise AssertionError(f"the connection stays open after {told[:200]}") from None
        except ConnectionError:
            pass
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", told)]


def request(body=b"", method="POST", path="/events", *headers):
    head = "".join(f"{line}\r\n" for line in headers)
    length = (
        "" if "content-length" in head.lower() or "chunked" in head else f"Content-Length: {len(body)}\r\n"
    )
    return (
        f"{method} {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{length}{head}\r\n".encode() + body
    )


EVENT = b'{"visitor": "a", "item": "p1"}'
GET = request(b"", "GET", "/health")


def with_(field, value):
    return request(b'{"visitor": "a", "item": "p1", "%s": %s}' % (field, value))


HOSTILE = {
    "garbage": (b"\0\x01\x02 \xff\r\n\r\n", {400}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "HTTP/0.9": (b"GET /health\r\n\r\n", {200, 400}),
    "HTTP/7.3": (b"GET /health HTTP/7.3\r\n\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), {400}),
    "lines without end": (b"\r\n" * 1000, set()),
    "garbage after a request": (GET.replace(b"close", b"keep-alive") + b"\xff\0garbage\r\n\r\n", {200, 400}),
    "many requests at once": (GET.replace(b"close", b"keep-alive") * 50 + GET, {200}),
    "half a body": (request(EVENT[:5], "POST", "/events", "Content-Length: 30"), {400}),
    "more body than said": (request(EVENT * 3, "POST", "/events", "Content-Length: 5"), {400}),
    "two lengths": (request(EVENT, "POST", "/events", "Content-Length: 30", "Content-Length: 3"), {400}),
    "length and chunks": (
        request(EVENT, "POST", "/events", "Content-Length: 30", "Transfer-Encoding: chunked"),
        {400},
    ),
    "length below 0": (request(EVENT, "POST", "/events", "Content-Length: -1"), {400}),
    "length that is no number": (request(EVENT, "POST", "/events", "Content-Length: ten"), {400}),
    "length beyond 64 bits": (request(EVENT, "POST", "/events", "Content-Length: " + "9" * 30), {400}),
    "no chunks": (request(EVENT, "POST", "/events", "Transfer-Encoding: chunked"), {400}),
    "huge chunk": (request(b"ffffffffffffffff\r\nx", "POST", "/events", "Transfer-Encoding: chunked"), {400}),
    "chunks that do not end": (
        request(b"1\r\nx\r\n", "POST", "/events", "Transfer-Encoding: chunked"),
        {400},
    ),
    "trailers without end": (
        request(b"1\r\nx\r\n0\r\nA: " + b"b" * 300_000, "POST", "/events", "Transfer-Encoding: chunked"),
        {400},
    ),
    "compressed": (request(b"\x1f\x8b\x08\0\0\0\0\0", "POST", "/events", "Content-Encoding: gzip"), {400}),
    "no UTF-8": (request(b'{"visitor": "\xff\xfe", "item": "p1"}'), {400}),
    "UTF-16": (request(EVENT.decode().encode("utf-16")), {400}),
    "byte order mark": (request(b"\xef\xbb\xbf" + EVENT), {400}),
    "half a character": (with_(b"key", b'"\\ud800"'), {400}),
    "half a character as bytes": (with_(b"key", b'"\xed\xa0\x80"'), {400}),
    "null in a text": (with_(b"key", b'"a\\u0000b"'), {400}),
    "null byte in a text": (with_(b"key", b'"a\0b"'), {400}),
    "deep list": (request(b"[" * 60_000), {400}),
    "deep object": (request(b'{"a":' * 12_000), {400}),
    "deep features": (with_(b"features", b'{"age": ' + b"[" * 800 + b"]" * 800 + b"}"), {400}),
    "NaN": (with_(b"time", b"NaN"), {400}),
    "Infinity": (with_(b"time", b"-Infinity"), {400}),
    "beyond floats": (with_(b"time", b"1e999"), {400}),
    "10,000 digits": (with_(b"time", b"9" * 10_000), {400}),
    "4,000 digits": (with_(b"time", b"9" * 4_000), {400}),
    "4,000 digits of a count": (with_(b"k", b"9" * 4_000), {400}),
    "4,000 digits of an item": (with_(b"exclude", b"[" + b"9" * 4_000 + b"]"), {400}),
    "count with a fraction": (with_(b"k", b"1.0"), {400}),
    "a field twice": (request(b'{"visitor": "a", "visitor": "b", "item": "p1"}'), {400}),
    "a feature twice": (with_(b"features", b'{"age": 1, "age": 0}'), {400}),
    "features of another type": (with_(b"features", b'{"age": "old", "income": 1, "likes": []}'), {400}),
    "features that are missing": (with_(b"features", b'{"age": 1}'), {400}),
    "features beyond floats": (with_(b"features", b'{"age": 1, "income": 1e999, "likes": []}'), {400}),
    "features that are huge": (with_(b"features", b'{"age": 1, "income": 1e300, "likes": []}'), {400}),
    "features of objects": (with_(b"features", b'{"age": {"a": 1}, "income": [1], "likes": 3}'), {400}),
    "features of numbers as lists": (
        with_(b"features", b'{"age": 1, "income": [1], "likes": ["tea"]}'),
        {400},
    ),
    "empty body": (request(b""), {400}),
    "null": (request(b"null"), {400}),
    "null for an item": (request(b'{"visitor": "a", "item": null}'), {400}),
    "body of a GET": (request(EVENT, "GET", "/health"), {200}),
    "large head": (request(b"", "GET", "/health", *[f"X-{n}: {'y' * 50}" for n in range(800)]), {200}),
    "one endless header": (b"GET /health HTTP/1.1\r\nA: " + b"b" * 2_000_000, {400}),
    "endless headers": (b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 300_000, {400}),
    "endless address": (b"GET /" + b"a" * 2_000_000, {400}),
    "long address": (request(b"", "GET", "/recommend?visitor=" + "a" * 60_000), {400}),
    "null in a header": (request(b"", "GET", "/health", "A: b\0c"), {400}),
    "header of two lines": (request(b"", "GET", "/health", "A: b", " c"), {200, 400}),
    "header without a name": (request(b"", "GET", "/health", ": b"), {400}),
    "bad host": (request(b"", "GET", "/recommend/?visitor=a").replace(b"Host: shop", b"Host: [::1"), {404}),
    "address that is no UTF-8": (
        request(b"", "GET", "/recommend/?visitor=XX").replace(b"XX", b"\xff\xfe"),
        {400, 404},
    ),
    "encoded address that is no UTF-8": (request(b"", "GET", "/recommend?visitor=%ff%fe&k=1"), {200}),
    "null in an address": (request(b"", "GET", "/items/a%00b/similar"), {400}),
    "null byte in an address": (b"GET /items/a\0b/similar HTTP/1.1\r\n\r\n", {400}),
    "out of the folder": (request(b"", "GET", "/items/../../../etc/passwd/similar"), {404}),
    "out of the folder, encoded": (request(b"", "GET", "/items/..%2f..%2f..%2fetc%2fpasswd/similar"), {404}),
    "item of 300 characters": (request(b"", "GET", f"/items/{'x' * 300}/similar"), {400}),
    "k=--5": (request(b"", "GET", "/recommend?visitor=a&k=--5"), {400}),
    "k of other digits": (request(b"", "GET", "/recommend?visitor=a&k=%EF%BC%91"), {400}),
    "empty k": (request(b"", "GET", "/recommend?visitor=a&k="), {400}),
    "huge k": (request(b"", "GET", "/recommend?visitor=a&k=" + "9" * 30), {400}),
    "whole address": (request(b"", "GET", "http://elsewhere/health"), {200}),
    "CONNECT": (b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "TRACE": (request(b"", "TRACE", "/health"), {405}),
    "OPTIONS *": (request(b"", "OPTIONS", "*"), {400, 404}),
    "DELETE": (request(b"", "DELETE", "/events"), {405}),
    "no method": (request(b"", "STEAL", "/events"), {400}),
    "deep filters": (request(b"", "GET", "/items?filters=" + "[" * 50_000), {400}),
    "filters of nothing": (request(b"", "GET", "/items?filters=null"), {200, 400}),
    "filters that are no number": (request(b"", "GET", '/items?filters={"price":{"min":NaN}}'), {400}),
    "filters encoded": (request(b"", "GET", "/items?filters=%7B%22a%22%3A%7B%22min%22%3A1e999%7D%7D"), {400}),
    "filters by unknown columns": (request(b"", "GET", "/items?%ff=1&a=b"), {400}),
    "filters of objects": (
        request(b'{"visitor": "a", "filters": {"a": {"min": [1]}, "b": [[]]}}', "POST", "/recommend"),
        {400},
    ),
    "at most of objects": (
        request(b'{"visitor": "a", "at_most": {"a": 1e3, "b": {}}}', "POST", "/recommend"),
        {400},
    ),
    "predictions of nothing": (request(b'{"items": [], "visitor": "a"}', "POST", "/predict"), {200, 400}),
    "predictions of too many": (
        request(b'{"items": [' + b"1," * 20_000 + b'1], "visitor": "a"}', "POST", "/predict"),
        {400},
    ),
    "ratings beyond floats": (
        request(b'{"items": [1], "history": [1], "ratings": [1e999]}', "POST", "/predict"),
        {400},
    ),
    "ratings without a history": (
        request(b'{"items": ["p1"], "user": "u1", "ratings": [1e300, -1]}', "POST", "/predict"),
        {200, 400},
    ),
    "a start beyond the end": (request(b"", "GET", "/items?start=999999999&limit=0"), {200, 400}),
    "websocket": (
        request(b"", "GET", "/health", "Upgrade: websocket", "Sec-WebSocket-Key: YQ==").replace(
            b"Connection: close", b"Connection: upgrade, close"
        ),
        {200, 400},
    ),
    "expectation": (request(EVENT, "POST", "/events", "Expect: 100-continue"), {100, 200}),
    "wrong tokens": (request(b"", "POST", "/admin/reload", "Authorization: Bearer " + "x" * 10_000), {401}),
}


@pytest.mark.slow
def test_hostile_requests_get_stated_answers(port):
    with ThreadPoolExecutor(16) as pool:
        found = dict(zip(HOSTILE, pool.map(lambda one: sent(port, one[0]), HOSTILE.values()), strict=True))
    wrong = {name: found[name] for name, (_, stated) in HOSTILE.items() if not set(found[name]) <= stated}
    assert not wrong
    silent = {name for name, told in found.items() if not told}
    assert silent <= {"lines without end", "endless headers", "one endless header", "endless address"}
    assert len(found["many requests at once"]) == 51
    assert ask(port, "/ready")[0] == 200


def test_an_event_that_is_refused_is_not_kept(port):
    """Else it would be refused again whenever the sessions are made again from the log."""
    event = {"visitor": "odd", "item": "p1", "key": "odd", "features": {"age": "old"}}
    status, answer = ask(port, "/events", event)
    assert status == 400 and "age" in answer["error"] + "age"
    right = {"age": 1, "income": 2.0, "likes": ["tea"]}
    status, answer = ask(port, "/events", event | {"features": right})
    assert status == 200 and not answer["duplicate"]


def test_a_body_of_10_mb_is_refused_and_the_connection_can_be_used(port):
    part = b"x" * 2**16
    before = resident()
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
            one.sendall(b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 10485760\r\n\r\n")
            for _ in range(160):
                one.sendall(part)
            one.sendall(GET)
            told = b""
            while more := one.recv(2**16):
                told += more
        assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"413", b"200"]
    assert resident() - before < 20 * 2**20


def test_slow_clients_are_closed_and_others_answered_in_time(port):
    heads = [b"GET /health HTTP/1.1\r\nHost: a\r\nX: "] * 200
    bodies = [b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"] * 100
    silent, idle = [b""] * 50, [b"\r\n"] * 50
    refused = [b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"] * 50
    slow = []
    for begin in (*heads, *bodies, *silent, *idle, *refused):
        slow.append(socket.create_connection(("127.0.0.1", port)))
        slow[-1].sendall(begin)
        slow[-1].setblocking(False)
    took, begin, left = [], time.monotonic(), slow
    while left and time.monotonic() < begin + 10 * PATIENCE:
        left = [one for one in left if is_open(one)]
        for _ in range(5):
            at = time.monotonic()
            assert ask(port, "/events", {"visitor": "quick", "item": "p1", "k": 3})[0] == 200
            took.append(time.monotonic() - at)
        time.sleep(0.2)
    for one in slow:
        one.close()
    assert not left and time.monotonic() - begin < 5 * PATIENCE
    assert max(took) < 0.5


def is_open(one):
    """Whether a connection is not yet closed by the other side; sends a byte over it."""
    try:
        one.send(b"a")
        return one.recv(2**16) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def eventually(so):
    """Whether it is so, at the latest when a busy machine had time for it."""
    end = time.monotonic() + 20 * PATIENCE
    while time.monotonic() < end and not so():
        time.sleep(0.05)
    return so()


@pytest.mark.slow
def test_clients_that_do_not_read_are_closed(port):
    message = request(b"", "GET", "/openapi.json").replace(b"close", b"keep-alive")
    with socket.socket() as one:
        # By itself the system would take up to tens of megabytes of answers that nobody reads.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
        one.connect(("127.0.0.1", port))
        one.setblocking(False)
        begin = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() < begin + 60 * PATIENCE:
                try:
                    one.send(message)
                except BlockingIOError:
                    time.sleep(0.05)
    assert ask(port, "/ready")[0] == 200


def test_connections_beyond_the_limit_are_closed_and_it_recovers(port):
    with contextlib.ExitStack() as closing:
        many = [closing.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(900)]
        poller = select.poll()
        for one in many:
            one.setblocking(False)
            poller.register(one, select.POLLIN)
        assert eventually(lambda: len(poller.poll(0)) >= 200)  # what the other side has closed can be read
        assert 650 < sum(map(is_open, many)) <= 700
    assert eventually(lambda: ask(port, "/ready")[0] == 200)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_requests_off_the_description_get_its_statuses(port):
    """By schemathesis, as many as REZOO_REQUESTS says."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    operations = [one.ok() for one in schema.get_all_operations()]
    with_values = [one for one in operations if {"requestBody", "parameters"} & _given(one)]
    counts, wrong = Counter(), []

    def check(case):
        answer = case.call()
        stated = {int(code) for code in case.operation.definition.raw["responses"]}
        counts[case.operation.label, answer.status_code] += 1
        told = answer.text  # of what is no HTTP, or too long, it is said in words
        is_said = (
            answer.status_code == 200 or '{"error":' in told or told.startswith(("Invalid HTTP", "The head"))
        )
        if answer.status_code not in stated or not is_said:
            wrong.append((case.as_curl_command(), answer.status_code, told[:200]))

    for mode, some, count in (("negative", with_values, REQUESTS), ("positive", operations, REQUESTS // 10)):
        for one in some:
            strategy = one.as_strategy(schemathesis.GenerationMode(mode))
            calm = list(hypothesis.HealthCheck)
            run = hypothesis.given(strategy)(check)
            settings = dict(max_examples=-(-count // len(some)), database=None, suppress_health_check=calm)
            settings["phases"] = [hypothesis.Phase.generate]
            hypothesis.settings(**settings, deadline=None)(run)()
    assert not wrong, wrong[:3]
    print(dict(counts))
    refused = sum(count for (_, status), count in counts.items() if status in (400, 404))
    assert refused > REQUESTS / 2


def _given(operation):
    return {name for name, value in operation.definition.raw.items() if value}
