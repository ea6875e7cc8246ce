import gzip
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rezoo.data import files, formats
from rezoo.data.ids import Ids
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError

ROWS = {
    "user_id": [7, 9, 7],
    "item_id": ["x", "y", "y"],
    "rating": [4.0, 3.5, 5.0],
    "timestamp": [1_600_000_030, 1_600_000_010, 1_600_000_020],
}


def expect(log):
    assert log.user.tolist() == [1, 2, 1] and log.item.tolist() == [1, 2, 2]
    assert log.rating.tolist() == [4.0, 3.5, 5.0]
    assert log.timestamp.tolist() == [time * 10**6 for time in ROWS["timestamp"]]
    assert log.users.decode(log.user).tolist() == ROWS["user_id"]
    assert log.items.decode(log.item).tolist() == ROWS["item_id"]
    assert log.user.dtype == np.int32 and log.timestamp.dtype == np.int64


def text(delimiter, header=True):
    lines = [delimiter.join(ROWS)] if header else []
    lines += [delimiter.join(map(str, row)) for row in zip(*ROWS.values(), strict=True)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_text_with_any_delimiter(tmp_path, delimiter):
    (tmp_path / "log.csv").write_text(text(delimiter))
    expect(files.read(tmp_path / "log.csv"))


def test_movielens_colons(tmp_path):
    (tmp_path / "ratings.dat").write_text(text("::", header=False))
    expect(files.read(tmp_path / "ratings.dat"))


def test_text_without_a_header(tmp_path):
    (tmp_path / "u.data").write_text(text("\t", header=False))
    expect(files.read(tmp_path / "u.data", names=list(ROWS)))


def test_recbole_atomic_file(tmp_path):
    kinds = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
    first, rest = text("\t").split("\n", 1)
    head = "\t".join(f"{name}:{kinds[name]}" for name in first.split("\t"))
    (tmp_path / "ml.inter").write_text(f"{head}\n{rest}")
    log = files.read(tmp_path / "ml.inter")
    assert log.users.raw.tolist() == ["7", "9"] and log.user.tolist() == [1, 2, 1]


def test_compressed_and_archived(tmp_path):
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text(",").encode()))
    expect(files.read(tmp_path / "log.csv.gz"))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a/log.csv", text(","))
        archive.writestr("other.txt", "nothing")
    expect(files.read(f"{tmp_path}/all.zip!a/log.csv"))
    with pytest.raises(DataError, match=r"all.zip holds a/log.csv, other.txt: name one as all.zip!a/log.csv"):
        files.read(tmp_path / "all.zip")


def test_parquet_and_tables(tmp_path):
    pq.write_table(pa.table(ROWS), tmp_path / "log.parquet")
    for table in (tmp_path / "log.parquet", pa.table(ROWS), pd.DataFrame(ROWS), pl.DataFrame(ROWS), ROWS):
        expect(files.read(table))


def test_a_prepared_tfds_data_set_of_column_chunks(tmp_path):
    from rezoo.datasets import shop_builder
    from rezoo.datasets.shop import ShopConfig

    config = ShopConfig(shoppers=30, products=20, ratings_per_shopper=5, impressions=50, sessions=20)
    made = shop_builder.load(config, data_dir=tmp_path)
    (folder,) = {info.parent for info in tmp_path.rglob("dataset_info.json")}
    columns = files.read_table(folder)
    total = sum(
        len(part["user"]) for task in (made.ratings, made.impressions, made.sessions) for part in task
    )
    assert len(columns["user"]) == total


def test_byte_order_mark_latin_1_and_quoted_newlines(tmp_path):
    content = 'user,item,title\n1,2,"two\nlines, and ""quotes"""\n3,4,plain\n'
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert files.read(tmp_path / "bom.csv").extra["title"].tolist() == ['two\nlines, and "quotes"', "plain"]
    (tmp_path / "latin.csv").write_bytes("user,item,title\n1,2,Été\n".encode("latin-1"))
    assert files.read(tmp_path / "latin.csv").extra["title"].tolist() == ["Été"]
    (tmp_path / "wide.csv").write_bytes("user,item\nä,商品\n".encode("utf-16"))
    assert files.read(tmp_path / "wide.csv").items.raw.tolist() == ["商品"]


def test_a_column_that_changes_its_kind_after_the_first_block(tmp_path):
    lines = ["user,item"] + [f"{i},{i % 7}" for i in range(1, 2_000_000)] + ["anna,3"]
    (tmp_path / "long.csv").write_text("\n".join(lines))
    log = files.read(tmp_path / "long.csv")
    assert log.num_rows == 2_000_000 and log.users.raw[-1] == "anna" and log.users.raw[0] == "1"


def test_ids_of_any_type_and_both_ways():
    import uuid

    raw = [uuid.UUID(int=5), uuid.UUID(int=3), uuid.UUID(int=5)]
    log = from_columns({"user": np.array(raw, object), "item": np.array([b"a", b"b", b"a"])})
    assert log.user.tolist() == [1, 2, 1] and log.users.raw[0] == str(raw[0])
    assert log.items.raw.tolist() == ["a", "b"]
    ids = Ids.fit(np.array([2**40, -3, 2**40]))
    assert ids.encode(np.array([-3, 2**40, 8])).tolist() == [2, 1, 0] and ids.size == 3
    assert ids.encode(np.array(["-3", "x"])).tolist() == [2, 0]
    assert ids.encode(np.array([-3.0, np.nan, 0.5])).tolist() == [2, 0, 0]
    with pytest.raises(DataError, match="id 3 has no raw id: dense ids here are 1 … 2"):
        ids.decode(np.array([1, 3]))


def test_a_map_fitted_before_sends_strangers_to_0():
    train = from_columns({"user": [5, 6], "item": [1, 2]})
    test = from_columns({"user": [6, 9], "item": [3, 1]}, users=train.users, items=train.items)
    assert test.user.tolist() == [2, 0] and test.item.tolist() == [0, 1]


def test_aliases_and_given_roles():
    log = from_columns({"CustomerID": [17850.0, 3.0], "StockCode": ["85123A", "71053"], "Quantity": [6, 2]})
    assert log.users.raw.tolist() == [17850, 3] and log.extra["Quantity"].tolist() == [6, 2]
    log = from_columns({"who": [1], "what": [2], "user": [9]}, user="who", item="what")
    assert log.users.raw.tolist() == [1] and log.extra["user"].tolist() == [9]
    log = from_columns({"SessionId": [4, 4], "ItemId": [1, 2]})
    assert log.user.tolist() == log.session.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([1_600_000_000], None),
        ([1_600_000_000_000], None),
        ([1_600_000_000_000_000], None),
        ([1_600_000_000_000_000_000], None),
        ([1_600_000_000_000], "ms"),
        (["2020-09-13T12:26:40Z"], None),
        (["2020-09-13T14:26:40+02:00"], None),
        (["2020-09-13 12:26:40"], None),
        (np.array(["2020-09-13T12:26:40"], "datetime64[ns]"), None),
        (["1600000000"], None),
    ],
)
def test_times_of_every_kind_become_microseconds(values, unit):
    log = from_columns({"user": [1], "item": [1], "time": values}, unit=unit)
    assert log.timestamp.tolist() == [1_600_000_000_000_000]


def test_sort_by_time_keeps_the_order_of_ties():
    log = from_columns(
        {"user": [1, 2, 3, 4], "item": [1, 1, 1, 1], "time": [20, 10, 20, 10]}, unit="order"
    ).sort_by_time()
    assert log.user.tolist() == [2, 4, 1, 3]


def test_libfm_and_sequences(tmp_path):
    (tmp_path / "f.libfm").write_text("1 3:1 10:0.5\n-1 4:1 11:1\n")
    label, feature, value = formats.read_libfm(tmp_path / "f.libfm")
    assert label.tolist() == [1, -1] and feature.tolist() == [[3, 10], [4, 11]] and value[0, 1] == 0.5
    (tmp_path / "s.txt").write_text("1 5\n1 6\n2 5\n")
    user, item = formats.read_sequences(tmp_path / "s.txt")
    assert user.tolist() == [1, 1, 2] and item.tolist() == [5, 6, 5]
    (tmp_path / "t.txt").write_text("1 5 6\n2 5\n")
    assert formats.read_sequences(tmp_path / "t.txt")[1].tolist() == [5, 6, 5]


def test_the_whole_of_ml_1m(data_folder):
    log = files.read(f"{data_folder}/ml-1m/ml-1m.zip!ml-1m/ratings.dat")
    assert log.num_rows == 1_000_209 and log.num_users == 6_041 and log.num_items == 3_707
    assert np.bincount(log.rating.astype(int))[1:].tolist() == [56_174, 107_557, 261_197, 348_971, 226_310]


def test_sequences_from_0_are_taken_as_one_more_and_it_is_said(tmp_path, caplog):
    (tmp_path / "s.txt").write_text("0 5 0\n1 3\n")
    user, item = formats.read_sequences(tmp_path / "s.txt")
    assert user.tolist() == [1, 1, 2] and item.tolist() == [6, 1, 4]
    assert caplog.messages == [
        f"s.txt: {what} start at 0, which is padding; each is taken as one more"
        for what in ("users", "items")
    ]
