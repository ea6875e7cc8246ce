"""Kills at random moments, and disks without space: what was there is there, and the end is the same."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TESTS = Path(__file__).parent
EXPERIMENTS = TESTS.parent / "experiments"
KILLS = 20
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

# Imports once, and for every folder that it reads forks a process, which does the work there and may be
# killed: JAX starts no thread before its first computation.
NURSERY = """
import os, sys
sys.path[:0] = sys.argv[1:]
def say(text):
    os.write(1, f"{text}\\n".encode())  # in one piece, whoever is killed

{work}
for line in sys.stdin:
    if not (child := os.fork()):
        say(os.getpid())
        work(line.strip())
        os._exit(0)
    say(os.waitpid(child, 0)[1])
"""

RUN = """
import time
import jax, numpy as np
from training.test_loop import problem
from rezoo.training import loop

def work(folder):
    state, epoch = problem()

    def slow(state):
        if not isinstance(state.step, jax.core.Tracer):
            say("at work")
            time.sleep(0.01)
        return epoch(state)

    result = loop.run(slow, state, 150, folder=folder + "/run", save_every=0.0)
    np.savez(folder + "/end.npz", loss=result.history["loss"], **result.state.params)
"""

STUDY = """
import jax, jax.numpy as jnp, numpy as np
from rezoo.storage import checkpoint
from rezoo.studies import sweep

def train(key, rate):
    def step(x, key):
        return x + rate * jax.random.normal(key, x.shape), x.sum()
    return jax.lax.scan(step, jnp.zeros(8), jax.random.split(key, 50))

def work(folder):
    save = checkpoint.save
    def said(*given):
        say("at work")
        save(*given)
    checkpoint.save = said
    grid = {"rate": jnp.linspace(0.1, 1.0, 60)}
    last, sums = sweep.study(train, sweep.keys(1), grid, at_once=1, folder=folder + "/study")
    np.savez(folder + "/end.npz", last=last, sums=sums)
"""

# The script itself, whose imports are there already.
EXPERIMENT = """
import runpy
import tuning

def work(folder):
    say("at work")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = [tuning.__file__, "--smoke", "--out", folder]
    runpy.run_path(tuning.__file__, run_name="__main__")
"""


@contextlib.contextmanager
def nursery(work: str, **environment: str) -> Iterator[Callable[..., int]]:
    """Lives of processes: `(folder, seconds) -> status`, each killed after so many seconds of its work."""
    paths = [str(place) for place in (TESTS, TESTS.parent, EXPERIMENTS)]
    command = [sys.executable, "-c", NURSERY.replace("{work}", work), *paths]
    env, pipes = os.environ | environment, {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=env, text=True, **pipes) as process:

        def live(folder: Path, seconds: float | None = None) -> int:
            assert process.stdin and process.stdout
            folder.mkdir(exist_ok=True)
            print(folder, file=process.stdin, flush=True)
            child = int(process.stdout.readline())
            said = process.stdout.readline()
            if seconds is not None and said == "at work\n":
                time.sleep(seconds)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            while said == "at work\n":
                said = process.stdout.readline()
            return int(said)

        yield live


@pytest.mark.parametrize("work", [RUN, STUDY], ids=["run", "study"])
def test_what_is_killed_at_random_moments_ends_as_if_it_never_was(work, tmp_path):
    draw, killed, ends = random.Random(0), 0, 0
    with nursery(work) as live:
        assert live(tmp_path / "whole") == 0
        while killed < KILLS:
            status = live(tmp_path / str(ends), draw.uniform(0.0, 0.5))
            assert status in (0, signal.SIGKILL)
            killed += status == signal.SIGKILL
            ends += status == 0  # it had come to its end: from the start, in another folder
        assert live(tmp_path / str(ends)) == 0
    for place in tmp_path.iterdir():
        with np.load(place / "end.npz") as end, np.load(tmp_path / "whole" / "end.npz") as expected:
            for name in expected:
                np.testing.assert_array_equal(end[name], expected[name])


def rows(out: Path) -> list[dict[str, Any]]:
    """What an experiment has measured, but for the time it took."""
    (file,) = out.glob("*/rows.json")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in json.loads(file.read_text())["rows"]]


def test_an_experiment_that_is_killed_at_random_moments_ends_with_the_same_rows(tmp_path):
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    draw, killed, ends = random.Random(0), 0, 0
    with nursery(EXPERIMENT, **cache) as live:
        assert live(tmp_path / "whole") == 0  # compiles what the others read
        begun = time.monotonic()
        assert live(tmp_path / "again") == 0
        seconds, expected = time.monotonic() - begun, rows(tmp_path / "whole")
        assert rows(tmp_path / "again") == expected
        while killed < KILLS // 2:
            out = tmp_path / str(ends)
            status = live(out, draw.uniform(0.0, 0.5) * seconds)
            assert status in (0, signal.SIGKILL)
            killed += status == signal.SIGKILL
            ends += status == 0
            assert not list(out.glob("*/rows.json")) or rows(out) in ([], expected)
        assert live(tmp_path / str(ends)) == 0
    assert all(rows(tmp_path / str(end)) == expected for end in range(ends + 1))


# Every file that is longer than so many bytes is a disk without space.
FULL = """
import resource, signal, sys
sys.path[:0] = sys.argv[3:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import jax, jax.numpy as jnp, numpy as np
from training.test_loop import problem
from rezoo.storage import checkpoint
from rezoo.studies import sweep
from rezoo.training import loop
import common
folder, limit = sys.argv[1], int(sys.argv[2])
def full():
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
def expect(text, act):
    try:
        act()
    except OSError as error:
        assert text in str(error), error
    else:
        raise SystemExit(f"no error: {text}")
"""

FULL_RUN = """
loop.run(problem()[1], problem()[0], 3, folder=folder)
first = loop.run(problem()[1], problem()[0], 3, folder=folder)
full()
finished = loop.run(problem()[1], problem()[0], 3, folder=folder)
assert finished.history["loss"].tolist() == first.history["loss"].tolist()
expect(folder, lambda: loop.run(problem()[1], problem()[0], 5, folder=folder))
assert loop.run(problem()[1], problem()[0], 3, folder=folder).seconds == first.seconds
"""

FULL_STUDY = """
import jax, jax.numpy as jnp, numpy as np
from rezoo.storage import checkpoint
from rezoo.studies import sweep

def train(key, rate):
    return rate * jax.random.normal(key, (4,))
def study(folder, rates):
    return sweep.study(train, sweep.keys(1), {"rate": jnp.arange(rates)}, at_once=1, folder=folder)
first = study(folder, 3.0)
full()
assert (study(folder, 3.0) == first).all()
expect(folder, lambda: study(folder, 4.0))
assert (study(folder, 3.0) == first).all()
"""

FULL_RESULTS = """
from pathlib import Path
def opened():
    return common.Results("made_up", Path(folder), Path(folder, "made_up.json"))
row = ("MF", "toy", "by hand", "rmse")
results = opened()
results.add(*row, 1.0, seconds=1.0)
results.finish()
written = Path(folder, "made_up.json").read_text()
full()
expect(folder, lambda: results.add(*row, 2.0, seconds=1.0, note="long " * limit))
expect(folder, lambda: results.finish())
assert Path(folder, "made_up.json").read_text() == written
del results
assert opened().values(*row) == [1.0]
"""


@pytest.mark.parametrize("limit", [0, 100])
@pytest.mark.parametrize("work", [FULL_RUN, FULL_STUDY, FULL_RESULTS], ids=["run", "study", "results"])
def test_a_full_disk_is_an_error_that_names_the_folder_and_costs_nothing(work, limit, tmp_path):
    paths = [str(place) for place in (TESTS, TESTS.parent, EXPERIMENTS)]
    command = [sys.executable, "-c", FULL + work, str(tmp_path), str(limit), *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("work", [FULL_RUN, FULL_STUDY, FULL_RESULTS], ids=["run", "study", "results"])
def test_a_file_in_the_place_of_the_folder_is_an_error_that_names_it(work, tmp_path):
    (tmp_path / "file").write_text("kept")
    paths = [str(place) for place in (TESTS, TESTS.parent, EXPERIMENTS)]
    command = [sys.executable, "-c", FULL + work, str(tmp_path / "file"), "0", *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode and "Error: " in last and str(tmp_path / "file") in last
    assert (tmp_path / "file").read_text() == "kept"
