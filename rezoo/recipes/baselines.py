"""Recipes without training: what is popular, and what was bought before, by others alike, or next."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from rezoo.data.interactions import Interactions
from rezoo.data.times import SECOND
from rezoo.errors import DataError
from rezoo.models import TIFUKNN, UPCF, CoOccurrence, Popularity, TopFreq
from rezoo.models.baselines import cooccurrence, top_freq
from rezoo.models.baselines import popularity as counts
from rezoo.models.baselines import tifu_knn as tifu
from rezoo.models.baselines import upcf as up
from rezoo.models.baselines.user_neighbours import UserNeighbours
from rezoo.recipes.fitting import checked, past
from rezoo.serving.bundle import Saved

DAY = 86_400 * SECOND
"""In the unit of a log's timestamps."""


def popularity(log: Interactions, key: jax.Array) -> Saved:
    """What is bought most, the same for everybody.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.serving import answers
    >>> log = from_columns({"user": ["ann", "ann", "bob"], "item": ["tea", "cup", "tea"]})
    >>> answers.recommend(popularity(log, jax.random.key(0)), ["bob"], 1)["item"].tolist()
    ['tea']
    """
    variables = counts.fit(checked(log).item, log.num_items)
    return Saved(Popularity(log.num_items), variables, log.users, log.items)


def buy_again(log: Interactions, key: jax.Array, *, half_life: int | float | None = None) -> Saved:
    """What this customer bought most, then what is popular: hard to beat where people buy again.

    Args:
      log: events, of all time.
      key: not used.
      half_life: in days; an event of this age counts half. All events count the same if not given.

    Raises:
      DataError: if the log is empty, or there is a half-life and the log has no times.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.serving import answers
    >>> log = from_columns({"user": ["ann", "ann", "bob"], "item": ["tea", "cup", "tea"]})
    >>> answers.recommend(buy_again(log, jax.random.key(0)), ["bob"], 2)["item"].tolist()
    ['tea', 'cup']
    """
    age = None
    if half_life is not None:
        if log.timestamp is None:
            raise DataError("half_life is in days, but the log has no times: name its time column")
        times = log.moments()
        age = (times.max(initial=0) - times) / DAY
    sizes = log.num_users, log.num_items
    variables = top_freq.fit(checked(log).user, log.item, *sizes, age=age, half_life=half_life)
    model = TopFreq(*sizes, len(variables["params"]["item"]))
    return Saved(model, variables, log.users, log.items)


def tifu_knn(
    log: Interactions,
    key: jax.Array,
    *,
    k: int = 300,
    group: int = 7,
    basket_decay: float = 0.9,
    group_decay: float = 0.7,
    alpha: float = 0.7,
) -> Saved:
    """What this customer and those most like them took often and lately; rows of the same time are a basket.

    Args:
      log: events with times.
      key: not used.
      k: nearest customers.
      group: baskets of a group.
      basket_decay: from a basket to the one before it in its group.
      group_decay: from a group to the one before it.
      alpha: what is the customer's own, from 0 to 1.

    Raises:
      DataError: if the log is empty or has no times.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.serving import answers
    >>> columns = {"user": ["ann", "ann", "bob"], "item": ["tea", "cup", "tea"], "time": [1, 2, 2]}
    >>> model = tifu_knn(from_columns(columns, unit="order"), jax.random.key(0))
    >>> answers.recommend(model, ["bob"], 2)["item"].tolist()
    ['tea', 'cup']
    """
    decays = {"basket_decay": basket_decay, "group_decay": group_decay}
    return _by_baskets(TIFUKNN, partial(tifu.fit, k=k, group=group, alpha=alpha, **decays), log)


def upcf(
    log: Interactions,
    key: jax.Array,
    *,
    k: int = 300,
    recent: int = 10,
    asymmetry: float = 0.25,
    locality: float = 5.0,
) -> Saved:
    """What this customer and those most like them took in their latest baskets: rows of the same time.

    Args:
      log: events with times.
      key: not used.
      k: most similar customers.
      recent: baskets of a customer that are counted, the newest.
      asymmetry: of the cosine, from 0 to 1.
      locality: above 0; the greater, the less customers count that are less similar.

    Raises:
      DataError: if the log is empty or has no times.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.serving import answers
    >>> columns = {"user": ["ann", "ann", "bob"], "item": ["tea", "cup", "tea"], "time": [1, 2, 2]}
    >>> model = upcf(from_columns(columns, unit="order"), jax.random.key(0))
    >>> answers.recommend(model, ["bob"], 2)["item"].tolist()
    ['tea', 'cup']
    """
    options = {"recent": recent, "asymmetry": asymmetry, "locality": locality}
    return _by_baskets(UPCF, partial(up.fit, k=k, **options), log)


def _by_baskets(model: type[UserNeighbours], fit: Callable[..., dict[str, Any]], log: Interactions) -> Saved:
    if log.timestamp is None:
        raise DataError(
            "baskets are rows of a customer with the same time, but the log has no times: name them"
        )
    sizes = log.num_users, log.num_items
    variables = fit(checked(log).user, log.item, log.timestamp, *sizes)
    params = variables["params"]
    made = model(*sizes, len(params["item"]), params["neighbour"].shape[1])
    return Saved(made, variables, log.users, log.items)


def co_occurrence(log: Interactions, key: jax.Array, *, length: int = 50, window: int = 5) -> Saved:
    """What others bought after what this customer bought last.

    Args:
      log: events.
      key: not used.
      length: events of each customer that are counted, the newest.
      window: an item is counted after each of so many items before it, and asked by as many.

    Raises:
      DataError: if the log is empty.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.serving import answers
    >>> log = from_columns({"user": ["ann", "ann", "bob"], "item": ["tea", "cup", "tea"]})
    >>> answers.recommend(co_occurrence(log, jax.random.key(0)), ["bob"], 1)["item"].tolist()
    ['cup']
    """
    history = past(log, length)
    variables = cooccurrence.fit(history[1:], log.num_items, window=window)
    model = CoOccurrence(log.num_items, len(variables["params"]["follower"]), memory=window)
    return Saved(model, variables, log.users, log.items, history=history)
