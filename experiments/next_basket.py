"""What is in a customer's next basket: recipes on Ta-Feng, by what is bought again and what is new.

    python experiments/next_basket.py --record --data-dir FOLDER  # holds tafeng.zip

Protocol of Li 2023 (https://doi.org/10.1145/3587153): each customer's last basket is to be found from those
before it, in lists of ten from the whole catalogue. recall@10, ndcg@10 (the ideal list has as many products
as fit in ten places) and phr@10, the share of customers with a hit, as means over customers; recall@10 apart
for those products of the basket that the customer bought before, and for those that are new, in these lists.
A recipe knows the order of a customer's products, but not where a basket ends. Settings are those of the
recipes, which were made for other logs; nothing is chosen by the test baskets. Counts filled up by popularity
are `TopFreq`. IALS and MF have three seeds.

                   recall@10   ndcg@10   recall@10 of what is new
    Popularity         .0803     .0875      .0573
    ItemKNN            .0815     .0639      .0514
    IALS               .0983     .0845      .0368
    MF                 .1003     .0893      .0539
    CoOccurrence       .1059     .0900      .0649
    TIFUKNN            .1305     .1147      .0169
    UPCF               .1320     .1233      .0119
    TopFreq            .1350     .1236      .0145

What is bought again is most of what can be found, and counting it is best; for what is new, lists that ignore
what a customer has are better by far.
"""

from functools import partial
from time import monotonic
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import Flags, Results, start

from rezoo import evaluation, metrics, recipes
from rezoo.data import batches
from rezoo.data.interactions import Interactions, from_columns
from rezoo.data.packing import padded
from rezoo.datasets import tafeng
from rezoo.datasets.tafeng import Baskets
from rezoo.recipes.estimate import is_random
from rezoo.serving.bundle import Saved

PROTOCOL = "last basket of each customer, whole catalogue"
RECIPES = [
    recipes.popularity,
    recipes.buy_again,
    recipes.tifu_knn,
    recipes.upcf,
    recipes.co_occurrence,
    recipes.item_knn,
    recipes.ials,
    recipes.bpr,
]


def main(flags: Flags, results: Results) -> None:
    """Every recipe on every seed."""
    data = synthetic() if flags.smoke else tafeng.load(flags.data_dir)
    users, target, again = asked(data)
    for recipe in RECIPES:
        few = {"num_epochs": 1} if flags.smoke and is_random(recipe) else {}
        seeds = min(flags.seeds, 2) if flags.smoke else flags.seeds
        for seed in range(seeds if is_random(recipe) else 1):
            begin = monotonic()
            model = recipe(data.train, jax.random.key(seed), **few)
            found = measure(model, users, target, again)
            seconds, name = monotonic() - begin, type(model.model).__name__
            with results.together():
                for metric, value in found.items():
                    row = (name, "shop" if flags.smoke else "tafeng", PROTOCOL, metric)
                    if len(results.values(*row)) <= seed:
                        results.add(*row, value, seconds=seconds / len(found))
    results.finish()


def asked(data: Baskets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Customers, the products of their last baskets `[U T]`, and which of these they bought before `[U T]`.

    A product that nobody bought before cannot be found, and is counted: it has an id beyond the catalogue.
    """
    train, test = data
    lost = np.where(test.item == 0, train.num_items, test.item)
    users = np.unique(test.user)
    target, _ = padded(users, test.user, lost)
    pairs = train.user.astype(np.int64) * (train.num_items + 1) + train.item
    again = np.isin(users[:, None].astype(np.int64) * (train.num_items + 1) + target, pairs)
    return users, target.astype(np.int32), again & (target > 0)


def measure(model: Saved, users: np.ndarray, target: np.ndarray, again: np.ndarray) -> dict[str, float]:
    """The mean of each metric over the customers for whom it has a meaning."""
    history = None if model.history is None else model.history[users]
    known = jnp.asarray(np.where(target < model.items.size, target, 0))
    rank = jax.jit(partial(evaluation.ranks, model.model, block=64))(
        model.variables, batches.queries(users, history), known
    )
    real = jnp.asarray(target > 0)
    values = {
        "recall@10": (metrics.recall(rank, where=real, k=10), real),
        "ndcg@10": (metrics.ndcg(rank, where=real, k=10), real),
        "phr@10": (metrics.hr(rank, where=real, k=10), real),
        "recall@10, bought before": (metrics.recall(rank, where=real & again, k=10), real & again),
        "recall@10, new": (metrics.recall(rank, where=real & ~again, k=10), real & ~again),
    }
    return {name: float(value[some.any(axis=1)].mean()) for name, (value, some) in values.items()}


def synthetic() -> Baskets:
    """Customers with products of their own, some of them in each basket."""
    rng = np.random.default_rng(0)

    def log(numbers: range, **ids: Any) -> Interactions:
        user = np.repeat(np.arange(60), 3 * len(numbers))
        time = np.tile(np.repeat(np.asarray(numbers), 3), 60)
        item = user % 6 * 5 + rng.integers(0, 5, len(user))
        return from_columns({"user": user, "item": item, "time": time}, unit="order", **ids)

    train = log(range(1, 6))
    return Baskets(train, log(range(6, 7), users=train.users, items=train.items))


if __name__ == "__main__":
    main(*start(__file__, __doc__, data=("tafeng.zip", "tafeng/*")))
