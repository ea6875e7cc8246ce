import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import your_log

from rezoo.data.errors import DataError


def read(tmp_path, text, **flags):
    (tmp_path / "log.csv").write_text(text)
    return your_log.read(str(tmp_path / "log.csv"), your_log.LogFlags(**flags))


def rows(count=40):
    return [f"u{n % 4},p{n % 3},{1_600_000_000 + n},name {n % 3},1" for n in range(count)]


HEAD = "user,item,time,title,Quantity\n"


def test_it_reads_cleans_and_names(tmp_path, capsys):
    bad = [",p1,1600000003,x,1", "u1,p1,1600000004,name 1,-2"]
    log, names = read(tmp_path, HEAD + "\n".join([*rows(), *bad]))
    assert log.num_rows == 40 and names[log.items.encode(["p2"])[0]] == "name 2"
    printed = capsys.readouterr().out
    assert "1 without a value of 'user'" in printed and "1 cancelled" in printed
    assert (np.diff(log.timestamp) >= 0).all()


def test_the_future_is_not_learnt_from(tmp_path):
    log, _ = read(tmp_path, HEAD + "\n".join(rows()))
    train, test = your_log.by_time(log)
    assert train.timestamp.max() < test.timestamp.min() and train.num_rows == 32
    users, query, target = your_log.targets(train, test)
    for row, user in enumerate(users):
        mine = train.item[train.user == user]
        history = np.asarray(query.history[row])
        np.testing.assert_array_equal(history[history > 0], mine[-your_log.HISTORY :])
        assert set(np.asarray(target[row])) - {0} == set(test.item[test.user == user])


def test_histories_keep_the_newest(tmp_path):
    log, _ = read(tmp_path, HEAD + "\n".join(f"u1,p{n % 5},{1_600_000_000 + n},t,1" for n in range(300)))
    history = your_log.latest(log, np.array([1]))
    assert history.shape == (1, your_log.HISTORY)
    np.testing.assert_array_equal(history[0], log.item[-your_log.HISTORY :])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item\n" + "\n".join(f"u{n % 4},p{n % 3}" for n in range(40)), "no timestamp column"),
        ("a,b\n1,2\n", "no user column"),
        (HEAD + "\n".join(f"u{n % 4},p{n % 3},1600000007,t,1" for n in range(40)), "nearly the same time"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        your_log.by_time(read(tmp_path, text)[0])
