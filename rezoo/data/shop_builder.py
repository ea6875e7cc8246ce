"""The simulated shop as a TFDS data set: made once, in chunks, and read back as NumPy columns.

    shop = shop_builder.load(ShopConfig(), data_dir="runs/shop")
    shop.ratings.train["stars"]

or, where a small one is wanted for a moment, `draw(ShopConfig(shoppers=500))`.

What depends on chance is drawn from `fold_in(key, chunk)`, so a shop of any size takes the memory
of a chunk to make, and the same seed makes the same shop.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds

from rezoo.data import shop
from rezoo.data.shop import ShopConfig, World

Columns = dict[str, np.ndarray]
TEST_SHARE = 0.2
KINDS = dict.fromkeys(("user", "item", "hour", "click", "purchase", "items"), np.int32)
KINDS |= dict.fromkeys(("stars", "logit"), np.float32)
CHUNK_NUMBERS = 2**24
"""Largest number of scores that one chunk may take."""


class Parts(NamedTuple):
    """A task's rows, as columns."""

    train: Columns
    test: Columns
    """Drawn after the training rows; cold shoppers and cold products are in it alone."""


class Shop(NamedTuple):
    """A prepared shop. Ids are dense from 1; row 0 of `shoppers` and `products` is the unknown."""

    config: ShopConfig
    world: World
    """The truth, for the oracles."""
    shoppers: Columns
    """`age`, `gender`: `[U]`."""
    products: Columns
    """`category`, `log_price`: `[N]`."""
    names: list[str]
    ratings: Parts
    """`user`, `item`, `stars`; also the implicit feedback: these products were bought."""
    impressions: Parts
    """`user`, `item`, `hour`, `click`, `purchase`, and `logit`, the truth."""
    sessions: Parts
    """`user` `[S]` and `items` `[S session_length]`, padded with 0 at the end."""


def load(config: ShopConfig | None = None, seed: int = 0, *, data_dir: str | Path) -> Shop:
    """Prepare the shop under `data_dir`, unless it is there already, and read it.

    Args:
      config: sizes and switches; `ShopConfig()` by default.
      seed: of everything that is drawn.
      data_dir: folder of prepared shops.
    """
    config = config or ShopConfig()
    builder = ShopBuilder(
        config=_builder_config(config, seed), data_dir=str(data_dir), file_format="array_record"
    )
    builder.download_and_prepare()

    def columns(task: str, part: str) -> Columns:
        chunks = list(builder.as_data_source(f"{task}_{part}"))  # pyright: ignore[reportCallIssue]
        whole = {field: np.concatenate([chunk[field] for chunk in chunks]) for field in chunks[0]}
        if len(whole["items"]):
            whole["items"] = whole["items"].reshape(-1, config.session_length)
        return {field: column for field, column in whole.items() if len(column)}

    return _shop(config, seed, columns)


def draw(config: ShopConfig | None = None, seed: int = 0) -> Shop:
    """The shop of `load`, drawn into memory and kept nowhere: for a small one, in a notebook or a test."""
    config = config or ShopConfig()

    def columns(task: str, part: str) -> Columns:
        drawn = list(chunks(config, seed, task, part))
        return {field: np.concatenate([chunk[field] for chunk in drawn]) for field in drawn[0]}

    return _shop(config, seed, columns)


def _shop(config: ShopConfig, seed: int, columns: Callable[[str, str], Columns]) -> Shop:
    world = shop.world(jax.random.key(seed), config)

    def parts(task: str) -> Parts:
        return Parts(columns(task, "train"), columns(task, "test"))

    return Shop(
        config,
        world,
        {"age": np.asarray(world.age), "gender": np.asarray(world.gender)},
        {"category": np.asarray(world.category), "log_price": np.asarray(world.log_price)},
        shop.product_names(np.asarray(world.category), seed),
        *map(parts, TASKS),
    )


class ShopBuilder(tfds.core.GeneratorBasedBuilder):
    """One example is one chunk of columns, flattened; see `load`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        columns = {name: tfds.features.Tensor(shape=(None,), dtype=kind) for name, kind in KINDS.items()}
        return tfds.core.DatasetInfo(
            builder=self,
            description=shop.__doc__,
            disable_shuffling=True,
            features=tfds.features.FeaturesDict(columns),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {
            f"{task}_{part}": self._generate_examples(task, part)
            for task in TASKS
            for part in ("train", "test")
        }

    def _generate_examples(self, task: str, part: str) -> Iterator[tuple[int, Columns]]:
        made: Any = self.builder_config
        empty = {name: np.zeros(0, kind) for name, kind in KINDS.items()}
        for number, chunk in enumerate(chunks(made.shop, made.seed, task, part)):
            yield number, empty | {name: column.ravel() for name, column in chunk.items()}


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


def _ratings(key: jax.Array, world: World, config: ShopConfig) -> Iterator[tuple[Columns, np.ndarray]]:
    size = min(config.shoppers, max(CHUNK_NUMBERS // config.products, 1))
    for number, first in enumerate(range(1, config.shoppers + 1, size)):
        user = jnp.arange(first, first + size)
        drawn = shop.draw_ratings(
            jax.random.fold_in(key, number), world, config, user % (config.shoppers + 1)
        )
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
        drawn = shop.draw_impressions(jax.random.fold_in(key, number), world, config, size)
        count = min(size, config.impressions - first)
        yield {name: np.asarray(column)[:count] for name, column in drawn.items()}, _last(count)


def _sessions(key: jax.Array, world: World, config: ShopConfig) -> Iterator[tuple[Columns, np.ndarray]]:
    size = min(config.sessions, max(CHUNK_NUMBERS // config.products, 1))
    for number, first in enumerate(range(0, config.sessions, size)):
        user, items = shop.draw_sessions(jax.random.fold_in(key, number), world, config, size)
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


class _BuilderConfig(tfds.core.BuilderConfig):
    shop: ShopConfig
    seed: int


def _builder_config(config: ShopConfig, seed: int) -> _BuilderConfig:
    digest = hashlib.sha256(repr((astuple(config), seed)).encode()).hexdigest()[:12]
    made = _BuilderConfig(name=digest, description=f"{config}, seed {seed}")
    made.shop, made.seed = config, seed
    return made
