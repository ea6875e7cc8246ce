"""Comparing recipes on a log: a split by time, two jobs, as many seeds as there is time for.

Models learn from the earlier part of the log alone. What customers of that part buy in the later one is to
be found in the whole catalogue, by two jobs: **anything** that they buy then, which may be what they bought
before, and what is **new to the customer**, from lists without what they had.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from rezoo import evaluation, metrics
from rezoo.arrays import at_least_1, distinct_pairs
from rezoo.data import split
from rezoo.data.interactions import Interactions
from rezoo.data.packing import padded
from rezoo.errors import DataError
from rezoo.recipes import estimate
from rezoo.recipes.estimate import Recipe
from rezoo.recipes.outcome import ANYTHING, NEW, Comparison, in_words
from rezoo.serving import asking
from rezoo.serving.bundle import Saved
from rezoo.types import Query, Variables

BLOCK = 64
"""Customers whose scores of the whole catalogue are in memory at once."""
TIMED = 512
"""Customers for whom lists are made to see what that takes."""


def compare(
    log: Interactions,
    recipes: Sequence[Recipe] | Mapping[str, Recipe],
    key: jax.Array,
    *,
    test: int | float = 0.2,
    k: int = 10,
    seeds: int = 1,
    max_users: int = 20_000,
    minutes: int | float | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
    on_result: Callable[[Comparison, str], None] | None = None,
) -> Comparison:
    """Which recipe best predicts the last part of a log from what came before it.

    Args:
      log: with times. Users and items of few rows are to be dropped before (`clean.k_core`).
      recipes: functions `recipe(log, key) -> Saved`, by name or under their own names. One with
        `num_epochs` is fitted once for each seed, others once.
      key: of all fits.
      test: share of the rows to predict, the latest ones.
      k: places of a list, for NDCG@k.
      seeds: fits of each recipe with randomness.
      max_users: so many customers at most are asked about, drawn at random.
      minutes: estimate the time first, from two epochs of each recipe, take the quickest first, and run fewer
        seeds where it would take longer.
      folder: of checkpoints; a comparison that is stopped goes on where it was.
      progress: a rich `Progress`, such as `training.loop.progress_bar()`.
      report: is told what is done, in lines of text; `print` for example.
      on_result: is called with what is found so far, and the name of the recipe that has just been added.

    Raises:
      DataError: if the log has no times, its later part nothing to predict, there is no recipe, or the model
        of one has other ids than the log.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.recipes.baselines import buy_again, popularity
    >>> users = ["ann", "bob", "eve"] * 10
    >>> log = from_columns({"user": users, "item": users, "time": range(30)}, unit="order")
    >>> result = compare(log, [popularity, buy_again], jax.random.key(0))
    >>> result.best(), result.verdict().split(",")[0]
    ('buy_again', 'buy_again is best: NDCG@10 1.0000')
    """
    contenders = _named(recipes)
    if seeds < 1:
        raise DataError(f"seeds={seeds}: give 1 or more")
    train, jobs = questions(log, test=test, max_users=max_users)
    tell = report or (lambda line: None)
    users = len(jobs[ANYTHING].user)
    products, new = (int((jobs[job].target > 0).sum()) if job in jobs else 0 for job in (ANYTHING, NEW))
    tell(
        f"{train.num_rows:,} rows to learn from; {products:,} products of {users:,} customers to find, "
        f"{new:,} of them new to the customer"
    )
    if minutes is not None:
        few = Job(*(column[:TIMED] for column in jobs[ANYTHING]))
        pilot = partial(estimate.cost, log=train, key=jax.random.fold_in(key, 0), ask=partial(_ask, few, k))
        costs = {name: pilot(recipe) for name, recipe in contenders.items()}
        total = partial(estimate.seconds, costs, users=users, final=log.num_users if on_result else 0)
        most, seeds = seeds, max((n for n in range(1, seeds + 1) if total(n) <= 60 * minutes), default=1)
        tell(f"estimate: {in_words(total(seeds))}, with {seeds} of {most} seeds")
        if seeds < most:
            tell(f"  {most} seeds would take {in_words(total(most))}; {minutes:g} minutes are allowed")
        contenders = dict(sorted(contenders.items(), key=lambda one: costs[one[0]].fit))

    result = Comparison(k, {job: {} for job in jobs}, {}, {})
    task = progress.add_task("recipes", total=len(contenders), note="") if progress else None
    for name, recipe in contenders.items():
        if progress and task is not None:
            progress.update(task, note=name)
        keys = [jax.random.fold_in(key, seed) for seed in range(seeds if estimate.is_random(recipe) else 1)]
        result = _with(result, name, jobs, _fits(recipe, name, train, keys, folder, progress))
        if on_result:
            on_result(result, name)
        if progress and task is not None:
            progress.advance(task)
    return result


class Job(NamedTuple):
    """What is to be found."""

    user: np.ndarray
    """Dense ids `[U]`."""
    target: np.ndarray
    """Items of each customer, `[U T]`, 0 = padding."""
    exclude: np.ndarray
    """Items that are not in the lists, `[U S]`."""


def questions(
    log: Interactions, *, test: int | float = 0.2, max_users: int = 20_000
) -> tuple[Interactions, dict[str, Job]]:
    """The rows to learn from, with ids for what is in them alone, and what is to be found, by job.

    A job for which there is nothing to find is left out.

    Raises:
      DataError: if the log has no times, or nothing can be found.
    """
    at_least_1(max_users=max_users)
    parts = split.by_time(log, test=test)
    train, later = split.refit_ids(log.take(parts.train), log.take(parts.test))
    known = (later.user > 0) & (later.item > 0)
    if not known.any():
        raise DataError(
            f"no customer of the last {test:.0%} of the log buys anything there that the rest of it knows, "
            "so there is nothing to predict: give a longer log, or keep more customers and products of it"
        )
    pairs = np.stack(distinct_pairs(later.user[known], later.item[known]), 1)
    users = np.unique(pairs[:, 0])
    if len(users) > max_users:
        users = np.sort(np.random.default_rng(0).choice(users, max_users, replace=False))
        pairs = pairs[np.isin(pairs[:, 0], users)]
    theirs = np.isin(train.user, users)
    had = np.stack(distinct_pairs(train.user[theirs], train.item[theirs]), 1)
    is_new = ~np.isin(pairs @ [train.num_items, 1], had @ [train.num_items, 1])
    jobs = {ANYTHING: Job(users, _rows(users, pairs), np.zeros((len(users), 0), np.int32))}
    if is_new.any():
        some = np.unique(pairs[is_new, 0])
        jobs[NEW] = Job(some, _rows(some, pairs[is_new]), _rows(some, had[np.isin(had[:, 0], some)]))
    return train, jobs


def _rows(users: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The second column of pairs, a row for each of `users`."""
    return padded(users, pairs[:, 0], pairs[:, 1])[0].astype(np.int32)


def _named(recipes: Sequence[Recipe] | Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Recipes by name."""
    if isinstance(recipes, Mapping):
        named = dict(recipes)
    else:
        named = {getattr(one, "__name__", f"recipe {n}"): one for n, one in enumerate(recipes)}
    if len(named) < len(recipes) or not named:
        raise DataError(
            "give at least one recipe, and no two of one name: "
            "a dict such as {'bpr': recipes.bpr, 'wide bpr': partial(recipes.bpr, dim=128)} names them"
        )
    return named


def _fits(
    recipe: Recipe,
    name: str,
    log: Interactions,
    keys: Sequence[jax.Array],
    folder: str | Path | None,
    progress: Progress | None,
) -> Iterator[tuple[Saved, float]]:
    """A model for each key, and the seconds of its fit."""
    for seed, key in enumerate(keys):
        run: dict[str, Any] = {}
        if estimate.shows_progress(recipe):
            run = {"progress": progress, "description": f"{name}, seed {seed}"}
            run |= {"folder": Path(folder) / name / f"seed-{seed}"} if folder else {}
        begin = monotonic()
        model = recipe(log, key, **run)
        jax.block_until_ready(model.variables)
        seconds = monotonic() - begin
        for what in ("users", "items"):
            if not np.array_equal(getattr(model, what).raw, getattr(log, what).raw):
                raise DataError(
                    f"{name}: its model has other {what} than the log, and answers other questions: drop "
                    "rows before the comparison, and save the model with the ids of the log it is given"
                )
        yield model, seconds


def _with(
    result: Comparison, name: str, jobs: Mapping[str, Job], fits: Iterable[tuple[Saved, float]]
) -> Comparison:
    """The comparison with one recipe more."""
    values: dict[str, list[np.ndarray]] = {job: [] for job in jobs}
    seconds, model, measure = [], None, None
    for saved, spent in fits:
        if measure is None or saved.model != model:
            model, measure = saved.model, _measure(saved.model, result.k)
        for job, one in jobs.items():
            values[job].append(measure(saved, one))
        seconds.append(spent)
    return result._replace(
        ndcg={job: {**result.ndcg[job], name: np.stack(values[job])} for job in jobs},
        seconds={**result.seconds, name: float(np.mean(seconds))},
        models={**result.models, name: type(model).__name__},
    )


def _ask(job: Job, k: int, saved: Saved) -> Callable[[], int]:
    """What makes lists for a job's customers, and says how many they are."""
    measure = _measure(saved.model, k)
    return lambda: len(measure(saved, job))


def _measure(model: nn.Module, k: int) -> Callable[[Saved, Job], np.ndarray]:
    """NDCG@k of each customer of a job, by a saved model whose module is `model`; compiled once."""

    @jax.jit
    def ndcg(variables: Variables, query: Query, target: jax.Array, exclude: jax.Array) -> jax.Array:
        rank = evaluation.ranks(model, variables, query, target, exclude=exclude, block=BLOCK)
        return metrics.ndcg(rank, where=target > 0, k=k)

    def measure(saved: Saved, job: Job) -> np.ndarray:
        asked, query, _ = asking.queries(saved, saved.users.decode(job.user), job.user, {}, None, None)
        return np.asarray(
            ndcg(saved.variables, query(asked), jnp.asarray(job.target), jnp.asarray(job.exclude))
        )

    return measure
