import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import learners
import your_log

from rezoo.data import files
from rezoo.errors import DataError
from rezoo.serving import answers, saved


def read(tmp_path, text, **flags):
    (tmp_path / "log.csv").write_text(text)
    return your_log.read(str(tmp_path / "log.csv"), your_log.LogFlags(**flags))


def rows(count=40):
    return [f"u{n % 4},p{n % 3},{1_600_000_000 + n},name {n % 3},1" for n in range(count)]


HEAD = "user,item,time,title,Quantity\n"
START = 1_600_000_000


def test_it_reads_cleans_and_names(tmp_path, capsys):
    bad = [",p1,1600000003,x,1", "u1,p1,1600000004,name 1,-2", "u1,NULL,1600000004,x,1", "u1,p1,soon,x,1"]
    log, names = read(tmp_path, HEAD + "\n".join([*bad, *rows()]))
    assert log.num_rows == 40 and names[log.items.encode(["p2"])[0]] == "name 2"
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
    log, names = read(tmp_path, head + "\n".join(lines))
    assert names is None and log.num_users == 5 and log.num_items == 4 and not log.extra
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
    log, _ = read(tmp_path, text, user="who", timestamp="week", unit="order")
    assert log.timestamp[0] == 1 and log.timestamp[-1] == 53


def test_a_file_without_a_header_in_another_encoding(tmp_path):
    (tmp_path / "log.txt").write_bytes(
        "\n".join(f"00{n % 4};商品{n % 3};{START + n}" for n in range(40)).encode("gbk")
    )
    flags = your_log.LogFlags(names="user,item,time", delimiter=";", encoding="gbk", text="user")
    log, _ = your_log.read(str(tmp_path / "log.txt"), flags)
    assert log.num_rows == 40 and log.users.raw[0] == "000" and log.items.raw[0] == "商品0"


def test_the_future_is_not_learnt_from(tmp_path):
    log, _ = read(tmp_path, HEAD + "\n".join(rows()))
    train, test = your_log.by_time(log)
    assert train.timestamp.max() < test.timestamp.min() and train.num_rows == 32
    jobs = your_log.questions(train, test)
    asked, new = jobs["anything"], jobs["new to the customer"]
    for row, user in enumerate(asked.users):
        mine = train.item[train.user == user]
        history = np.asarray(asked.query.history[row])
        np.testing.assert_array_equal(history[history > 0], mine[-learners.HISTORY :])
        assert set(np.asarray(asked.target[row])) - {0} == set(test.item[test.user == user])
        assert set(np.asarray(new.target[row])) == set(test.item[test.user == user]) - set(mine) | {0}
        assert set(np.asarray(new.exclude[row])) - {0} == set(mine) and asked.exclude.shape[1] == 0


def test_histories_keep_the_newest(tmp_path):
    log, _ = read(
        tmp_path,
        HEAD + "\n".join([*(f"u1,p{n % 5},{START + n},t,1" for n in range(300)), f"u2,p1,{START},t,1"]),
    )
    history = learners.latest(log, np.array([1, 2]))
    assert history.shape == (2, learners.HISTORY)
    np.testing.assert_array_equal(history[0], log.item[log.user == 1][-learners.HISTORY :])
    assert history[1].tolist() == [log.item[log.user == 2][0]] + [0] * (learners.HISTORY - 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item\n" + "\n".join(f"u{n % 4},p{n % 3}" for n in range(40)), "no timestamp column"),
        ("a,b\n1,2\n", "no user column"),
        (HEAD + "\n".join(f"u{n % 4},p{n % 3},{START},t,1" for n in range(40)), "have one time.*--timestamp"),
        (HEAD + "\n".join(rows(8)), "lower --min-user-rows and --min-item-rows"),
        (HEAD + ",p1,1600000000,t,1\n", "nothing is left"),
        (HEAD + "u1,p1,1600000000,t,-1\n", "nothing is left"),
        (
            HEAD + "\n".join(f"u{n // 20},p{n % 3},{START + n},t,1" for n in range(100)),
            "no user of the last fifth",
        ),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        log, _ = read(tmp_path, text)
        core, _ = your_log.kept(log, your_log.LogFlags())
        your_log.questions(*your_log.by_time(core))


def test_every_user_of_the_log_gets_a_list_as_of_its_end(tmp_path, capsys):
    few = [f"once,p2,{START + 99},t,1", f"odd,rare,{START + 98},t,1"]
    log, names = read(tmp_path, HEAD + "\n".join([*rows(), *few]))
    core, everything = your_log.kept(log, your_log.LogFlags())
    assert core.num_rows == 40 and everything.num_rows == 41 and everything.num_users == 7
    learner = learners.bought_next(everything, 1)
    your_log.write(tmp_path / "lists.csv", everything, names, learner.model, learner.fit(), True)
    lists = files.read_table(tmp_path / "lists.csv")
    # the others have had all three products
    by = dict(zip(lists["user_id"], lists["model"], strict=True))
    assert by == {"once": "CoOccurrence", "odd": "Popularity"}
    assert sorted(lists["item_id"][lists["user_id"] == "once"]) == ["p0", "p1"]
    assert "lists of 5 users by CoOccurrence" in capsys.readouterr().out


def test_the_estimate_decides_how_many_seeds_are_run(tmp_path, capsys):
    log, _ = read(tmp_path, HEAD + "\n".join(rows()))
    asked = your_log.questions(*your_log.by_time(log))["anything"]

    def plan(**flags):
        return your_log.plan(
            learners.most_bought(log, 1), [0.0, 60.0], asked, log, your_log.LogFlags(**flags)
        )

    assert [plan(), plan(minutes=4), plan(minutes=0.1), plan(seeds=3)] == [5, 2, 1, 3]
    assert "5 seeds would take 6 minutes; --minutes allows 4" in capsys.readouterr().out


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


def test_the_best_model_is_saved_and_answers(tmp_path):
    (tmp_path / "log.csv").write_text(HEAD + "\n".join(rows()))
    command = [sys.executable, your_log.__file__, str(tmp_path / "log.csv"), "--smoke", "--seeds", "1"]
    command += ["--out", str(tmp_path / "out"), "--save", str(tmp_path / "model")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert "new to the customer" in told and f"predict.py {tmp_path / 'model'}" in told.replace("\n", "")
    lists = answers.recommend(saved.load(tmp_path / "model"), ["u1"], 3)
    assert len(lists["item"]) == 3
