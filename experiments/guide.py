"""The guide: a page where a shopper clicks products, and two models' lists answer every click and say why.

    python experiments/guide.py                  # trains, then serves http://127.0.0.1:8000

A shop is simulated: products with names, prices and categories, shoppers of whom the age band and the taste
(the category of most of their purchases) are known, and their visits. GRU4Rec learns what is clicked next,
the first click too, from the visit and these features; CoOccurrence counts which clicks followed which. Both
are saved in --out with the table of products, and `serve.py` serves them side by side: the page shows both
lists beside the most popular products, and counts in which of them each click stood.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax
import tyro
from common import HERE, check_port, say
from protocols.next_items import with_first_event

from rezoo import recipes, training
from rezoo.data import batches, features
from rezoo.data.features import Categorical, FeatureSet
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions, from_columns
from rezoo.data.sessions import histories
from rezoo.datasets import shop, shop_builder
from rezoo.datasets.shop import ShopConfig
from rezoo.models import GRU4Rec
from rezoo.serving import answers, saved, tables
from rezoo.serving.bundle import Saved
from rezoo.training import loop

UNTOLD = 0.3
"""Share of visits in which a feature is hidden, so that a visitor may leave it out."""
SMALL = dict(shoppers=100, products=60, ratings_per_shopper=5, impressions=100, sessions=400)


@dataclass(frozen=True)
class Flags:
    """Flags of this experiment."""

    port: int = 8000
    """Port to listen at."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all."""
    out: Path = Path("runs/guide")
    """Folder of the models, the products and the events."""
    seed: int = 0
    """Of the shop and of the training."""
    smoke: bool = False
    """Train small models, ask them, and stop."""


def main(flags: Flags) -> None:
    """Train both models, and serve them."""
    check_port(flags.port)
    begin = time.monotonic()
    made = shop_builder.draw(ShopConfig(**SMALL if flags.smoke else {}), flags.seed)
    log = visits(made)
    key = jax.random.key(flags.seed)
    models = {
        "gru4rec": gru4rec(made, log, key, num_epochs=1 if flags.smoke else 8),
        "co_occurrence": recipes.co_occurrence(log, key),
    }
    for name, model in models.items():
        saved.save(flags.out / name, model)
    tables.write(products(made), flags.out / "items.csv")
    print(f"trained in {time.monotonic() - begin:.0f} s", flush=True)
    if flags.smoke:
        for name in models:
            found = answers.recommend(
                saved.load(flags.out / name), ["a stranger"], 3, on_unknown=answers.ignore
            )
            print(f"{name}: {', '.join(made.names[item] for item in found['item'])}")
        return
    folders = [str(flags.out / name) for name in models]
    command = [sys.executable, str(HERE / "serve.py"), folders[0], "--beside", folders[1]]
    command += ["--items", str(flags.out / "items.csv"), "--log", str(flags.out / "events.sqlite")]
    sys.exit(subprocess.call([*command, "--host", flags.host, "--port", str(flags.port)]))


def visits(made: shop_builder.Shop) -> Interactions:
    """The clicks of each visit as those of one customer, whose products have names."""
    clicked = made.sessions.train["items"]
    visit, place = np.nonzero(clicked)
    item = clicked[visit, place]
    every = Ids(np.arange(1, len(made.names))).named(np.arange(1, len(made.names)), made.names[1:])
    return from_columns({"user": visit, "item": item}, items=every)


def products(made: shop_builder.Shop) -> dict[str, np.ndarray]:
    """The table of products."""
    category = made.products["category"][1:]
    return {
        "item": np.arange(1, len(made.names)),
        "title": np.array(made.names[1:]),
        "category": np.array(shop.NOUNS)[category - 1],
        "price": np.round(np.exp(made.products["log_price"][1:].astype(float)), 2),
    }


def shoppers(made: shop_builder.Shop) -> tuple[FeatureSet, dict[str, np.ndarray]]:
    """Age band and taste, fitted, and their columns with a row for each shopper; row 0 is the unknown."""
    users, kinds = len(made.shoppers["age"]), len(shop.NOUNS) + 1
    bought = made.ratings.train
    count = np.zeros((users, kinds), int)
    np.add.at(count, (bought["user"], made.products["category"][bought["item"]]), 1)
    taste = np.where(count.any(axis=1), count.argmax(axis=1), 0)
    raw = {
        "age": [shop.AGES[number] if number else None for number in made.shoppers["age"]],
        "taste": [shop.NOUNS[number - 1] if number else None for number in taste],
    }
    fitted = features.fit({name: Categorical() for name in raw}, raw)
    return fitted, fitted.transform(raw)


def gru4rec(made: shop_builder.Shop, log: Interactions, key: jax.Array, *, num_epochs: int) -> Saved:
    """GRU4Rec, whose state begins with what the visitor has told."""
    fitted, columns = shoppers(made)
    known = made.sessions.train
    told = {name: column[known["user"]] for name, column in columns.items()}
    rng = np.random.default_rng(0)
    told = {name: np.where(rng.random(len(column)) < UNTOLD, 0, column) for name, column in told.items()}
    clicked = known["items"]
    model = GRU4Rec(log.num_items, 48, dropout=0.2, user_features=fitted.sizes)
    data = batches.next_items(log, clicked.shape[1] - 1, features=told)
    optimizer = optax.adam(0.004)
    step = training.make_step(with_first_event(model), optimizer)
    state = training.init_state(key, model, optimizer, data)
    epoch = jax.jit(partial(training.epoch, step, data=data, batch_size=128), donate_argnums=0)
    with loop.progress_bar() as progress:
        run = loop.run(epoch, state, num_epochs, progress=progress, description="GRU4Rec")
    mine = {name: np.zeros(log.num_users, np.int32) for name in told}
    for name, column in told.items():
        mine[name][1:] = column
    past = histories(log, clicked.shape[1])
    return Saved(model, run.best, log.users, log.items, mine, fitted, history=past)


if __name__ == "__main__":
    sys.excepthook = partial(say, flags=list(Flags.__dataclass_fields__))
    main(tyro.cli(Flags, prog="python experiments/guide.py", description=__doc__))
