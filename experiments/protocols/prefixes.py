"""Sessions of the literature, whose every prefix is asked for the next item."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from rezoo.arrays import offsets_of
from rezoo.data import sessions
from rezoo.data.sessions import Sessions
from rezoo.datasets import session_sets

LENGTH = 30
"""Events that a model reads."""


class Data(NamedTuple):
    """Items renumbered 1, 2 … as training knows them."""

    train: Sessions
    valid: Sessions
    asked: np.ndarray
    """`[P L]`: the test prefixes."""
    target: np.ndarray
    """`[P]`, 0 = an item that training never saw."""
    num_items: int
    count: np.ndarray
    """`[N]`: clicks of each item in training."""
    cut: int
    """Test prefixes longer than `LENGTH`, of which the newest events are kept."""


def load(dataset: str, folder: Path | None) -> Data:
    """The published data set, or a simulated one for `smoke`."""
    whole = simulated() if dataset == "smoke" else session_sets.load(dataset, folder)
    known = np.unique(whole.train.items)
    number = np.zeros(max(whole.num_items, int(known.max()) + 1), np.int32)
    number[known] = np.arange(1, len(known) + 1)
    train = whole.train._replace(items=number[whole.train.items])
    cut = int(0.98 * train.num_sessions)
    kept = number[whole.test.items]
    size = np.add.reduceat(np.append(kept > 0, False).astype(int), whole.test.offsets[:-1])
    asked = sessions.pad(Sessions(kept[kept > 0], offsets_of(size)), LENGTH)
    return Data(
        train.take(np.arange(cut)),
        train.take(np.arange(cut, train.num_sessions)),
        asked,
        number[whole.target],
        len(known) + 1,
        np.bincount(train.items, minlength=len(known) + 1),
        int((size > LENGTH).sum()),
    )


def simulated() -> session_sets.SessionSet:
    """Synthetic sessions that walk along a ring of 60 items, with noise."""
    rng = np.random.default_rng(0)
    length = rng.integers(2, 9, 600)
    step = rng.integers(1, 4, length.sum())
    begin = offsets_of(length)
    walk = (np.cumsum(step) + np.repeat(rng.integers(0, 60, 600), length)) % 60 + 1
    made = Sessions(walk.astype(np.int32), begin)
    history, target = sessions.prefixes(made.take(np.arange(500, 600)), 8)
    asked = sessions.of_padded(history)
    return session_sets.SessionSet(made.take(np.arange(500)), asked, target, 61)
