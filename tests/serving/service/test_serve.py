"""The service as a process of its own: killed under load, given other models, without room for its log."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest
from served import SERVE, ask, end_all, free_port, start, told
from shops import folder, untrained

from rezoo.serving import saved
from rezoo.serving.service.asks import Ask, Settings
from rezoo.serving.service.engine import Engine
from rezoo.serving.service.event_log import Event, SqliteLog
from rezoo.serving.service.requests import Wanted
from rezoo.serving.service.shop import Shop

KILLS = int(os.environ.get("REZOO_KILLS", "3"))
SWAPS = int(os.environ.get("REZOO_SWAPS", "3"))
VISITORS = 50
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    end_all()


def restart(*arguments):
    return start(*arguments, "--slots", "64")


def events(log):
    read = SqliteLog(log)
    kept = [event for _, event in read.read()]
    read.close()
    return kept


def uninterrupted(place, kept, ranker=None):
    """An engine that observed the events one by one."""
    second = None if ranker is None else saved.load(ranker)
    engine = Engine(saved.load(place), "?", Settings(slots=64), ranker=second)
    for event in kept:
        engine.answer([engine.open(event)])
    return engine


def scores(engine, visitor, k=10):
    slot = engine.find(visitor, engine.now)
    ask = Ask(slot) if engine.ranker is None else engine.of_slot(slot, Wanted(k))
    return engine.answer([ask])[1][0][:k]


def test_what_was_accepted_is_there_once_after_kills_and_sessions_are_as_they_were(tmp_path):
    place, log, port = folder(tmp_path / "model"), tmp_path / "events.sqlite", free_port()
    accepted, over = [set() for _ in range(4)], threading.Event()

    def load(number):
        rng = random.Random(number)
        while not over.is_set():
            event = {"visitor": f"v{rng.randrange(VISITORS)}", "item": f"p{rng.randrange(40)}", "k": 5}
            event["key"] = f"{number}-{rng.random()}"
            for _ in range(1000):  # until it is accepted: that is what the key is for
                status, answer = ask(port, "/events", event)
                if status == 200:
                    accepted[number].add(event["key"])
                    break
                assert status in (0, 503), answer
                time.sleep(0.05)
                if over.is_set():
                    break

    process = restart(place, log, port)
    threads = [threading.Thread(target=load, args=(number,), daemon=True) for number in range(len(accepted))]
    for thread in threads:
        thread.start()
    rng = random.Random(0)
    for _ in range(KILLS):
        time.sleep(0.3 + rng.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = restart(place, log, port)
    time.sleep(0.5)
    over.set()
    for thread in threads:
        thread.join()
    lists = {n: ask(port, f"/recommend?visitor=v{n}&k=10")[1]["items"] for n in range(VISITORS)}
    process.terminate()
    assert process.wait(30) in (0, -signal.SIGTERM)

    kept = events(log)
    keys = Counter(event.key for event in kept)
    assert max(keys.values()) == 1 and set.union(*accepted) <= set(keys) and len(set.union(*accepted)) > 100
    engine = uninterrupted(place, kept)
    for n in range(VISITORS):
        found = [one["score"] for one in lists[n]]
        np.testing.assert_allclose(found, scores(engine, f"v{n}"), rtol=1e-3, atol=1e-5)
    assert "Traceback" not in told(log)


def broken(path, model, number):
    """A folder that cannot be served, one of several kinds."""
    shutil.copytree(model, path)
    if number % 4 == 0:
        shutil.rmtree(path)  # a link to nothing
    elif number % 4 == 1:
        for file in path.iterdir():
            file.unlink()
    else:
        for file in path.iterdir():
            half = file.read_bytes()[: file.stat().st_size // 2]
            file.write_bytes(half if number % 4 == 2 else b"\0" * 100)
    return path


@pytest.mark.parametrize("stages", [1, 2])
def test_models_are_swapped_under_load_and_bad_ones_refused(tmp_path, stages):
    """One folder is reloaded by request; of two, below one link, the service sees that it was replaced."""
    places = [tmp_path / name for name in ("one", "two")]
    for seed, place in enumerate(places):
        folder(place / "model", seed=seed)
        saved.save(place / "ranker", untrained("BiasedMF", 1 - 2 * seed))
    link, log, port = tmp_path / "now", tmp_path / "events.sqlite", free_port()
    link.symlink_to(places[0])
    words = ("--watch", "1000") if stages == 1 else ("--watch", "0.1", "--ranker", str(link / "ranker"))

    def point_to(place):
        (tmp_path / "next").symlink_to(place)
        (tmp_path / "next").replace(link)
        if stages == 1:
            return ask(port, "/admin/reload", {}, {"Authorization": "Bearer secret"})
        before, end = ask(port, "/ready")[1], time.monotonic() + 60
        while (now := ask(port, "/ready")[1]) == before:
            assert time.monotonic() < end, told(log)
            time.sleep(0.05)
        now = ask(port, "/ready")[1]  # version and trouble
        return 400 if now["trouble"] else 200, now

    process = start(link / "model", log, port, "--slots", "64", *words, REZOO_TOKEN="secret")
    sent = [{"visitor": f"v{n % VISITORS}", "item": f"p{n * 7 % 40}"} for n in range(VISITORS * 3)]
    assert {ask(port, "/events", one)[0] for one in sent} == {200}
    versions, expected = [], {}
    for place in places:
        ranker = place / "ranker" if stages == 2 else None
        versions.append(Shop(place / "model", SqliteLog(":memory:"), ranker=ranker).content())
        engine = uninterrupted(place / "model", (Event(**one, key="", received=1.0) for one in sent), ranker)
        for n in range(VISITORS):
            expected[versions[-1], n] = scores(engine, f"v{n}", 5)
    over, wrong, answered = threading.Event(), [], Counter()

    def load(number):
        rng = random.Random(number)
        while not over.is_set():
            n = rng.randrange(VISITORS)
            if number == 0:
                status, answer = ask(port, "/events", {"visitor": f"w{n % 10}", "item": f"p{n % 40}", "k": 5})
                right = status == 200
            else:
                status, answer = ask(port, f"/recommend?visitor=v{n}&k=5")
                found = [one["score"] for one in answer.get("items", [])]
                right = status == 200 and np.allclose(found, expected[answer["version"], n], 1e-3, 1e-5)
            answered[answer.get("version")] += 1
            if not right:
                wrong.append((status, answer))

    threads = [threading.Thread(target=load, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    for n in range(SWAPS):
        new = (n + 1) % 2
        status, answer = point_to(places[new])
        assert status == 200 and answer["version"] == versions[new], answer
        bad = tmp_path / f"bad-{n}"
        shutil.copytree(places[new], bad)
        which = ("model", "ranker")[n % stages]
        shutil.rmtree(bad / which)
        broken(bad / which, places[new] / which, n)
        status, answer = point_to(bad)
        assert status == 400, answer
        ready = ask(port, "/ready")[1]
        assert ready["version"] == versions[new] and "cannot be served" in ready["trouble"]
        assert tmp_path.name not in json.dumps(ready)
    over.set()
    for thread in threads:
        thread.join()
    process.terminate()
    process.wait(30)
    assert not wrong and set(answered) == set(versions), (wrong[:3], answered)
    assert "Traceback" not in told(log), told(log)


def test_a_full_disk_is_said_and_the_service_goes_on_when_there_is_room(tmp_path):
    place, log, port = folder(tmp_path / "model"), tmp_path / "events.sqlite", free_port()
    process = restart(place, log, port)
    event = {"visitor": "ann", "item": "p1", "features": {"note": "x" * 20_000}}
    accepted = refused = 0
    for round_ in range(2):
        size = max(file.stat().st_size for file in tmp_path.glob("events.sqlite*"))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size + 200_000, resource.RLIM_INFINITY))
        for _ in range(40):
            status, answer = ask(port, "/events", event)
            assert status in (200, 507), answer
            accepted, refused = accepted + (status == 200), refused + (status == 507)
            if status == 507:
                assert "cannot be written to" in answer["error"]
        assert refused > 3 * (round_ + 1)
        assert ask(port, "/recommend?visitor=ann&k=3")[0] == 200
        no_limit = resource.RLIM_INFINITY, resource.RLIM_INFINITY
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, no_limit)
        assert ask(port, "/events", event)[0] == 200
        accepted += 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(events(log)) == accepted
    assert "Traceback" not in told(log), told(log)


def test_the_smoke_runs(tmp_path):
    command = [sys.executable, str(SERVE), "--smoke", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "ready after" in done.stdout and "not yet seen" in done.stdout
