"""Stars: squared error trains, RMSE on a tenth of the training part chooses."""

from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from protocols.ratings import GIVEN, RANDOM, Fold, Known, columns, folds, known, squared_error
from protocols.tuned import closed
from protocols.tuned.nouns import (
    Course,
    Data,
    Kind,
    Measure,
    Part,
    Settings,
    Task,
    both,
    everywhere,
    fields,
    of_buckets,
    of_rows,
    reads_history,
    sizes_of_batches,
)
from protocols.tuned.ranges import Span
from rezoo import losses, objectives
from rezoo.data import batches
from rezoo.data.interactions import Interactions
from rezoo.data.packing import padded
from rezoo.datasets import movielens
from rezoo.models import IAutoRec, UAutoRec
from rezoo.types import Batch, Variables

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
NOTHING = Known({}, {}, {})
GROWTH = 1.5
"""Of the buckets of users, where a model reads histories."""
AUTOENCODERS = (UAutoRec,)
"""Use tables as a whole, so that weight decay is on them and not a penalty of rows."""


def refuses(kind: Kind) -> str:
    if closed.fit_of(kind) is not None or "mean" not in fields(kind):
        return "stars are for models with a mean to start from"
    return "it needs a session model and histories in their order" if "encoder" in fields(kind) else ""


def part(kind: Kind, log: Columns, asked: Columns, shape: tuple[int, int], about: Known, batch: int) -> Part:
    """Of a log (user, item, rating) and of what is to be told; `shape` is users and items, id 0 included."""
    if kind is IAutoRec:  # U-AutoRec of the transposed matrix
        log, asked = ((item, user, rating) for user, item, rating in (log, asked))
        kind, about = UAutoRec, NOTHING
        shape = shape[1], shape[0]
    users, items = shape
    sizes = {"user": users, "item": items, **about.sizes}
    facts = {"num_users": users, "num_items": items, "mean": float(log[2].mean()), "sizes": sizes}
    constants = {"catalogue": {name: jnp.asarray(column) for name, column in about.items.items()}}
    sized = "sizes" in fields(kind)

    def told(rows: Batch, rating: np.ndarray | None) -> Batch:
        """With what the model reads of who asks: features, or the ratings of the history."""
        if sized:
            who = {name: jnp.asarray(column[rows.query.user]) for name, column in about.users.items()}
        else:
            who = {} if rating is None else {"history_rating": jnp.asarray(rating, jnp.float32)}
        return rows._replace(query=rows.query._replace(features=who))

    def by_user(rows: Columns) -> list[Batch]:
        return [
            told(bucket, padded(np.asarray(bucket.query.user), log[0], log[2])[0])
            for bucket in batches.by_user(rows, log, growth=GROWTH)
        ]

    def by_rating(rows: Columns) -> list[Batch]:
        return [told(batches.pairs(*rows), None)]

    def measuring(rows: list[Batch]) -> Measure:
        def measure(model: nn.Module, variables: Variables) -> dict[str, Any]:
            scores = [jnp.asarray(model.apply(variables, one.query, one.item)) for one in rows]
            total = sum(squared_error(score, one) for score, one in zip(scores, rows, strict=True))
            return {"rmse": jnp.sqrt(total / len(asked[0]))}

        return measure

    def course(model: nn.Module, how: Settings) -> Course:
        by = by_user if reads_history(model, by_rating(asked)[0], constants) else by_rating
        rows, size, measure = by(log), how["batch_size"], measuring(by(asked))
        objective = objectives.pointwise(model, losses.squared)
        decayed = everywhere if isinstance(model, AUTOENCODERS) else None
        if by is by_user:
            return of_buckets(model, rows, size, objective, measure, constants, decayed)
        return of_rows(model, rows[0], size, objective, measure, constants, decayed)

    choices = {"batch_size": sizes_of_batches(batch)}
    return Part(kind, facts, measuring(by_rating(asked)), course, choices)


def of_fold(dataset: str, protocol: str, fold: Fold, about: Known, batch: int, epochs: int) -> Data:
    """A fold, whose training part is in two for the search."""
    shape = fold.train.num_users, fold.train.num_items

    def make(kind: Kind, log: Interactions, asked: Interactions) -> Part:
        return part(kind, columns(log), columns(asked), shape, about, batch)

    parts = both(make, (fold.rest, fold.valid), (fold.train, fold.test))
    return Data(dataset, protocol, ("rmse",), epochs, parts)


def movies(dataset: str, folder: Path | None) -> Data:
    given, (batch, epochs) = dataset == "ml-100k", BUDGETS[dataset]
    fold = folds(dataset, folder, GIVEN if given else RANDOM)[0]
    about = known(movielens.load(dataset, manual_dir=folder))
    protocol = f"{'u1' if given else 'a random fifth (seed 0)'}, clipped to 1–5, {CHOSEN}"
    return of_fold(dataset, protocol, fold, about, batch, epochs)


BUDGETS = {"ml-100k": (1024, 40), "ml-1m": (8192, 20)}
"""Ratings of a step, and epochs."""
CHOSEN = "settings by a tenth of the training part"

TASK = Task(
    "ratings",
    -1,
    {
        "rate": (Span(5e-4, 5e-2), 4e-3),
        "l2": (Span(0.01, 1.0), 0.1),
        "l2_bias": (Span(1e-3, 0.3), 0.02),
        "decay": (Span(1e-5, 1e-2), 1e-3),
    },
    refuses,
    {f"{name}-stars": partial(movies, name) for name in BUDGETS},
    lambda: of_fold("synthetic", f"a fold, {CHOSEN}", folds("synthetic", None, RANDOM)[0], NOTHING, 256, 4),
)
