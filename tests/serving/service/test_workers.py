"""Several services for some of the visitors each; a proxy gives each visitor always the same one."""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import pytest
from served import ask, end_all, free_port, launch, told, wait
from shops import folder

from rezoo.serving import service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
VISITORS = [f"v{n}" for n in range(12)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Two services: the process that supervises them, the first port, the log, and what visitors did."""
    root = tmp_path_factory.mktemp("workers")
    log, port = root / "events.sqlite", free_port(2)
    process = launch(folder(root / "model"), log, port, "--workers", "2", "--slots", "64")
    for n in range(2):
        wait(port + n, process, log)
    for step in range(3):
        for n, visitor in enumerate(VISITORS):
            event = {"visitor": visitor, "item": f"p{(n * 7 + step * 3) % 40}"}
            assert ask(port + side(visitor), "/events", event)[0] == 200
    yield process, port, log
    process.terminate()
    process.wait(60)
    end_all()


def side(visitor):
    return zlib.crc32(visitor.encode()) % 2


def scores(port):
    """Of the lists that all visitors would be shown."""
    lists = [ask(port + side(visitor), f"/recommend?visitor={visitor}")[1] for visitor in VISITORS]
    return np.array([[one["score"] for one in told["items"]] for told in lists])


def services(process):
    """The processes that the supervisor started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_killed_service_comes_back_with_its_sessions(shop):
    process, port, log = shop
    assert (log.with_stem("events-0")).exists() and (log.with_stem("events-1")).exists()
    before, pids = scores(port), services(process)
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        down = [n for n in range(2) if ask(port + n, "/health")[0] != 200]
        assert len(down) == 1
        wait(port + down[0], process, log)
        np.testing.assert_allclose(scores(port), before, rtol=1e-4, atol=1e-6)
    assert "Traceback" not in told(log)


def asked(port, path, data=None):
    """Status and text of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def block(text, begin):
    """The lines of a text from one that begins so to its closing brace."""
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.strip().startswith(begin))
    indent = len(lines[first]) - len(lines[first].lstrip())
    last = next(n for n in range(first, len(lines)) if lines[n] == " " * indent + "}")
    return "\n".join(lines[first : last + 1])


def test_nginx_gives_each_visitor_the_same_service(shop, tmp_path):
    if (nginx := shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")) is None:
        pytest.skip("nginx is not installed")
    _, port, log = shop
    front = free_port()
    upstream = re.search(r"^map .*?^upstream .*?^}", told(log), re.M | re.S)
    proxied = block(str(service.__doc__), "server {")
    proxied = re.sub(r"listen .*;", f"listen 127.0.0.1:{front};", proxied)
    proxied = re.sub(r" *(ssl_\w+|server_name) .*;\n", "", proxied)
    paths = "".join(
        f"{kind}_temp_path {tmp_path};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\nevents {{}}\nhttp {{\n"
        f"access_log off;\n{paths}{upstream and upstream[0]}\n{proxied}\n}}\n"
    )
    proxy = subprocess.Popen([nginx, "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")])
    try:
        end = time.monotonic() + 20
        while ask(front, "/recommend?visitor=nobody")[0] != 200:
            assert proxy.poll() is None and time.monotonic() < end, (tmp_path / "error.log").read_text()
            time.sleep(0.1)
        for visitor in (f"w{n}" for n in range(20)):
            header = {"X-Visitor": visitor}
            for item in ("p3", "p5"):
                told_ = ask(front, "/events", {"visitor": visitor, "item": item, "k": 5}, header)
                assert told_[0] == 200
            again = ask(front, f"/recommend?visitor={visitor}&k=5", None, header)[1]["items"]
            assert again == ask(front, f"/recommend?visitor={visitor}&k=5")[1]["items"] == told_[1]["items"]
        metrics = [asked(port + n, "/metrics")[1] for n in range(2)]
        open_ = [float(re.search(r"^rezoo_open_sessions (.*)$", one, re.M)[1]) for one in metrics]
        assert sum(open_) == len(VISITORS) + 20 and min(open_) > 8
        assert {asked(front, path)[0] for path in ("/metrics", "/admin/reload", "/docs")} == {404}
        assert asked(front, "/events", b"x" * 100_000)[0] == 413
    finally:
        proxy.terminate()
        proxy.wait(20)
