"""MovieLens from zips made here, in GroupLens' formats, and from the real ones where they are."""

import hashlib
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rezoo.datasets import movielens, movielens_files
from rezoo.datasets.movielens_builder import MovieLensBuilder
from rezoo.errors import DataError

GENRES = ["unknown", "Action", "Comedy", "Drama"]
FILES = {
    "ml-100k": {
        "u.data": "7\t3\t5\t100\n9\t3\t2\t90\n7\t1\t4\t100\n9\t1\t1\t80\n8\t1\t1\t70\n",
        "u.user": "7|24|M|technician|85711\n8|30|M|none|00000\n9|53|F|other|94043\n",
        "u.item": "1|Amélie (2001)|x||u|0|0|1|1\n2|Unrated (1990)|x||u|0|1|0|0\n3|unknown||||1|0|0|0\n",
        "u.genre": "".join(f"{genre}|{n}\n" for n, genre in enumerate(GENRES)) + "\n",
        "u1.test": "9\t3\t2\t90\n",
        "u2.test": "7\t1\t4\t100\n",
        "u3.test": "7\t3\t5\t100\n",
        "u4.test": "8\t1\t1\t70\n",
        "u5.test": "9\t1\t1\t80\n",
    },
    "ml-1m": {
        "ratings.dat": "1::20::5::100\n1::10::3::50\n2::20::1::70\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072-1\n",
        "movies.dat": "10::Amélie (2001)::Comedy|Drama\n20::Heat (1995)::Action\n30::Unrated (1990)::Drama\n",
    },
    "ml-latest-small": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,20,4.5,100\n1,10,3.0,50\n",
        "movies.csv": 'movieId,title,genres\n10,"Amélie, or so (2001–2002)",Comedy\n'
        "20,Heat,(no genres listed)\n",
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the three zips, whose checksums are taken for the official ones."""
    monkeypatch.delenv("REZOO_DATA", raising=False)
    monkeypatch.setattr(tfds.download.DownloadManager, "download", lambda *_: pytest.fail("download"))
    tfds.disable_progress_bar()
    for name, files in FILES.items():
        write(tmp_path / f"{name}.zip", name, files)
        digest = hashlib.sha256((tmp_path / f"{name}.zip").read_bytes()).hexdigest()
        source = movielens_files.SOURCES[name]._replace(sha256=digest)
        monkeypatch.setitem(movielens_files.SOURCES, name, source)
    return tmp_path


def write(file, name, files):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, text in files.items():
            archive.writestr(f"{name}/{inside}", text.encode("utf-8" if "small" in name else "latin-1"))


def test_100k(folder):
    ratings, users, items = movielens.load("ml-100k", manual_dir=folder, data_dir=folder / "cache")
    assert ratings.users.raw.tolist() == [7, 9, 8] and ratings.items.raw.tolist() == [3, 1]
    assert ratings.user.tolist() == [1, 2, 1, 2, 3] and ratings.item.tolist() == [1, 1, 2, 2, 2]
    assert ratings.rating.tolist() == [5, 2, 4, 1, 1]
    assert ratings.timestamp.tolist() == [s * 10**6 for s in (100, 90, 100, 80, 70)]
    assert users["gender"].tolist() == ["", "M", "F", "M"]
    np.testing.assert_array_equal(users["age"], [np.nan, 24, 53, 30])
    assert users["occupation"].tolist() == ["", "technician", "other", "none"]
    assert users["zip"].tolist() == ["", "85711", "94043", "00000"]
    assert items["title"].tolist() == ["", "unknown", "Amélie (2001)"]
    np.testing.assert_array_equal(items["year"], [np.nan, np.nan, 2001])
    assert items["genres"].tolist() == ["", "", "Comedy|Drama"]


def test_folds(folder):
    ml = movielens.load("ml-100k", manual_dir=folder, data_dir=folder / "cache")
    tests = [fold.test.tolist() for fold in movielens.folds(ml)]
    assert tests == [[1], [2], [0], [4], [3]]
    assert movielens.folds(ml)[0].train.tolist() == [0, 2, 3, 4]
    other = movielens.load("ml-1m", manual_dir=folder, data_dir=folder / "cache")
    with pytest.raises(DataError, match="k_fold"):
        movielens.folds(other)


def test_1m(folder):
    ratings, users, items = movielens.load("ml-1m", manual_dir=folder, data_dir=folder / "cache")
    assert ratings.item.tolist() == [1, 2, 1] and ratings.rating.tolist() == [5, 3, 1]
    assert users["occupation"].tolist() == ["", "K-12 student", "self-employed"]
    assert users["zip"].tolist() == ["", "48067", "70072-1"]
    assert items["title"].tolist() == ["", "Heat (1995)", "Amélie (2001)"]
    assert items["genres"].tolist() == ["", "Action", "Comedy|Drama"]
    assert "fold" not in ratings.extra


def test_latest_small(folder):
    ratings, users, items = movielens.load("ml-latest-small", manual_dir=folder, data_dir=folder / "cache")
    assert ratings.rating.tolist() == [4.5, 3.0] and users == {}
    assert items["title"].tolist() == ["", "Heat", "Amélie, or so (2001–2002)"]
    assert items["genres"].tolist() == ["", "", "Comedy"]
    np.testing.assert_array_equal(items["year"], [np.nan, np.nan, 2001])


def test_second_load_needs_no_zip(folder):
    first = movielens.load("ml-1m", manual_dir=folder, data_dir=folder / "cache")
    (folder / "ml-1m.zip").unlink()
    second = movielens.load("ml-1m", manual_dir=folder, data_dir=folder / "cache")
    np.testing.assert_array_equal(first.ratings.item, second.ratings.item)


def test_found_where_the_environment_says_in_chunks(folder, monkeypatch):
    (folder / "ml-1m").mkdir()
    (folder / "ml-1m.zip").rename(folder / "ml-1m" / "ml-1m.zip")
    monkeypatch.setenv("REZOO_DATA", str(folder))
    monkeypatch.setattr("rezoo.datasets.movielens_builder.CHUNK", 2)
    ml = movielens.load("ml-1m", data_dir=folder / "cache")
    assert ml.ratings.timestamp.tolist() == [s * 10**6 for s in (100, 50, 70)]
    info = MovieLensBuilder(config="ml-1m", data_dir=folder / "cache", file_format="array_record").info
    assert info.splits["ratings"].num_examples == 2 and info.metadata["ratings"] == 3
    assert "Harper" in info.citation and "GroupLens" in info.redistribution_info.license


def test_zipped_again_is_known_by_its_ratings(folder, monkeypatch):
    digest = hashlib.md5(FILES["ml-1m"]["ratings.dat"].encode()).hexdigest()
    source = movielens_files.SOURCES["ml-1m"]._replace(ratings_md5=digest)
    monkeypatch.setitem(movielens_files.SOURCES, "ml-1m", source)
    write(folder / "ml-1m.zip", "ml-1m", FILES["ml-1m"] | {"README": "zipped again"})
    assert movielens.load("ml-1m", manual_dir=folder, data_dir=folder / "cache").ratings.num_rows == 3


@pytest.mark.parametrize("name", FILES)
def test_wrong_checksum(folder, name):
    write(folder / f"{name}.zip", name, FILES[name] | {"README": "another file"})
    with pytest.raises(DataError, match=rf"{name}\.zip: wrong checksum.*fetch https://files\.grouplens\.org"):
        movielens.load(name, manual_dir=folder, data_dir=folder / "cache")


def test_truncated_zip(folder):
    whole = (folder / "ml-1m.zip").read_bytes()
    (folder / "ml-1m.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"ml-1m\.zip: truncated or damaged"):
        movielens.load("ml-1m", manual_dir=folder, data_dir=folder / "cache")


def test_damaged_member(folder):
    whole = bytearray((folder / "ml-1m.zip").read_bytes())
    start = whole.index(b"ratings.dat") + len("ratings.dat")
    whole[start : start + 8] = bytes(8)
    (folder / "ml-1m.zip").write_bytes(whole)
    with pytest.raises(DataError, match="truncated or damaged"):
        movielens.load("ml-1m", manual_dir=folder, data_dir=folder / "cache")


def test_member_missing(folder):
    write(folder / "ml-1m.zip", "other-folder", FILES["ml-1m"])
    with pytest.raises(DataError, match=r"no ml-1m/ratings\.dat in the zip"):
        movielens.load("ml-1m", manual_dir=folder, data_dir=folder / "cache")


@pytest.mark.parametrize("error", [ConnectionError("no network"), tfds.download.DownloadError("404")])
def test_missing_and_no_network(folder, monkeypatch, error):
    def download(self, url):
        assert url == "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
        raise error

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    (folder / "ml-1m.zip").unlink()
    with pytest.raises(DataError) as caught:
        movielens.load("ml-1m", manual_dir=folder, data_dir=folder / "cache")
    for told in ("ml-1m.zip", "https://files.grouplens.org", str(folder), "manual_dir", "REZOO_DATA"):
        assert told in str(caught.value)


def test_downloaded(folder, monkeypatch):
    away = folder / "away"
    away.mkdir()
    (folder / "ml-1m.zip").rename(away / "mangled")
    monkeypatch.setattr(tfds.download.DownloadManager, "download", lambda *_: away / "mangled")
    assert movielens.load("ml-1m", data_dir=folder / "cache").ratings.num_rows == 3


def test_unknown_name():
    with pytest.raises(DataError, match="ml-latest-small"):
        movielens.load("ml-2m")


NCF = {
    "train.rating": "0\t0\t5\t10\n0\t1\t4\t20\n1\t2\t3\t30\n",
    "test.rating": "0\t2\t5\t40\n1\t3\t1\t50\n",
    "test.negative": "(0,2)\t4\t3\n(1,3)\t0\t3\n",
}


def test_ncf(tmp_path, monkeypatch):
    monkeypatch.delenv("REZOO_DATA", raising=False)
    with pytest.raises(DataError, match="neural_collaborative_filtering"):
        movielens.ncf(tmp_path)
    for part, text in NCF.items():
        (tmp_path / f"ml-1m.{part}").write_text(text)
    data = movielens.ncf(tmp_path)
    assert data.train.item.tolist() == [1, 2, 3] and data.train.num_items == 6
    assert data.user.tolist() == [1, 2] and data.item.tolist() == [3, 4]
    assert data.negatives.tolist() == [[5, 4], [1, 0]] and data.negatives.dtype == np.int32
    zipped = tmp_path / "zipped" / "ncf-ml-1m"
    zipped.mkdir(parents=True)
    with zipfile.ZipFile(zipped / "ncf-ml-1m.zip", "w") as archive:
        for part, text in NCF.items():
            archive.writestr(f"ml-1m.{part}", text)
    np.testing.assert_array_equal(movielens.ncf(zipped.parent).negatives, data.negatives)
    (zipped / "ncf-ml-1m.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"ncf-ml-1m\.zip is damaged"):
        movielens.ncf(zipped.parent)
    (tmp_path / "ml-1m.test.negative").write_text("(0,2)\t4\n(1,1)\t0\n")
    with pytest.raises(DataError, match="same"):
        movielens.ncf(tmp_path)


def test_real_100k(data_folder, tmp_path):
    ml = movielens.load("ml-100k", manual_dir=data_folder, data_dir=tmp_path)
    assert ml.ratings.num_rows == 100_000
    assert (ml.ratings.num_users, ml.ratings.num_items) == (944, 1683)
    assert ml.ratings.rating.mean() == pytest.approx(3.52986)
    assert [len(fold.test) for fold in movielens.folds(ml)] == [20_000] * 5


def test_real_1m_and_ncf(data_folder, tmp_path):
    ml, data = movielens.load("ml-1m", manual_dir=data_folder, data_dir=tmp_path), movielens.ncf(data_folder)
    assert np.bincount(ml.ratings.rating.astype(int)).tolist() == [0, 56174, 107557, 261197, 348971, 226310]
    assert ml.ratings.num_users == data.train.num_users == 6041
    assert ml.ratings.num_items == data.train.num_items == 3707

    def pairs(user, item):
        return set((user.astype(np.int64) * 10_000 + item).tolist())

    rated = pairs(ml.ratings.user, ml.ratings.item)
    assert rated == pairs(data.train.user, data.train.item) | pairs(data.user, data.item)
    assert not rated & pairs(np.repeat(data.user, 99), data.negatives.ravel())
    assert (data.negatives == 0).sum() == 156 and data.negatives.shape == (6040, 99)
