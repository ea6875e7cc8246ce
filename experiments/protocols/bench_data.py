"""ML-1M with its features, random pairs of its size, or Gowalla, for rezoo and for the peers."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from protocols.contest import BenchFlags
from rezoo.data import batches
from rezoo.datasets import lightgcn, movielens
from rezoo.types import Batch


class Log(NamedTuple):
    """Ratings with the features that Wide & Deep reads, if there are any."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    users: dict[str, np.ndarray]
    items: dict[str, np.ndarray]


def positives(log: Log) -> Batch:
    """Every rating as a positive."""
    return batches.pairs(log.user, log.item)


def read(flags: BenchFlags) -> Log:
    """ML-1M, or random pairs of its size."""
    if flags.data_dir and not flags.smoke:
        ml = movielens.load("ml-1m", manual_dir=flags.data_dir)
        users = {name: codes(ml.users[name]) for name in ("age", "gender", "occupation")}
        genre = np.unique("|".join(ml.items["genres"].tolist()).split("|"))
        genres = np.zeros((len(ml.items["genres"]), 6), np.int32)
        for row, names in enumerate(ml.items["genres"][1:], start=1):
            found = np.searchsorted(genre, names.split("|")) + 1
            genres[row, : len(found)] = found
        items = {"year": codes(ml.items["year"]), "genres": genres}
        assert ml.ratings.rating is not None
        return Log(ml.ratings.user, ml.ratings.item, ml.ratings.rating, users, items)
    rng = np.random.default_rng(0)
    num_users, num_items, rows = (100, 80, 3000) if flags.smoke else (6040, 3706, 1_000_209)

    def column(size: int, values: int, *more: int) -> np.ndarray:
        return rng.integers(1, values, (size + 1, *more)).astype(np.int32)

    return Log(
        rng.integers(1, num_users + 1, rows).astype(np.int32),
        rng.integers(1, num_items + 1, rows).astype(np.int32),
        rng.integers(1, 6, rows).astype(np.float32),
        {"age": column(num_users, 8), "gender": column(num_users, 3), "occupation": column(num_users, 22)},
        {"year": column(num_items, 80), "genres": column(num_items, 19, 6)},
    )


def places(folder: Path) -> Log:
    """The training part of Gowalla, without features."""
    log = lightgcn.load("gowalla", folder)[0]
    return Log(log.user, log.item, np.ones(len(log.user), np.float32), {}, {})


def codes(column: np.ndarray) -> np.ndarray:
    """Categories as numbers from 1; row 0, the unknown, is 0."""
    number = np.unique(column[1:], return_inverse=True)[1] + 1
    return np.concatenate([[0], number]).astype(np.int32)


def export(log: Log, out: Path) -> None:
    """The same data for the peers: an npz, and RecBole's atomic files."""
    folder = out / "ml"
    if folder.exists():
        return
    folder.mkdir(parents=True)
    np.savez(out / "pairs.npz", user=log.user, item=log.item)
    with (folder / "ml.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\trating:float\n")
        rows = zip(log.user.tolist(), log.item.tolist(), log.rating.tolist(), strict=True)
        file.writelines(f"{u}\t{i}\t{r}\n" for u, i, r in rows)
    if not log.users:
        return
    with (folder / "ml.user").open("w") as file:
        file.write("user_id:token\tage:token\tgender:token\toccupation:token\n")
        columns = (log.users[name].tolist() for name in ("age", "gender", "occupation"))
        rows = enumerate(zip(*columns, strict=True))
        file.writelines("\t".join(map(str, (user, *values))) + "\n" for user, values in rows if user)
    with (folder / "ml.item").open("w") as file:
        file.write("item_id:token\trelease_year:token\tclass:token_seq\n")
        rows = enumerate(zip(log.items["year"].tolist(), log.items["genres"].tolist(), strict=True))
        for item, (year, genres) in rows:
            if item:
                file.write(f"{item}\t{year}\t{' '.join(str(g) for g in genres if g)}\n")
