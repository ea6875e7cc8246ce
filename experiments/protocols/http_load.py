"""Services under load: their processes, and requests over connections that are kept open."""

import asyncio
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httptools
import numpy as np

CONNECTIONS = 64


class Server:
    """A service in a process of its own, ready when `path` answers with 200.

    Args:
      command: its words; `PORT` in them stands for the port.
      path: what is asked.
    """

    def __init__(self, command: Sequence[str], path: str = "/ready"):
        self.port, self._path = free_port(), path
        self._command = [word.replace("PORT", str(self.port)) for word in command]

    def __enter__(self) -> "Server":
        begin = time.monotonic()
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while asyncio.run(status(self.port, self._path)) != 200:
            if self._process.poll() is not None or time.monotonic() - begin > 300:
                self._process.kill()
                raise RuntimeError(f"{' '.join(self._command)} did not start")
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

    def metric(self, name: str) -> float:
        """A number of /metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as response:
            found = re.search(rf"^{name} (.*)$", response.read().decode(), re.M)
        if found is None:
            raise KeyError(name)
        return float(found[1])


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def status(port: int, path: str) -> int:
    """Of one request; 0 if there is no answer."""
    connection = Connection(port)
    found = await connection.ask(get(path))
    connection.close()
    return found


def get(path: str) -> bytes:
    """A request."""
    return f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """A request that sends JSON."""
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
    return f"POST {path} HTTP/1.1\r\nHost: shop\r\n{kind}\r\n\r\n".encode() + body


class Connection:
    """A connection that is kept open where the server keeps it; a request at a time."""

    def __init__(self, port: int):
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def ask(self, request: bytes) -> int:
        """Send a request, read the whole answer, and return its status; 0 if there is none."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            answer = Answer()
            writer.write(request)
            while not answer.whole:
                part = await reader.read(2**16)
                if not part:
                    raise ConnectionError
                answer.parser.feed_data(part)
        except OSError:
            self.close()
            return 0
        if not answer.kept:
            self.close()
        return answer.parser.get_status_code()


class Answer:
    """Whether an answer is there as a whole, and whether the connection is kept after it."""

    whole = kept = False

    def __init__(self):
        self.parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        """What httptools calls."""
        self.whole, self.kept = True, self.parser.should_keep_alive()


async def open_loop(
    port: int, messages: Iterator[bytes], rate: float, seconds: float
) -> tuple[np.ndarray, int]:
    """Seconds from when each request was due to its answer, and how many were not answered by 200."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(Connection(port))
    waited, errors = [], 0
    clock = asyncio.get_running_loop().time
    begin = clock()

    async def one(due: float, message: bytes) -> None:
        nonlocal errors
        connection = await free.get()
        errors += await connection.ask(message) != 200
        waited.append(clock() - due)
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as group:
        for n in range(int(rate * seconds)):
            due, message = begin + n / rate, next(messages)
            if (early := due - clock()) > 0:
                await asyncio.sleep(early)
            group.create_task(one(due, message))
    while not free.empty():
        free.get_nowait().close()
    return np.array(waited), errors


async def closed_loop(
    port: int, messages: Iterator[bytes], seconds: float = float("inf")
) -> tuple[float, int]:
    """Answers a second until the time or the messages are over, and how many were not 200."""
    count = errors = 0
    clock = asyncio.get_running_loop().time
    begin = clock()

    async def one() -> None:
        nonlocal count, errors
        connection = Connection(port)
        for message in messages:
            errors += await connection.ask(message) != 200
            count += 1
            if clock() > begin + seconds:
                break
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(one())
    return count / (clock() - begin), errors
