"""The simulated shop over years: long histories in which staples are bought again, each in its own time.

    log = shop_routines.draw(ShopConfig(shoppers=100_000, products=1_000), Routines(events=2_000))
    log.items                                       # every shopper's purchases, [U events], oldest first

A shopper u has `staples` products, drawn without replacement by P(i | u) of `rezoo.datasets.shop`, and for
each a period, log-uniform between `shortest` and `longest` purchases. A staple is due when as many purchases
as its period have passed since it was last bought; at the beginning each is somewhere in its period. With
D_t(u) those that are due, and j the purchase before, the purchase t is

    a staple out of D_t(u), all alike                       with probability `routine`, if one is due
    a product i ∝ w_i of the category that follows j's      with probability `follow`, if there is a j
    a product i ∝ P(i | u)                                  otherwise

Whichever way a staple is bought, its period begins again. So the newest purchase says what comes at once,
some fifty a taste, and only a long history the staples and when each is due. `chances` is the oracle:
the probability of every product, given the truth and the purchases so far.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.datasets import shop
from rezoo.datasets.shop import ShopConfig, World
from rezoo.datasets.shop_histories import following
from rezoo.errors import DataError

AT_ONCE = 2_000
"""Shoppers whose purchases are drawn at once."""


@dataclass(frozen=True)
class Routines:
    """What is bought again and again."""

    events: int = 2_000
    """Purchases of each shopper."""
    staples: int = 40
    """Products that a shopper buys again."""
    shortest: int = 20
    """Purchases between two of the same staple, at least."""
    longest: int = 1_000
    """At most."""
    routine: float = 0.6
    """Probability of a staple where one is due."""
    follow: float = 0.2
    """Probability of what goes with the purchase before."""


class Log(NamedTuple):
    """The purchases of a shop, and their truth. Shopper u is row u - 1."""

    world: World
    items: np.ndarray
    """int32 `[U events]`, oldest first."""
    staple: np.ndarray
    """int32 `[U staples]`: their products."""
    period: np.ndarray
    """float32 `[U staples]`, in purchases."""
    before: np.ndarray
    """float32 `[U staples]`: purchases since each was last bought, at the beginning."""


def draw(config: ShopConfig, routines: Routines, seed: int = 0) -> Log:
    """The purchases of all shoppers; the same seed gives the same ones.

    Raises:
      DataError: if a number of `routines` cannot be.

    >>> log = draw(ShopConfig(shoppers=3, products=50), Routines(events=100, staples=5, longest=60))
    >>> log.items.shape, int(log.items.min()) >= 1, log.staple.shape
    ((3, 100), True, (3, 5))
    """
    _check(config, routines)
    world = shop.world(jax.random.key(seed), config)
    key = jax.random.fold_in(jax.random.key(seed), 10)
    parts = list(_parts(key, world, config, routines))
    return Log(world, *(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def chances(
    log: Log, config: ShopConfig, routines: Routines, user: Int[np.ndarray, " B"], events: int
) -> Float[Array, " B N"]:
    """The probability of each product as the next purchase of shoppers, after so many of their `events`.

    >>> config, routines = ShopConfig(shoppers=3, products=50), Routines(events=100, staples=5, longest=60)
    >>> given = chances(draw(config, routines), config, routines, np.array([1, 3]), 99)
    >>> given.shape, given.sum(1).round(4).tolist()
    ((2, 51), [1.0, 1.0])
    """
    rows = user - 1
    past = jnp.asarray(log.items[rows, :events])
    staple, period, before = (jnp.asarray(x[rows]) for x in (log.staple, log.period, log.before))
    return _chances(log.world, config, routines, jnp.asarray(user), past, staple, period, before)


def _check(config: ShopConfig, routines: Routines) -> None:
    if routines.events < 1:
        raise DataError(f"events={routines.events}: give 1 or more")
    if not 1 <= routines.staples <= config.products:
        raise DataError(f"staples={routines.staples}: give 1 to {config.products}, the number of products")
    if not 1 <= routines.shortest <= routines.longest:
        raise DataError(
            f"shortest={routines.shortest} with longest={routines.longest}: give 1 or more, and no more than "
            "the longest"
        )
    if not (routines.routine >= 0 and routines.follow >= 0 and routines.routine + routines.follow <= 1):
        raise DataError(
            f"routine={routines.routine} with follow={routines.follow}: give probabilities, at most 1 in sum"
        )


def _parts(
    key: Array, world: World, config: ShopConfig, routines: Routines
) -> Iterator[tuple[np.ndarray, ...]]:
    """(items, staple, period, before) of some shoppers after the others."""
    for number, first in enumerate(range(1, config.shoppers + 1, AT_ONCE)):
        user = jnp.arange(first, min(first + AT_ONCE, config.shoppers + 1), dtype=jnp.int32)
        yield jax.device_get(_lives(jax.random.fold_in(key, number), world, config, routines, user))


class _Aisles(NamedTuple):
    """The products by category, to draw one of a category by w."""

    product: Int[Array, " N"]
    """Sorted by category."""
    cumulative: Float[Array, " N"]
    """Of w, in that order."""
    start: Float[Array, " K"]
    """What is cumulated before each category's first."""
    end: Float[Array, " K"]


def _aisles(world: World) -> _Aisles:
    product = jnp.argsort(world.category).astype(jnp.int32)
    weight = jnp.exp(world.log_popularity)
    of_category = jax.ops.segment_sum(weight, world.category, len(shop.NOUNS) + 1)
    end = jnp.cumsum(of_category)
    return _Aisles(product, jnp.cumsum(weight[product]), end - of_category, end)


def _place(cumulative: Float[Array, " N"], at: Float[Array, " *B"]) -> Int[Array, " *B"]:
    """The first entry whose cumulated weight is above `at`."""
    found = jnp.searchsorted(cumulative, at, side="right")
    return jnp.clip(found, 1, len(cumulative) - 1).astype(jnp.int32)


@partial(jax.jit, static_argnames=("config", "routines"))
def _lives(
    key: Array, world: World, config: ShopConfig, routines: Routines, user: Int[Array, " B"]
) -> tuple[Array, Array, Array, Array]:
    keys = jax.random.split(key, 4)
    size, shape = len(user), (len(user), routines.staples)
    preference = shop.preference(world, config.affinity, user)
    drawn = preference + jax.random.gumbel(keys[0], preference.shape)
    staple = jax.lax.top_k(drawn, routines.staples)[1].astype(jnp.int32)
    ends = jnp.log(jnp.array([routines.shortest, routines.longest], jnp.float32))
    period = jnp.exp(jax.random.uniform(keys[1], shape, minval=ends[0], maxval=ends[1]))
    before = period * jax.random.uniform(keys[2], shape)
    taste, aisles = jnp.cumsum(jax.nn.softmax(preference, axis=1), axis=1), _aisles(world)

    def purchase(carry: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
        since, last = carry
        kind, which, place = jax.random.uniform(key, (3, size))
        due = since >= period
        nth = jnp.floor(which * due.sum(1)).astype(jnp.int32)[:, None]  # of those that are due
        chosen = jnp.argmax(due & (jnp.cumsum(due, axis=1, dtype=jnp.int32) == nth + 1), axis=1)
        routine = jnp.take_along_axis(staple, chosen[:, None], axis=1)[:, 0]
        goes = following(world.category[last])
        start, end = aisles.start[goes], aisles.end[goes]
        follows = aisles.product[_place(aisles.cumulative, start + place * (end - start))]
        liked = jax.vmap(_place)(taste, place * taste[:, -1])
        by_routine = due.any(1) & (kind < routines.routine)
        by_follow = (last > 0) & (kind >= 1 - routines.follow) & (start < end)
        item = jnp.where(by_routine, routine, jnp.where(by_follow, follows, liked))
        since = jnp.where(staple == item[:, None], 0.0, since) + 1
        return (since, item), item

    start = before, jnp.zeros(size, jnp.int32)
    items = jax.lax.scan(purchase, start, jax.random.split(keys[3], routines.events))[1]
    return items.T, staple, period, before


@partial(jax.jit, static_argnames=("config", "routines"))
def _chances(
    world: World,
    config: ShopConfig,
    routines: Routines,
    user: Int[Array, " B"],
    past: Int[Array, " B T"],
    staple: Int[Array, " B S"],
    period: Float[Array, " B S"],
    before: Float[Array, " B S"],
) -> Float[Array, " B N"]:
    length = past.shape[1]
    ago = jnp.arange(length, 0, -1, dtype=jnp.float32)[None, None]  # 1 for the last purchase
    bought = jnp.where(past[:, None] == staple[:, :, None], ago, jnp.inf).min(2, initial=jnp.inf)
    due = jnp.minimum(bought, before + length) >= period
    taste = jax.nn.softmax(shop.preference(world, config.affinity, user), axis=1)
    routine = jnp.where(due.any(1), routines.routine, 0.0)[:, None]
    row = jnp.arange(len(user), dtype=jnp.int32)[:, None]
    share = jnp.where(due, 1.0, 0.0) / jnp.maximum(due.sum(1, keepdims=True), 1)
    staples = jnp.zeros_like(taste).at[row, staple].add(share)
    last = past[:, -1] if length else jnp.zeros(len(user), jnp.int32)
    goes = world.category[None] == following(world.category[last])[:, None]
    weight = jnp.where(goes, jnp.exp(world.log_popularity)[None], 0.0)
    total = weight.sum(1, keepdims=True)
    follow = jnp.where((last[:, None] > 0) & (total > 0), routines.follow, 0.0)
    follows = weight / jnp.where(total > 0, total, 1.0)
    return routine * staples + follow * follows + (1 - routine - follow) * taste
