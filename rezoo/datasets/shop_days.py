"""The simulated shop day by day: products enter and leave, intents and fashions move.

    for day in shop_days.days(ShopConfig(products=600), Drift(days=30)):
        day.items                                   # the sessions of that day, [S session_length]

Products are numbered in the order in which they come: those of the first day are 1 … `config.products`.
Every night a share of the products on sale, drawn at random, leaves for good, and as many new ones come.
The vectors of the hidden intents, and the logarithms of the products' popularity, move by a stationary
random walk:

    x ← √(1 - s²) x + s ε,    ε of the spread that x had on the first day

Everything else is that of `rezoo.datasets.shop`, whose `next_click` is the oracle of a day's world.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rezoo.datasets import shop
from rezoo.datasets.shop import ShopConfig, World
from rezoo.datasets.shop_rows import draw_sessions


@dataclass(frozen=True)
class Drift:
    """How a shop changes from day to day; with zeros it does not."""

    days: int = 30
    sessions: int = 1_000
    """Of a day."""
    entering: float = 0.01
    """Share of the products on sale that leave in a night, others entering in their place."""
    intents: float = 0.1
    """s of the vectors of intents."""
    fashion: float = 0.1
    """s of the logarithms of popularity."""


class Day(NamedTuple):
    """A day of the shop."""

    world: World
    """The truth of this day; products that are not on sale have the log-popularity -inf."""
    on_sale: np.ndarray
    """bool `[N]`: the products of this day, of all that there will ever be."""
    user: np.ndarray
    """int32 `[S]`: whose session it is."""
    items: np.ndarray
    """int32 `[S session_length]`: clicks, padded with 0 at the end."""


def days(config: ShopConfig, drift: Drift, seed: int = 0) -> Iterator[Day]:
    """The days of a shop, in their order; a seed always gives the same.

    Args:
      config: of the shop; `products` are on sale on any day.
      drift: how it changes.
      seed: of everything that is drawn.

    >>> first, second = days(ShopConfig(shoppers=9, products=40), Drift(days=2, sessions=5, entering=0.1))
    >>> first.items.shape, int(first.on_sale.sum()), int((second.on_sale & ~first.on_sale).sum())
    ((5, 10), 40, 4)
    """
    entering = round(drift.entering * config.products)
    ever = replace(config, products=config.products + entering * (drift.days - 1))
    world, key = shop.world(jax.random.key(seed), ever), jax.random.key(seed)
    on_sale = np.arange(ever.products + 1) <= config.products
    on_sale[0] = False
    intent, popularity = world.intent, world.log_popularity.at[0].set(0.0)
    steps = jnp.float32(drift.intents), jnp.float32(drift.fashion)
    for number in range(drift.days):
        today, sold = jax.random.split(jax.random.fold_in(key, 1 + number))
        if number:
            rng = np.random.default_rng([seed, number])
            leaving = rng.choice(np.flatnonzero(on_sale), entering, replace=False)
            first = config.products + 1 + entering * (number - 1)
            on_sale = on_sale.copy()
            on_sale[leaving], on_sale[first : first + entering] = False, True
            intent, popularity = _moved(today, intent, popularity, world, *steps)
        now = _world(world, ever, intent, popularity, jnp.asarray(on_sale))
        user, items = draw_sessions(sold, now, ever, drift.sessions)
        yield Day(now, on_sale, np.asarray(user, np.int32), np.asarray(items, np.int32))


@jax.jit
def _moved(
    key: Array, intent: Array, popularity: Array, first: World, intents: Array, fashion: Array
) -> tuple[Array, Array]:
    """Intents and popularity a day later."""
    keys = jax.random.split(key)

    def step(key: Array, value: Array, at_first: Array, s: Array) -> Array:
        mean, spread = at_first.mean(), at_first.std()
        moved = jnp.sqrt(1 - jnp.square(s)) * (value - mean) + s * spread * jax.random.normal(
            key, value.shape
        )
        return mean + moved

    log_popularity = first.log_popularity[1:]
    return (
        step(keys[0], intent, first.intent, intents),
        popularity.at[1:].set(step(keys[1], popularity[1:], log_popularity, fashion)),
    )


@partial(jax.jit, static_argnames="config")
def _world(world: World, config: ShopConfig, intent: Array, popularity: Array, on_sale: Array) -> World:
    """The truth of a day."""
    log_popularity = jnp.where(on_sale, popularity, -jnp.inf)
    start, move, emit = shop.clicking(config, world.taste, world.vector, log_popularity, intent)
    return world._replace(intent=intent, log_popularity=log_popularity, start=start, move=move, emit=emit)
