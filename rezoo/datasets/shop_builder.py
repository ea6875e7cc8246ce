"""The simulated shop as a TFDS data set: made once, in chunks, and read back as NumPy columns.

    shop = shop_builder.load(ShopConfig(), data_dir="runs/shop")
    shop.ratings.train["stars"]

or, for a small one in memory, `draw(ShopConfig(shoppers=500))`.

What depends on chance is drawn from `fold_in(key, chunk)`, so a shop of any size takes the memory
of a chunk to make, and the same seed makes the same shop.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds

from rezoo.data import batches, prepared
from rezoo.datasets import shop
from rezoo.datasets.shop import ShopConfig, World
from rezoo.datasets.shop_rows import TASKS, Columns, chunks
from rezoo.types import Batch

KINDS = dict.fromkeys(("user", "item", "hour", "click", "purchase", "items"), np.int32)
KINDS |= dict.fromkeys(("stars", "logit"), np.float32)


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

    @property
    def table_rows(self) -> dict[str, int]:
        """The rows of a table for each categorical column of impressions, the unknown's included."""
        return {
            "user": len(self.shoppers["age"]),
            "item": len(self.products["category"]),
            "hour": len(shop.DAYPARTS),
            "age": len(shop.AGES),
            "gender": len(shop.GENDERS),
            "category": len(shop.NOUNS) + 1,
        }

    @property
    def catalogue(self) -> dict[str, jax.Array]:
        """`products`, as constants of a model that reads item features."""
        return {name: jnp.asarray(column) for name, column in self.products.items()}

    def impression_batch(self, columns: Mapping[str, np.ndarray]) -> Batch:
        """Rows of `impressions` with the shoppers' features and the hour; the label is the click."""
        features = {name: column[columns["user"]] for name, column in self.shoppers.items()}
        features["hour"] = columns["hour"]
        return batches.pairs(columns["user"], columns["item"], columns["click"], features=features)


def load(config: ShopConfig | None = None, seed: int = 0, *, data_dir: str | Path) -> Shop:
    """Prepare the shop under `data_dir`, unless it is there already, and read it.

    Args:
      config: sizes and switches; `ShopConfig()` by default.
      seed: of everything that is drawn.
      data_dir: folder of prepared shops.

    Raises:
      DataError: if what was prepared is damaged.
    """
    config = config or ShopConfig()
    builder = prepared.builder(ShopBuilder, _builder_config(config, seed), data_dir)

    def columns(task: str, part: str) -> Columns:
        whole = prepared.columns(builder, f"{task}_{part}")
        if len(whole["items"]):
            whole["items"] = whole["items"].reshape(-1, config.session_length)
        return {field: column for field, column in whole.items() if len(column)}

    return _shop(config, seed, columns)


def draw(config: ShopConfig | None = None, seed: int = 0) -> Shop:
    """The shop of `load`, drawn into memory and not saved: for a small one, in a notebook or a test."""
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


class _BuilderConfig(tfds.core.BuilderConfig):
    shop: ShopConfig
    seed: int


def _builder_config(config: ShopConfig, seed: int) -> _BuilderConfig:
    digest = hashlib.sha256(repr((astuple(config), seed)).encode()).hexdigest()[:12]
    made = _BuilderConfig(name=digest, description=f"{config}, seed {seed}")
    made.shop, made.seed = config, seed
    return made
