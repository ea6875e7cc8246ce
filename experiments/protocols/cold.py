"""New users and new items, known by their features alone: the questions, and how a ranking is measured."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rezoo import evaluation, metrics
from rezoo.data import batches
from rezoo.studies import sweep
from rezoo.types import Query

Columns = Mapping[str, np.ndarray]


Scores = Callable[[np.ndarray], jax.Array]
"""Of every item, `[U N]`, for users `[U]`."""


class Division(NamedTuple):
    """A log with new ids: warm ones first, cold ones after them."""

    user: np.ndarray
    item: np.ndarray
    """Training pairs, of warm users and items."""
    test_user: np.ndarray
    test_item: np.ndarray
    num_users: int
    num_items: int
    """Rows of tables for the warm ones, id 0 included."""
    user_row: np.ndarray
    item_row: np.ndarray
    """Row of the log's tables by id."""
    num_asked: int = 0
    """So many users, the first of the warm ones, are asked about new items."""


class Known(NamedTuple):
    """A division with its features, fitted on what is warm."""

    parts: Division
    user_features: Mapping[str, int | None]
    item_features: Mapping[str, int | None]
    users: Columns
    catalogue: Columns


class Setting(NamedTuple):
    """Who is asked about, and which items compete."""

    users: np.ndarray
    target: np.ndarray
    """`[U T]`, 0 = padding."""
    where: np.ndarray
    """`[U N]`."""


TUNED_FOR = ("cold users", "cold items", "both")


KEYS = ("ndcg@10", "recall@10")


@jax.jit
def target_ranks(score: jax.Array, target: jax.Array, where: jax.Array) -> jax.Array:
    """Ranks of the targets, infinite where they are beyond 10.

    Only the user's 20 best targets can be within 10: behind 20 others, or tied with them, one has
    the rank 11 or more.
    """
    mine = jnp.where(target > 0, jnp.take_along_axis(score, target, axis=1), -jnp.inf)
    _, place = jax.lax.top_k(mine, min(20, target.shape[1]))
    found = jnp.take_along_axis(target, place, axis=1)
    best = metrics.target_ranks(score, found, where=where, counted=found > 0)
    return jnp.full(target.shape, jnp.inf).at[jnp.arange(len(target))[:, None], place].set(best)


def per_user(scores: Scores, asked: Setting) -> dict[str, np.ndarray]:
    """ndcg@10 and recall@10 of each user."""
    target = jnp.asarray(asked.target, jnp.int32)
    rank = target_ranks(scores(asked.users), target, jnp.asarray(asked.where))
    measured = metrics.ndcg(rank, where=target > 0, k=10), metrics.recall(rank, where=target > 0, k=10)
    return {key: np.asarray(value) for key, value in zip(KEYS, measured, strict=True)}


def figure_of_merit(scores: Scores, asked: dict[str, Setting]) -> float:
    """What is tuned for: the mean of ndcg@10 over the three settings."""
    return float(np.mean([per_user(scores, asked[name])["ndcg@10"].mean() for name in TUNED_FOR]))


def asking(world: Known, users: np.ndarray) -> Query:
    """Users with their features."""
    columns = {name: column[users] for name, column in world.users.items()}
    return batches.queries(users, features=columns)


def scoring(world: Known, model: Any) -> Callable[[Any], Scores]:
    """`variables -> scores`, compiled once."""
    score = jax.jit(partial(evaluation.score_all, model))
    return lambda variables: lambda users: score(variables, asking(world, users))


def scorer(world: Known, model: Any, variables: Any) -> Scores:
    """A fitted model's scores."""
    return scoring(world, model)(variables)


def margin(values: np.ndarray, base: np.ndarray) -> float | None:
    """The difference of the means of `values` `[S U]` and `base` `[U]`, in standard errors."""
    apart = values.mean(0) - base
    users = float(apart.std(ddof=1) / len(apart) ** 0.5)
    seeds = float(sweep.summarise(values.mean(1)).standard_error) if len(values) > 1 else 0.0
    total = (users**2 + seeds**2) ** 0.5
    return round(float(apart.mean()) / total, 1) if total else None


def summary(
    runs: Sequence[np.ndarray], base: np.ndarray, like: np.ndarray | None = None
) -> tuple[list[float], dict[str, float]]:
    """Each seed's mean over the users, with standard errors, also of the differences to baselines."""
    values = np.stack(runs)
    notes = {
        "sem_over_users": float(values.mean(0).std(ddof=1) / values.shape[1] ** 0.5),
        "margin_in_errors": margin(values, base),
        "margin_over_like_items": None if like is None else margin(values, like),
    }
    return values.mean(1).tolist(), {name: note for name, note in notes.items() if note is not None}
