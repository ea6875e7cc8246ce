import errno
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from rezoo.errors import DataError
from rezoo.storage import durable

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
sys.path.insert(0, str(EXPERIMENTS))
import common  # noqa: E402
import provenance  # noqa: E402

ROW = ("MF", "toy", "by hand", "rmse")


@dataclass(frozen=True)
class Flags(common.Flags):
    """Flags of a made-up experiment."""

    file: Annotated[str | None, tyro.conf.Positional] = None
    """A log."""
    rate: float = 0.1
    """A setting."""
    models: tuple[str, ...] = ()
    """A choice."""


def start(monkeypatch, out, *words, data=()):
    monkeypatch.setattr(sys, "argv", ["made_up.py", "--out", str(out), *words])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    return common.start(str(EXPERIMENTS / "made_up.py"), "It does nothing.", Flags, data)


def test_only_record_writes_into_the_repository(tmp_path, monkeypatch):
    _, results = start(monkeypatch, tmp_path)
    assert results.json.parent == results.out and results.out.parent == tmp_path
    _, recorded = start(monkeypatch, tmp_path / "other", "--record")
    assert recorded.json == EXPERIMENTS / "results" / "made_up.json"
    _, placed = start(monkeypatch, tmp_path / "third", "--record", "--json", str(tmp_path / "here.json"))
    assert placed.json == tmp_path / "here.json"
    with pytest.raises(DataError, match="leave one of the two out"):
        start(monkeypatch, tmp_path, "--record", "--smoke")


def test_data_arguments_and_code_have_a_folder_of_their_own(tmp_path, monkeypatch, caplog):
    def folder(*words, data=()):
        return start(monkeypatch, tmp_path / "out", "--data-dir", str(tmp_path), *words, data=data)[1].out

    def log(day, text):
        (tmp_path / day).mkdir(exist_ok=True)
        (tmp_path / day / "log.csv").write_text(text)
        return str(tmp_path / day / "log.csv")

    monday = folder(log("mon", "1"))
    assert folder(log("tue", "1")) == monday == folder(log("mon", "1"), "--models", "MF", "--record")
    assert not caplog.messages
    tuesday = folder(log("tue", "2"))
    assert caplog.messages == [f"{monday} differs in data: starting over, in {tuesday}"]
    assert folder(log("mon", "1")) == monday != folder(log("mon", "1"), "--rate", "0.2")
    assert caplog.messages[-1].count("differs in arguments: starting over") == 1
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ml-1m.zip").write_text("1")
    first = folder(data=("ml-1m*",))
    (tmp_path / "ml-1m" / "ml-1m.zip").write_text("2")
    assert folder(data=("ml-1m*",)) != first
    monkeypatch.setattr(common.fingerprint, "source", lambda *files: "another version")
    assert folder(log("mon", "1")) != monday


def test_a_measurement_is_written_whole_or_not_at_all(tmp_path):
    results = common.Results("made_up", tmp_path, tmp_path / "made_up.json")
    with results.together():
        results.add(*ROW, 1.0, seconds=1.0)
        assert not (tmp_path / "rows.json").exists()
        results.add(*ROW[:-1], "mae", 2.0, seconds=1.0)
    before = (tmp_path / "rows.json").read_text()
    with pytest.raises(KeyboardInterrupt), results.together():
        results.add(*ROW, 3.0, seconds=1.0)
        raise KeyboardInterrupt
    assert results.values(*ROW) == [1.0] and (tmp_path / "rows.json").read_text() == before
    results.add(*ROW, 3.0, seconds=1.0)
    assert [row["values"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]] == [
        [1.0, 3.0],
        [2.0],
    ]


def test_what_is_measured_as_a_whole_takes_the_place_of_what_was(tmp_path):
    results = common.Results("made_up", tmp_path, tmp_path / "made_up.json")
    for values in ([1.0, 2.0], [3.0]):
        results.put(*ROW, values, seconds=1.5)
    (row,) = results.rows
    assert row["values"] == [3.0] and row["mean"] == 3.0 and row["sem"] is None and row["seconds"] == 1.5


def finished(folder, file, row, value, *words, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["made_up.py", "--json", str(file), *words])
    results = common.Results("made_up", folder, file)
    results.add(*row, value, seconds=1.0)
    results.finish()
    return json.loads(file.read_text())


def test_each_row_says_which_runs_made_its_values(tmp_path, monkeypatch, capsys):
    file, other = tmp_path / "made_up.json", ("FM", *ROW[1:])
    first = finished(tmp_path / "a", file, ROW, 1.0, "--seeds", "1", monkeypatch=monkeypatch)
    (run,) = first["runs"]
    assert run["command"] == "python experiments/made_up.py --seeds 1" and first["rows"][0]["runs"] == [0]
    assert (
        re.fullmatch(r"[0-9a-f]{7,}\+?", run["commit"]) and "CPU" in run["device"] and run["versions"]["jax"]
    )
    second = finished(tmp_path / "a", file, ROW, 2.0, "--seeds", "2", monkeypatch=monkeypatch)
    assert [row["values"] for row in second["rows"]] == [[1.0, 2.0]] and second["rows"][0]["runs"] == [0, 1]
    part = finished(tmp_path / "b", file, other, 3.0, "--models", "FM", monkeypatch=monkeypatch)
    assert [row["model"] for row in part["rows"]] == ["MF", "FM"], "a part leaves the other rows"
    assert [row["runs"] for row in part["rows"]] == [[0, 1], [2]]
    again = finished(tmp_path / "c", file, ROW, 4.0, "--models=MF", monkeypatch=monkeypatch)
    assert [row["values"] for row in again["rows"]] == [[4.0], [3.0]]
    assert [again["runs"][row["runs"][0]]["command"].split()[-1] for row in again["rows"]] == [
        "--models=MF",
        "FM",
    ]
    whole = finished(tmp_path / "d", file, other, 5.0, monkeypatch=monkeypatch)
    assert [row["model"] for row in whole["rows"]] == ["FM"] and len(whole["runs"]) == 1


def test_every_row_of_a_result_file_names_runs_of_it():
    for file in (EXPERIMENTS / "results").rglob("*.json"):
        result = json.loads(file.read_text())
        assert {index for row in result["rows"] for index in row["runs"]} == {*range(len(result["runs"]))}, (
            file
        )
        for run in result["runs"]:
            assert run["device"] and run["date"] and (run["commit"] or run["recorded"]), file


def test_damaged_rows_and_a_second_process_are_said_in_a_line(tmp_path, capsys):
    results = common.Results("made_up", tmp_path, tmp_path / "made_up.json")
    with pytest.raises(durable.BusyError, match="works in this folder") as busy:
        common.Results("made_up", tmp_path, tmp_path / "made_up.json")
    del results
    (tmp_path / "rows.json").write_text('[{"model": "MF"')
    with pytest.raises(DataError, match=r"rows.json is damaged .* delete it") as damaged:
        common.Results("made_up", tmp_path, tmp_path / "made_up.json")
    full = OSError(errno.ENOSPC, "No space left on device", "runs/made_up/rows.json")
    for error in (busy.value, damaged.value, full):
        common.say(type(error), error, None)
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and str(error) in said


@pytest.mark.parametrize("file", sorted(EXPERIMENTS.glob("*.py")), ids=lambda file: file.stem)
def test_an_experiment_on_published_data_says_which_and_its_results_say_how_they_are_made(file):
    text = file.read_text()
    if "flags.data_dir" in text and file.stem != "common":
        found = re.search(r"start\(\s*__file__, __doc__.*data=[(A-Z]", text)
        assert found, f"{file.name}: start(…, data=(…,))"
    made = file.parent / "results" / f"{file.stem}.json"
    if made.exists():
        for run in json.loads(made.read_text())["runs"]:
            words = shlex.split(run["command"] or f"experiments/{file.name} --record")
            assert f"experiments/{file.name}" in words and "--record" in words, run


def test_a_command_can_be_given_to_a_shell_as_it_is_recorded(tmp_path, monkeypatch):
    words = ["--models", "EASE, dropout", "BSPM, the paper's", "--data-dir", "a b"]
    monkeypatch.setattr(sys, "argv", ["made_up.py", *words])
    said = provenance.command("made_up")
    assert said == """python experiments/made_up.py --models 'EASE, dropout' "BSPM, the paper's\""""
    assert shlex.split(said)[2:] == words[:3]


def test_arguments_in_errors_are_spelt_as_the_flags_that_they_are(capsys):
    text = "a.csv: no user column: user='client no', names=['a', 'b c'] or names=[…]; k_user=3 stays"
    common.say(DataError, DataError(text), None, flags=["user", "names"])
    expected = "--user 'client no', --names 'a,b c' or --names …; k_user=3 stays"
    assert expected in capsys.readouterr().err


def test_there_is_a_seed_at_least(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["next_basket.py", "--seeds", "0"])
    with pytest.raises(DataError, match="seeds=0: give 1 or more"):
        common.start("next_basket.py", "what it does", common.Flags)


def test_a_choice_of_nothing_is_refused():
    with pytest.raises(DataError, match="models: name one or more of MF, EASE"):
        common.check_names("models", (), ("MF", "EASE"))


@pytest.mark.parametrize(("port", "several"), [(-1, 1), (65_536, 1), (65_535, 2)])
def test_a_port_is_one_that_there_is(port, several):
    common.check_port(0)
    common.check_port(65_535)
    with pytest.raises(DataError, match=f"port={port}: give a port from 1 to {65_536 - several}"):
        common.check_port(port, several)
