"""New users and new items, known by their features alone: MovieLens-1M and the simulated shop.

    python experiments/cold_start.py --data-dir FOLDER        # holds ml-1m.zip

A fifth of the users and a fifth of the items are cold: training sees the pairs of the others only.
Every rating counts as a positive. Three settings, each over 1,000 users drawn at random at most:

    cold users    the warm items that a new user took, ranked among all warm items
    cold items    the new items that a known user took, among the new items; and among the whole
                  catalogue, without what the user took in training
    both          the new items that a new user took, among the new items

Users are known by age, gender and occupation (the shop: age, gender), items by genres and year (the
shop: category, price). `Popularity` has no counts for new items: they tie and have the middle rank
(and, in the whole catalogue, the last places). `Popularity of like items` gives them the mean count
of the warm items most like them. `FeatureKNN` takes neighbours by features for users and for items.
The oracle knows how the shop works, the taste of new shoppers and the appeal of new products included.

FeatureMF is trained by the softmax over all warm items, each user counting alike, FeatureNeuMF by BPR.
Penalty, share of dropped ids, and the baselines' neighbours are chosen on a validation part: the
training part split again in the same way. The test part is looked at once, by FeatureMF twice: its
loss was BPR the first time (.476 for the new users of ml-1m). A value is a seed's mean over the
users; `sem_over_users` is the standard error over users of the mean over seeds, and
`margin_in_errors` the difference to Popularity in standard errors, those of users and of seeds
together. No paper's figures: protocols for cold start differ from paper to paper.

ndcg@10, 5 seeds (in brackets `margin_in_errors`):

                           shop                                   ml-1m
                           users         items         both       users         items         both
    Popularity             .460          .000          .000       .470          .000          .000
    Popularity of like     .460          .100 (26)     .094 (16)  .470          .107 (21)     .105 (21)
    FeatureKNN             .559 (10)     .195 (39)     .173 (22)  .489 (5.2)    .225 (33)     .134 (24)
    FeatureMF              .567 (12)     .219 (44)     .171 (20)  .483 (3.2)    .205 (35)     .113 (23)
    FeatureNeuMF           .558 (13)     .209 (42)     .169 (20)  .473 (0.6)    .234 (32)     .145 (13)
    Oracle                 .772 (31)     .601 (112)    .627 (75)

Age, gender and occupation say little about taste in films: for new users of ml-1m FeatureMF is 18 of
its seeds' standard errors ahead of Popularity, but only 3.2 of those over users. In the whole
catalogue new items are still far behind (.010 and .020 for FeatureMF, FeatureKNN .031 and .066).
"""

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorflow_datasets as tfds
from common import Results, start

from rezoo import evaluation, losses, metrics, objectives, sampling, sweep, training
from rezoo.data import features, movielens, shop, shop_builder
from rezoo.data.features import Categorical, MultiValued, Numeric, Quantile, Spec
from rezoo.data.packing import padded
from rezoo.models import FeatureKNN, FeatureMF, FeatureNeuMF, Popularity
from rezoo.models.baselines import feature_knn, popularity
from rezoo.types import Batch, Query

Columns = Mapping[str, np.ndarray]
Scores = Callable[[np.ndarray], jax.Array]
"""Of every item, `[U N]`, for users `[U]`."""


class Log(NamedTuple):
    """Distinct pairs, and what is known of users and items; row 0 of the tables is the unknown."""

    user: np.ndarray
    item: np.ndarray
    users: Columns
    items: Columns
    user_specs: Mapping[str, Spec]
    item_specs: Mapping[str, Spec]
    truth: Callable[[np.ndarray, np.ndarray], jax.Array] | None = None
    """The oracle's score of every pair of two lists of rows of the tables."""


class Division(NamedTuple):
    """A log whose ids are numbered anew: warm ones first, cold ones after them."""

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


class Plan(NamedTuple):
    """What a model asks for on a data set; what is tuned has several values."""

    dim: int
    epochs: int
    batch_size: int
    """Users of FeatureMF, which is trained on whole rows; pairs of FeatureNeuMF."""
    rate: float
    l2: tuple[float, ...]
    drops: tuple[float, ...]


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
    "cold users": "cold users, among the warm items",
    "cold items": "cold items, among the cold items",
    "cold items, whole": "cold items, among the whole catalogue",
    "both": "cold users and cold items, among the cold items",
}
TUNED_FOR = ("cold users", "cold items", "both")
KEYS = ("ndcg@10", "recall@10")


def divide(log: Log, share: float = 0.2, seed: int = 0) -> Division:
    """Make a share of the users and of the items cold."""
    rng = np.random.default_rng(seed)

    def numbered(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        present = rng.permutation(np.unique(ids))
        warm = len(present) - round(share * len(present))
        new = np.zeros(ids.max() + 1, np.int32)
        new[present] = np.arange(1, len(present) + 1)
        return new[ids], np.concatenate([[0], present]), warm + 1

    user, user_row, num_users = numbered(log.user)
    item, item_row, num_items = numbered(log.item)
    train = (user < num_users) & (item < num_items)
    pairs = user[train], item[train], user[~train], item[~train]
    return Division(*pairs, num_users, num_items, user_row, item_row)


def training_part(log: Log, parts: Division) -> Log:
    """The warm pairs as a log of their own, to be divided again."""
    return log._replace(user=parts.user_row[parts.user], item=parts.item_row[parts.item])


def known(log: Log, parts: Division) -> Known:
    """Features of everybody, fitted on the warm."""

    def table(specs: Mapping[str, Spec], columns: Columns, row: np.ndarray, warm: int) -> Any:
        mine = {name: columns[name][row] for name in specs}
        fitted = features.fit(specs, mine, rows=np.arange(1, warm))
        return {name: one.size for name, one in fitted.fitted.items()}, fitted.transform(mine)

    user_sizes, users = table(log.user_specs, log.users, parts.user_row, parts.num_users)
    item_sizes, items = table(log.item_specs, log.items, parts.item_row, parts.num_items)
    return Known(parts, user_sizes, item_sizes, users, items)


def settings(parts: Division, most: int = 1000) -> dict[str, Setting]:
    """The three settings, and the second one in the whole catalogue too."""
    new_user, new_item = parts.test_user >= parts.num_users, parts.test_item >= parts.num_items
    item = np.arange(len(parts.item_row))
    warm, cold = (item > 0) & (item < parts.num_items), item >= parts.num_items

    def setting(rows: np.ndarray, where: np.ndarray, hide_seen: bool = False) -> Setting:
        users = np.random.default_rng(0).permutation(np.unique(parts.test_user[rows]))[:most]
        users = np.sort(users).astype(np.int32)
        mine = rows & np.isin(parts.test_user, users)
        allowed = np.tile(where, (len(users), 1))
        if hide_seen:
            place = np.searchsorted(users, parts.user)
            seen = users[np.minimum(place, len(users) - 1)] == parts.user
            allowed[place[seen], parts.item[seen]] = False
        return Setting(users, padded(users, parts.test_user[mine], parts.test_item[mine])[0], allowed)

    return {
        "cold users": setting(new_user & ~new_item, warm),
        "cold items": setting(~new_user & new_item, cold),
        "cold items, whole": setting(~new_user & new_item, warm | cold, hide_seen=True),
        "both": setting(new_user & new_item, cold),
    }


@jax.jit
def target_ranks(score: jax.Array, target: jax.Array, where: jax.Array) -> jax.Array:
    """Ranks of the targets, infinite where they are beyond 10.

    Only the user's 20 best targets can be within 10: behind 20 others, or tied with them, one has
    the rank 11 or more.
    """
    mine = jnp.where(target > 0, jnp.take_along_axis(score, target, axis=1), -jnp.inf)
    _, place = jax.lax.top_k(mine, min(20, target.shape[1]))
    best = metrics.target_ranks(score, jnp.take_along_axis(target, place, axis=1), where=where)
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
    columns = {name: jnp.asarray(column[users]) for name, column in world.users.items()}
    return Query(jnp.asarray(users, jnp.int32), jnp.zeros((len(users), 0), jnp.int32), columns)


def scorer(world: Known, model: Any, variables: Any) -> Scores:
    """A fitted model's scores."""
    score = jax.jit(lambda query: evaluation.score_all(model, variables, query))
    return lambda users: score(asking(world, users))


class Trainer(NamedTuple):
    """Trains one of the two feature models on a division."""

    name: str
    world: Known
    plan: Plan

    def model(self, drop: Any = 0.0) -> Any:
        """The model, for the warm."""
        parts, dim = self.world.parts, self.plan.dim
        shared = parts.num_users, parts.num_items, self.world.user_features, self.world.item_features
        if self.name == "FeatureMF":
            return FeatureMF(*shared, dim, id_dropout=drop)
        return FeatureNeuMF(*shared, dim, (2 * dim, dim, dim // 2), id_dropout=drop)

    def fitter(self) -> Callable[..., Scores]:
        """`(key, l2, drop) -> scores`, compiled once.

        FeatureMF, a retriever, is trained by the softmax over all warm items, each user's row
        counting alike; FeatureNeuMF, which scores pairs, by BPR on pairs.
        """
        parts, plan, whole = self.world.parts, self.plan, self.name == "FeatureMF"
        data = rows(self.world) if whole else pairs(self.world)
        catalogue = jax.tree.map(jnp.asarray, dict(self.world.catalogue))
        warm = {name: column[: parts.num_items] for name, column in catalogue.items()}
        rate = optax.linear_schedule(
            plan.rate, 0.0, plan.epochs * training.num_steps(len(data.item), plan.batch_size)
        )
        seen = sampling.known(parts.user, parts.item, parts.num_users)
        sampler = sampling.excluding(sampling.uniform(parts.num_items), seen, parts.num_items)

        @jax.jit
        def fit(key: jax.Array, l2: jax.Array, drop: jax.Array) -> Any:
            model, optimizer = self.model(drop), optax.adam(rate)
            if whole:
                objective = objectives.every_item(model, losses.softmax_cross_entropy)
                optimizer = optax.chain(optax.add_decayed_weights(l2), optimizer)
            else:
                objective = objectives.l2(objectives.sampled(model, losses.bpr, sampler, 1), l2)
            step = training.make_step(objective, optimizer)
            state = training.init_state(key, model, optimizer, data, constants={"catalogue": warm})
            done, _ = training.fit(step, state, data, num_epochs=plan.epochs, batch_size=plan.batch_size)
            return {**done.variables, "catalogue": catalogue}

        return lambda key, l2, drop: scorer(self.world, self.model(), fit(key, l2, drop))


def pairs(world: Known) -> Batch:
    """A training pair per row."""
    user, item = world.parts.user, jnp.asarray(world.parts.item)
    return Batch(asking(world, user), item, jnp.ones(item.shape), jnp.ones(item.shape, bool))


def rows(world: Known) -> Batch:
    """A user per row, whose items' labels sum to 1."""
    users = np.unique(world.parts.user)
    item, where = padded(users, world.parts.user, world.parts.item)
    label = jnp.asarray(where / where.sum(1, keepdims=True), jnp.float32)
    return Batch(asking(world, users), jnp.asarray(item, jnp.int32), label, jnp.asarray(where))


def tuned(trainer: Trainer, asked: dict[str, Setting]) -> tuple[float, float]:
    """The penalty and the share of dropped ids that are best on the validation part."""
    points = [(l2, drop) for l2 in trainer.plan.l2 for drop in trainer.plan.drops]
    if len(points) == 1:
        return points[0]
    fit, found = trainer.fitter(), {}
    for point in points:
        found[point] = figure_of_merit(fit(jax.random.key(0), *point), asked)
        print(f"validation: {trainer.name} l2 {point[0]} dropped {point[1]}: {found[point]:.4f}", flush=True)
    return max(found, key=lambda point: found[point])


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


def summary(runs: list[np.ndarray], base: np.ndarray) -> tuple[list[float], dict[str, float]]:
    """Each seed's mean over the users, and how sure the mean and its distance to `base` are."""
    values = np.stack(runs)
    apart = values.mean(0) - base
    users = float(apart.std(ddof=1) / len(apart) ** 0.5)
    seeds = float(sweep.summarise(values.mean(1)).standard_error) if len(values) > 1 else 0.0
    total = (users**2 + seeds**2) ** 0.5
    notes = {"sem_over_users": float(values.mean(0).std(ddof=1) / values.shape[1] ** 0.5)}
    if total:
        notes["margin_in_errors"] = round(float(apart.mean()) / total, 1)
    return values.mean(1).tolist(), notes


def compare(results: Results, dataset: str, log: Log, plans: Mapping[str, Plan], seeds: int) -> None:
    """Tune everything on the validation part, and look at the test part once."""

    def is_there(name: str) -> bool:
        return bool(results.values(name, dataset, PROTOCOLS["both"], KEYS[-1]))

    test = known(log, divide(log))
    valid_log = training_part(log, test.parts)
    valid = known(valid_log, divide(valid_log, seed=1))
    asked, asked_valid = settings(test.parts), settings(valid.parts)
    print(f"{dataset}: {len(test.parts.user):,} pairs to learn from", flush=True)

    def measure(scores: Scores) -> dict[str, dict[str, np.ndarray]]:
        return {name: per_user(scores, one) for name, one in asked.items()}

    base = measure(popular(test))

    def row(name: str, make: Callable[[], tuple[list[Any], dict[str, Any]]]) -> None:
        if is_there(name):
            return
        begun = time.monotonic()
        runs, chosen = make()
        seconds = (time.monotonic() - begun) / (len(PROTOCOLS) * len(KEYS))
        for (setting, protocol), key in itertools.product(PROTOCOLS.items(), KEYS):
            values, notes = summary([run[setting][key] for run in runs], base[setting][key])
            results.add(name, dataset, protocol, key, values, seconds=seconds, **notes, **chosen)

    def best_of(make: Callable[..., Scores], points: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any]]:
        point = max(points, key=lambda p: figure_of_merit(make(valid, *p), asked_valid))
        return [measure(make(test, *point))], {"settings": str(point)}

    def trained(name: str) -> tuple[list[Any], dict[str, Any]]:
        l2, drop = tuned(Trainer(name, valid, plans[name]), asked_valid)
        fit = Trainer(name, test, plans[name]).fitter()
        runs = [measure(fit(jax.random.key(seed), l2, drop)) for seed in range(seeds)]
        return runs, {"l2": l2, "id_dropout": drop}

    row("Popularity", lambda: ([base], {}))
    row("Popularity of like items", lambda: best_of(popular, ((5,), (20,), (100,))))
    row("FeatureKNN", lambda: best_of(neighbours, KNN))
    for name in ("FeatureMF", "FeatureNeuMF"):
        row(name, lambda name=name: trained(name))
    if log.truth:
        row("Oracle", lambda: ([measure(oracle(log, test))], {}))


def main() -> None:
    flags, results = start(__file__, __doc__)
    tfds.disable_progress_bar()
    if flags.smoke:
        small = shop.ShopConfig(
            shoppers=200, products=60, ratings_per_shopper=12, impressions=10, sessions=10
        )
        compare(results, "small shop", shop_log(results.out / "shop", small), PLANS["small shop"], 2)
    else:
        whole = shop.ShopConfig(cold_shoppers=0.0, impressions=10, sessions=10)
        compare(results, "shop", shop_log(results.out / "shop", whole), PLANS["shop"], flags.seeds)
        compare(results, "ml-1m", movielens_log(flags.data_dir), PLANS["ml-1m"], flags.seeds)
    results.finish()


if __name__ == "__main__":
    main()
