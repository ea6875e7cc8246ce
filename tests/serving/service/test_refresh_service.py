"""The circle: events, the log, a refresh from another process, a new model without a restart."""

import subprocess
import sys
import time

import pytest
from serving.service.test_serve import SERVE, ask, free_port, start
from shops import folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
REFRESH = SERVE.with_name("refresh_service.py")


def refreshed(link, log, *flags):
    command = [sys.executable, str(REFRESH), str(link), "--log", str(log), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_new_product_is_recommended_without_a_restart(tmp_path):
    folder(tmp_path / "first")
    link, log, port = tmp_path / "shop", tmp_path / "events.sqlite", free_port()
    link.symlink_to("first")
    process = start(link, log, port)
    try:
        before = ask(port, "/ready")[1]["version"]
        for visit in range(60):
            for item in ("p3", "new", "p4", "new"):
                status, told = ask(port, "/events", {"visitor": f"v{visit}", "item": item, "k": 10})
                assert status == 200
        assert told["unknown"] == {"item": ["new"]}
        done = refreshed(link, log, "--at-least", "500")
        assert done.returncode == 1 and "refused: 24 held-out events" in done.stdout, done.stderr
        assert ask(port, "/ready")[1]["version"] == before
        done = refreshed(link, log, "--at-least", "10", "--num-epochs", "30", "--rate", "0.01")
        assert done.returncode == 0 and "accepted" in done.stdout, done.stdout + done.stderr
        end = time.monotonic() + 120
        while ask(port, "/ready")[1]["version"] == before:
            assert time.monotonic() < end
            time.sleep(0.2)
        told = ask(port, "/events", {"visitor": "somebody", "item": "p3", "k": 10})[1]
        assert "new" in [one["item"] for one in told["items"]] and told["version"] != before
        assert process.poll() is None
        done = refreshed(link, log)
        assert done.returncode == 1 and "refused: 0 held-out events are too few" in done.stdout, done.stderr
    finally:
        process.terminate()
        process.wait(30)
