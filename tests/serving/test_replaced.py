"""What is saved never costs what was there: other files, the model before, half of either."""

import contextlib
import os
import random
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from rezoo.data import files
from rezoo.data.ids import Ids
from rezoo.errors import DataError
from rezoo.models import BiasedMF
from rezoo.serving import saved, tables
from rezoo.serving.bundle import Saved

USERS, ITEMS = Ids(np.array(["ann", "bob", "eve"])), Ids(np.array([10, 20, 30, 40]))


def model(number):
    """A model that is this number all over."""
    tables = {"user": (4, 3), "item": (5, 3), "user_bias": (4, 1), "item_bias": (5, 1)}
    params = {name: {"embedding": np.full(shape, number, np.float32)} for name, shape in tables.items()}
    return Saved(BiasedMF(4, 5, 3, mean=float(number)), {"params": params}, USERS, ITEMS)


def number(one):
    """Which model it is, if it is whole."""
    tables = [np.asarray(leaf) for leaf in jax.tree.leaves(one.variables)]
    found = {one.model.mean}.union(*(table.ravel().tolist() for table in tables))
    assert len(found) == 1
    return found.pop()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_of_other_files_is_left_as_it_is(tmp_path):
    runs = tmp_path / "runs"
    saved.save(runs / "old", model(1))
    (runs / "mine.csv").write_text("precious")
    with pytest.raises(DataError, match=r"runs is not a saved model, but holds mine.csv, old: name another"):
        saved.save(runs, model(2))
    assert names(runs) == ["mine.csv", "old"] and number(saved.load(runs / "old")) == 1
    (runs / "old" / "notes.txt").write_text("also mine")
    with pytest.raises(DataError, match=r"notes.txt"):
        saved.save(runs / "old", model(2))
    assert (runs / "old" / "notes.txt").read_text() == "also mine" and number(saved.load(runs / "old")) == 1


def test_a_file_or_the_working_folder_is_left_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "film").write_text("precious")
    for path in (tmp_path / "film", tmp_path / "film" / "run"):
        with pytest.raises(DataError, match="film"):
            saved.save(path, model(1))
    assert names(tmp_path) == ["film"] and (tmp_path / "film").read_text() == "precious"
    (tmp_path / "here" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "in")
    for path in (".", "..", tmp_path / "here"):
        with pytest.raises(DataError, match="the working folder or one above it"):
            saved.save(path, model(1))
    saved.save("run", model(1))
    assert number(saved.load(tmp_path / "here" / "in" / "run")) == 1


def test_an_empty_folder_a_link_and_a_model_are_written_to(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "now").symlink_to("first")
    (tmp_path / "next").symlink_to("second")
    saved.save(tmp_path / "now", model(1))
    assert (tmp_path / "now").is_symlink() and number(saved.load(tmp_path / "first")) == 1
    saved.save(tmp_path / "now", model(2))
    saved.save(tmp_path / "next", model(3))
    assert [number(saved.load(tmp_path / name)) for name in ("now", "first", "second")] == [2, 2, 3]
    assert names(tmp_path) == ["first", "next", "now", "second"]


def test_a_kill_between_the_two_moves_leaves_the_old_model(tmp_path):
    saved.save(tmp_path / "run", model(1))
    (tmp_path / "run").rename(tmp_path / ".run.old")
    assert number(saved.load(tmp_path / "run")) == 1
    saved.save(tmp_path / "run", model(2))
    assert number(saved.load(tmp_path / "run")) == 2 and names(tmp_path) == ["run"]


@contextlib.contextmanager
def full_disk(most):
    """No file may have more bytes than this."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_full_disk_leaves_the_old_table(tmp_path, kind):
    table = tmp_path / f"lists.{kind}"
    tables.write({"item": np.array([1, 2])}, table)
    with full_disk(5), pytest.raises(OSError, match=r"large|space"):
        tables.write({"item": np.arange(1000)}, table)
    assert files.read_table(table)["item"].tolist() == [1, 2] and names(tmp_path) == [table.name]


@pytest.mark.parametrize("most", [0, 700, 1500])
def test_a_full_disk_leaves_the_old_model(tmp_path, most):
    saved.save(tmp_path / "run", model(1))
    with (
        full_disk(most),
        pytest.raises(DataError, match=r"run cannot be written .*what was there is as it was"),
    ):
        saved.save(tmp_path / "run", model(2))
    assert number(saved.load(tmp_path / "run")) == 1 and names(tmp_path) == ["run"]


def test_one_who_loads_while_it_is_replaced_gets_a_whole_model(tmp_path):
    saved.save(tmp_path / "run", model(0))
    done = threading.Event()

    def replace():
        for count in range(1, 1000):
            if done.is_set():
                return
            saved.save(tmp_path / "run", model(count))

    saver, found = threading.Thread(target=replace), []
    saver.start()
    try:
        while len(found) < 8 or (len(set(found)) < 2 and saver.is_alive()):
            found.append(number(saved.load(tmp_path / "run")))
    finally:
        done.set()
        saver.join()
    assert found == sorted(found) and len(set(found)) > 1


SAVER = """
import os, signal, sys
import test_replaced as test
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    process = os.fork()
    while not process:
        test.saved.save(sys.argv[1], test.model(1))
        test.saved.save(sys.argv[1], test.model(2))
    print(process, flush=True)
"""


@pytest.mark.slow
def test_of_twenty_kills_each_leaves_a_whole_model(tmp_path):
    """Each in a process of its own, which one that has imported everything forks."""
    run, rng = tmp_path / "run", random.Random(0)
    saved.save(run, model(1))
    here = Path(__file__).parent
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    command = [sys.executable, "-W", "ignore", "-c", SAVER, str(run)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    ) as forker:
        assert forker.stdin and forker.stdout
        for _ in range(20):
            changed = (run.stat().st_ino, run.stat().st_ctime_ns)
            print("fork", file=forker.stdin, flush=True)
            process = int(forker.stdout.readline())
            begun = time.monotonic()
            try:
                while (version := saved.version(run)) is None or version[1:] == changed:
                    assert time.monotonic() < begun + 60
                time.sleep(0.2 * rng.random())
            finally:
                os.kill(process, 9)
            assert number(saved.load(run)) in (1, 2)
        forker.stdin.close()
    saved.save(run, model(3))
    assert number(saved.load(run)) == 3
