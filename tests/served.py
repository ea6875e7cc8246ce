"""The service as a process of its own, for tests."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

SERVE = Path(__file__).parents[1] / "experiments" / "serve.py"
STARTED: list[subprocess.Popen] = []


def free_port(several: int = 1) -> int:
    """The first of so many ports at which nobody listens."""
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            first = one.getsockname()[1]
            if all(is_free(first + n) for n in range(1, several)):
                return first


def is_free(port):
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def launch(place: Path, log: Path, port: int, *words: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, str(SERVE), str(place), "--log", str(log), "--port", str(port), *words]
    with log.with_suffix(".txt").open("ab") as stream:
        flags = os.environ["XLA_FLAGS"].replace("count=8", "count=1")
        environment = os.environ | {"XLA_FLAGS": flags} | environment
        STARTED.append(subprocess.Popen(command, env=environment, stdout=stream, stderr=stream))
    return STARTED[-1]


def end_all() -> None:
    """Kill what was started and still runs."""
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def start(place: Path, log: Path, port: int, *words: str, **environment: str) -> subprocess.Popen:
    """A service that is ready; what it prints goes into a file beside the log."""
    process = launch(place, log, port, *words, **environment)
    wait(port, process, log)
    return process


def wait(port: int, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 120
    while ask(port, "/ready")[0] != 200:
        assert process.poll() is None and time.monotonic() < end, told(log)
        time.sleep(0.1)


def told(log: Path) -> str:
    """What services with this log printed."""
    return log.with_suffix(".txt").read_text()


def ask(port, path, body=None, headers=None):
    """Status and JSON of an answer; 0 if there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers or {})
    try:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
    except (OSError, ValueError, http.client.HTTPException):
        return 0, {}
