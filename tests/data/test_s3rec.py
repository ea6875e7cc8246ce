import zipfile

import pytest

from rezoo.data import s3rec
from rezoo.data.errors import DataError


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
    ("text", "message"), [("1 4 x", "numbers"), ("2 4", "1, 2, 3"), ("1 0 3", "1 or more")]
)
def test_bad_lines_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        s3rec.parse(text, "there")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"Beauty\.txt is not in"):
        s3rec.load("Beauty", tmp_path)
    (tmp_path / "s3rec.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="damaged"):
        s3rec.load("Beauty", tmp_path)
