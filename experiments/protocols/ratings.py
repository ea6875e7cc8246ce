"""Star ratings of MovieLens in folds, and synthetic ones for a run without data."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.data import batches, features, split
from rezoo.data.features import Categorical, MultiValued, Quantile
from rezoo.data.interactions import Interactions, from_columns
from rezoo.datasets import movielens
from rezoo.types import Batch

RANDOM = "5 random folds (seed 0), clipped to 1–5, λ by a tenth of the training fold"


GIVEN = "u1–u5, clipped to 1–5, λ by a tenth of the training fold"


class Fold(NamedTuple):
    """One fold, and its training part in two."""

    train: Interactions
    test: Interactions
    rest: Interactions
    valid: Interactions


class Known(NamedTuple):
    """Features of users and movies, by dense id, and the sizes of their tables."""

    users: dict[str, np.ndarray]
    items: dict[str, np.ndarray]
    sizes: dict[str, int]


def known(ml: movielens.MovieLens) -> Known:
    """Columns of MovieLens."""
    of_users = {"age": Quantile(8), "gender": Categorical(), "occupation": Categorical()}
    users = features.fit(of_users, ml.users)
    items = features.fit({"genres": MultiValued(), "year": Quantile(10)}, ml.items)
    return Known(users.transform(ml.users), items.transform(ml.items), users.sizes | items.sizes)


def folds(dataset: str, data_dir: Path | None, protocol: str) -> list[Fold]:
    """The folds of a protocol; those of the synthetic data, which is there to be tried on, are two."""
    if dataset == "synthetic":
        log, splits = (made := synthetic()), split.k_fold(made)[:2]
    else:
        loaded = movielens.load(dataset, manual_dir=data_dir)
        log = loaded.ratings
        splits = movielens.folds(loaded) if protocol == GIVEN else split.k_fold(log)

    def fold(whole: split.Split) -> Fold:
        train, _, test = whole.of(log)
        rest, valid, _ = split.hold_out(whole, 0.1).of(log)
        return Fold(train, test, rest, valid)

    return [fold(whole) for whole in splits]


def synthetic(users: int = 120, items: int = 80, rows: int = 4000) -> Interactions:
    """Ratings with a bias and three tastes, for a run without data."""
    rng = np.random.default_rng(0)
    cell = rng.choice(users * items, rows, replace=False)
    user, item = cell // items, cell % items
    p, q = rng.normal(size=(users, 4)), rng.normal(size=(items, 3))
    rating = 3 + 0.6 * p[user, 3] + 0.5 * (p[user, :3] * q[item]).sum(1) + rng.normal(0, 0.3, rows)
    return from_columns({"user": user, "item": item, "rating": np.clip(rating, 1, 5)})


def pairs(log: Interactions) -> Batch:
    """One rating per row."""
    return batches.pairs(*columns(log))


def columns(log: Interactions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, item and rating."""
    return log.user, log.item, np.asarray(log.rating)


def squared_error(score: jax.Array, data: Batch) -> jax.Array:
    """Sum over the ratings, of predictions clipped to the scale."""
    return jnp.square(jnp.where(data.where, jnp.clip(score, 1, 5) - data.label, 0)).sum()
