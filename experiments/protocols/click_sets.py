"""Clicks in three parts: apps in their context, movies that were liked, a sample of Criteo's log."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from protocols.clicks import Data, pairs
from rezoo.data import batches, features, split
from rezoo.data.features import Categorical, MultiValued, Quantile
from rezoo.data.interactions import Interactions
from rezoo.datasets import criteo, folders, frappe, movielens
from rezoo.types import Batch

HISTORY = 20
"""Movies that the user liked before, at most."""
CRITEO = "criteo-sample-10k"


def likes(folder: Path | None, dataset: str = "ml-1m") -> Data:
    """MovieLens' three parts; the features of movies are in the catalogue."""
    ml = movielens.load(dataset, manual_dir=folder)
    log = ml.ratings.take(np.asarray(ml.ratings.rating) != 3)
    about_users = {**ml.users, "zip": np.array([str(code)[:2] for code in ml.users["zip"]])}
    of_users = features.fit(dict.fromkeys(("age", "gender", "occupation", "zip"), Categorical()), about_users)
    of_items = features.fit({"genres": MultiValued(), "year": Quantile(20)}, ml.items)
    users, items = of_users.transform(about_users), of_items.transform(ml.items)

    parts = split.ratio(log, valid=0.1, test=0.1).of(log)
    liked = parts[0].take(np.asarray(parts[0].rating) > 3)

    def part(rows: Interactions) -> Batch:
        columns = {"user": rows.user, "item": rows.item, **{n: c[rows.user] for n, c in users.items()}}
        made = pairs(columns, (np.asarray(rows.rating) > 3).astype(np.float32))
        history = jnp.asarray(items_before(rows, liked, HISTORY))
        return made._replace(query=made.query._replace(history=history))

    train, valid, test = map(part, parts)
    sizes = {"user": log.num_users, "item": log.num_items, **of_users.sizes, **of_items.sizes}
    catalogue = {name: jnp.asarray(column) for name, column in items.items()}
    protocol = "rating > 3, without 3; random 8:1:1 (seed 0)"
    return Data(train, valid, test, sizes, {"catalogue": catalogue}, dataset, protocol)


def items_before(rows: Interactions, log: Interactions, length: int) -> np.ndarray:
    """`[rows, length]`: the last items of each row's user in the log, before the row's time."""
    assert rows.timestamp is not None and log.timestamp is not None
    log = log.take(np.lexsort((log.timestamp, log.user)))
    assert log.timestamp is not None
    moments, when = np.unique(np.append(log.timestamp, rows.timestamp), return_inverse=True)
    owner = np.append(log.user, rows.user).astype(np.int64)
    code, cut = owner * len(moments) + when, log.num_rows  # user and time as one number
    end = np.searchsorted(code[:cut], code[cut:])
    start = np.maximum(np.searchsorted(log.user, rows.user), end - length)
    place = start[:, None] + np.arange(length)
    real = place < end[:, None]
    return np.where(real, log.item[np.where(real, place, 0)], 0).astype(np.int32)


def apps(folder: Path | None) -> Data:
    """Frappe's three parts."""
    loaded = frappe.load(folder)
    train, valid, test = (pairs(*part) for part in (loaded.train, loaded.valid, loaded.test))
    note = ", train negatives re-sampled" if loaded.resampled else ""
    return Data(train, valid, test, loaded.sizes, {}, "frappe", f"official valid and test{note}")


def criteo_sample(folder: Path | None) -> Data:
    """10,000 lines of Criteo's log in their order; neither users nor items are known."""
    source = "https://github.com/shichence/AutoInt"
    name, archive = "train_examples.txt", f"{CRITEO}.zip"
    clicks = criteo.read(folders.member(name, archive, manual_dir=folder, below=CRITEO, source=source))
    cuts = np.split(np.arange(len(clicks.label)), [8000, 9000])
    parts = [
        criteo.Clicks(clicks.label[rows], {n: c[rows] for n, c in clicks.columns.items()}) for rows in cuts
    ]
    fields = criteo.fit(parts[0])

    def part(rows: criteo.Clicks) -> Batch:
        query = batches.queries(features=fields.transform(criteo.classes(rows)))
        return Batch(query, query.user, jnp.asarray(rows.label), jnp.ones(len(rows.label), bool))

    train, valid, test = map(part, parts)
    protocol = "first 80% of the lines for training, then 10% validation, 10% test"
    return Data(train, valid, test, {**fields.sizes, "user": 1, "item": 1}, {}, CRITEO, protocol)
