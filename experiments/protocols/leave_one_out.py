"""Sequences whose last item is to be found by those before it, and the last but one to choose by."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.arrays import offsets_of
from rezoo.data import formats, sessions
from rezoo.data.interactions import from_columns
from rezoo.data.sessions import Sessions
from rezoo.datasets import folders, movielens, s3rec

PROTOCOL = "leave-one-out, full ranking without the user's own"
LENGTH = {"ml-1m": 200, "smoke": 10}
"""Events that a model reads; 50 where no other number stands."""
BERT4REC = "https://github.com/FeiSun/BERT4Rec/tree/master/data"


class Data(NamedTuple):
    """Sequences without their last two events, and those."""

    train: Sessions
    known: Sessions
    """What the test is asked from: the validation item comes last."""
    valid: np.ndarray
    test: np.ndarray
    num_items: int
    length: int

    @property
    def count(self) -> np.ndarray:
        """`[N]`: events of each item in training."""
        return np.bincount(self.train.items, minlength=self.num_items)


def load(dataset: str, folder: Path | None) -> Data:
    """A data set by name, cut into three."""
    if dataset == "smoke":
        rng = np.random.default_rng(0)
        walk = (np.cumsum(rng.integers(1, 4, (200, 12)), axis=1) + rng.integers(0, 40, (200, 1))) % 40 + 1
        whole = Sessions(walk.ravel().astype(np.int32), np.arange(0, walk.size + 1, 12))
    elif dataset in ("ml-100k", "ml-1m"):
        ratings = movielens.load(dataset, manual_dir=folder).ratings
        often = np.bincount(ratings.item)[ratings.item] >= 5
        whole = sessions.by_id(ratings.take(often)._replace(session=ratings.user[often]))
        whole = whole._replace(items=np.unique(whole.items, return_inverse=True)[1].astype(np.int32) + 1)
    elif dataset == "amazon-beauty-bert4rec":
        file = folders.find("beauty.txt.gz", "beauty.txt", manual_dir=folder, below=dataset, source=BERT4REC)
        user, item = formats.read_sequences(file)
        whole = sessions.by_id(from_columns({"user": user, "item": item, "session": user}))
    else:
        whole = s3rec.load(dataset, folder)
    if (short := int((whole.lengths < 3).sum())) > 0:
        print(f"{short:,} of {whole.num_sessions:,} sequences have fewer than three events and are left out")
        whole = whole.take(whole.lengths >= 3)
    place = np.arange(len(whole.items))
    last = np.repeat(whole.offsets[1:], whole.lengths) - place
    train, known = (Sessions(whole.items[last > held], offsets_of(whole.lengths - held)) for held in (2, 1))
    valid, test = whole.items[last == 2], whole.items[last == 1]
    return Data(train, known, valid, test, int(whole.items.max()) + 1, LENGTH.get(dataset, 50))


def without(data: Data, items: np.ndarray) -> Data:
    """The data where nobody had these items before the test.

    Users whose validation item is one of them, or who have nothing else in training, are left out.
    """

    def kept(whole: Sessions, users: np.ndarray) -> Sessions:
        stays = ~np.isin(whole.items, items)
        lengths = np.bincount(
            np.repeat(np.arange(whole.num_sessions), whole.lengths)[stays], minlength=len(users)
        )
        return Sessions(whole.items[stays], offsets_of(lengths)).take(users)

    rest = ~np.isin(data.train.items, items)
    some = np.zeros(data.train.num_sessions, bool)
    some[np.repeat(np.arange(len(some)), data.train.lengths)[rest]] = True
    users = some & ~np.isin(data.valid, items)
    train, known = kept(data.train, users), kept(data.known, users)
    return data._replace(train=train, known=known, valid=data.valid[users], test=data.test[users])


def everything(whole: Sessions) -> jax.Array:
    """All items of a user, however old, `[U S]`."""
    return jnp.asarray(sessions.pad(whole, int(whole.lengths.max())))
