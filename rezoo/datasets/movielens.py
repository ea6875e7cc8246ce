"""MovieLens: ratings of movies, with features of users and movies.

Harper and Konstan: The MovieLens Datasets: History and Context, ACM TiiS 2015,
https://doi.org/10.1145/2827872. GroupLens does not allow redistribution, so the zip is downloaded
from https://grouplens.org/datasets/movielens/, or read from where you put it.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from rezoo.data import prepared, split
from rezoo.data.files import text_lines
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions, from_columns
from rezoo.datasets import folders
from rezoo.datasets.movielens_builder import MovieLensBuilder, columns
from rezoo.datasets.movielens_files import SOURCES, Columns
from rezoo.errors import DataError

CACHE = Path("~/.cache/rezoo")
NCF_URL = "https://github.com/hexiangnan/neural_collaborative_filtering/tree/master/Data"


class MovieLens(NamedTuple):
    """A data set. Dense ids follow the first appearance in the ratings; unrated movies are left out."""

    ratings: Interactions
    """In the order of the file. `extra["fold"]` of ml-100k says which of u1 … u5 tests on a rating."""
    users: Columns
    """By dense id: `age`, `gender`, `occupation`, `zip`, as far as they are known. Row 0 is the
    unknown user: NaN and ""."""
    items: Columns
    """By dense id: `title`, `year`, `genres` (separated by "|"). Row 0 is the unknown movie."""


class NCF(NamedTuple):
    """The ml-1m files of Neural Collaborative Filtering, https://arxiv.org/abs/1708.05031."""

    train: Interactions
    """All ratings but each user's last. Dense ids are those of `load("ml-1m")`."""
    user: np.ndarray
    """int32 `[U]`."""
    item: np.ndarray
    """int32 `[U]`: the held-out movie."""
    negatives: np.ndarray
    """int32 `[U 99]`: movies that the user never rated, among which `item` is ranked. 0 is padding: in
    the files of 156 users `item` itself is among them, which NCF's evaluation counts once."""


def load(name: str, *, manual_dir: str | Path | None = None, data_dir: str | Path | None = None) -> MovieLens:
    """Read "ml-100k", "ml-1m" or "ml-latest-small", which is prepared the first time.

    Args:
      name: of the data set.
      manual_dir: a folder that holds the zip (or `<name>/<name>.zip`). After it the folder that
        REZOO_DATA names is searched; then the zip is downloaded.
      data_dir: where the prepared data set is kept, `~/.cache/rezoo` if not given.

    Raises:
      DataError: if manual_dir is no folder, the zip is unavailable, truncated, or has a wrong checksum, or
        what was prepared is damaged.

    ```python
    ml = movielens.load("ml-100k")
    ml.items["title"][ml.ratings.item[:3]]
    ```
    """
    if name not in SOURCES:
        raise DataError(f"there is no data set {name!r} here; there are {', '.join(SOURCES)}")
    if manual_dir and not Path(manual_dir).is_dir():
        raise DataError(f"manual_dir = {str(manual_dir)!r} is no folder: name one that holds {name}.zip")
    folder = Path(data_dir or CACHE).expanduser()
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    builder = prepared.builder(MovieLensBuilder, name, folder, download_config=config)
    ratings = from_columns(columns(builder, "ratings"), unit="s", source=name)
    users, items = columns(builder, "users"), columns(builder, "items")
    return MovieLens(
        ratings,
        _by_id(users, ratings.users, users.pop("user")),
        _by_id(items, ratings.items, items.pop("item")),
    )


def folds(ml: MovieLens) -> list[split.Split]:
    """The five splits u1 … u5 that come with ml-100k.

    Raises:
      DataError: if it is another data set.
    """
    if "fold" not in ml.ratings.extra:
        raise DataError("only ml-100k comes with folds; use split.k_fold for the others")
    return split.given(ml.ratings.extra["fold"])


def ncf(manual_dir: str | Path | None = None) -> NCF:
    """Read NCF's files: `ml-1m.train.rating`, `ml-1m.test.rating`, `ml-1m.test.negative`.

    Args:
      manual_dir: the folder that holds them, or `ncf-ml-1m.zip`, or a subfolder `ncf-ml-1m` with
        either; the folder that REZOO_DATA names if not given.

    Raises:
      DataError: if they are not there or do not fit together.
    """
    train, test, negatives = (
        _ncf_table(part, manual_dir) for part in ("train.rating", "test.rating", "test.negative")
    )
    if not np.array_equal(test[:, :2], negatives[:, :2]):
        raise DataError("ml-1m.test.negative and ml-1m.test.rating are not about the same (user, item) pairs")
    users = Ids(np.arange(max(train[:, 0].max(), test[:, 0].max()) + 1))
    items = Ids(np.arange(max(train[:, 1].max(), negatives[:, 1:].max()) + 1))
    table = {name: train[:, c] for c, name in enumerate(("user", "item", "rating", "timestamp"))}
    log = from_columns(table, unit="s", users=users, items=items, source="ml-1m.train.rating")
    others = np.where(negatives[:, 2:] == test[:, 1:2], 0, items.encode(negatives[:, 2:]))
    return NCF(log, users.encode(test[:, 0]), items.encode(test[:, 1]), others)


def _ncf_table(part: str, manual_dir: str | Path | None) -> np.ndarray:
    place = dict(manual_dir=manual_dir, below="ncf-ml-1m", source=NCF_URL)
    lines = text_lines(folders.member(f"ml-1m.{part}", "ncf-ml-1m.zip", **place))
    tabbed = (line.translate({ord("("): None, ord(")"): None, ord(","): "\t"}) for line in lines)
    return np.loadtxt(tabbed, np.int64, delimiter="\t", ndmin=2)


def _by_id(table: Columns, ids: Ids, raw: np.ndarray) -> Columns:
    """Columns in the order of dense ids, with a row 0 of NaN or ""; ids without a row have the same."""
    row = np.zeros(ids.size, np.int64)
    dense = ids.encode(raw)
    row[dense[dense > 0]] = 1 + np.flatnonzero(dense)
    missing = {name: np.array([np.nan if c.dtype.kind == "f" else ""], c.dtype) for name, c in table.items()}
    return {name: np.concatenate([missing[name], column])[row] for name, column in table.items()}
