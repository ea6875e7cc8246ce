"""The service as a process of its own: killed under load, it has every event that it accepted, once."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from shops import folder

from rezoo.serving import saved
from rezoo.serving.service.asks import Ask, Settings
from rezoo.serving.service.engine import Engine
from rezoo.serving.service.event_log import SqliteLog

SERVE = Path(__file__).parents[3] / "experiments" / "serve.py"
KILLS = int(os.environ.get("REZOO_KILLS", "3"))
VISITORS = 50
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(place: Path, log: Path, port: int) -> subprocess.Popen:
    command = [sys.executable, str(SERVE), str(place), "--log", str(log), "--port", str(port)]
    told = log.with_suffix(".txt")
    with told.open("ab") as stream:
        environment = os.environ | {"XLA_FLAGS": ""}
        process = subprocess.Popen([*command, "--slots", "64"], env=environment, stderr=stream)
    end = time.monotonic() + 120
    while ask(port, "/ready")[0] != 200:
        assert process.poll() is None and time.monotonic() < end, told.read_text()
        time.sleep(0.1)
    return process


def ask(port, path, body=None):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", None if body is None else json.dumps(body).encode()
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except (OSError, ValueError):
        return 0, {}


def test_what_was_accepted_is_there_once_after_kills_and_sessions_are_as_they_were(tmp_path):
    place, log, port = folder(tmp_path / "model"), tmp_path / "events.sqlite", free_port()
    accepted, over = [set() for _ in range(4)], threading.Event()

    def load(number):
        rng = random.Random(number)
        while not over.is_set():
            event = {"visitor": f"v{rng.randrange(VISITORS)}", "item": f"p{rng.randrange(40)}", "k": 5}
            event["key"] = f"{number}-{rng.random()}"
            for _ in range(1000):  # until it is accepted: that is what the key is for
                status, told = ask(port, "/events", event)
                if status == 200:
                    accepted[number].add(event["key"])
                    break
                assert status in (0, 503), told
                time.sleep(0.05)
                if over.is_set():
                    break

    process = start(place, log, port)
    threads = [threading.Thread(target=load, args=(number,)) for number in range(len(accepted))]
    for thread in threads:
        thread.start()
    rng = random.Random(0)
    for _ in range(KILLS):
        time.sleep(0.3 + rng.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = start(place, log, port)
    time.sleep(0.5)
    over.set()
    for thread in threads:
        thread.join()
    lists = {n: ask(port, f"/recommend?visitor=v{n}&k=10")[1]["items"] for n in range(VISITORS)}
    process.terminate()
    assert process.wait(30) in (0, -signal.SIGTERM)

    read = SqliteLog(log)
    kept = list(read.read())
    read.close()
    keys = Counter(event.key for _, event in kept)
    assert max(keys.values()) == 1 and set.union(*accepted) <= set(keys) and len(set.union(*accepted)) > 100
    engine = Engine(saved.load(place), "?", Settings(slots=64))  # which was never interrupted
    for _, event in kept:
        engine.answer([engine.open(event)])
    for n in range(VISITORS):
        _, scores = engine.answer([Ask(engine.find(f"v{n}", engine.now))])
        np.testing.assert_allclose([one["score"] for one in lists[n]], scores[0][:10], rtol=1e-3, atol=1e-5)


def test_the_smoke_runs(tmp_path):
    command = [sys.executable, str(SERVE), "--smoke", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "ready after" in done.stdout and "not yet seen" in done.stdout
