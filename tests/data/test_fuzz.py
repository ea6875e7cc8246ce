"""Damaged files of every kind: a result that adds up, or a DataError; nothing else, and no warning."""

import gzip
import io
import pickle
import shutil
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rezoo.data import files, formats
from rezoo.datasets import criteo, session_sets, shop_builder
from rezoo.datasets.shop import ShopConfig
from rezoo.errors import DataError

ROWS = [("user", "item", "rating", "timestamp", "title")] + [
    (
        f"u{n % 7}",
        str(1000 + n % 5),
        f"{n % 5 + 0.5}",
        str(1_600_000_000 + n),
        f'"a, {n}"' if n % 4 == 0 else "é",
    )
    for n in range(30)
]
CSV = "\n".join(",".join(row) for row in ROWS).encode() + b"\n"
JSON = b"".join(
    b'{"user":"u%d","item":%d,"rating":4.5,"tags":["a",{"b":null}]}\n' % (n % 5, n % 3) for n in range(20)
)
WORDS = [
    b'"', b"\n", b"\r", b",", b"\t", b";", b"\0", b"::", b"\xff\xfe", b"\xef\xbb\xbf", b"1e999", b"-",
    b"NULL", b"4294967297", b"99999999999999999999", b"{", b"]", b"\\N", b"nan", "½".encode(), b"0x1",
    b"{'a':1}",
]  # fmt: skip


def packed(write):
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()


def zipped(sink):
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.csv", CSV)


PARQUET = pa.table(
    {"user": ["a", "b"] * 9, "item": range(18), "genres": [["p", "q"], None] * 9, "t": [1.5] * 18}
)
SESSIONS = {"train_items": [5, 6, 7], "train_offsets": [0, 2, 3], "test_items": [9], "test_offsets": [0, 1]}
KINDS = {  # name, content, reader
    "CSV": ("a.csv", CSV, files.read),
    "TSV": ("a.tsv", CSV.replace(b",", b"\t"), files.read),
    "semicolons": ("a.csv", b"sep=;\n" + CSV.replace(b",", b";").replace(b".", b","), files.read),
    "MovieLens": (
        "a.dat",
        b"".join(b"%d::%d::3::9783000%02d\n" % (n % 4, n, n) for n in range(20)),
        files.read,
    ),
    "RecBole": (
        "a.inter",
        b"user_id:token\titem_id:token\trating:float\n" + b"01\t1\t3\n1\t01\t4\n" * 9,
        files.read,
    ),
    "JSON lines": ("a.json", JSON, files.read),
    "Python dicts": ("a.json", JSON.replace(b'"', b"'").replace(b"null", b"None"), files.read),
    "gzip": ("a.csv.gz", gzip.compress(CSV), files.read),
    "zip": ("a.zip", packed(zipped), files.read),
    "Parquet": ("a.parquet", packed(lambda sink: pq.write_table(PARQUET, sink)), files.read),
    "UTF-16": ("a.csv", CSV.decode().encode("utf-16"), files.read),
    "libFM": ("a.libfm", b"1 3:1 10:0.5\n-1 4:1 11:1\n" * 9, formats.read_libfm),
    "sequences": ("a.txt", b"1 5 6 7\n2 5 8\n3 1\n" * 9, formats.read_sequences),
    "Criteo": ("a.txt", b"\t".join([b"1", *[b"3"] * 13, *[b"0a"] * 26]) + b"\n", criteo.read),
    "npz": ("a.npz", packed(lambda sink: np.savez(sink, **SESSIONS, test_labels=[8])), session_sets.read_npz),
}


def mutated(rng, content):
    """The content with a few bytes changed, left out, doubled or put in."""
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(content) + 1))
        length = int(rng.integers(1, 20))
        how = rng.integers(0, 6)
        new = {
            0: bytes([rng.integers(0, 256)]) + content[at + 1 :],
            1: content[at + length :],
            2: content[at : at + length] + content[at:],
            3: WORDS[rng.integers(0, len(WORDS))] + content[at:],
            4: b"",
            5: content[at:][::-1][:length] + content[at:],
        }[int(how)]
        content = content[:at] + new
    return content


def adds_up(found):
    """Whether what a reader gave is whole: columns of one length, ids within their maps."""
    if hasattr(found, "users"):
        assert found.num_rows > 0
        for dense, ids in ((found.user, found.users), (found.item, found.items)):
            assert len(dense) == found.num_rows and dense.min() >= 1 and dense.max() < ids.size
            assert len(set(ids.raw.tolist())) == len(ids.raw)
        assert all(len(column) == found.num_rows for column in found.extra.values())
        assert found.row is None or len(found.row) == found.num_rows
    elif isinstance(found, session_sets.SessionSet):
        top = max(part.max(initial=0) for part in (found.train.items, found.test.items, found.target))
        assert found.num_items == top + 1 and found.train.offsets[-1] == len(found.train.items)
        assert min(part.min() for part in (found.train.items, found.target)) >= 1
    elif isinstance(found, dict):  # of a prepared shop, whose columns are those of several tables
        assert all(isinstance(column, np.ndarray) for column in found.values())
    else:
        assert len({len(part) for part in found if isinstance(part, np.ndarray)}) == 1


def tried(read, path):
    """Whether a file was read; a DataError is the only other way."""
    try:
        adds_up(read(path))
    except DataError as error:
        assert len(str(error)) > 20
        return False
    return True


def fuzz(folder, count, seed):
    rng = np.random.default_rng(seed)
    for name, content, read in KINDS.values():
        (folder / name).write_bytes(content)
        assert tried(read, folder / name)
        for _ in range(count):
            damaged = mutated(rng, content)
            (folder / name).write_bytes(damaged)
            try:
                tried(read, folder / name)
            except BaseException as error:
                error.add_note(f"{name}: {damaged!r}")
                raise


def test_damaged_files_are_read_or_refused(tmp_path):
    fuzz(tmp_path, 8, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_thousands_of_damaged_files_are_read_or_refused(tmp_path, seed):
    fuzz(tmp_path, 150, seed)


@pytest.mark.slow
def test_damaged_pickles_are_read_or_refused(tmp_path):
    rng, row = np.random.default_rng(0), list(range(1, 30))
    parts = {
        "all_train_seq.txt": pickle.dumps([[5, 6], [7, 70_000], row] * 5),
        "test.txt": pickle.dumps(([[9], row], [5, 8])),
    }
    for _ in range(1500):
        for name, content in parts.items():
            (tmp_path / name).write_bytes(content if rng.random() < 0.5 else mutated(rng, content))
        tried(session_sets.read_published, tmp_path)


@pytest.mark.slow
def test_damaged_prepared_folders_are_read_or_refused(tmp_path):
    config = ShopConfig(shoppers=30, products=20, ratings_per_shopper=5, impressions=50, sessions=20)
    shop_builder.load(config, data_dir=tmp_path / "shop")
    (info,) = (tmp_path / "shop").rglob("dataset_info.json")
    rng, whole = np.random.default_rng(0), info.parent
    for number in range(60):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        file = sorted(folder.iterdir())[number % len(list(folder.iterdir()))]
        file.write_bytes(mutated(rng, file.read_bytes()))
        tried(files.read_table, folder)
        shutil.rmtree(folder)
