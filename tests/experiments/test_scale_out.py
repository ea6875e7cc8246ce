"""Several processes are one: the same end, whoever is killed and however many go on."""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jax.sharding import AxisType

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import scale_out

from rezoo.devices import sharding

KILLS = int(os.environ.get("REZOO_KILLS", "2"))
USERS, ITEMS = 37, 21
FLAGS = scale_out.Flags(users=USERS, items=ITEMS, dim=4, epochs=12, save_every=12)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a log, 4 × 5 row groups of at most 16 rows, and what is compiled on the way."""
    folder, rng = tmp_path_factory.mktemp("processes"), np.random.default_rng(0)
    for name, number in (("train", 4), ("test", 1)):
        (folder / "log" / name).mkdir(parents=True)
        for n in range(number):
            columns = {"user": rng.integers(1, USERS + 1, 70), "item": rng.zipf(1.5, 70) % ITEMS + 1}
            table = pa.table({k: v.astype(np.int32) for k, v in columns.items()})
            pq.write_table(table, folder / "log" / name / f"{n}.parquet", row_group_size=16)
    return folder


class Life:
    """Processes that run at the same time."""

    def __init__(self, place, out, number, devices, *more):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            coordinator = f"localhost:{free.getsockname()[1]}"
        env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(place / "compiled")}
        env |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PLATFORMS": "cpu"}
        env["XLA_FLAGS"] = env["XLA_FLAGS"].replace("count=8", f"count={devices}")
        command = [sys.executable, "-W", "error", scale_out.__file__, "--log", place / "log"]
        for name in ("users", "items", "dim", "epochs", "save_every"):
            command += [f"--{name.replace('_', '-')}", str(getattr(FLAGS, name))]
        command += ["--out", place / out, "--timeout", "5", "--num-processes", str(number)]
        command += ["--coordinator", coordinator, "--process-id"]
        self.files = [place / f"{out}-{n}.txt" for n in range(number)]
        self.processes = []
        for n, file in enumerate(self.files):
            own = more[n] if more else []
            with file.open("w") as said:
                self.processes.append(
                    subprocess.Popen([*command, str(n), *own], env=env, stdout=said, stderr=said)
                )

    def wait_for(self, text):
        while text not in self.said(0) and self.processes[0].poll() is None:
            time.sleep(0.02)

    def said(self, number):
        return self.files[number].read_text()

    def end(self):
        return [process.wait(120) for process in self.processes]


def lived(*arguments):
    """The end of processes that nobody kills."""
    life = Life(*arguments)
    assert life.end() == [0] * len(life.processes), "\n".join(map(life.said, range(len(life.files))))


def params(out):
    """Those of the last checkpoint, as on one device."""
    given = scale_out.problem(FLAGS, USERS, ITEMS)
    (run,) = out.iterdir()
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    state, notes = sharding.restore(run, given.specs, given.logical, mesh)
    assert notes["step"] == 36
    return jax.device_get(sharding.whole(state.params, given.specs.params, given.logical.params))


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-6), a, b)


def test_processes_that_are_killed_end_as_one_that_was_not(place):
    lived(place, "whole", 2, 4)
    whole = params(place / "whole")
    lived(place, "one", 1, 8)
    close(params(place / "one"), whole)

    draw, killed = random.Random(0), 0
    while killed < KILLS:
        life = Life(place, "killed", 2, 4)
        life.wait_for("begin" if killed % 2 else "step 12 of")
        time.sleep(draw.uniform(0.0, 1.0))
        life.processes[victim := draw.randrange(2)].kill()
        begun = time.monotonic()
        statuses = life.end()
        if statuses == [0, 0]:  # they had come to their end: from the start
            shutil.rmtree(place / "killed")
            continue
        killed += 1
        assert time.monotonic() - begun < 60
        assert statuses[victim] == -9 and statuses[1 - victim] not in (0, -9), life.said(1 - victim)
    for number, devices in ((1, 2), (4, 2)):
        out = f"on {number} × {devices}"
        if (place / "killed").exists():
            shutil.copytree(place / "killed", place / out)
        lived(place, out, number, devices)
        close(params(place / out), whole)
    lived(place, "killed", 2, 4)
    equal(params(place / "killed"), whole)


def test_processes_that_disagree_all_end_with_what_differs(place):
    life = Life(place, "differ", 2, 4, [], ["--rate", "0.2"])
    assert life.end() == [1, 1]
    for number in range(2):
        host = f"on host {socket.gethostname()} is"
        said = f"error: --rate of process 1 {host} '0.2', but that of process 0 {host} '0.1'"
        assert said in life.said(number), life.said(number)
