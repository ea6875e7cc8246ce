import zipfile

import pytest

from rezoo.datasets import s3rec
from rezoo.errors import DataError


@pytest.mark.parametrize("zipped", [False, True])
def test_sequences_keep_their_order(tmp_path, zipped):
    text = "1 4 2 9\n2 3 4\n"
    if zipped:
        with zipfile.ZipFile(tmp_path / "s3rec.zip", "w") as file:
            file.writestr("Beauty.txt", text)
    else:
        (tmp_path / "Beauty.txt").write_text(text)
    log = s3rec.load("Beauty", tmp_path)
    assert log.items.tolist() == [4, 2, 9, 3, 4] and log.offsets.tolist() == [0, 3, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 4 x", "row 1: 'x' of '1 4 x' is not whole"), ("2 4", "1, 2, 3"), ("1 4\n1 5\n3 4", "1, 2, 3"),
     ("1 -3 3", "row 1: '-3' of '1 -3 3' is below 0"), ("1 4\n2", "row 2: user 2 has no item"),
     (f"1 {2**32 + 1}", f"the id {2**32 + 1}"), ("1 ² 3", "'²'"), ("1 " + "9" * 19, "99999")],
)  # fmt: skip
def test_bad_lines_are_refused(tmp_path, text, message):
    (tmp_path / "Beauty.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        s3rec.load("Beauty", tmp_path)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("REZOO_DATA", raising=False)
    with pytest.raises(DataError, match=r"Beauty\.txt or s3rec\.zip is not in"):
        s3rec.load("Beauty", tmp_path)
    (tmp_path / "s3rec.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="damaged"):
        s3rec.load("Beauty", tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_attributes_stand_in_the_rows_of_their_items(tmp_path, zipped):
    text = '{"2": [3, 1], "4": [2], "1": []}'
    if zipped:
        with zipfile.ZipFile(tmp_path / "s3rec.zip", "w") as file:
            file.writestr("Beauty_item2attributes.json", text)
    else:
        (tmp_path / "Beauty_item2attributes.json").write_text(text)
    told = s3rec.attributes("Beauty", 5, tmp_path)
    assert told.tolist() == [[0, 0], [0, 0], [3, 1], [0, 0], [2, 0]] and told.dtype == "int32"


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[1]", "no object of items"), ('{"5": [1]}', "item '5' is not .* from 1 to 4"),
     ('{"0": [1]}', "item '0'"), ('{"x": [1]}', "item 'x'"), ('{"2": 3}', "item 2: give a list"),
     ('{"2": [0]}', "item 2: give a list of whole numbers from 1"), ('{"2": [1.5]}', "item 2: give")],
)  # fmt: skip
def test_bad_attributes_are_refused(tmp_path, text, message):
    (tmp_path / "Beauty_item2attributes.json").write_text(text)
    with pytest.raises(DataError, match=message):
        s3rec.attributes("Beauty", 5, tmp_path)
