"""Splits of a log into rows to train on, to choose by, and to test on.

A split is three index arrays; `split.of(log)` takes the rows. Every row is in exactly one part,
unless a function says otherwise. What is fitted (id maps, vocabularies, means, popularity) must be
fitted on the training part alone: `refit_ids` does it for the ids. A split that is made already, in a file
for each part, is read by `files.read`, file by file; `share_ids` gives the parts one id map.
"""

from collections.abc import Sequence

import numpy as np

from rezoo.data import spelling
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions
from rezoo.data.latest import at_time, by_time, latest_per_user, leave_last, leave_one_out, rolling
from rezoo.data.parts import Split, check_count, check_shares, parts
from rezoo.errors import DataError

__all__ = [
    "Seed", "Split", "at_time", "by_time", "cold_items", "cold_users", "given", "hold_out", "k_fold",
    "latest_per_user", "leave_last", "leave_one_out", "parts", "ratio", "ratio_per_user", "refit_ids",
    "rolling", "share_ids",
]  # fmt: skip

Seed = int | np.random.Generator


def ratio(log: Interactions, *, valid: float = 0.0, test: float = 0.2, seed: Seed = 0) -> Split:
    """Random rows: a share `valid`, a share `test`, and the rest for training.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": np.arange(10), "item": np.arange(10)})
    >>> [len(rows) for rows in ratio(log, valid=0.1, test=0.2)]
    [7, 1, 2]
    """
    return _by_share(np.zeros(log.num_rows, np.int32), valid, test, seed)


def ratio_per_user(log: Interactions, *, valid: float = 0.0, test: float = 0.2, seed: Seed = 0) -> Split:
    """Random rows of each user, shares of n rows being rounded to the nearest count.

    A user keeps at least one row for training.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": np.repeat([1, 2], 5), "item": np.arange(10)})
    >>> log.user[ratio_per_user(log, test=0.2).test].tolist()  # one of five rows of each
    [1, 2]
    """
    return _by_share(log.user, valid, test, seed)


def k_fold(log: Interactions, k: int = 5, seed: Seed = 0) -> list[Split]:
    """`k` splits, whose test parts are a random partition of the rows, of equal size up to one row.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": np.arange(6), "item": np.arange(6)})
    >>> [len(fold.test) for fold in k_fold(log, 3)]
    [2, 2, 2]
    """
    check_count("k", k, 2)
    if k > log.num_rows:
        raise DataError(f"k = {k} folds of {log.num_rows} rows: choose k from 2 to the number of rows")
    return given(1 + np.random.default_rng(seed).permutation(np.arange(log.num_rows) % k))


def given(fold: np.ndarray) -> list[Split]:
    """A split for each number > 0 in `fold`, which tells in whose test part a row is; 0: in none.

    Raises:
      DataError: if they are not whole numbers, 0 or more, or all are 0.

    >>> [fold.test.tolist() for fold in given(np.array([1, 2, 1, 0]))]
    [[0, 2], [1]]
    """
    fold = np.asarray(fold)
    if fold.dtype.kind not in "iu" or fold.ndim != 1 or fold.min(initial=0) < 0 or not fold.any():
        raise DataError(
            f"fold is {fold.dtype} {list(fold.shape)}: give a whole number for each row, 0 where it is in no "
            "test part, 1 or more where it is"
        )
    return [parts(np.where(fold == number, 2, 0)) for number in np.unique(fold[fold > 0])]


def hold_out(split: Split, share: float, seed: Seed = 0) -> Split:
    """Move a random share of the training rows to `valid`, from which the settings of a fold are chosen.

    >>> fold = hold_out(given(np.array([0, 0, 0, 0, 1]))[0], 0.25)
    >>> len(fold.train), len(fold.valid), len(fold.test)
    (3, 1, 1)
    """
    moved = _by_share(np.zeros(len(split.train), np.int32), share, 0.0, seed)
    valid = np.union1d(split.valid, split.train[moved.valid])
    return split._replace(train=split.train[moved.train], valid=valid)


def cold_users(log: Interactions, *, valid: float = 0.0, test: float = 0.2, seed: Seed = 0) -> Split:
    """All rows of a random share of the users for testing: no other part knows them.

    >>> from rezoo.data.interactions import from_columns
    >>> train, valid, test = cold_users(from_columns({"user": [1, 1, 2, 2], "item": [7, 8, 7, 8]}), test=0.5)
    >>> len(train), len(test)  # one user, both rows
    (2, 2)
    """
    return _cold(log.user, valid, test, seed)


def cold_items(log: Interactions, *, valid: float = 0.0, test: float = 0.2, seed: Seed = 0) -> Split:
    """All rows of a random share of the items for testing: no other part knows them.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": [1, 1, 2, 2], "item": [7, 8, 7, 8]})
    >>> len(set(log.item[cold_items(log, test=0.5).test].tolist()))
    1
    """
    return _cold(log.item, valid, test, seed)


def refit_ids(train: Interactions, *others: Interactions) -> tuple[Interactions, ...]:
    """The logs with id maps of the training part; users and items that do not occur in it become 0.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "b", "a"], "item": [7, 8, 9]})
    >>> train, test = refit_ids(log.take(np.array([0, 2])), log.take(np.array([1, 2])))
    >>> test.item.tolist(), train.items.raw.tolist()
    ([0, 2], [7, 9])
    """
    if any(log.users != train.users or log.items != train.items for log in others):
        raise DataError("the logs have different id maps: split one log, or read all with the maps of one")
    users, user_row = train.users.only(train.user)
    items, item_row = train.items.only(train.item)
    return tuple(
        log._replace(user=user_row[log.user], item=item_row[log.item], users=users, items=items)
        for log in (train, *others)
    )


def share_ids(train: Interactions, *others: Interactions) -> tuple[Interactions, ...]:
    """Logs of separate files with the id maps of all of them: what stands first in `train` has the first ids.

    Items that `train` has not are in the catalogue too: a target among them is a miss, it is not left out.
    Ids that are integers in one file and text in another are taken as text, in which "12.0" is 12, as in
    `Ids.encode`.

    >>> from rezoo.data.interactions import from_columns
    >>> train, test = from_columns({"user": ["a"], "item": [7]}), from_columns({"user": ["b"], "item": [9]})
    >>> train, test = share_ids(train, test)
    >>> test.user.tolist(), test.item.tolist(), train.items.raw.tolist()
    ([2], [2], [7, 9])
    """
    logs = train, *others
    users, user = _united([log.users for log in logs])
    items, item = _united([log.items for log in logs])
    return tuple(
        log._replace(user=user[n][log.user], item=item[n][log.item], users=users, items=items)
        for n, log in enumerate(logs)
    )


def _united(maps: Sequence[Ids]) -> tuple[Ids, list[np.ndarray]]:
    """One map of the ids of all, and the ids in it of those of each; a name is the first that one has."""
    raw = [one.raw for one in maps]
    if len({ids.dtype.kind in "iub" for ids in raw}) > 1:
        raw = [spelling.whole(ids.astype(str)) for ids in raw]
    ids = Ids.fit(np.concatenate(raw))
    dense = [np.append(0, ids.encode(own)).astype(np.int32) for own in raw]
    if all(one.names is None for one in maps):
        return ids, dense
    names = [np.full(len(one.raw), "") if one.names is None else one.names for one in maps]
    last = np.concatenate([own[1:] for own in dense[::-1]])
    return ids.named(last, np.concatenate(names[::-1])), dense


def _by_share(group: np.ndarray, valid: float, test: float, seed: Seed) -> Split:
    """Random rows of each group, at least one of which stays for training."""
    check_shares(valid, test)
    shuffled = np.random.default_rng(seed).permutation(len(group))
    order = shuffled[np.argsort(group[shuffled], kind="stable")]
    _, start, size = np.unique(group[order], return_index=True, return_counts=True)
    start, size = np.repeat(start, size), np.repeat(size, size)
    nth = np.arange(len(group)) - start
    tests = np.minimum(np.round(size * test), size - 1)
    valids = np.minimum(np.round(size * valid), size - 1 - tests)
    part = np.zeros(len(group), np.int32)
    part[order] = np.select([nth < tests, nth < tests + valids], [2, 1], 0)
    return parts(part)


def _cold(ids: np.ndarray, valid: float, test: float, seed: Seed) -> Split:
    check_shares(valid, test)
    known = np.unique(ids[ids > 0])
    if len(known) < 2:
        raise DataError("there is only one: nobody would be left for training")
    chosen = _by_share(np.zeros(len(known), np.int32), valid, test, seed)
    part = np.zeros(ids.max() + 1, np.int32)
    part[known[chosen.valid]], part[known[chosen.test]] = 1, 2
    return parts(part[ids])
