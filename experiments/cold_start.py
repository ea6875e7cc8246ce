"""New users and new items, known by their features alone: MovieLens-1M and the simulated shop.

    python experiments/cold_start.py --record --data-dir FOLDER  # holds ml-1m.zip
    python experiments/cold_start.py --record --data-dir FOLDER --data ml-1m --models FeatureMF

Users and items are divided into fifths at random, and in each of five divisions one fifth of both is
cold: training sees the pairs of the others only. Every rating counts as a positive. Three settings:

    cold users    the warm items that a new user took, ranked among all warm items
    cold items    the new items that a known user took, among the new items; and among the whole
                  catalogue, without what the user took in training
    both          the new items that a new user took, among the new items

Each user and item is new in one division. Known users are asked in one of their four, so that in every
setting everybody counts once, and a row is over the users of all divisions.

Users are known by age, gender and occupation (the shop: age, gender), items by genres and year (the
shop: category, price). `Popularity` has no counts for new items: they tie and have the middle rank
(and, in the whole catalogue, the last places). `Popularity of like items` gives them the mean count
of the warm items most like them. `FeatureKNN` takes neighbours by features for users and for items.
The oracle knows how the shop works, the taste of new shoppers and the appeal of new products included.

FeatureMF is trained by the softmax over all warm items, each user counting alike, FeatureNeuMF by BPR.
Penalty, share of dropped ids, and the baselines' neighbours are chosen in each division on a validation
part: the training part divided again in the same way. The test parts are looked at once, but for the
choice of FeatureMF's loss, after BPR had .476 for 1,000 new users of ml-1m. A value is a seed's mean
over the users; `sem_over_users` is the standard error over users of the mean over seeds,
`margin_in_errors` the difference to Popularity and `margin_over_like_items` that to Popularity of like
items, user by user, in standard errors, those of users and of seeds together. No paper's figures:
protocols for cold start differ from paper to paper.

ndcg@10, 5 seeds (in brackets `margin_in_errors`), ten minutes on one core but for FeatureNeuMF, which would
take two hours:

                           shop                                   ml-1m
                           users         items         both       users         items         both
    Popularity             .462          .000          .000       .472          .000          .000
    Popularity of like     .462          .070 (32)     .078 (32)  .472          .154 (59)     .153 (59)
    FeatureKNN             .577 (28)     .189 (53)     .160 (48)  .488 (11)     .226 (79)     .150 (60)
    FeatureMF              .577 (28)     .207 (58)     .155 (46)  .481 (5.1)    .176 (77)     .094 (50)
    Oracle                 .772 (67)     .578 (136)    .581 (139)

In one division alone, which is another draw of new users and items (rows "one division"):

    Popularity             .460          .000          .000       .470          .000          .000
    FeatureKNN             .559 (10)     .195 (39)     .173 (22)  .489 (5.2)    .225 (33)     .134 (24)
    FeatureMF              .567 (12)     .219 (44)     .171 (20)  .483 (3.2)    .205 (35)     .113 (23)
    FeatureNeuMF           .558 (13)     .209 (42)     .169 (20)  .473 (0.6)    .234 (32)     .145 (13)

Age, gender and occupation say little about taste in films: it takes all six thousand users of ml-1m to show
that FeatureMF is better for new users than popularity. For new items and new users there, the popularity
of like items is ahead of it. In the whole catalogue new items are still far behind (.007 and .021 for
FeatureMF).
"""

import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds
from common import Flags, Results, start
from protocols.cold import (
    KEYS,
    Columns,
    Division,
    Known,
    Scores,
    Setting,
    figure_of_merit,
    per_user,
    scorer,
    summary,
)
from protocols.feature_models import Plan, Trainer, tuned

from rezoo.data import features
from rezoo.data.features import Categorical, MultiValued, Numeric, Quantile, Spec
from rezoo.data.packing import padded
from rezoo.datasets import movielens, shop, shop_builder
from rezoo.models import FeatureKNN, Popularity
from rezoo.models.baselines import feature_knn, popularity
from rezoo.storage import durable


@dataclass(frozen=True)
class ColdFlags(Flags):
    """Flags of this experiment."""

    data: tuple[Literal["shop", "ml-1m"], ...] = ()
    """Which to measure on; all if none is given."""
    models: tuple[Literal["FeatureKNN", "FeatureMF", "FeatureNeuMF", "Oracle"], ...] = ()
    """Which models to measure beside the two of popularity; all if none is given."""


class Log(NamedTuple):
    """Distinct pairs, and features of users and items; row 0 of the tables is the unknown."""

    user: np.ndarray
    item: np.ndarray
    users: Columns
    items: Columns
    user_specs: Mapping[str, Spec]
    item_specs: Mapping[str, Spec]
    truth: Callable[[np.ndarray, np.ndarray], jax.Array] | None = None
    """The oracle's score of every pair of two lists of rows of the tables."""


class Worlds(NamedTuple):
    """A division to measure in, and one of its training part to choose settings in."""

    test: Known
    valid: Known
    asked: dict[str, Setting]
    asked_valid: dict[str, Setting]


Recipe = Callable[[Worlds], tuple[list[Scores], dict[str, Any]]]
"""Scores of every seed, and the settings that were chosen."""


class Measured(NamedTuple):
    """A model's figures."""

    values: dict[str, np.ndarray]
    """By setting and metric, `[S U]`: of every seed and user."""
    seconds: float
    chosen: dict[str, Any]


PLANS = {
    "ml-1m": {
        "FeatureMF": Plan(32, 40, 256, 1e-2, (1e-6, 1e-5), (0.5, 0.8)),
        "FeatureNeuMF": Plan(32, 8, 8192, 3e-3, (1e-4, 1e-3), (0.5, 0.8)),
    },
    "shop": {
        "FeatureMF": Plan(16, 40, 128, 1e-2, (1e-6, 1e-5), (0.3, 0.5, 0.8)),
        "FeatureNeuMF": Plan(16, 30, 4096, 3e-3, (1e-4, 1e-3), (0.3, 0.5, 0.8)),
    },
    "small shop": {
        "FeatureMF": Plan(4, 4, 32, 1e-2, (1e-6,), (0.5,)),
        "FeatureNeuMF": Plan(4, 4, 512, 1e-2, (1e-3,), (0.5,)),
    },
}
KNN = tuple((k, weight) for k in (20, 100) for weight in (0.3, 1.0, 3.0))
PROTOCOLS = {
    "cold users": "cold users, among the warm items, five divisions",
    "cold items": "cold items, among the cold items, five divisions",
    "cold items, whole": "cold items, among the whole catalogue, five divisions",
    "both": "cold users and cold items, among the cold items, five divisions",
}
BASELINES = ("Popularity", "Popularity of like items")
PARTS = 5
"""Of the users and of the items; each is new in one division."""


def divide(log: Log, part: int = 0, seed: int = 0) -> Division:
    """Make one of `PARTS` parts of the users and of the items cold; of the warm users the next is asked."""
    rng = np.random.default_rng(seed)

    def numbered(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, int]:
        present = rng.permutation(np.unique(ids))
        parts = np.array_split(present, PARTS)
        parts = parts[part + 1 :] + parts[: part + 1]
        new = np.zeros(ids.max() + 1, np.int32)
        new[np.concatenate(parts)] = np.arange(1, len(present) + 1)
        return new[ids], np.concatenate([[0], *parts]), len(present) - len(parts[-1]) + 1, len(parts[0])

    user, user_row, num_users, num_asked = numbered(log.user)
    item, item_row, num_items, _ = numbered(log.item)
    train = (user < num_users) & (item < num_items)
    pairs = user[train], item[train], user[~train], item[~train]
    return Division(*pairs, num_users, num_items, user_row, item_row, num_asked)


def training_part(log: Log, parts: Division) -> Log:
    """The warm pairs as a log of their own, to be divided again."""
    return log._replace(user=parts.user_row[parts.user], item=parts.item_row[parts.item])


def known(log: Log, parts: Division) -> Known:
    """Features of everybody, fitted on the warm."""

    def table(specs: Mapping[str, Spec], columns: Columns, row: np.ndarray, warm: int) -> Any:
        mine = {name: columns[name][row] for name in specs}
        fitted = features.fit(specs, mine, rows=np.arange(1, warm))
        return fitted.rows, fitted.transform(mine)

    user_sizes, users = table(log.user_specs, log.users, parts.user_row, parts.num_users)
    item_sizes, items = table(log.item_specs, log.items, parts.item_row, parts.num_items)
    return Known(parts, user_sizes, item_sizes, users, items)


def settings(parts: Division) -> dict[str, Setting]:
    """The three settings, and the second one in the whole catalogue too."""
    new_user, new_item = parts.test_user >= parts.num_users, parts.test_item >= parts.num_items
    asked = parts.test_user <= parts.num_asked
    item = np.arange(len(parts.item_row))
    warm, cold = (item > 0) & (item < parts.num_items), item >= parts.num_items

    def setting(rows: np.ndarray, where: np.ndarray, hide_seen: bool = False) -> Setting:
        users = np.unique(parts.test_user[rows]).astype(np.int32)
        allowed = np.tile(where, (len(users), 1))
        if hide_seen:
            place = np.searchsorted(users, parts.user)
            seen = users[np.minimum(place, len(users) - 1)] == parts.user
            allowed[place[seen], parts.item[seen]] = False
        return Setting(users, padded(users, parts.test_user[rows], parts.test_item[rows])[0], allowed)

    return {
        "cold users": setting(new_user & ~new_item, warm),
        "cold items": setting(asked & new_item, cold),
        "cold items, whole": setting(asked & new_item, warm | cold, hide_seen=True),
        "both": setting(new_user & new_item, cold),
    }


def vectors(world: Known) -> tuple[np.ndarray, np.ndarray]:
    """Users and items by their features."""
    users = feature_knn.one_hot(world.users, world.user_features)
    return users, feature_knn.one_hot(world.catalogue, world.item_features)


def neighbours(world: Known, k: int, weight: float) -> Scores:
    """FeatureKNN."""
    by = vectors(world)
    model = FeatureKNN(len(by[0]), len(by[1]))
    return scorer(world, model, feature_knn.fit(world.parts.user, world.parts.item, *by, k=k, weight=weight))


def popular(world: Known, k: int = 0) -> Scores:
    """Counts; a new item has none, or the mean count of the k warm items most like it."""
    size = len(world.parts.item_row)
    variables = popularity.fit(world.parts.item, size)
    count = np.array(variables["params"]["count"])
    if k:
        new = np.arange(size) >= world.parts.num_items
        like = feature_knn.nearest(vectors(world)[1], (count > 0) & ~new, k)
        count[new] = (like @ count)[new]
    return scorer(world, Popularity(size), {"params": {"count": jnp.asarray(count)}})


def oracle(log: Log, world: Known) -> Scores:
    """The truth, for all items."""
    assert log.truth is not None
    truth = log.truth
    return lambda users: truth(world.parts.user_row[users], world.parts.item_row)


def movielens_log(data_dir: Path | None) -> Log:
    """ML-1M, a rating being a positive."""
    loaded = movielens.load("ml-1m", manual_dir=data_dir)
    user_specs = {name: Categorical() for name in ("age", "gender", "occupation")}
    item_specs = {"genres": MultiValued(), "year": Quantile(12)}
    return Log(loaded.ratings.user, loaded.ratings.item, loaded.users, loaded.items, user_specs, item_specs)


def shop_log(folder: Path, config: shop.ShopConfig) -> Log:
    """What was bought in the shop, by everybody."""
    made = shop_builder.load(config, data_dir=folder)
    user, item = (
        np.concatenate([part[name] for part in made.ratings]).astype(np.int32) for name in ("user", "item")
    )
    specs = (
        {"age": Categorical(), "gender": Categorical()},
        {
            "category": Categorical(),
            "log_price": Numeric(),
        },
    )

    def truth(users: np.ndarray, items: np.ndarray) -> jax.Array:
        return shop.preference(made.world, config.affinity, jnp.asarray(users))[:, jnp.asarray(items)]

    return Log(user, item, made.shoppers, made.products, *specs, truth)


def worlds(log: Log, part: int) -> Worlds:
    """One of the divisions."""
    test = known(log, divide(log, part))
    inner = training_part(log, test.parts)
    valid = known(inner, divide(inner, seed=1))
    return Worlds(test, valid, settings(test.parts), settings(valid.parts))


def best_of(make: Callable[..., Scores], points: tuple[Any, ...]) -> Recipe:
    """A baseline with the settings that are best on the validation part."""

    def recipe(at: Worlds) -> tuple[list[Scores], dict[str, Any]]:
        point = max(points, key=lambda p: figure_of_merit(make(at.valid, *p), at.asked_valid))
        return [make(at.test, *point)], {"settings": str(point)}

    return recipe


def trained(name: str, plan: Plan, seeds: int) -> Recipe:
    """A feature model, likewise."""

    def recipe(at: Worlds) -> tuple[list[Scores], dict[str, Any]]:
        l2, drop = tuned(Trainer(name, at.valid, plan), at.asked_valid)
        fit = Trainer(name, at.test, plan).fitter()
        return [fit(jax.random.key(seed), l2, drop) for seed in range(seeds)], {"l2": l2, "id_dropout": drop}

    return recipe


def recipes(log: Log, plans: Mapping[str, Plan], seeds: int) -> dict[str, Recipe]:
    """Of all models."""
    found: dict[str, Recipe] = {
        "Popularity": lambda at: ([popular(at.test)], {}),
        "Popularity of like items": best_of(popular, ((5,), (20,), (100,))),
        "FeatureKNN": best_of(neighbours, KNN),
        **{name: trained(name, plan, seeds) for name, plan in plans.items()},
    }
    return found | ({"Oracle": lambda at: ([oracle(log, at.test)], {})} if log.truth else {})


def measured(file: Path, recipe: Recipe, at: Callable[[], Worlds]) -> Measured:
    """The scores of a recipe in a division, kept in a file."""
    if not file.exists():
        asked, begun = at().asked, time.monotonic()
        models, chosen = recipe(at())
        runs = [{name: per_user(scores, one) for name, one in asked.items()} for scores in models]
        values = {
            f"{name} {key}": np.stack([run[name][key] for run in runs]) for name in asked for key in KEYS
        }
        about = json.dumps({"seconds": time.monotonic() - begun, "chosen": chosen})
        with durable.file(file) as partial, partial.open("wb") as out:
            np.savez(out, about=np.array(about), **values)  # pyright: ignore[reportArgumentType]
    with np.load(file) as kept:
        values = {name: kept[name] for name in kept.files if name != "about"}
        return Measured(values, **json.loads(str(kept["about"])))


def pooled(divisions: list[Measured]) -> Measured:
    """The users of all divisions, and the settings chosen in each."""
    first = divisions[0]
    values = {name: np.concatenate([one.values[name] for one in divisions], axis=1) for name in first.values}
    chosen = {name: [one.chosen[name] for one in divisions] for name in first.chosen}
    return Measured(values, sum(one.seconds for one in divisions), chosen)


def compare(
    results: Results, dataset: str, log: Log, makes: Mapping[str, Recipe], divisions: int = PARTS
) -> None:
    """Measure every model in every division, and write rows over the users of them all."""
    found: dict[str, list[Measured]] = {name: [] for name in makes}
    for part in range(divisions):
        at = cache(partial(worlds, log, part))
        for name, make in makes.items():
            found[name].append(measured(results.out / dataset / f"{name} {part}.npz", make, at))
            new = found[name][-1].values["cold users ndcg@10"].mean()
            print(f"{dataset}, division {part + 1}: {name}, new users {new:.4f}", flush=True)
    whole = {name: pooled(each) for name, each in found.items()}
    for (name, mine), (setting, protocol), key in itertools.product(whole.items(), PROTOCOLS.items(), KEYS):
        if results.values(name, dataset, protocol, key):
            continue
        runs, base, like = (whole[n].values[f"{setting} {key}"] for n in (name, *BASELINES))
        values, notes = summary([*runs], base[0], None if name in BASELINES else like[0])
        seconds = mine.seconds / (len(PROTOCOLS) * len(KEYS))
        notes |= {"users": runs.shape[1], **mine.chosen}
        results.add(name, dataset, protocol, key, values, seconds=seconds, **notes)


def main() -> None:
    flags, results = start(__file__, __doc__, ColdFlags, data=("ml-1m*",))
    tfds.disable_progress_bar()

    def run(dataset: str, log: Callable[[], Log], seeds: int, divisions: int = PARTS) -> None:
        if flags.data and dataset not in flags.data:
            return
        makes = recipes(whole := log(), PLANS[dataset], seeds)
        wanted = {*BASELINES, *(flags.models or makes)}
        compare(results, dataset, whole, {n: m for n, m in makes.items() if n in wanted}, divisions)

    shopping = results.out / "shop"
    if flags.smoke:
        small = shop.ShopConfig(
            shoppers=200, products=60, ratings_per_shopper=12, impressions=10, sessions=10
        )
        run("small shop", lambda: shop_log(shopping, small), 2, divisions=1)
    else:
        whole = shop.ShopConfig(cold_shoppers=0.0, impressions=10, sessions=10)
        run("shop", lambda: shop_log(shopping, whole), flags.seeds)
        run("ml-1m", lambda: movielens_log(flags.data_dir), flags.seeds)
    results.finish()


if __name__ == "__main__":
    main()
