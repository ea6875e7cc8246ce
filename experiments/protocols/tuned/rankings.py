"""What a user will take: BPR trains, ndcg in the whole catalogue on a tenth of what was taken chooses.

Autoencoders of histories are trained by the likelihood of whole rows, and SimpleX by its cosine loss.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from protocols import histories, train_test
from protocols.by_gradient import GROWTH, by_interactions, pairwise
from protocols.ratings import Known, known, synthetic
from protocols.tuned import closed
from protocols.tuned.nouns import (
    Course,
    Data,
    Kind,
    Part,
    Settings,
    Task,
    both,
    everywhere,
    fields,
    found_in_lists,
    of_buckets,
    of_rows,
    reads_history,
    sizes_of_batches,
)
from protocols.tuned.ranges import Span
from rezoo import losses, objectives
from rezoo.data import batches, split
from rezoo.data.interactions import Interactions
from rezoo.data.packing import padded
from rezoo.datasets import lightgcn as lightgcn_sets
from rezoo.datasets import movielens
from rezoo.models import MultDAE, MultVAE, Popularity, SimpleX
from rezoo.models.factorization import lightgcn
from rezoo.types import Aux, Batch, Query, Variables

NOTHING = Known({}, {}, {})
Maker = Callable[[nn.Module, Settings], Course]


def refuses(kind: Kind) -> str:
    if closed.fit_of(kind) is not None:
        return "" if kind is Popularity or ".factorization." in kind.__module__ else "it is for sessions"
    if ".session." in kind.__module__:
        return "it reads sessions, and tells the next item"
    if "mean" in fields(kind) or not ("num_items" in fields(kind) or hasattr(kind, "encode")):
        return "it is for stars or clicks: it does not rank a catalogue by what was taken"
    return ""


def part(kind: Kind, rows: train_test.Data, about: Known, metrics: tuple[str, ...], batch: int) -> Part:
    log, held = rows.train, rows.held
    users = np.unique(log.user)
    history = padded(users, log.user, log.item)[0]
    of_users, of_items = ({name: about.sizes[name] for name in side} for side in (about.users, about.items))
    facts: dict[str, Any] = {"num_users": log.num_users, "num_items": log.num_items}
    facts |= {"user": log.user, "item": log.item, "history": history}
    facts["sizes"] = {"user": log.num_users, "item": log.num_items, **about.sizes}
    facts |= {"user_features": of_users, "item_features": of_items} if about.sizes else {}
    constants = {"catalogue": {name: jnp.asarray(column) for name, column in about.items.items()}}
    constants["graph"] = lightgcn.graph(log.user, log.item, log.num_users, log.num_items)
    featured = {"sizes", "user_features"} & set(fields(kind))
    seen = jnp.zeros((log.num_users, history.shape[1]), jnp.int32).at[users].set(history)

    def who(query: Query) -> Query:
        """With the features of users."""
        columns = {name: jnp.asarray(column)[query.user] for name, column in about.users.items()}
        return query._replace(features=columns if featured else {})

    def measure(model: nn.Module, variables: Variables) -> dict[str, jax.Array]:
        return found_in_lists(model, variables, who(held.query), held.target, held.exclude, metrics)

    def by_pair(model: nn.Module, how: Settings) -> Course:
        """A row for each item that was taken; a history is read without it."""
        data = batches.pairs(log.user, log.item)
        reads = reads_history(model, data._replace(query=who(data.query)), constants)
        against = pairwise(model, log, how["negatives"])

        def objective(variables: Variables, key: jax.Array, rows: Batch) -> tuple[jax.Array, Aux]:
            query = who(rows.query)
            if reads:
                before = seen[query.user]
                query = query._replace(history=jnp.where(before == rows.item[:, None], 0, before))
            return against(variables, key, rows._replace(query=query))

        course = of_rows(model, data, how["batch_size"], objective, measure, constants)
        return course._replace(rows=data._replace(query=who(data.query)))

    def by_row(model: nn.Module, how: Settings) -> Course:
        """A row for each user, who is told from the items that dropout leaves."""
        taken = jnp.asarray(history)
        data = Batch(batches.queries(history=taken), taken, (taken > 0).astype(jnp.float32), taken > 0)
        objective = objectives.every_item(model, losses.softmax_cross_entropy)
        return of_rows(model, data, how["batch_size"], objective, measure, None, everywhere)

    def by_cosine(model: nn.Module, how: Settings) -> Course:
        """A row for each user, in buckets by length, against items that are drawn for all."""
        data = batches.by_user((log.user, log.item, np.ones(log.num_rows)), growth=GROWTH)
        objective = by_interactions(model, log, how["margin"], how["negative_weight"], how["negatives"])
        return of_buckets(model, data, how["batch_size"], objective, measure, None, everywhere)

    sizes = {"batch_size": sizes_of_batches(batch)}
    of_simplex = {"negatives": (128, 512, 2048), "margin": (0.7, 0.5, 0.9)}
    of_simplex |= {"negative_weight": (150.0, 50.0, 300.0)}
    rows_of_users = {"batch_size": sizes_of_batches(64)}
    ways: dict[Kind, tuple[Maker, dict[str, tuple[Any, ...]]]] = {
        SimpleX: (by_cosine, sizes | of_simplex),
        MultDAE: (by_row, rows_of_users),
        MultVAE: (by_row, rows_of_users),
    }
    course, choices = ways.get(kind, (by_pair, sizes | {"negatives": (1, 4, 16)}))
    return Part(kind, facts, measure, course, choices)


def of_log(
    dataset: str,
    protocol: str,
    train: Interactions,
    test: Interactions,
    metrics: tuple[str, ...],
    *,
    batch: int = 8192,
    epochs: int = 40,
    about: Known = NOTHING,
) -> Data:
    """A training part, a tenth of whose items is to be found in the search, and a test part."""

    def make(kind: Kind, rows: train_test.Data) -> Part:
        return part(kind, rows, about, metrics, batch)

    parts = both(make, [train_test.validation(train)], [train_test.given(train, test)])
    return Data(dataset, protocol, metrics, epochs, parts)


def a_fifth(dataset: str, log: Interactions, **how: Any) -> Data:
    """Of each user a random fifth is the test."""
    train, _, test = split.ratio_per_user(log, test=0.2).of(log)
    first, second, third = histories.METRICS
    return of_log(dataset, histories.PROTOCOL, train, test, (second, first, third), **how)


def movies(dataset: str, batch: int, folder: Path | None) -> Data:
    ml = movielens.load(dataset, manual_dir=folder)
    return a_fifth(dataset, ml.ratings, batch=batch, about=known(ml))


def places(folder: Path | None) -> Data:
    train, test = lightgcn_sets.load("gowalla", folder)
    return of_log("gowalla", train_test.PROTOCOL, train, test, ("ndcg@20", "recall@20"))


def articles(folder: Path | None) -> Data:
    return a_fifth("citeulike-a", histories.citeulike(folder))


def made_up() -> Data:
    """What some rated, whatever the stars, with a feature of users and of items."""
    log = synthetic()
    group, kind = (np.arange(rows, dtype=np.int32) % 4 for rows in (log.num_users, log.num_items))
    about = Known({"group": group}, {"kind": kind}, {"group": 4, "kind": 4})
    return a_fifth("synthetic", log, batch=256, epochs=4, about=about)


TASK = Task(
    "rankings",
    1,
    {
        "rate": (Span(5e-4, 5e-2), 2e-3),
        "l2": (Span(1e-5, 1e-1), 2e-3),
        "l2_bias": (Span(1e-5, 1e-1), 2e-3),
        "decay": (Span(1e-7, 1e-3), 1e-6),
        "penalty": (Span(0.02, 1.0), 0.2),
    },
    refuses,
    {
        "ml-100k-taken": partial(movies, "ml-100k", 1024),
        "ml-1m-taken": partial(movies, "ml-1m", 8192),
        "gowalla": places,
        "citeulike-a": articles,
    },
    made_up,
)
