import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from rezoo.storage import durable


def test_a_file_is_whole_or_as_it_was(tmp_path):
    target = tmp_path / "a" / "figures.json"
    with durable.file(target) as partial:
        partial.write_text("one")
    target.chmod(0o600)
    with pytest.raises(RuntimeError), durable.file(target) as partial:
        partial.write_text("tw")
        raise RuntimeError
    assert target.read_text() == "one"
    with durable.file(target) as partial:
        partial.write_text("two")
    assert target.read_text() == "two" and target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["figures.json"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_text("one")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with durable.file(tmp_path / "link") as partial:
        partial.write_text("two")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "two"


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "model"
    for content in ("one", "two"):
        with durable.folder(target) as partial:
            (partial / "part").write_text(content)
        assert (target / "part").read_text() == content
    with pytest.raises(RuntimeError), durable.folder(target) as partial:
        (partial / "part").write_text("three")
        raise RuntimeError
    assert (target / "part").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_survivor_of_a_kill_is_found(tmp_path):
    target = tmp_path / "model"
    with durable.folder(target) as partial:
        (partial / "part").write_text("one")
    assert durable.survivor(target) == target
    target.rename(tmp_path / ".model.old")  # where a kill between the two moves leaves it
    assert (durable.survivor(target) / "part").read_text() == "one"
    with durable.folder(target) as partial:
        (partial / "part").write_text("two")
    assert (durable.survivor(target) / "part").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_is_deleted(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".figures.json.{gone.pid}-0.partial").write_text("half")
    with durable.file(tmp_path / "figures.json") as partial:
        partial.write_text("one")
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_one_process_at_a_time(tmp_path):
    other = f"from rezoo.storage import durable\nwith durable.lock({str(tmp_path)!r}): print('in')"
    with durable.lock(tmp_path):
        done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
        assert "BusyError" in done.stderr and "works in this folder" in done.stderr
    done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
    assert done.stdout == "in\n"


def test_threads_that_write_one_place_leave_a_whole_one(tmp_path):
    def work(number):
        for _ in range(10):
            with durable.folder(tmp_path / "model") as partial:
                (partial / "part").write_text(str(number))
            with durable.file(tmp_path / "figures.json") as partial:
                partial.write_text(str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert (tmp_path / "model" / "part").read_text() in "01234567"
    assert {path.name for path in tmp_path.iterdir()} == {"model", "figures.json"}
