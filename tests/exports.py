"""Saved models for the tests of exports, and what is asked of them."""

import functools
import itertools

import numpy as np
import test_contract as zoo

from rezoo.data.ids import Ids
from rezoo.serving.bundle import Saved
from rezoo.serving.reads import rates_history

USERS, ITEMS = Ids(np.array([f"u{n}" for n in range(1, zoo.USERS)])), Ids(np.arange(10, 10 * zoo.ITEMS, 10))
WHO = ["u1", "u3", "nobody", "u6"]


@functools.cache
def saved_of(name):
    """A model of the zoo with users' features, and histories of one event to all."""
    query = zoo.queries(zoo.USERS)
    columns = {name: np.array(column) for name, column in query.features.items()}
    history = np.array(query.history)
    history[:, 0] = np.maximum(history[:, 0], 1)
    for array in (*columns.values(), history):
        array[0] = 0
    one = Saved(zoo.CASES[name].model, zoo.variables_of(name), USERS, ITEMS, columns, history=history)
    if rates_history(one):
        one = one._replace(history_rating=np.where(history > 0, 2.0 + history % 3, 0.0).astype(np.float32))
    return one


def rows(lists, count=4):
    """Items and scores of `answers.recommend`, a list for each user."""
    ends = [*np.flatnonzero(lists["rank"] == 1).tolist(), len(lists["rank"])]
    assert len(ends) == count + 1
    pairs = list(zip(lists["item"].tolist(), lists["score"].tolist(), strict=True))
    return [pairs[start:end] for start, end in itertools.pairwise(ends)]


def same_lists(ours, theirs, tolerance=1e-5):
    """The same scores, and the same items but for ties."""
    assert list(map(len, ours)) == list(map(len, theirs))
    for one, two in zip(ours, theirs, strict=True):
        score = np.array([value for _, value in two])
        np.testing.assert_allclose([value for _, value in one], score, rtol=tolerance, atol=tolerance)
        apart = np.abs(np.diff(score)) > 10 * tolerance
        settled = np.append(True, apart) & np.append(apart, False)
        found, wanted = (np.array([item for item, _ in pairs])[settled].tolist() for pairs in (one, two))
        assert found == wanted
