import numpy as np
import pytest

from rezoo.data import batches, sessions
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError

LOG = from_columns(
    {
        "user": ["ann", "bob", "ann", "ann"],
        "item": [30, 10, 20, 30],
        "rating": [5.0, 3.0, 1.0, 2.0],
        "timestamp": [4, 1, 2, 3],
    },
    unit="order",
)


def test_pairs_are_the_rows_of_the_log():
    data = batches.pairs(LOG.user, LOG.item, LOG.rating)
    assert data.query.user.tolist() == LOG.user.tolist() and data.item.tolist() == LOG.item.tolist()
    assert data.label.tolist() == [5.0, 3.0, 1.0, 2.0] and data.where.all()
    assert data.query.history.shape == (4, 0) and data.query.features == {}
    assert batches.pairs(LOG.user, LOG.item).label.tolist() == [1.0] * 4


def test_next_items_of_a_log_are_those_of_its_users_in_time():
    data = batches.next_items(LOG, 4)
    assert data.query.user.tolist() == [1, 2]
    assert data.query.history.tolist() == [[3, 1, 0, 0], [0, 0, 0, 0]]
    assert data.item.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert (np.asarray(data.where) == (np.asarray(data.item) > 0)).all()
    packed = batches.next_items(sessions.by_user(LOG), 4, packed=True)
    assert packed.item.tolist() == [[1, 1, 0, 0]] and packed.query.features["segment"].tolist() == [
        [1, 1, 0, 0]
    ]


def test_users_have_all_their_ratings():
    rows = [row for bucket in batches.by_user(LOG) for row in zip(*map(np.asarray, bucket[1:3]), strict=True)]
    assert sorted((item.tolist(), label.tolist()) for item, label in rows) == [
        ([1, 3, 1], [5.0, 1.0, 2.0]),
        ([2], [3.0]),
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batches.queries(), "rows="),
        (lambda: batches.queries([1, 2], history=[[1]]), "differ"),
        (lambda: batches.pairs(LOG.user, LOG.item, [1.0]), "each of 4 users"),
        (lambda: batches.pairs(LOG.user, LOG.item, features={"age": [1]}), "differ"),
        (lambda: batches.next_items(LOG, 3, packed=True, features={"age": [1, 2]}), "packed=False"),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_padded_rows_and_sessions_are_the_same():
    rows = sessions.pad(sessions.by_user(LOG), 5)
    assert (sessions.pad(sessions.of_padded(rows), 5) == rows).all()


def test_a_test_part_asks_for_its_items_and_leaves_out_those_of_training():
    train, test = LOG.take(np.array([0, 1, 2])), LOG.take(np.array([3]))._replace(item=np.array([0]))
    held = batches.held_out(train, test)
    assert held.query.user.tolist() == [1] and held.query.history.tolist() == [[3, 1]]  # in the order of time
    assert held.exclude.tolist() == [[3, 1]] and held.target.tolist() == [[-1]]
    with pytest.raises(DataError, match="1 rows of the test part are of users"):
        batches.held_out(train, test._replace(user=np.array([0])))
    with pytest.raises(DataError, match="no rows"):
        batches.held_out(train, test.take(np.zeros(0, int)))
    with pytest.raises(DataError, match="share_ids"):
        batches.held_out(train, from_columns({"user": ["ann"], "item": [5]}))
