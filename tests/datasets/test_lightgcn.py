"""Files of `user item item …` become two logs with one id map."""

import zipfile

import numpy as np
import pytest

from rezoo.datasets import lightgcn, movielens
from rezoo.errors import DataError

TRAIN, TEST = "0 10 11\n1 11\n2\n", "0 12\n2 10 11 \n"


@pytest.mark.parametrize("place", ["folder", "zip", "below"])
def test_a_folder_and_a_zip_are_read_and_raw_ids_are_kept(tmp_path, place):
    if place == "zip":
        with zipfile.ZipFile(tmp_path / "yelp.zip", "w") as file:
            file.writestr("yelp/train.txt", TRAIN)
            file.writestr("yelp/test.txt", TEST)
    else:
        folder = tmp_path / ("yelp-lightgcn/yelp" if place == "below" else "yelp")
        folder.mkdir(parents=True)
        (folder / "train.txt").write_text(TRAIN)
        (folder / "test.txt").write_text(TEST)
    train, test = lightgcn.load("yelp", tmp_path)
    assert train.users == test.users and train.items == test.items
    assert train.items.raw.tolist() == [10, 11, 12] and train.users.raw.tolist() == [0, 1, 2]
    assert train.users.decode(test.user).tolist() == [0, 2, 2]
    assert test.items.decode(test.item).tolist() == [12, 10, 11]


@pytest.mark.parametrize(
    ("text", "message"),
    [("0 1\n1 x", "train.txt, row 2: 'x'"), ("0 1\n\n1 2", "row 2: the line is empty"), ("0 -1", "below 0"),
     ("0,1,2", "'0,1,2'"), ("0\n1", "no rows"), ("0 " + "9" * 19, "64 bits")],
)  # fmt: skip
def test_bad_lines_are_named(tmp_path, text, message):
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "test.txt").write_text(TEST)
    with pytest.raises(DataError, match=message):
        lightgcn.read(tmp_path / "train.txt", tmp_path / "test.txt")


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("REZOO_DATA", raising=False)
    with pytest.raises(DataError, match=r"yelp\.zip or yelp/train\.txt is not in"):
        lightgcn.load("yelp", tmp_path)


def test_the_published_files(data_folder):
    if not (data_folder / "gowalla-lightgcn").exists():
        pytest.skip("gowalla-lightgcn is not in REZOO_DATA")
    train, test = lightgcn.load("gowalla", data_folder)
    assert (train.num_users - 1, train.num_items - 1) == (29_858, 40_981)
    assert (train.num_rows, test.num_rows) == (810_128, 217_242)
    assert np.array_equal(np.unique(train.item), np.arange(1, train.num_items))


def test_a_folder_that_is_named_is_not_replaced_by_another(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "train.txt").write_text("0 7 5\n")
    (tmp_path / "shop" / "test.txt").write_text("0 9\n")
    monkeypatch.setenv("REZOO_DATA", str(tmp_path))
    assert lightgcn.load("shop").train.num_rows == 2
    with pytest.raises(DataError, match="is not in nowhere: fetch it"):
        lightgcn.load("shop", "nowhere")
    with pytest.raises(DataError, match="manual_dir = 'nowhere' is no folder"):
        movielens.load("ml-100k", manual_dir="nowhere")
