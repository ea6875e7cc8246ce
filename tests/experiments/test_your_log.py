import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import jax
import your_log
from protocols import own_log

from rezoo import recipes
from rezoo.data import files
from rezoo.errors import DataError
from rezoo.recipes import comparison
from rezoo.serving import answers, saved


def read(tmp_path, text, **flags):
    (tmp_path / "log.csv").write_text(text)
    return own_log.read(str(tmp_path / "log.csv"), own_log.LogFlags(**flags))


def rows(count=40):
    return [f"u{n % 4},p{n % 3},{1_600_000_000 + n},name {n % 3},1" for n in range(count)]


HEAD = "user,item,time,title,Quantity\n"
START = 1_600_000_000


def test_it_reads_cleans_and_names(tmp_path, capsys):
    bad = [",p1,1600000003,x,1", "u1,p1,1600000004,name 1,-2", "u1,NULL,1600000004,x,1", "u1,p1,soon,x,1"]
    log = read(tmp_path, HEAD + "\n".join([*bad, *rows()]))
    assert log.num_rows == 40 and log.items.name(log.items.encode(["p2"])).tolist() == ["name 2"]
    printed = capsys.readouterr().out
    for role in ("user: 'user'", "timestamp: 'time'", "quantity: 'Quantity'", "title: 'title'"):
        assert f"{role}, by its name" in printed
    for why in (
        "without a value of 'user'",
        "(such as row 1)",
        "0 or less (such as row 2: -2)",
        "row 3",
        "row 4: soon",
    ):
        assert why in printed
    assert (np.diff(log.timestamp) >= 0).all()


def test_names_of_shops_are_recognised_and_columns_that_are_not_needed_stop_nothing(tmp_path, capsys):
    head = "household_id,basket_id,order_id,product_id,transaction_timestamp,stars,score,week\n"
    lines = (f"{n % 4},{n},,{n % 3},2021-03-{n % 28 + 1:02}T10:00:00,many,none,{n % 53}" for n in range(40))
    log = read(tmp_path, head + "\n".join(lines))
    assert log.items.names is None and log.num_users == 5 and log.num_items == 4 and not log.extra
    assert "user: 'household_id', by its name" in capsys.readouterr().out


def test_a_basket_is_not_a_user_and_a_week_is_not_a_time(tmp_path):
    text = "basket_id,product_id,who,week\n" + "\n".join(
        f"{n},{n % 3},c{n % 4},{n % 53 + 1}" for n in range(60)
    )
    with pytest.raises(DataError, match=r"no user column .*user='who'.*'basket_id' numbers orders"):
        read(tmp_path, text)
    with pytest.raises(DataError, match="no timestamp column"):
        read(tmp_path, text, user="who")
    with pytest.raises(DataError, match="unit='order'"):
        read(tmp_path, text, user="who", timestamp="week")
    log = read(tmp_path, text, user="who", timestamp="week", unit="order")
    assert log.timestamp[0] == 1 and log.timestamp[-1] == 53


def test_a_file_without_a_header_in_another_encoding(tmp_path):
    (tmp_path / "log.txt").write_bytes(
        "\n".join(f"00{n % 4};商品{n % 3};{START + n}" for n in range(40)).encode("gbk")
    )
    flags = own_log.LogFlags(names="user,item,time", delimiter=";", encoding="gbk", text="user")
    log = own_log.read(str(tmp_path / "log.txt"), flags)
    assert log.num_rows == 40 and log.users.raw[0] == "000" and log.items.raw[0] == "商品0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item\n" + "\n".join(f"u{n % 4},p{n % 3}" for n in range(40)), "no timestamp column"),
        ("a,b\n1,2\n", "no user column"),
        (
            HEAD + "\n".join(f"u{n % 4},p{n % 3},{START},t,1" for n in range(40)),
            "too much alike",
        ),
        (HEAD + "\n".join(rows(8)), "lower --min-user-rows and --min-item-rows"),
        (HEAD + ",p1,1600000000,t,1\n", "nothing is left"),
        (HEAD + "u1,p1,1600000000,t,-1\n", "nothing is left"),
        (
            HEAD + "\n".join(f"u{n // 20},p{n % 3},{START + n},t,1" for n in range(100)),
            "no customer of the last 20%",
        ),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        log = read(tmp_path, text)
        core, _ = own_log.kept(log, own_log.LogFlags())
        comparison.questions(core)


def test_every_user_of_the_log_gets_a_list_as_of_its_end(tmp_path, capsys):
    few = [f"once,p2,{START + 99},t,1", f"odd,rare,{START + 98},t,1"]
    log = read(tmp_path, HEAD + "\n".join([*rows(), *few]))
    core, everything = own_log.kept(log, own_log.LogFlags())
    assert core.num_rows == 40 and everything.num_rows == 41 and everything.num_users == 7
    model = recipes.co_occurrence(everything, jax.random.key(0))
    own_log.write_lists(tmp_path / "lists.csv", everything, model, True)
    lists = files.read_table(tmp_path / "lists.csv")
    # the others have had all three products
    by = dict(zip(lists["user_id"], lists["model"], strict=True))
    assert by == {"once": "CoOccurrence", "odd": "Popularity"}
    assert sorted(lists["item_id"][lists["user_id"] == "once"]) == ["p0", "p1"]
    assert "lists of 5 users by CoOccurrence" in capsys.readouterr().out


@pytest.mark.slow
def test_another_log_in_the_same_folder_is_another_run(tmp_path):
    """Same users, items and times, other tastes: the second file's figures and lists are its own."""

    def run(shift):
        lines = (f"u{n % 8},p{(n % 8 + shift * (n // 8)) % 12},{START + n},1" for n in range(400))
        (tmp_path / "log.csv").write_text("user,item,time,quantity\n" + "\n".join(lines))
        command = [sys.executable, your_log.__file__, str(tmp_path / "log.csv"), "--smoke", "--seeds", "1"]
        command += ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "a.json")]
        done = subprocess.run(
            [*command, "--recommendations", str(tmp_path / "lists.csv")], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "estimate: " in done.stdout and "WARNING" not in done.stdout
        lists = files.read_table(tmp_path / "lists.csv")
        assert set(lists["user_id"]) == {f"u{n}" for n in range(8)}
        return [row["values"] for row in json.loads((tmp_path / "a.json").read_text())["rows"]], done

    (first, _), (second, said) = run(1), run(5)
    assert first != second and len(first) == len(second) == 5
    assert "another data" in said.stdout + said.stderr or "starting over" in said.stdout + said.stderr
    again, said = run(5)
    assert again == second and "going on with 5 rows" in said.stdout


@pytest.mark.slow
def test_the_best_model_is_saved_and_answers(tmp_path):
    (tmp_path / "log.csv").write_text(HEAD + "\n".join(rows()))
    command = [sys.executable, your_log.__file__, str(tmp_path / "log.csv"), "--smoke", "--seeds", "1"]
    command += ["--out", str(tmp_path / "out"), "--save", str(tmp_path / "model")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert "new to the customer" in told and f"predict.py {tmp_path / 'model'}" in told.replace("\n", "")
    lists = answers.recommend(saved.load(tmp_path / "model"), ["u1"], 3)
    assert len(lists["item"]) == 3
