"""Bad input: an error that says where and what to do, or a result that is right; nothing else."""

import gzip
import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rezoo.data import clean, files, formats
from rezoo.data.interactions import Interactions, from_columns
from rezoo.errors import DataError

HEAD = "user,item,rating,timestamp\n"
GOOD = HEAD + "1,2,3,10\n4,5,1,20\n"


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"user": [1, 2], "item": [3, 4]}), sink)
    return sink.getvalue()


def zipped(name="a.csv") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, GOOD * 50)
    return sink.getvalue()


FILES = {  # file name, content, what the error must say
    "empty": ("a.csv", b"", "a.csv: the file is empty"),
    "blank lines only": ("a.csv", b"\n \n\n", "the file is empty"),
    "header only": ("a.csv", HEAD.encode(), "a header .* and no rows"),
    "header without newline": ("a.csv", HEAD.strip().encode(), "no rows"),
    "no header": ("a.csv", b"1,2,3\n4,5,6\n", r"looks like data.*names=\[…\] for its 3 columns"),
    "ragged row": ("a.csv", (GOOD + "7,8\n").encode(), "row .*: 2 columns where 4 are expected: '7,8'"),
    "row too long": ("a.csv", (GOOD + "7,8,9,1,2\n").encode(), "5 columns where 4 are expected"),
    "header twice": ("a.csv", b"user,item,user\n1,2,3\n", "names 'user' twice"),
    "no item column": ("a.csv", b"user,colour\n1,2\n", "no item column among .*item='colour'"),
    "no user column": ("a.csv", b"item,colour\n1,2\n", "no user column"),
    "two user columns": (
        "a.csv",
        b"user_id,uid,item\n1,2,3\n",
        "both 'user_id' and 'uid' look like the user",
    ),
    "wrong ending": ("a.parquet", GOOD.encode(), "a.parquet is not a complete Parquet file"),
    "truncated parquet": ("a.parquet", parquet()[:-20], "is not a complete Parquet file.*again"),
    "parquet without columns it needs": ("a.parquet", parquet().replace(b"item", b"meti"), "a.parquet"),
    "truncated zip": ("a.zip", zipped()[:-30], "a.zip is damaged or cut short.*fetch it again"),
    "not a zip": ("a.zip", b"hello", "a.zip is damaged"),
    "truncated gz": ("a.csv.gz", gzip.compress(GOOD.encode() * 99)[:-12], "damaged or cut short"),
    "not a gz": ("a.csv.gz", GOOD.encode(), "damaged or cut short"),
    "binary junk": ("a.csv", bytes(range(256)) * 9, "not a text file"),
    "rating that is a word": (
        "a.csv",
        (HEAD + "1,2,good,10\n").encode(),
        "row 1, column 'rating': 'good' is not",
    ),
    "rating word in row 2": ("a.csv", (GOOD + "1,3,n/a!,1\n").encode(), "row 3, column 'rating': 'n/a!'"),
    "comma for a decimal point": ("a.csv", b'user,item,rating\n1,2,"3,5"\n', "'3,5' is not a number"),
    "time that is a word": (
        "a.csv",
        (HEAD + "1,2,3,soon\n").encode(),
        "row 1, column 'timestamp': 'soon' is not a time",
    ),
    "impossible date": ("a.csv", (HEAD + "1,2,3,2020-02-31\n").encode(), "'2020-02-31' is not a time.*8601"),
    "missing time": ("a.csv", (GOOD + "1,2,3,\n").encode(), "row 3, column 'timestamp'"),
    "missing user": (
        "a.csv",
        (GOOD + ",2,3,5\n").encode(),
        "1 of 3 ids are missing .1 empty., the first in row 3",
    ),
    "blank item": ("a.csv", b"user,item\n1,a\n2,  \n", "column 'item': 1 of 2 ids are missing.*row 2"),
    "colons and tabs": ("a.dat", b"1::2::3::4\n1::2::3\t::4\n", "both '::' and tabs"),
    "colons, ragged": ("a.dat", b"1::2::3::4\n1::2\n", "2 columns where 4 are expected"),
    "no delimiter at all": ("a.csv", b"useritem\nhello\n", r"no user column among \['useritem'\]"),
}


@pytest.mark.parametrize(("name", "content", "message"), FILES.values(), ids=FILES)
def test_a_bad_file_is_refused_with_the_reason(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        files.read(tmp_path / name)


GOOD_FILES = {  # odd, and readable
    "byte order mark": (b"\xef\xbb\xbfuser,item\n1,2\n", [1]),
    "carriage returns": (b"user,item\r\n1,2\r\n3,4\r\n", [1, 3]),
    "latin-1": ("user,item\nJosé,2\n".encode("latin-1"), ["José"]),
    "quotes with newlines": (b'user,item\n"a\nb",2\n', ["a\nb"]),
    "mixed types": (b"user,item\n1,2\nx7,3\n", ["1", "x7"]),
    "negative ids": (b"user,item\n-5,2\n7,2\n", [-5, 7]),
    "huge ids": (b"user,item\n9007199254740993,2\n", [9007199254740993]),
    "ids written as decimals": (b"user,item\n12.0,2\n12,2\n", ["12.0", "12"]),
    "version numbers": (b"user,item\n1.10,2\n1.1,2\n", ["1.10", "1.1"]),
    "leading zeros": (b"user,item\n0101,2\n101,2\n", ["0101", "101"]),
    "signs": (b"user,item\n+7,2\n7,2\n-0,2\n", ["+7", "7", "-0"]),
    "blanks around ids": (b"user,item\n 12,2\n12,2\n", [" 12", "12"]),
    "ids beyond int64": (b"user,item\n99999999999999999999,2\n1,2\n", ["9" * 20, "1"]),
    "ids that float cannot hold": (
        b"user,item\n9007199254740993,2\n9007199254740992,2\n",
        [2**53 + 1, 2**53],
    ),
    "digits of other scripts": ("user,item\n½,2\n²,2\n١٢,2\n".encode(), ["½", "²", "١٢"]),
    "hexadecimal": (b"user,item\n0x10,2\n16,2\n", ["0x10", "16"]),
    "leading zeros with letters": (b"user,item\n007a,2\n07a,2\n", ["007a", "07a"]),
    "Chinese": ("user,item\n小明,商品\n".encode(), ["小明"]),
    "one user, one item": (b"user,item\n1,2\n", [1]),
    "no newline at the end": (b"user,item\n1,2", [1]),
    "semicolons": (b"user;item\n1;2\n", [1]),
    "blanks around names": (b"user , item\n1,2\n", [1]),
    "empty line between": (b"user,item\n1,2\n\n3,4\n", [1, 3]),
}


@pytest.mark.parametrize(("content", "raw"), GOOD_FILES.values(), ids=GOOD_FILES)
def test_an_odd_file_is_read_right(tmp_path, content, raw):
    (tmp_path / "a.csv").write_bytes(content)
    log = files.read(tmp_path / "a.csv")
    assert log.item.min() >= 1
    assert log.users.decode(log.user).tolist() == raw


def test_ids_that_look_like_numbers_can_stay_text(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\n007,2\n7,3\n99999999999999999999,2\n")
    assert files.read(tmp_path / "a.csv", text=["user"]).users.raw.tolist() == ["007", "7", "9" * 20]


def test_places_that_are_no_file(tmp_path):
    with pytest.raises(DataError, match=r"nothing.csv: there is no such file"):
        files.read(tmp_path / "nothing.csv")
    (tmp_path / "a.csv").write_text(GOOD)
    with pytest.raises(DataError, match=r"is a folder: name a file in it, such as a.csv"):
        files.read(tmp_path)
    (tmp_path / "b.zip").write_bytes(zipped())
    with pytest.raises(DataError, match=r"b.zip holds a.csv: name one as b.zip!a.csv"):
        files.read(f"{tmp_path}/b.zip!other.csv")
    with pytest.raises(DataError, match="no encoding 'klingon'"):
        files.read(tmp_path / "a.csv", encoding="klingon")
    with pytest.raises(DataError, match="int is not a table"):
        files.read(7)


TABLES = {
    "columns of different length": ({"user": [1, 2], "item": [1]}, "differ in length"),
    "no rows": ({"user": [], "item": []}, "there are no rows"),
    "no columns": ({}, "no rows"),
    "ids that are dates": ({"user": np.array(["2020-01-01"], "datetime64[D]"), "item": [1]}, "cannot be ids"),
    "missing time": (
        {"user": [1], "item": [1], "time": np.array(["NaT"], "datetime64[s]")},
        "time is missing",
    ),
    "NaN time": ({"user": [1], "item": [1], "time": [np.nan]}, "row 1, column 'time'"),
    "None for an id": ({"user": [1, None], "item": [1, 2]}, "1 of 2 ids are missing"),
    "times that are truth values": ({"user": [1], "item": [1], "time": [True]}, "is not a kind of time"),
}


@pytest.mark.parametrize(("table", "message"), TABLES.values(), ids=TABLES)
def test_a_bad_table_is_refused_with_the_reason(table, message):
    with pytest.raises(DataError, match=message):
        from_columns(table)


def test_a_role_that_is_not_there():
    with pytest.raises(DataError, match=r"no column 'who'; there are \['user', 'item'\]"):
        from_columns({"user": [1], "item": [1]}, user="who")
    with pytest.raises(DataError, match="unit 'weeks' is not one of"):
        from_columns({"user": [1], "item": [1], "time": [5]}, unit="weeks")


def test_what_is_only_odd_is_reported_by_cleaning():
    log = from_columns(
        {"user": [1, 1], "item": [1, 1], "rating": [np.nan, 5], "time": [20, 10]}, unit="order"
    )
    left, report = clean.drop_bad_ratings(log, low=1.0, high=5.0)
    assert left.num_rows == 1 and "NaN or infinite" in str(report)
    with pytest.raises(DataError, match="no timestamps"):
        from_columns({"user": [1], "item": [1]}).sort_by_time()
    with pytest.raises(DataError, match="no ratings"):
        clean.drop_bad_ratings(from_columns({"user": [1], "item": [1]}), low=1.0, high=5.0)
    with pytest.raises(DataError, match="low=nan must not be above high=5"):
        clean.drop_bad_ratings(log, low=np.nan, high=5.0)
    with pytest.raises(DataError, match="keep='both'"):
        clean.drop_duplicates(log, keep="both")


LIBFM = {
    "1 3:1\n1 3:1 4:1\n": "row 2: 2 features where",
    "x 3:1\n": "row 1: 'x 3:1'",
    "1 a:1\n": "row 1",
    "1 ²:1\n": "row 1",
    "1 4294967297:1\n": "row 1",
    "1 -3:1\n": "row 1",
    "": "empty",
}


@pytest.mark.parametrize(("content", "message"), LIBFM.items())
def test_bad_libfm(tmp_path, content, message):
    (tmp_path / "a.libfm").write_text(content)
    with pytest.raises(DataError, match=message):
        formats.read_libfm(tmp_path / "a.libfm")


SEQUENCES = {
    "1\n": "user 1 has no item",
    "1 a\n": "whole numbers",
    "1 -7 2\n": "'-7' of .* is below 0",
    "\n": "empty",
}


@pytest.mark.parametrize(("content", "message"), SEQUENCES.items())
def test_bad_sequences(tmp_path, content, message):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        formats.read_sequences(tmp_path / "a.txt")


def sound(log: Interactions) -> None:
    """No row is lost or unknown, and no id is out of its map."""
    assert log.num_rows > 0
    assert log.user.min() >= 1 and log.user.max() < log.num_users
    assert log.item.min() >= 1 and log.item.max() < log.num_items


@settings(max_examples=150)
@given(
    st.binary(max_size=200),
    st.sampled_from(["a.csv", "a.tsv", "a.dat", "a.inter", "a.parquet", "a.zip", "a.csv.gz"]),
)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, name):
    file = tmp_path_factory.mktemp("bytes") / name
    file.write_bytes(content)
    try:
        sound(files.read(file))
    except DataError as error:
        assert len(str(error)) > 20


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(*[st.text(st.sampled_from('aé小 7.-,"\n\t;:|'), max_size=5)] * 3), min_size=1, max_size=6
    ),
    st.sampled_from([",", "\t", ";"]),
)
def test_any_text_is_read_or_refused(tmp_path_factory, rows, delimiter):
    file = tmp_path_factory.mktemp("text") / "a.csv"
    lines = [delimiter.join(("user", "item", "rating")), *(delimiter.join(row) for row in rows)]
    file.write_text("\n".join(lines), encoding="utf-8")
    try:
        sound(files.read(file))
    except DataError as error:
        assert "a.csv" in str(error)


ANY_ID = st.one_of(st.integers(), st.text(max_size=4), st.floats(), st.none(), st.uuids(), st.booleans())


@settings(max_examples=200)
@given(st.lists(st.tuples(ANY_ID, ANY_ID, st.floats() | st.none()), min_size=1, max_size=8))
def test_any_table_is_read_or_refused(rows):
    user, item, rating = (list(column) for column in zip(*rows, strict=True))
    try:
        log = from_columns({"user": user, "item": item, "rating": rating})
    except DataError:
        return
    sound(log)
    assert log.num_rows == len(rows)
    for raw, dense in ((user, log.user), (item, log.item)):
        for a in range(len(raw)):
            for b in range(a):
                if type(raw[a]) is type(raw[b]) and raw[a] == raw[b]:
                    assert dense[a] == dense[b]
