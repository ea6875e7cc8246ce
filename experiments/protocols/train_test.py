"""Ranking all items by a split that is given as two files, and tuning on a part of the training file."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from common import Results

from rezoo import evaluation
from rezoo.data import batches, split
from rezoo.data.batches import HeldOut
from rezoo.data.interactions import Interactions
from rezoo.types import Variables

PROTOCOL = "LightGCN's split, full ranking without the user's training items"
NUMBERS = ("recall@20", "ndcg@20")
MEASURES = {name: evaluation.MEASURES[name] for name in ("recall", "ndcg")}
Fitted = tuple[nn.Module, Variables]


class Entry(NamedTuple):
    """A model of the table."""

    fit: Callable[..., Fitted]
    """`(log, seed, **settings) -> (model, variables)`."""
    settings: Sequence[dict[str, Any]] = ({},)
    """What is tried on the validation part."""
    published: tuple[float | None, float | None] = (None, None)
    random: bool = False
    """Whether seeds differ."""


class Data(NamedTuple):
    """A training log, and what is to be found."""

    train: Interactions
    held: HeldOut


def given(train: Interactions, test: Interactions) -> Data:
    """The two files."""
    return Data(train, batches.held_out(train, test))


def validation(train: Interactions) -> Data:
    """Of each user's items in the training file a tenth, drawn at random, is to be found by the others."""
    rest, _, valid = split.ratio_per_user(train, test=0.1).of(train)
    return given(rest, valid)


def measure(fitted: Fitted, held: HeldOut) -> dict[str, float]:
    """The table's numbers, over the users of the test part."""
    found = evaluation.evaluate(
        *fitted, held.query, held.target, exclude=held.exclude, k=(20,), measures=MEASURES
    )
    return {name: float(found[name]) for name in NUMBERS}


def tuned(entry: Entry, data: Data) -> tuple[dict[str, Any], float | None]:
    """The settings that are best on the validation part, and their ndcg@20 there."""
    if len(entry.settings) == 1:
        return entry.settings[0], None
    found = []
    for settings in entry.settings:
        value = measure(entry.fit(data.train, 0, **settings), data.held)
        print(f"  validation {value}  {settings}", flush=True)
        found.append(value["ndcg@20"])
    best = max(range(len(found)), key=found.__getitem__)
    return entry.settings[best], found[best]


def run(
    results: Results,
    models: Mapping[str, Entry],
    train: Interactions,
    test: Interactions,
    *,
    dataset: str,
    protocol: str,
    seeds: int,
) -> None:
    """Tune each model on a part of the training file, fit it to the whole, and measure it on the test file.

    Seeds that are there are left as they are.

    A row's seconds are those of the fits; its notes have those of the search and of one measurement.
    """
    data, part = given(train, test), validation(train)
    for name, entry in models.items():
        row = name, dataset, protocol
        done, wanted = len(results.values(*row, NUMBERS[-1])), seeds if entry.random else 1
        if done >= wanted:
            continue
        (settings, best), search = timed(tuned, entry, part)
        notes = {"settings": {key: getattr(value, "__name__", value) for key, value in settings.items()}}
        notes |= {"tried": len(entry.settings), "validation": best, "search_seconds": round(search, 1)}
        for seed in range(done, wanted):
            fitted, seconds = timed(entry.fit, data.train, seed, **settings)
            numbers, asking = timed(measure, fitted, data.held)
            with results.together():
                for metric, published in zip(NUMBERS, entry.published, strict=True):
                    told = {"published": published, "evaluation_seconds": round(asking, 1), **notes}
                    results.add(*row, metric, numbers[metric], seconds=seconds, **told)
            print(f"{name}: {numbers}, fit {seconds:.1f} s, evaluation {asking:.1f} s, {notes}", flush=True)


def timed(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, float]:
    """What a function gives, and its seconds."""
    start = time.monotonic()
    result = function(*arguments, **options)
    jax.block_until_ready(jax.tree.leaves(result))
    return result, time.monotonic() - start
