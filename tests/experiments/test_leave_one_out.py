"""What the protocol of leave one out cuts off."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))
from protocols import leave_one_out


def test_without_some_items_nobody_had_them_before_the_test():
    data = leave_one_out.load("smoke", None)
    new = np.array([3, 17, 29])
    less = leave_one_out.without(data, new)
    assert not np.isin(less.train.items, new).any() and not np.isin(less.known.items, new).any()
    assert not np.isin(less.valid, new).any() and np.isin(less.test, new).any()
    stay = np.flatnonzero(~np.isin(data.valid, new))
    assert len(stay) < data.train.num_sessions == len(data.test)
    assert (
        less.train.num_sessions == less.known.num_sessions == len(less.valid) == len(less.test) == len(stay)
    )
    for row, user in enumerate(stay):
        assert less.test[row] == data.test[user] and less.valid[row] == data.valid[user]
        for now, before in ((less.train, data.train), (less.known, data.known)):
            begin, end = now.offsets[row], now.offsets[row + 1]
            whole = before.items[before.offsets[user] : before.offsets[user + 1]]
            assert now.items[begin:end].tolist() == [one for one in whole if one not in new]


def test_users_who_had_nothing_else_are_left_out():
    data = leave_one_out.load("smoke", None)
    first = np.unique(data.train.items[: data.train.offsets[1]])
    less = leave_one_out.without(data, first)
    assert (less.train.lengths > 0).all() and less.train.num_sessions < data.train.num_sessions
