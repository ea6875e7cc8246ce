"""Clicks: log loss trains, AUC on the validation part chooses; then both parts are fitted together."""

import functools
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax

from protocols import click_sets, clicks
from protocols.clicks import tables
from protocols.tuned import closed
from protocols.tuned.nouns import (
    Course,
    Data,
    Kind,
    Part,
    Settings,
    Task,
    fields,
    of_rows,
    of_three,
    reads_history,
    sizes_of_batches,
)
from protocols.tuned.ranges import Span
from rezoo import evaluation, losses, objectives
from rezoo.errors import DataError
from rezoo.models import GRU4Rec
from rezoo.types import Batch, Variables

METRICS = ("auc", "logloss")


def refuses(kind: Kind) -> str:
    if closed.fit_of(kind) is not None or "sizes" not in fields(kind):
        return "clicks are for models of columns, which have sizes"
    if hasattr(kind, "encode"):
        return "it finds items in a catalogue"
    return "it has several tasks" if hasattr(kind, "tasks") else ""


def part(kind: Kind, train: Batch, asked: Batch, given: clicks.Data, batch: int) -> Part:
    history = train.query.history.shape[1] > 0
    facts: dict[str, Any] = {"sizes": given.sizes}
    facts |= {"encoder": functools.partial(GRU4Rec, given.sizes["item"], 16)} if history else {}

    def measure(model: nn.Module, variables: Variables) -> dict[str, jax.Array]:
        return dict(evaluation.evaluate_clicks(model, variables, asked))

    def course(model: nn.Module, how: Settings) -> Course:
        if not history and reads_history(model, train, given.constants):
            raise DataError(
                f"{kind.__name__} reads histories, which this data set does not have: take another"
            )
        objective = objectives.pointwise(model, losses.logistic)
        return of_rows(model, train, how["batch_size"], objective, measure, given.constants, tables)

    return Part(kind, facts, measure, course, {"batch_size": sizes_of_batches(batch)})


def of_parts(given: clicks.Data, batch: int, epochs: int) -> Data:
    """Three parts."""
    make = partial(part, given=given, batch=batch)
    protocol = f"{given.protocol}; settings by validation, then fitted to both"
    parts = of_three(make, given.train, given.valid, given.test)
    return Data(given.dataset, protocol, METRICS, epochs, parts)


def likes(dataset: str, batch: int, folder: Path | None) -> Data:
    return of_parts(click_sets.likes(folder, dataset), batch, 10)


def made_up() -> Data:
    """Clicks, with a history that tells nothing."""
    given = clicks.synthetic()

    def remembered(rows: Batch, seed: int) -> Batch:
        history = jax.random.randint(jax.random.key(seed), (len(rows.item), 3), 0, given.sizes["item"])
        return rows._replace(query=rows.query._replace(history=history))

    train, valid, test = (remembered(rows, seed) for seed, rows in enumerate(given[:3]))
    return of_parts(given._replace(train=train, valid=valid, test=test), 256, 4)


TASK = Task(
    "clicks",
    1,
    {"rate": (Span(3e-4, 3e-2), 2e-3), "decay": (Span(1e-6, 1e-1), 1e-4)},
    refuses,
    {
        "frappe": lambda folder: of_parts(click_sets.apps(folder), 4096, 15),
        "criteo-sample-10k": lambda folder: of_parts(click_sets.criteo_sample(folder), 256, 12),
        "ml-100k-likes": partial(likes, "ml-100k", 512),
        "ml-1m-likes": partial(likes, "ml-1m", 2048),
    },
    made_up,
)
