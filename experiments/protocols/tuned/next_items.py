"""The next item of a session or a history: a softmax after every event trains, the next item's rank chooses.

BERT4Rec is trained by hidden events. Over a large catalogue the softmax is over sampled items.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from protocols import leave_one_out, prefixes
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
    found_in_lists,
    of_rows,
    sizes_of_batches,
)
from protocols.tuned.ranges import Span
from rezoo import losses, objectives
from rezoo.arrays import offsets_of
from rezoo.data import batches, sessions
from rezoo.data.sessions import Sessions
from rezoo.types import Batch, Variables

SAMPLED, MOST = 2048, 8192
"""Items of a sampled softmax, which stands in for the whole one beyond so many items."""
VALIDATED = 6100
"""Histories at most, drawn once, that settings are judged by."""


class Rows(NamedTuple):
    """What is learnt, and what is asked."""

    train: Sessions
    asked: np.ndarray
    """`[Q L]`"""
    target: np.ndarray
    """`[Q]`; -1 = an item that training never saw, a miss."""
    seen: np.ndarray | None
    """`[Q S]`: items that are not ranked."""


def refuses(kind: Kind) -> str:
    if closed.fit_of(kind) is not None:
        known = {"CoOccurrence", "Popularity", "SessionPopularity", "SKNN", "VSKNN"}
        return "" if kind.__name__ in known else "it is for what a user took, in no order"
    there = hasattr(kind, "prefixes") or hasattr(kind, "hidden_states")
    return "" if there else "it has no state after the events of a session"


def part(kind: Kind, rows: Rows, num_items: int, length: int, metrics: tuple[str, ...], events: int) -> Part:
    train = rows.train
    history = sessions.pad(train, length)
    facts: dict[str, Any] = {"num_items": num_items, "max_length": length, "history": history}
    facts |= {"sessions": train, "num_sessions": train.num_sessions + 1, "item": train.items}
    asked, target = batches.queries(history=rows.asked), jnp.asarray(rows.target)[:, None]
    seen = None if rows.seen is None else jnp.asarray(rows.seen)
    count = jnp.bincount(jnp.asarray(train.items), length=num_items).astype(jnp.float32)

    def measure(model: nn.Module, variables: Variables) -> dict[str, jax.Array]:
        return found_in_lists(model, variables, asked, target, seen, metrics)

    def course(model: nn.Module, how: Settings) -> Course:
        if hasattr(model, "hidden_states"):
            query = batches.queries(history=history)
            real = query.history > 0
            data, objective = Batch(query, query.history, real * 1.0, real), objectives.cloze(model, 0.2)
        else:
            data = batches.next_items(train.newest(length), length, packed=True)
            objective = objectives.next_item_softmax(model)
            if num_items > MOST:
                loss, share = losses.softmax_cross_entropy, jnp.sqrt(count)
                objective = objectives.next_item_sampled(model, loss, share, SAMPLED)
        size = max(1, how["events"] // length)
        return of_rows(model, data, size, objective, measure, None, everywhere)

    choices = {} if closed.fit_of(kind) else {"events": sizes_of_batches(events)}
    return Part(kind, facts, measure, course, choices)


def left_out(dataset: str, folder: Path | None, events: int = 1600, epochs: int = 16) -> Data:
    """The last item of each history; the last but one in the search."""
    data = leave_one_out.load(dataset, folder)
    some = np.sort(np.random.default_rng(0).permutation(data.train.num_sessions)[:VALIDATED])

    def rows(train: Sessions, asked: Sessions, target: np.ndarray) -> Rows:
        target = np.where(np.isin(target, train.items), target, -1)
        seen = np.asarray(leave_one_out.everything(asked))
        return Rows(train, sessions.pad(asked, data.length), target, seen)

    first = rows(data.train, data.train.take(some), data.valid[some])
    second = rows(data.known, data.known, data.test)
    of_data = data.num_items, data.length, ("ndcg@10", "recall@10"), events
    name = {"Sports_and_Outdoors": "Sports", "Toys_and_Games": "Toys", "smoke": "synthetic"}
    protocol = f"{leave_one_out.PROTOCOL}; settings by the last but one, then fitted to it too"
    parts = both(part, (first, *of_data), (second, *of_data))
    return Data(name.get(dataset, dataset), protocol, of_data[2], epochs, parts)


def of_prefixes(dataset: str, folder: Path | None, events: int = 2048, epochs: int = 10) -> Data:
    """The next click of every prefix; of the last sessions of the training part in the search."""
    data = prefixes.load(dataset, folder)
    whole = Sessions(
        np.concatenate([data.train.items, data.valid.items]),
        offsets_of(np.concatenate([data.train.lengths, data.valid.lengths])),
    )
    first = Rows(data.train, *sessions.prefixes(data.valid, prefixes.LENGTH), None)
    second = Rows(whole, data.asked, np.where(data.target > 0, data.target, -1), None)
    of_data = data.num_items, prefixes.LENGTH, ("recall@20", "mrr@20"), events
    protocol = "SR-GNN's split, every prefix, whole catalogue; settings by the last 2% of the sessions"
    parts = both(part, (first, *of_data), (second, *of_data))
    return Data(dataset, protocol, of_data[2], epochs, parts)


TASK = Task(
    "next items",
    1,
    {"rate": (Span(3e-4, 1e-2), 1e-3), "decay": (Span(1e-8, 1e-4), 0.0)},
    refuses,
    {
        **{f"{name}-next": partial(left_out, name) for name in ("ml-100k", "ml-1m")},
        **{
            name: partial(left_out, name)
            for name in ("Beauty", "Sports_and_Outdoors", "Toys_and_Games", "amazon-beauty-bert4rec")
        },
        **{name: partial(of_prefixes, name) for name in ("diginetica", "yoochoose1_64")},
    },
    lambda: left_out("smoke", None, 80, 4),
)
