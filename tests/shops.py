"""Small models that are served in the tests."""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
from helpers import init, noisy

from rezoo import recipes
from rezoo.data import features
from rezoo.data.batches import queries
from rezoo.data.ids import Ids
from rezoo.data.interactions import from_columns
from rezoo.models import DIN, MF, BiasedMF, GRU4Rec, NeuMF, Popularity, SASRec, UAutoRec, WideDeep
from rezoo.models.baselines import popularity
from rezoo.serving import saved
from rezoo.serving.bundle import Saved, probability
from rezoo.serving.service.asks import Settings
from rezoo.serving.service.catalogue import Catalogue
from rezoo.serving.service.engine import Engine
from rezoo.serving.slots import Slots

ITEMS, USERS = 40, 20
SETTINGS = Settings(sizes=(1, 4), slots=16, length=6, k=10, exclude=5, idle=100.0, items=(8,), candidates=12)


def log(seed=0):
    rng = np.random.default_rng(seed)
    return from_columns(
        {
            "user": [f"u{n}" for n in rng.integers(0, 20, 800)],
            "item": [f"p{n}" for n in np.r_[np.arange(ITEMS), rng.integers(0, ITEMS, 800 - ITEMS)]],
            "title": ["a product"] * 800,
        }
    )


@functools.cache
def model(recipe="gru4rec", seed=0):
    few = {} if recipe in ("popularity", "buy_again", "co_occurrence") else dict(dim=8, num_epochs=1)
    return getattr(recipes, recipe)(log(seed), jax.random.key(seed), **few)


@functools.cache
def _engine(recipe):
    return Engine(model(recipe), "1", SETTINGS)


def engine(recipe="gru4rec"):
    """One of a model, without sessions; all of a model share the programs, which are compiled once."""
    first = _engine(recipe)
    new = copy.copy(first)
    new.slots = Slots(SETTINGS.slots, idle=SETTINGS.idle, clock=lambda: new.now)
    new.sessions = jax.tree.map(lambda x: jnp.asarray(np.array(x)), first.sessions)
    return new


def folder(path, recipe="gru4rec", seed=0):
    saved.save(path, model(recipe, seed))
    return path


@functools.cache
def untrained(name, order=1):
    """A model of random numbers; its dense ids of items come in the order of their raw ids, or backwards."""
    rng = np.random.default_rng(3)
    users, items = (
        Ids(np.array([f"u{n}" for n in range(USERS)])),
        Ids(np.array([f"p{n}" for n in range(ITEMS)][::order])),
    )
    history = rng.integers(1, ITEMS + 1, (USERS + 1, 9)).astype(np.int32)
    history[0] = 0
    history[3, 4:] = 0
    ages = features.fit({"age": features.Categorical()}, {"age": ["", "young", "old"]})
    hours = features.fit({"hour": features.Numeric()}, {"hour": [8, 12, 20]})
    age = {"age": rng.integers(0, 3, USERS + 1).astype(np.int32)}
    sizes = USERS + 1, ITEMS + 1
    network, how = {
        "Popularity": (Popularity(sizes[1]), {}),
        "MF": (MF(*sizes, 4), {}),
        "BiasedMF": (BiasedMF(*sizes, 4, mean=3.0), {"clip": (1.0, 5.0)}),
        "NeuMF": (NeuMF(*sizes, 4, widths=(8,)), {"link": probability}),
        "WideDeep": (
            WideDeep({"user": sizes[0], "item": sizes[1], "age": 3}, dim=4, widths=(8,)),
            {"user_columns": age, "user_features": ages, "context_features": hours, "link": probability},
        ),
        "DIN": (DIN({"item": sizes[1]}, 4, widths=(8,)), {"history": history}),
        "UAutoRec": (UAutoRec(sizes[1], 4), {"history": history, "history_rating": history % 5 - 2.0}),
        "GRU4Rec": (GRU4Rec(sizes[1], 4), {"history": history}),
        "SASRec": (SASRec(sizes[1], 4, max_length=9), {"history": history}),
    }[name]
    columns = {name: jnp.asarray(one[:1]) for name, one in how.get("user_columns", {}).items()}
    columns |= {"hour": jnp.zeros(1)} if name == "WideDeep" else {}
    columns |= {"history_rating": jnp.ones((1, 3))} if name == "UAutoRec" else {}
    query = queries([0], np.ones((1, 3), np.int32), columns)
    variables = init(network, query, jnp.array([1]))
    variables = {**variables, "params": noisy(variables["params"], 0.5)}
    if name == "Popularity":
        variables = popularity.fit(rng.integers(1, ITEMS + 1, 500), ITEMS + 1)
    if "history_rating" in how:
        how["history_rating"] = np.where(history > 0, how["history_rating"], 0).astype(np.float32)
    return Saved(network, variables, users, items, **how)


TABLE = {
    "item": [f"p{n}" for n in range(ITEMS)],
    "title": [f"product {n}" for n in range(ITEMS)],
    "category": [["tea", "cup", "pot"][n % 3] for n in range(ITEMS)],
    "price": [float(n) for n in range(ITEMS)],
    "stock": [n % 7 for n in range(ITEMS)],
}


@functools.cache
def served(first, ranker=None, *, table=False):
    """An engine of untrained models; the ranker's ids are in another order."""
    second = None if ranker is None else untrained(ranker, -1)
    shelves = Catalogue.read(TABLE) if table else None
    return Engine(untrained(first), "1", SETTINGS, ranker=second, table=shelves)
