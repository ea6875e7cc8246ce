"""The rows of a simulated shop: drawn from its truth, a chunk of columns at a time."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from rezoo.datasets import shop
from rezoo.datasets.shop import DAYPARTS, ShopConfig, World

Columns = dict[str, np.ndarray]
TEST_SHARE = 0.2
CHUNK_NUMBERS = 2**24
"""Largest number of scores that one chunk may take."""


def chunks(config: ShopConfig, seed: int, task: str, part: str) -> Iterator[Columns]:
    """The rows of a task's part, a chunk of columns at a time."""
    world = shop.world(jax.random.key(seed), config)
    key = jax.random.fold_in(jax.random.key(seed), 1 + list(TASKS).index(task))
    known_shopper = round(config.shoppers * (1 - config.cold_shoppers))
    known_product = round(config.products * (1 - config.cold_products))
    for number, (rows, test) in enumerate(TASKS[task](key, world, config)):
        if part == "train":
            known = (rows["user"] <= known_shopper) & ~test
            if "items" in rows:
                rows["items"] = _without(rows["items"], known_product)
                known &= (rows["items"] > 0).sum(1) >= 2
            else:
                known &= rows["item"] <= known_product
            rows = {name: column[known] for name, column in rows.items()}
        else:
            rows = {name: column[test] for name, column in rows.items()}
        if number == 0 or len(rows["user"]):
            yield rows


@partial(jax.jit, static_argnames="config")
def draw_ratings(
    key: jax.Array, world: World, config: ShopConfig, user: Int[Array, " B"]
) -> tuple[Array, Array]:
    """`ratings_per_shopper` distinct products for each shopper, in random order, and their stars."""
    buy, rate, order = jax.random.split(key, 3)
    score = shop.preference(world, config.affinity, user)
    score = score + jax.random.gumbel(buy, score.shape)
    _, item = jax.lax.top_k(score, config.ratings_per_shopper)
    item = jax.random.permutation(order, item, axis=1, independent=True).astype(jnp.int32)
    value = shop.opinion(world, user[:, None], item) + config.noise * jax.random.normal(rate, item.shape)
    return item, jnp.clip(jnp.round(value), 1, 5)


@partial(jax.jit, static_argnames=("config", "rows"))
def draw_impressions(key: jax.Array, world: World, config: ShopConfig, rows: int) -> dict[str, Array]:
    """Products shown at random, with the hour, and whether they were clicked and bought."""
    keys = jax.random.split(key, 5)
    user = jax.random.randint(keys[0], (rows,), 1, config.shoppers + 1)
    item = jax.random.randint(keys[1], (rows,), 1, config.products + 1)
    hour = jax.random.randint(keys[2], (rows,), 1, len(DAYPARTS))
    logit = shop.click_logit(world, user, item, hour)
    click = jax.random.uniform(keys[3], (rows,)) < jax.nn.sigmoid(logit)
    buys = jax.nn.sigmoid(shop.purchase_logit(world, user, item))
    bought = click & (jax.random.uniform(keys[4], (rows,)) < buys)
    columns = {"user": user, "item": item, "hour": hour, "click": click, "purchase": bought}
    return {name: column.astype(jnp.int32) for name, column in columns.items()} | {"logit": logit}


@partial(jax.jit, static_argnames=("config", "rows"))
def draw_sessions(key: jax.Array, world: World, config: ShopConfig, rows: int) -> tuple[Array, Array]:
    """Shoppers `[rows]` and their clicks `[rows session_length]`, padded with 0 at the end."""
    who, first, rest, ends = jax.random.split(key, 4)
    user = jax.random.randint(who, (rows,), 1, config.shoppers + 1)

    cumulative = jnp.cumsum(jnp.exp(world.emit), axis=1)

    def click(intent: Array, key: jax.Array) -> tuple[Array, Array]:
        item_key, move_key = jax.random.split(key)
        draw = jax.random.uniform(item_key, intent.shape) * cumulative[intent, -1]
        item = jax.vmap(partial(jnp.searchsorted, side="right"))(cumulative[intent], draw)
        return jax.random.categorical(move_key, world.move[intent]), jnp.clip(item, 1, config.products)

    start = jax.random.categorical(first, world.start[user])
    _, items = jax.lax.scan(click, start, jax.random.split(rest, config.session_length))
    length = jax.random.randint(ends, (rows, 1), 3, config.session_length + 1)
    return user, jnp.where(jnp.arange(config.session_length)[None] < length, items.T, 0).astype(jnp.int32)


@partial(jax.jit, static_argnames=("config", "each"))
def draw_session_impressions(
    key: jax.Array,
    world: World,
    config: ShopConfig,
    user: Int[Array, " S"],
    items: Int[Array, " S L"],
    each: int,
) -> dict[str, Array]:
    """Products shown at random within sessions, `each` in every one, and whether they were clicked.

    An impression comes after 1 … n - 1 of the n clicks of its session. Columns: `user`, `history` (the clicks
    before it, `[R L-1]`), `item`, `hour`, `click`, and `truth`, its probability by `shop.session_click`. Each
    is drawn by itself, given the clicks before it.
    """
    keys = jax.random.split(key, 4)
    rows = each * len(user)
    user, items = jnp.repeat(user, each), jnp.repeat(items, each, axis=0)
    clicks = (items > 0).sum(1)
    known = 1 + (jax.random.uniform(keys[0], (rows,)) * jnp.maximum(clicks - 1, 1)).astype(jnp.int32)
    history = jnp.where(jnp.arange(items.shape[1] - 1)[None] < known[:, None], items[:, :-1], 0)
    item = jax.random.randint(keys[1], (rows,), 1, config.products + 1)
    hour = jax.random.randint(keys[2], (rows,), 1, len(DAYPARTS))
    truth = shop.session_click(world, user, history, item, hour)
    click = (jax.random.uniform(keys[3], (rows,)) < truth).astype(jnp.int32)
    columns = {"user": user, "history": history, "item": item, "hour": hour}
    return columns | {"click": click, "truth": truth}


def _ratings(key: jax.Array, world: World, config: ShopConfig) -> Iterator[tuple[Columns, np.ndarray]]:
    size = min(config.shoppers, max(CHUNK_NUMBERS // config.products, 1))
    for number, first in enumerate(range(1, config.shoppers + 1, size)):
        user = jnp.arange(first, first + size)
        drawn = draw_ratings(jax.random.fold_in(key, number), world, config, user % (config.shoppers + 1))
        item, stars = (np.asarray(column) for column in drawn)
        test = np.arange(item.shape[1]) >= round(item.shape[1] * (1 - TEST_SHARE))
        users = np.repeat(np.asarray(user, np.int32)[:, None], item.shape[1], axis=1)
        real = users.ravel() <= config.shoppers
        rows = {"user": users, "item": item, "stars": stars.astype(np.float32)}
        rows = {name: column.ravel()[real] for name, column in rows.items()}
        yield rows, np.tile(test, len(users))[real]


def _impressions(key: jax.Array, world: World, config: ShopConfig) -> Iterator[tuple[Columns, np.ndarray]]:
    size = min(config.impressions, 2**20)
    for number, first in enumerate(range(0, config.impressions, size)):
        drawn = draw_impressions(jax.random.fold_in(key, number), world, config, size)
        count = min(size, config.impressions - first)
        yield {name: np.asarray(column)[:count] for name, column in drawn.items()}, _last(count)


def _sessions(key: jax.Array, world: World, config: ShopConfig) -> Iterator[tuple[Columns, np.ndarray]]:
    size = min(config.sessions, max(CHUNK_NUMBERS // config.products, 1))
    for number, first in enumerate(range(0, config.sessions, size)):
        user, items = draw_sessions(jax.random.fold_in(key, number), world, config, size)
        count = min(size, config.sessions - first)
        rows = {"user": np.asarray(user, np.int32)[:count], "items": np.asarray(items)[:count]}
        yield rows, _last(count)


TASKS = {"ratings": _ratings, "impressions": _impressions, "sessions": _sessions}


def _last(count: int) -> np.ndarray:
    """True for the last fifth of a chunk's rows: its test part."""
    return np.arange(count) >= round(count * (1 - TEST_SHARE))


def _without(items: np.ndarray, known_product: int) -> np.ndarray:
    """Sessions without the clicks on products that are not sold yet, padding moved to the end."""
    items = np.where(items <= known_product, items, 0)
    order = np.argsort(items == 0, axis=1, kind="stable")
    return np.take_along_axis(items, order, axis=1)
