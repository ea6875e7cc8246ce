"""Nothing altered, merged or dropped between a file's bytes and its columns, or an error that says where."""

import datetime
import decimal
import gzip
import uuid
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rezoo.data import clean, contents, files, spelling
from rezoo.data.ids import Ids
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError


def write(folder, content, name="log.csv", encoding="utf-8"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return folder / name


@given(st.lists(st.text(st.sampled_from("0123456789-+. ½²١eE_x"), max_size=6), min_size=1, max_size=5))
def test_integers_are_texts_that_are_written_like_them(words):
    whole = spelling.integers(pa.array(words))
    assert (whole is None) != all(
        word == str(number) for word, number in zip(words, _whole(words), strict=True)
    )
    if whole is not None:
        assert whole.tolist() == [int(word) for word in words]


def _whole(words):
    for word in words:
        try:
            number = int(word)
            yield number if -(2**63) <= number < 2**63 else None
        except ValueError:
            yield None


@given(st.lists(st.text(st.sampled_from("0123456789-+.eE"), max_size=6), min_size=1, max_size=5))
def test_floats_are_numbers_without_leading_zeros(words):
    found = spelling.floats(pa.array(words))
    if found is not None:
        want = [np.nan if word in ("", "-") else float(word) for word in words]
        np.testing.assert_array_equal(found, want)
        assert not any(word.lstrip("+-")[:1] == "0" and word.lstrip("+-")[1:2].isdigit() for word in words)


def test_columns_that_are_no_ids_keep_what_a_number_would_lose(tmp_path):
    file = write(
        tmp_path,
        "user,item,zip,price,barcode,code\nu,1,01234,1.50,9007199254740993,1\nv,2,12345,2,,NULL\n",
    )
    log = files.read(file)
    assert log.extra["zip"].tolist() == ["01234", "12345"]
    assert log.extra["price"].tolist() == [1.5, 2.0]
    assert log.extra["barcode"].tolist() == ["9007199254740993", ""]
    np.testing.assert_array_equal(log.extra["code"], [1.0, np.nan])


def test_ids_are_those_of_the_columns_that_are_named_so(tmp_path):
    file = write(tmp_path, "who,what,item\n1.10,7.0,3\n1.1,7,3\n")
    log = files.read(file, user="who", item="what")
    assert log.users.raw.tolist() == ["1.10", "1.1"] and log.items.raw.tolist() == ["7.0", "7"]
    table = files.read_table(file, ids=["who"])
    assert table["who"].tolist() == ["1.10", "1.1"] and table["what"].tolist() == [7.0, 7.0]
    with pytest.raises(DataError, match="no column 'when'"):
        files.read_table(file, text=["when"])


@pytest.mark.parametrize("late", ["x1", "1.5", "007", "", "2147483648"])
def test_a_column_may_change_its_kind_in_a_later_block(tmp_path, late):
    lines = [f"{n},{n % 7},{n}.5,{n},{'x' * 500}" for n in range(10, 40_000)]  # more than a block of 16 MiB
    file = write(
        tmp_path, "\n".join(["user,item,number,other,text", *lines, f"{late or 'NULL'},3,{late},{late},"])
    )
    table = files.read_table(file)
    assert table["user"][-1] == (int(late) if late == "2147483648" else late or "NULL")
    assert str(table["user"][0]) == "10"
    if late in ("x1", "007"):
        assert table["number"][[0, -1]].tolist() == ["10.5", late]
        assert table["other"][[0, -1]].tolist() == ["10", late]
    else:
        want = float(late or "nan")
        np.testing.assert_array_equal(table["number"][[0, -1]], [10.5, want])
        np.testing.assert_array_equal(table["other"][[0, -1]], [10, want])


@pytest.mark.parametrize("delimiter", ["\t", ",", " ", ";"])
def test_types_of_recbole_files_are_kept_whatever_separates_the_columns(tmp_path, delimiter):
    rows = ["user_id:token item_id:token tags:token_seq rating:float", "a 0001 x 5", "b 1 y 4"]
    file = write(tmp_path, "\n".join(row.replace(" ", delimiter) for row in rows), "log.inter")
    log = files.read(file)
    assert log.items.raw.tolist() == ["0001", "1"] and log.rating.tolist() == [5, 4]
    assert log.extra["tags"].tolist() == ["x", "y"]


QUOTES = {  # a file, and its titles or the row that the error names
    "closed": ('user,item,title\nu,1,"a, b"\nv,2,"say ""hi"""\n', ["a, b", 'say "hi"']),
    "line breaks": ('user,item,title\nu,1,"a\nb\n\nc"\nv,2,d\n', ["a\nb\n\nc", "d"]),
    "in a word": ('user,item,title\nu,1,5" disk\nv,2,x"y"\n', ['5" disk', 'x"y"']),
    "after a word": ('user,item,title\nu,1,"a" b\nv,2,d\n', ["a b", "d"]),
    "never closed": ('user,item,title\nu,1,a\nv,2,"b\nw,3,c\n', "row 2 .line 3.:"),
    "closed rows later": (
        'user,item,title\nu,1,a\nv,2,"b\nw,3,c\nx,4,d"\n',
        "row 2 .line 3.:.*row 4 .line 5.",
    ),
    "tabs, never closed": ('user\titem\ttitle\nu\t1\t"a\nv\t2\tb\n', ['"a', "b"]),
    "tabs, closed rows later": ('user\titem\ttitle\nu\t1\t"a\nv\t2\tb"\n', ['"a', 'b"']),
    "tabs, around a word": ('user\titem\ttitle\nu\t1\t"a" b\nv\t2\tc\n', ['"a" b', "c"]),
    "tabs, around values": ('user\titem\ttitle\nu\t1\t"a\tb"\nv\t2\t"c\nd"\n', ["a\tb", "c\nd"]),
    "in the header": ('user,"item,title\nu,1,a\n', "header .line 1.:"),
    "only a mark": ('user,item,title\nu,1,"\n', "row 1 .line 2.:"),
}


@pytest.mark.parametrize(("content", "want"), QUOTES.values(), ids=QUOTES)
def test_no_quotation_mark_eats_rows(tmp_path, content, want):
    file = write(tmp_path, content)
    if isinstance(want, str):
        with pytest.raises(DataError, match=f"log.csv, {want}.*quotes=False"):
            files.read(file)
        assert files.read(file, quotes=False).num_rows == content.count("\n") - 1
    else:
        assert files.read(file).extra["title"].tolist() == want


def test_marks_that_span_rows_enclose_text_if_one_says_so(tmp_path):
    file = write(tmp_path, 'user,item,title\nu,1,a\nv,2,"b\nw,3,c\nx,4,d"\n')
    assert files.read(file, quotes=True).extra["title"].tolist() == ["a", "b\nw,3,c\nx,4,d"]


def test_rows_are_counted_below_the_header_and_lines_are_named(tmp_path):
    rows = ['u,1,"two\nlines"', "", "v,2,x", "", "NULL,3,y", "w,4"]
    file = write(tmp_path, "\nuser,item,title\n" + "\n".join(rows[:5]))
    with pytest.raises(DataError, match=r"1 of 3 ids are missing \(1 'NULL'\), the first in row 3"):
        files.read(file)
    left, report = clean.drop_missing(files.read_table(file), ["user"])
    assert left["item"].tolist() == [1, 2] and "such as row 3" in str(report)
    with pytest.raises(DataError, match=r"row 4 \(line 9\): 2 columns where 3 are expected: 'w,4'"):
        files.read(write(tmp_path, "\nuser,item,title\n" + "\n".join(rows)))
    many = ["user,item", *(f"{n},{n}" for n in range(2, 60_000)), "7"]
    with pytest.raises(DataError, match=r"row 59999 \(line 60000\): 1 columns where 2"):
        files.read(write(tmp_path, "\n".join(many)))
    with pytest.raises(DataError, match="row 59999, column 'rating': 'x' is not"):
        lines = ["user,item,rating", *(f"{n},{n},1" for n in range(2, 60_000)), "7,7,x"]
        files.read(write(tmp_path, "\n".join(lines)))


CELL = st.text(st.sampled_from('ab0179.,;\t"\n\r -'), max_size=6)


@settings(max_examples=100)
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6), st.sampled_from([",", "\t", ";", "|"]))
def test_what_the_csv_module_writes_comes_back_row_by_row(tmp_path_factory, rows, delimiter):
    import csv

    file = tmp_path_factory.mktemp("csv") / "log.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        out.writerows([("user", "item", "title"), *rows])
    table = files.read_table(file, text=["user", "item", "title"], quotes=True)
    assert list(zip(*(column.tolist() for column in table.values()), strict=True)) == rows
    assert all(len(column) == len(rows) for column in table.values())


@settings(max_examples=100)
@given(st.text(st.sampled_from('ab1,\t"\n\r'), max_size=40), st.sampled_from(["a,b\n", "a\tb\n"]))
def test_rows_in_are_rows_out(tmp_path_factory, body, header):
    file = write(tmp_path_factory.mktemp("rows"), header + body)
    try:
        table = files.read_table(file, quotes=False)
    except DataError:
        return
    lines = body.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert len(table["a"]) == sum(line != "" for line in lines)


def test_the_header_of_a_file_that_was_joined_to_another_is_found(tmp_path):
    head = "user,item,rating\n"
    with pytest.raises(DataError, match=r"row 3 \(line 4\): the header stands here again.*\(2 times\)"):
        files.read(write(tmp_path, head + "1,2,3\n4,5,6\n" + head + "7,8,9\n" + head))
    assert files.read(write(tmp_path, "user,item\nuser,x\nv,item\n")).num_rows == 2


HEADLESS = {
    "numbers": "1,2,3\n",
    "a word among numbers": "1,5001,77,pv,1511544070\n",
    "a time": "ann;2014-04-07T10:51:09.277Z;bread\n",
    "American dates": "u13\t11/11/2019 9:05:58 AM\tn5-1\n",
}


@pytest.mark.parametrize("line", HEADLESS.values(), ids=HEADLESS)
def test_a_first_line_of_data_is_no_header(tmp_path, line):
    with pytest.raises(DataError, match=r"looks like data.*names=\[…\] for its \d columns, such as names="):
        files.read(write(tmp_path, line * 2))


def test_names_must_fit_the_file(tmp_path):
    file = write(tmp_path, "1,2,3\n")
    with pytest.raises(DataError, match="3 columns where 2 are expected"):
        files.read(file, names=["user", "item"])
    with pytest.raises(DataError, match="is a header: leave names out"):
        files.read(write(tmp_path, "user,item\n1,2\n"), names=["user", "item"])
    assert files.read(write(tmp_path, "sku,2019,2020,user\n1,2,3,4\n"), item="sku").num_rows == 1
    with pytest.raises(DataError, match=r"no user column among \['ann', 'bread'\]"):
        files.read(write(tmp_path, "ann,bread\nbob,milk\n"))


SHEETS = {  # what spreadsheets write, and the ratings in it
    "separator line": ("sep=;\nuser;item;rating\nu;1;4\n", [4]),
    "decimal commas": ("user;item;rating\nu;1;4,5\nv;1;3\n", [4.5, 3]),
    "thousands or thousandths": ("user;item;rating\nu;1;1,234\n", "'1,234' is not a number.*decimal=','"),
    "points and commas": ("user;item;rating\nu;1;1,5\nv;1;1.5\n", "'1,5' is not a number"),
    "carriage returns": ("user,item,rating\ru,1,2\rv,1,3\r", [2, 3]),
    "empty columns": ("user;item;rating;;\nu;1;2;;\n", [2]),
    "UTF-16": ("user\titem\trating\nü\t1\t2\n".encode("utf-16"), [2]),
    "UTF-16 without a mark": ("user\titem\trating\nü\t1\t2\n".encode("utf-16-le"), [2]),
    "rounded barcodes": ("user,item\nu,4.00638E+12\n", "row 1, column 'item': '4.00638E.12'.*spreadsheet"),
}


@pytest.mark.parametrize(("content", "want"), SHEETS.values(), ids=SHEETS)
def test_exports_of_spreadsheets(tmp_path, content, want):
    file = write(tmp_path, content)
    if isinstance(want, str):
        with pytest.raises(DataError, match=want):
            files.read(file)
    else:
        assert files.read(file).rating.tolist() == want


def test_the_decimal_mark_can_be_given(tmp_path):
    file = write(tmp_path, 'user,item,rating\nu,1,"1,234"\n')
    assert files.read(file, decimal=",").rating.tolist() == [np.float32(1.234)]
    with pytest.raises(DataError, match=r"xlsx files are not read here: read it with pandas\.read_excel"):
        files.read(write(tmp_path, b"PK\3\4", "log.xlsx"))


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("gb18030", "小明"), ("shift_jis", "さくら"), ("cp1251", "Анна"), ("cp1250", "łąka"), ("big5", "小明")],
)
def test_an_encoding_that_cannot_be_told_is_asked_for(tmp_path, encoding, word):
    file = write(tmp_path, f"user,item\n{word},1\n", encoding=encoding)
    with pytest.raises(DataError, match=r"not UTF-8.*give encoding=….*Row 2"):
        files.read(file)
    assert files.read(file, encoding=encoding).users.raw.tolist() == [word]


@pytest.mark.parametrize("word", ["José", "£5 off", "Æon Flux", "naïve café"])
def test_western_european_text_is_read(tmp_path, word):
    assert files.read(write(tmp_path, f"user,item\n{word},1\n", encoding="latin-1")).users.raw.tolist() == [
        word
    ]


def test_zero_bytes_are_refused_wherever_they_are(tmp_path):
    with pytest.raises(DataError, match=r"row 3 has zero bytes"):
        files.read(write(tmp_path, b"user,item\na,1\na\0,2\n"))
    with pytest.raises(DataError, match="zero byte"):
        from_columns({"user": ["a\0", "a"], "item": [1, 2]})


WORDS = ["", " ", "NULL", "null", "nan", "NaN", "None", "NA", "N/A", "\\N", "<NA>", "nil", "-"]


@pytest.mark.parametrize("word", WORDS)
def test_words_for_nothing_are_nobody_and_no_number(tmp_path, word):
    file = write(tmp_path, f"user,item,rating\nann,x,1\n{word},y,2\nbob,z,{word}\n")
    with pytest.raises(DataError, match=r"column 'user': 1 of 3 ids are missing .*row 2"):
        files.read(file)
    left, report = clean.drop_missing(files.read_table(file), ["user"])
    assert report.before == 3 and report.after == 2
    log = from_columns(left)
    assert log.users.raw.tolist() == ["ann", "bob"] and np.isnan(log.rating[1])


COLUMNS = {  # raw ids of some type, and what they are called
    "bool": (pa.array([True, False]), [1, 0]),
    "bytes": (pa.array([b"a", b"b"]), ["a", "b"]),
    "bytes that are no text": (pa.array([b"\xff", b"\xfe"]), ["ff", "fe"]),
    "decimal": (pa.array([decimal.Decimal("5"), decimal.Decimal("7")]), [5, 7]),
    "long decimal": (
        pa.array([decimal.Decimal(10**20), decimal.Decimal(10**20 + 1)]),
        [str(10**20), str(10**20 + 1)],
    ),
    "dictionary": (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
    "large string": (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
    "uint64": (pa.array([2**64 - 1, 2**64 - 2], pa.uint64()), [str(2**64 - 1), str(2**64 - 2)]),
    "float16": (pa.array(np.array([1, 2], np.float16)), [1, 2]),
    "fixed-size binary": (pa.array([b"ab", b"\0\0"], pa.binary(2)), ["6162", "0000"]),
    "time of day": (pa.array([datetime.time(1), datetime.time(2)]), ["01:00:00", "02:00:00"]),
    "categorical": (pd.Series([7, 8]).astype("category"), [7, 8]),
    "nullable": (pd.Series([7, 8], dtype="Int64"), [7, 8]),
    "mixed objects": (pd.Series(["85123A", 22423], dtype=object), ["85123A", "22423"]),
    "uuid objects": (
        pd.Series([uuid.UUID(int=1), uuid.UUID(int=2)]),
        [str(uuid.UUID(int=n)) for n in (1, 2)],
    ),
    "periods": (pd.Series(pd.period_range("2020-01", periods=2, freq="M")), ["2020-01", "2020-02"]),
    "polars enum": (pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"])), ["x", "y"]),
    "int and float": ([2**60, 0.5], [str(2**60), "0.5"]),
    "huge integers": ([2**70, 2**70 + 1], [str(2**70), str(2**70 + 1)]),
    "large unsigned": (np.array([2**63, 2**63 + 1], np.uint64), [str(2**63), str(2**63 + 1)]),
    "dates": (pa.array([datetime.date(2020, 1, 1)] * 2), "datetime64.D. cannot be ids"),
    "durations": (pa.array([1, 2], pa.duration("s")), "timedelta64.s. cannot be ids"),
    "lists": (pa.array([[1], [2, 3]]), "lists .*explode"),
    "complex": (np.array([1j, 2j]), "complex128 cannot be ids"),
    "float16 too large": (np.array([2048, 4096], np.float16), "too large to be told apart as float16"),
    "float32 too large": (np.array([2**24, 2**25], np.float32), "too large"),
    "float64 too large": (np.array([2.0**53, 1.0]), "too large"),
    "fractions": (np.array([1.5, 1.0]), "row 1, column 'user': ids are fractions"),
    "infinite": (np.array([1.0, np.inf]), "ids are missing"),
}


@pytest.mark.parametrize(("column", "want"), COLUMNS.values(), ids=COLUMNS)
def test_ids_of_any_type_stay_apart_or_are_refused(column, want):
    if isinstance(column, pd.Series):
        table = pd.DataFrame({"user": column, "item": [1, 2]})
    elif isinstance(column, pl.Series):
        table = pl.DataFrame({"user": column, "item": [1, 2]})
    else:
        table = {"user": column, "item": pa.array([1, 2])}
        table = pa.table(table) if isinstance(column, pa.Array) else {**table, "item": [1, 2]}
    if isinstance(want, str):
        with pytest.raises(DataError, match=want):
            files.read(table)
    else:
        log = files.read(table)
        assert log.user.tolist() == [1, 2] and log.users.raw.tolist() == want


def test_nullable_ids_without_a_value_are_missing():
    for column in (pd.array([7, None], "Int64"), pd.Series([7, None]), [7, None], [2**60, None]):
        with pytest.raises(DataError, match="1 of 2 ids are missing"):
            files.read({"user": column, "item": [1, 2]})
        with pytest.raises(DataError, match="1 of 2 ids are missing"):
            files.read(pd.DataFrame({"user": column, "item": [1, 2]}))
    left, _ = clean.drop_missing(
        files.read_table(pd.DataFrame({"user": [2**60, None], "item": [1, 2]}, dtype=object)), ["user"]
    )
    assert from_columns(left).users.raw.tolist() == [str(2**60)]


def test_nested_columns_are_kept_beside_the_log(tmp_path):
    table = pa.table(
        {
            "user": ["a", "b"],
            "item": ["x", "y"],
            "genres": [["p", "q"], ["r"]],
            "vector": [[1.0, 2.0], [3.0, 4.0]],
            "shop": [{"city": "Ulm"}, None],
            "none": pa.nulls(2),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    for source in (tmp_path / "log.parquet", table, table.to_pandas(), pl.from_arrow(table)):
        log = files.read(source)
        assert [list(genres) for genres in log.extra["genres"]] == [["p", "q"], ["r"]]
        assert log.extra["shop"][0] == {"city": "Ulm"} and log.take(np.array([1])).num_rows == 1
    frame = pd.DataFrame({"user": ["a"], "item": [1], "sets": [{1, 2}], "vector": [np.ones(3)]})
    assert files.read(frame).extra["sets"][0] == {1, 2}


def test_tables_with_two_columns_of_one_name():
    frame = pd.DataFrame([["a", "b", 1]], columns=["user", "user", "item"])
    with pytest.raises(DataError, match="two columns 'user'"):
        files.read(frame)
    with pytest.raises(DataError, match="two columns '1'"):
        files.read({1: [1], "1": [2], "user": [1], "item": [1]})


def test_long_text_does_not_take_the_width_of_the_longest(tmp_path):
    long = "x" * 100_000
    file = write(tmp_path, f"user,item,text\nu,1,{long}\n" + "v,2,short\n" * 2_000)
    text = files.read(file).extra["text"]
    assert text.nbytes < 2**20 and text[0] == long


def test_json_lines(tmp_path):
    lines = '{"user":"007","item":7,"rating":4.5}\n\n{"item":8,"user":"7","tags":["a"],"rating":null}\n'
    for name, content in {
        "a.json": lines,
        "a.jsonl.gz": gzip.compress(lines.encode()),
        "a.txt": lines,
        "b.json": "[" + lines.strip().replace("\n\n", ",") + "]",
        "c.json": lines.replace("null", "None").replace('"', "'"),
    }.items():
        table = files.read_table(write(tmp_path, content, name))
        assert table["user"].tolist() == ["007", "7"] and table["item"].tolist() == [7, 8]
        np.testing.assert_array_equal(table["rating"], [4.5, np.nan])
        assert table["tags"].tolist() == [None, ["a"]]
    assert files.read_table(write(tmp_path, lines, "a.json")).rows.tolist() == [1, 3]


BAD_JSON = {
    "cut": '{"user":"a","item":1}\n{"user":"b",\n',
    "list": "[1,2]\n",
    "number": "7\n",
    "twice a key": '{"user":"a","user":"b","item":1}\n',
    "deep": '{"user":' + "[" * 100_000 + "\n",
    "code": "{'user': __import__('os').getcwd(), 'item': 1}\n",
    "empty": " \n",
    "empty list": "[]",
}


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_bad_json_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"log.json"):
        files.read(write(tmp_path, content, "log.json"))


def test_questions_are_spelt_like_the_ids_or_nearly():
    numbers, texts = Ids(np.array([12, 15])), Ids(np.array(["12", "x", "012"]))
    for asked in (
        ["12", "15"],
        [" 12", "15 "],
        ["12.0", "15.00"],
        [12.0, 15.0],
        np.array([12, 15], np.uint64),
    ):
        assert numbers.encode(asked).tolist() == [1, 2]
    assert numbers.encode(["012", "+12", "1e1", "12.5", "", "9" * 30]).tolist() == [0] * 6
    assert numbers.encode(np.array([1e300, np.nan, 2.0**63])).tolist() == [0, 0, 0]
    assert numbers.encode(np.array([2**64 - 1], np.uint64)).tolist() == [0]
    assert numbers.encode([[12, 99], [15, 12]]).tolist() == [[1, 0], [2, 1]]
    assert texts.encode([12.0, 99.0]).tolist() == [1, 0] and texts.encode([12]).tolist() == [1]
    assert texts.encode([" x ", "012", "0012"]).tolist() == [2, 3, 0]
    assert texts.encode([]).tolist() == []


def test_nothing_is_unpacked_beyond_the_memory(tmp_path, monkeypatch):
    content = b"user,item\n" + b"1,2\n" * 300_000
    write(tmp_path, gzip.compress(content), "log.csv.gz")
    write(tmp_path, gzip.compress(gzip.compress(content)), "log.csv.gz.gz")
    with zipfile.ZipFile(tmp_path / "log.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.csv", content)
    zeros = np.zeros(300_000, int)
    pq.write_table(pa.table({"user": zeros, "item": zeros}), tmp_path / "log.parquet")
    names = ("log.csv.gz", "log.csv.gz.gz", "log.zip", "log.parquet")
    for name in names:
        assert files.read(tmp_path / name).num_rows == 300_000
    monkeypatch.setattr(contents, "room", lambda: 2**20)
    for name in names:
        with pytest.raises(DataError, match=r"memory"):
            files.read(tmp_path / name)


def test_archives_that_hold_no_table(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "log.csv.gz", "w:gz") as archive:
        archive.add(write(tmp_path, "user,item\n1,2\n"), "log.csv")
    with pytest.raises(DataError, match="tar archive: unpack it"):
        files.read(tmp_path / "log.csv.gz")
    with zipfile.ZipFile(tmp_path / "none.zip", "w"):
        pass
    with pytest.raises(DataError, match="archive without files"):
        files.read(tmp_path / "none.zip")
    for name in ("log.7z", "log.csv.zst", "log.tgz"):
        with pytest.raises(DataError, match="unpack it"):
            files.read(write(tmp_path, b"x", name))


def test_columns_that_are_exploded():
    table = {"user": ["a", "b", "c"], "items": ["1 2", "", "3"]}
    log = files.read(table, explode="items", item="items")
    assert log.items.decode(log.item).tolist() == ["1", "2", "3"] and log.row.tolist() == [1, 1, 3]
    nested = {"user": ["a"], "events": [[{"item": 5, "user": 1}]]}
    for bad, match in [
        ({"user": [1], "events": [7]}, "is not a list"),
        (nested, "'user' is a column and a key"),
        ({"user": [1], "events": [[]]}, "no values"),
        ({"user": [1]}, "no column 'events'"),
    ]:
        with pytest.raises(DataError, match=match):
            files.read(bad, explode="events")


def test_what_is_no_column_is_refused():
    for column in (5, {1}, iter([1]), "a", np.array(5), np.ones((1, 2))):
        with pytest.raises(DataError, match=r"not a column|not a list or array|one value for each row"):
            files.read({"user": column, "item": [1]})
    for column in (np.array(5), np.ones((1, 2))):
        with pytest.raises(DataError, match=r"not a list or array|one value for each row"):
            from_columns({"user": column, "item": [1]})
    assert (
        files.read(pl.DataFrame({"user": pl.Series(["a", 1], dtype=pl.Object), "item": [1, 2]})).num_users
        == 3
    )
    with pytest.raises(DataError, match="collect"):
        files.read(pl.LazyFrame({"user": [1], "item": [1]}))


def test_a_packed_file_without_its_ending_is_named(tmp_path):
    with pytest.raises(DataError, match=r"is a \.gz file, by its first bytes"):
        files.read(write(tmp_path, gzip.compress(b"user,item\n1,2\n")))


def test_names_are_not_given_to_a_file_that_has_some(tmp_path):
    file = write(tmp_path, "uid,iid,score\n1,2,3.5\n4,5,6\n")
    with pytest.raises(DataError, match="the first line, 'uid,iid,score', is a header: leave names out"):
        files.read_table(file, names=["user", "item", "rating"])
    file = write(tmp_path, "ann,tea,3\n7,8,9\n")  # the first rating shows that it is a row
    assert files.read_table(file, names=["user", "item", "rating"])["rating"].tolist() == [3, 9]


def test_lists_that_are_written_as_text_are_lists(tmp_path):
    file = write(tmp_path, "user;items\n1;[101, 102]\n2;103 104\n3;['7', '8']\n")
    table = files.read_table(file, explode="items")
    assert table["user"].tolist() == [1, 1, 2, 2, 3, 3]
    assert table["items"].tolist() == ["101", "102", "103", "104", "7", "8"]
    with pytest.raises(DataError, match=r"begins like a list, but is none of JSON or Python"):
        files.read_table(write(tmp_path, "user;items\n1;[101, 10\n"), explode="items")


def test_a_guess_of_the_encoding_is_told(tmp_path, caplog):
    files.read_table(write(tmp_path, "user,item\ncafé,1\n", encoding="latin-1"))
    assert "log.csv is not UTF-8: read as latin-1; if letters are wrong, give its encoding" in caplog.text


def test_half_a_character_is_told_with_its_file(tmp_path):
    with pytest.raises(DataError, match=r"log\.jsonl, column 'item': the text .* has half of a character"):
        files.read_table(write(tmp_path, '{"user": 1, "item": "a\\ud800"}\n', "log.jsonl"))


def test_a_decimal_mark_is_one_of_two():
    with pytest.raises(DataError, match=r"decimal=';' is not a decimal mark: give '\.' or ','"):
        files.read_table({"a": ["x"]}, decimal=";")
