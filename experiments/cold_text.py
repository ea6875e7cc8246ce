"""Products that were never sold, known by their description and price, recommended to customers.

    python experiments/cold_text.py --record --data-dir FOLDER  # holds online_retail_2010-2011.parquet

UCI Online Retail (https://doi.org/10.24432/C5BW33). The products first sold in the last 8 weeks are
new; training sees the purchases before. For every customer of both parts, the new products that they
bought are ranked among the new ones. A product is its description, as hashed n-grams of words and
characters (`data.features.Text`), and its first price. `FeatureMF` has the customer's id and these.

    Popularity                 has no sales of new products: all tie, and have the middle rank
    Popularity of like items   mean number of customers of the k products most like it by TF-IDF
    TF-IDF item-kNN            cosine of the TF-IDF vectors of the new product and of what was bought
    Hindsight                  number of customers of the new products in the test weeks themselves: no
                               recommender has it, and no list that is the same for all does better

Settings are chosen in the same way 8 weeks earlier: on products first sold then, trained on what was
before. The test part is looked at once. A value is a seed's mean over the customers; see
`cold_start.py` for `sem_over_users` and `margin_in_errors`. No paper's figures to compare with.

106 new products, 932 customers, 2 minutes; ndcg@10:

    Popularity                  0
    FeatureMF                   .212    five seeds
    Popularity of like items    .235
    TF-IDF item-kNN             .285
    Hindsight                   .352

The neighbours by description, which need no training, are ahead of the factors that FeatureMF learns from
the same words.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import start
from protocols import cold, feature_models
from protocols.cold import Division, Known, Scores, Setting, per_user, scorer
from protocols.feature_models import Plan, Trainer

from rezoo.data import clean, features, files, times
from rezoo.data.features import Numeric, Text
from rezoo.data.interactions import Interactions, from_columns
from rezoo.data.packing import padded
from rezoo.datasets import folders
from rezoo.models import FeatureKNN, Popularity
from rezoo.models.baselines import feature_knn

WEEK = 7 * 24 * 3600 * times.SECOND
SHEET = "online_retail_2010-2011.parquet"
PROTOCOL = "products first sold in the last 8 weeks, ranked among each other"
PLAN = Plan(32, 30, 512, 1e-2, (1e-6, 1e-5), (0.5, 0.9))
SMALL = Plan(4, 3, 32, 1e-2, (1e-6,), (0.5,))
NEIGHBOURS = (20, 1000)


class Part(NamedTuple):
    """New products, and the log before they were sold."""

    world: Known
    asked: Setting
    text: np.ndarray
    """TF-IDF vectors of the descriptions, `[N terms]`."""


def purchases(data_dir: Path | None) -> Interactions:
    """Purchases with a customer, oldest first."""
    source = "https://doi.org/10.24432/C5BW33, save the sheet as that"
    file = folders.find(SHEET, manual_dir=data_dir, below="online-retail", source=source)
    table = files.read_table(file)
    table, _ = clean.drop_missing(table, ["CustomerID", "Description"])
    sold = (np.asarray(table["Quantity"]) > 0) & (np.asarray(table["UnitPrice"]) > 0)
    return from_columns({name: column[sold] for name, column in table.items()}).sort_by_time()


def synthetic() -> Interactions:
    """Synthetic customers, each of whom prefers one word, and products first sold one after the other."""
    rng = np.random.default_rng(0)
    time = np.sort(rng.integers(0, 40 * WEEK // times.SECOND, 6000)) * times.SECOND
    words = np.array(["tea", "lamp", "scarf", "plant"])
    customer = rng.integers(0, 100, 6000)
    born = np.arange(120) * 40 * WEEK // 120
    item = (rng.random(6000) * np.searchsorted(born, time, side="right")).astype(int) // 4 * 4 + customer % 4
    kept = born[item % 120] <= time
    item = item[kept] % 120
    return from_columns(
        {
            "user": customer[kept],
            "item": item,
            "time": 1_300_000_000 * times.SECOND + time[kept],
            "Description": [f"{words[i % 4]} number {i}" for i in item],
            "UnitPrice": 1.0 + item % 7,
        }
    )


def part(log: Interactions, end: int, weeks: int = 8) -> Part:
    """What was sold before `end`: products of its last weeks are new."""
    assert log.timestamp is not None
    log = log.take(log.timestamp < end)
    assert log.timestamp is not None
    cut = end - weeks * WEEK
    present, first = np.unique(log.item, return_index=True)  # oldest first, so this is the first sale
    order = np.argsort(log.timestamp[first], kind="stable")
    present, first = present[order], first[order]
    warm = int((log.timestamp[first] < cut).sum()) + 1
    new = np.zeros(log.num_items, np.int32)
    new[present] = np.arange(1, len(present) + 1)
    sold = np.unique(np.stack([log.user, new[log.item], log.timestamp >= cut], 1), axis=0)
    train = sold[sold[:, 2] == 0]
    test = sold[(sold[:, 2] == 1) & (sold[:, 1] >= warm) & np.isin(sold[:, 0], train[:, 0])]
    train, test = train.astype(np.int32), test.astype(np.int32)
    pairs = train[:, 0], train[:, 1], test[:, 0], test[:, 1]
    rows = np.arange(log.num_users), np.concatenate([[0], present])
    parts = Division(*pairs, log.num_users, warm, *rows)
    raw = {"text": log.extra["Description"][first], "price": log.extra["UnitPrice"][first]}
    raw = {"text": np.array(["", *raw["text"]]), "price": np.array([np.nan, *raw["price"]])}
    specs = {"text": Text(buckets=2**14, width=48), "price": Numeric(log=True)}
    fitted = features.fit(specs, raw, rows=np.arange(1, warm))
    catalogue = fitted.transform(raw)
    world = Known(parts, {}, fitted.rows, {}, catalogue)
    users = np.unique(parts.test_user)
    where = np.tile(np.arange(len(present) + 1) >= warm, (len(users), 1))
    asked = Setting(users, padded(users, parts.test_user, parts.test_item)[0], where)
    text = feature_knn.tf_idf_vectors(catalogue["text"], fitted.sizes["text"])
    return Part(world, asked, text[:, text.any(0)])


def counted(at: Part, count: np.ndarray) -> Scores:
    """The same list for everybody."""
    return scorer(at.world, Popularity(len(count)), {"params": {"count": jnp.asarray(count, jnp.float32)}})


def like_items(at: Part, k: int) -> Scores:
    """Popularity of like items."""
    parts = at.world.parts
    count = np.bincount(parts.item, minlength=len(at.text)).astype(np.float32)
    return counted(at, feature_knn.nearest(at.text, count > 0, k) @ count)


def item_knn(at: Part, k: int) -> Scores:
    """TF-IDF item-kNN."""
    parts = at.world.parts
    nobody = np.zeros((parts.num_users, 1))
    fitted = feature_knn.fit(parts.user, parts.item, nobody, at.text, k=k)
    return scorer(at.world, FeatureKNN(parts.num_users, len(at.text)), fitted)


def main() -> None:
    flags, results = start(__file__, __doc__, data=("online*",))
    dataset = "small log" if flags.smoke else "online-retail"
    log = synthetic() if flags.smoke else purchases(flags.data_dir)
    assert log.timestamp is not None
    plan, seeds = (SMALL, 2) if flags.smoke else (PLAN, flags.seeds)
    end = int(log.timestamp.max()) + 1
    test, valid = part(log, end), part(log, end - 8 * WEEK)
    for name, one in (("validation", valid), ("test", test)):
        new = len(one.text) - one.world.parts.num_items
        pairs = f"{len(one.world.parts.user):,} pairs before"
        print(f"{name}: {pairs}; {new} new products, {len(one.asked.users):,} customers", flush=True)

    def measure(scores: Scores) -> dict[str, np.ndarray]:
        return per_user(scores, test.asked)

    def best_of(make: Callable[[Part, int], Scores]) -> tuple[list[Any], dict[str, Any]]:
        k = max(NEIGHBOURS, key=lambda k: per_user(make(valid, k), valid.asked)["ndcg@10"].mean())
        return [measure(make(test, k))], {"k": k}

    def trained() -> tuple[list[Any], dict[str, Any]]:
        asked = {setting: valid.asked for setting in cold.TUNED_FOR}
        l2, drop = feature_models.tuned(Trainer("FeatureMF", valid.world, plan), asked)
        fit = Trainer("FeatureMF", test.world, plan).fitter()
        runs = [measure(fit(jax.random.key(seed), l2, drop)) for seed in range(seeds)]
        return runs, {"l2": l2, "id_dropout": drop}

    size = len(test.text)
    base = measure(counted(test, np.zeros(size)))
    hindsight = np.bincount(test.world.parts.test_item, minlength=size)
    rows: dict[str, Callable[[], tuple[list[Any], dict[str, Any]]]] = {
        "Popularity": lambda: ([base], {}),
        "Popularity of like items": lambda: best_of(like_items),
        "TF-IDF item-kNN": lambda: best_of(item_knn),
        "FeatureMF": trained,
        "Hindsight": lambda: ([measure(counted(test, hindsight))], {}),
    }
    for name, make in rows.items():
        if results.values(name, dataset, PROTOCOL, cold.KEYS[-1]):
            continue
        begun = time.monotonic()
        runs, chosen = make()
        seconds = (time.monotonic() - begun) / len(cold.KEYS)
        with results.together():
            for key in cold.KEYS:
                values, notes = cold.summary([run[key] for run in runs], base[key])
                results.add(name, dataset, PROTOCOL, key, values, seconds=seconds, **notes, **chosen)
    results.finish()


if __name__ == "__main__":
    main()
