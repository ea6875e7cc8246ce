"""Baskets become a log and what comes after it."""

import json

import numpy as np
import pytest

from rezoo.datasets import tafeng
from rezoo.errors import DataError


def write(folder, history, future):
    for name, table in (("old.json", history), ("new.json", future)):
        (folder / name).write_text(table if isinstance(table, str) else json.dumps(table))
    return folder / "old.json", folder / "new.json"


def test_the_last_basket_has_the_ids_of_those_before_it(tmp_path):
    files = write(
        tmp_path,
        {"1": [[-1], [3, 4], [4], [-1]], "2": [[-1], [9], [-1]]},
        {"2": [[-1], [9, 3, 7], [-1]], "1": [[-1], [4], [-1]]},
    )
    train, test = tafeng.read(*files)
    assert train.users.raw.tolist() == ["1", "2"] and train.items.raw.tolist() == [3, 4, 9]
    assert list(zip(test.user.tolist(), test.item.tolist(), strict=True)) == [(2, 3), (2, 1), (2, 0), (1, 2)]


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ("[1", "is not JSON"),
        ([1], "no object of customers"),
        ({"7": [[-1], ["a"], [-1]]}, "customer '7'"),
        ({"7": 3}, "customer '7'"),
        ({}, "no rows"),
        ({"7": [[-1], [5, -1], [-1]]}, "customer '7'"),
        ('{"7": [[5]], "8": [[6]], "7": [[9]]}', "customer '7' stands there twice"),
    ],
)
def test_another_layout_is_refused(tmp_path, history, message):
    with pytest.raises(DataError, match=message):
        tafeng.read(*write(tmp_path, history, {"1": [[1]]}))


def test_the_published_files(data_folder):
    if not (data_folder / "tafeng").exists():
        pytest.skip("tafeng is not in REZOO_DATA")
    train, test = tafeng.load(data_folder)
    assert len(np.unique(train.user)) == len(np.unique(test.user)) == 13_858
    assert len(set(train.items.raw)) <= 11_997
