"""GroupLens' zip files: their checksums and their contents.

Raw tables have raw ids and the order of the files; a missing number is NaN, a missing text is empty.
"""

import csv
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rezoo.data import contents
from rezoo.errors import DataError

Columns = dict[str, np.ndarray]
Tables = dict[str, Columns]
"""`ratings`, `users` and `items`."""

URL = "https://files.grouplens.org/datasets/movielens/{}.zip"
TYPES = {
    "user": np.int32, "item": np.int32, "rating": np.float32, "timestamp": np.int64, "fold": np.int32,
    "age": np.float32, "gender": str, "occupation": str, "zip": str,
    "title": str, "year": np.float32, "genres": str,
}  # fmt: skip
"""Every column that a table may have."""
OCCUPATIONS = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student",
    "customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker",
    "K-12 student", "lawyer", "programmer", "retired", "sales/marketing", "scientist",
    "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip


class Archive(NamedTuple):
    """A zip on disk."""

    file: Path
    name: str
    """Of the data set, and of the folder in the zip."""

    def read(self, inside: str) -> bytes:
        """A file out of the zip; a DataError if the zip is truncated, damaged or lacks it."""
        try:
            with zipfile.ZipFile(self.file) as archive:
                member = archive.getinfo(f"{self.name}/{inside}")
                if member.file_size > contents.room():
                    raise DataError(
                        f"{self.file}: {inside} takes more than half of the free memory; {self.again}"
                    )
                return archive.read(member)
        except KeyError:
            raise DataError(f"{self.file}: no {self.name}/{inside} in the zip; {self.again}") from None
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"{self.file}: truncated or damaged zip ({error}); {self.again}") from error

    def lines(self, inside: str, separator: str) -> list[list[str]]:
        """The fields of a latin-1 text file's lines."""
        return [line.split(separator) for line in self.read(inside).decode("latin-1").split("\n") if line]

    @property
    def again(self) -> str:
        return f"delete it and fetch {URL.format(self.name)} again"


def check(archive: Archive) -> None:
    """Raise a DataError unless the zip is GroupLens', or a new zip of GroupLens' ratings."""
    source = SOURCES[archive.name]
    if hashlib.sha256(archive.file.read_bytes()).hexdigest() == source.sha256:
        return
    found = hashlib.md5(archive.read(source.ratings)).hexdigest()
    if found != source.ratings_md5:
        raise DataError(
            f"{archive.file}: wrong checksum: not the zip of GroupLens, and {source.ratings} in it has md5 "
            f"{found}, not {source.ratings_md5 or 'one that is known'}; {archive.again}"
        )


def read_100k(archive: Archive) -> Tables:
    """`u.data`, `u.user`, `u.item`; column `fold` says which of u1 … u5 tests on a rating."""
    ratings = _ratings(archive.read("u.data"))
    ratings["fold"] = _folds(ratings, [_numbers(archive.read(f"u{k}.test")) for k in range(1, 6)])
    user, age, gender, occupation, code = zip(*archive.lines("u.user", "|"), strict=True)
    users = {"user": user, "age": age, "gender": gender, "occupation": occupation, "zip": code}
    genres = [line[0] for line in archive.lines("u.genre", "|")]

    def kinds(flags: list[str]) -> str:
        return "|".join(g for g, flag in zip(genres, flags, strict=True) if flag == "1" and g != "unknown")

    movies = [(line[0], line[1], kinds(line[5:])) for line in archive.lines("u.item", "|")]
    return {"ratings": ratings, "users": _typed(users), "items": _movies(movies)}


def read_1m(archive: Archive) -> Tables:
    """`ratings.dat`, `users.dat`, `movies.dat`; an age is the lower bound of its group."""
    ratings = _ratings(archive.read("ratings.dat").replace(b"::", b"\t"))
    user, gender, age, work, code = zip(*archive.lines("users.dat", "::"), strict=True)
    occupation = [OCCUPATIONS[int(number)] for number in work]
    users = {"user": user, "age": age, "gender": gender, "occupation": occupation, "zip": code}
    return {
        "ratings": ratings,
        "users": _typed(users),
        "items": _movies(archive.lines("movies.dat", "::")),
    }


def read_small(archive: Archive) -> Tables:
    """`ratings.csv` and `movies.csv`; nothing is known of the users."""
    ratings = _ratings(archive.read("ratings.csv").partition(b"\n")[2].replace(b",", b"\t"))
    movies = list(csv.reader(io.StringIO(archive.read("movies.csv").decode("utf-8"))))[1:]
    return {
        "ratings": ratings,
        "users": {"user": np.unique(ratings["user"])},
        "items": _movies((m[0], m[1], m[2].replace("(no genres listed)", "")) for m in movies),
    }


class Source(NamedTuple):
    """A zip that GroupLens publishes."""

    sha256: str
    ratings: str
    """The file of ratings in it."""
    ratings_md5: str | None
    """Its checksum, by which a repacked zip is recognised; None: such a zip is refused."""
    read: Callable[[Archive], Tables]


SOURCES = {
    "ml-100k": Source(
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        "u.data",
        "6e47046882bad158b0efbb84cd5cb987",
        read_100k,
    ),
    "ml-1m": Source(
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        "ratings.dat",
        "a89aa3591bc97d6d4e0c89459ff39362",
        read_1m,
    ),
    "ml-latest-small": Source(
        "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        "ratings.csv",
        None,
        read_small,
    ),
}


def _numbers(tabbed: bytes) -> np.ndarray:
    return np.loadtxt(io.BytesIO(tabbed), delimiter="\t", ndmin=2)


def _ratings(tabbed: bytes) -> Columns:
    return _typed(dict(zip(("user", "item", "rating", "timestamp"), _numbers(tabbed).T, strict=True)))


def _movies(rows: Iterable[Any]) -> Columns:
    item, title, genres = zip(*rows, strict=True)
    year = [re.search(r"\((\d{4})[^()]*\)\s*$", text) for text in title]
    titles = [text.strip() for text in title]
    years = [float(found[1]) if found else np.nan for found in year]
    return _typed({"item": item, "title": titles, "year": years, "genres": genres})


def _typed(table: dict[str, Any]) -> Columns:
    return {name: np.asarray(column).astype(TYPES[name]) for name, column in table.items()}


def _folds(ratings: Columns, tests: list[np.ndarray]) -> np.ndarray:
    """For each rating, the number (from 1) of the test set that it is in, 0 for none."""
    cell = ratings["user"].astype(np.int64) << 32 | ratings["item"]
    order, fold = np.argsort(cell), np.zeros(len(cell), np.int32)
    for number, test in enumerate(tests, 1):
        wanted = test[:, 0].astype(np.int64) << 32 | test[:, 1].astype(np.int64)
        fold[order[np.searchsorted(cell, wanted, sorter=order)]] = number
    return fold
