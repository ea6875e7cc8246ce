"""Several processes are one: the same end, whoever is killed and however many go on."""

import json
import os
import random
import shutil
import signal
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
from rezoo.training import row_sparse

KILLS = int(os.environ.get("REZOO_KILLS", "2"))
USERS, ITEMS = 37, 21
SET = ("users", "items", "dim", "epochs", "save_every")
FLAGS = scale_out.Flags(users=USERS, items=ITEMS, dim=4, epochs=12, save_every=12)
CHECKPOINTS = "*/*/[0-9]"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


# Imports once; forks the processes of each life it reads, and says how the children it reads have ended. JAX
# starts no thread before its first computation. A process keeps its number until its end has been asked for.
NURSERY = """
import functools, json, os, sys
sys.path[:0] = sys.argv[1:]
import scale_out, tyro
for line in sys.stdin:
    request, children = json.loads(line), []
    if "ended" in request:
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in request["ended"]]
        print(json.dumps(ends), flush=True)
        continue
    for said, flags, arguments in request["begin"]:
        if child := os.fork():
            children.append(child)
            continue
        for stream in (1, 2):
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        os.environ["XLA_FLAGS"] = flags
        sys.excepthook = functools.partial(scale_out.say, flags=[])
        sys.exit(scale_out.main(tyro.cli(scale_out.Flags, args=arguments)))
    print(json.dumps(children), flush=True)
"""


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


@pytest.fixture(scope="module")
def begin(place):
    """`(folder of checkpoints, processes, devices of each, arguments of the last) -> Life`."""
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(place / "compiled"), "JAX_PLATFORMS": "cpu"}
    env |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    paths = [str(Path(scale_out.__file__).parent), str(Path(scale_out.__file__).parents[1])]
    command = [sys.executable, "-c", NURSERY, *paths]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=env, **pipes) as nursery:
        yield lambda *arguments: Life(nursery, place, *arguments)


class Life:
    """Processes that run at the same time."""

    def __init__(self, nursery, place, out, number, devices, more=()):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            coordinator = f"localhost:{free.getsockname()[1]}"
        flags = os.environ["XLA_FLAGS"].replace("count=8", f"count={devices}")
        arguments = [f"--{name.replace('_', '-')}={getattr(FLAGS, name)}" for name in SET]
        arguments += [f"--log={place / 'log'}", f"--out={place / out}", "--timeout=5"]
        arguments += [f"--coordinator={coordinator}", f"--num-processes={number}"]
        self.files = [place / f"{out}-{n}.txt" for n in range(number)]
        lives = [[str(file), flags, [*arguments, f"--process-id={n}"]] for n, file in enumerate(self.files)]
        lives[-1][-1] += more
        for file in self.files:
            file.write_text("")
        self.nursery = nursery
        self.ids = self.ask(begin=lives)

    def ask(self, **request):
        print(json.dumps(request), file=self.nursery.stdin, flush=True)
        return json.loads(self.nursery.stdout.readline())

    def wait_for(self, text, seconds=60):
        until = time.monotonic() + seconds
        while text not in self.files[0].read_text() and time.monotonic() < until:
            time.sleep(0.02)

    def said(self):
        return [file.read_text() for file in self.files]

    def end(self):
        return self.ask(ended=self.ids)


def lived(life):
    """The end of processes that nobody kills."""
    assert life.end() == [0] * len(life.ids), "\n".join(life.said())


def params(out):
    """Those of the last checkpoint, as on one device."""
    given = scale_out.problem(FLAGS, USERS, ITEMS)
    (run,) = {checkpoint.parent for checkpoint in out.glob(CHECKPOINTS)}
    mesh, specs = jax.make_mesh((8,), ("data",), (AxisType.Auto,)), row_sparse.rules(given.logical)
    (state, _), _ = row_sparse.checkpoints_over(mesh, given.logical).restore(run, (given.logical, {}))
    assert int(state.step) == 36
    return jax.device_get(sharding.whole(state.params, specs.params, given.logical.params))


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-6), a, b)


def test_processes_that_are_killed_end_as_one_that_was_not(place, begin):
    lived(begin("whole", 2, 4))
    whole = params(place / "whole")
    lived(begin("one", 1, 8))
    close(params(place / "one"), whole)

    draw, killed, longest = random.Random(0), 0, 1.0
    while killed < KILLS:
        life = begin("killed", 2, 4)
        life.wait_for("begin" if any((place / "killed").glob(CHECKPOINTS)) else "step 24 of")
        time.sleep(draw.uniform(0.0, longest))
        os.kill(life.ids[victim := draw.randrange(2)], signal.SIGKILL)
        begun = time.monotonic()
        statuses = life.end()
        if statuses[1 - victim] == 0:  # they had come to their end: from the start
            equal(params(place / "killed"), whole)
            shutil.rmtree(place / "killed")
            longest /= 2
            continue
        killed += 1
        assert time.monotonic() - begun < 60
        assert statuses[victim] == -9 and statuses[1 - victim] not in (0, -9), life.said()
    for number, devices in ((1, 2), (4, 2)):
        out = f"on {number} × {devices}"
        if (place / "killed").exists():
            shutil.copytree(place / "killed", place / out)
        lived(begin(out, number, devices))
        close(params(place / out), whole)
    lived(begin("killed", 2, 4))
    equal(params(place / "killed"), whole)


def test_processes_that_disagree_all_end_with_what_differs(begin):
    life = begin("differ", 2, 4, ["--rate=0.2"])
    assert life.end() == [1, 1]
    host = f"on host {socket.gethostname()} is"
    expected = f"error: --rate of process 1 {host} '0.2', but that of process 0 {host} '0.1'"
    assert all(expected in said for said in life.said()), life.said()
