"""User-major training, for models whose query costs more than a score (SVD++).

Users have from a few to thousands of ratings. Padding all to the longest would waste most of the
work, so users are sorted into length buckets, each an ordinary `Batch` of its own shape: one user
per row, `history: [U L]`, `item: [U C]`. An epoch visits the batches of all buckets interleaved,
each batch with as many users as make about the same number of ratings.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from rezoo.data.packing import padded
from rezoo.training.step import shuffle, shuffle_key, take
from rezoo.types import Batch, Query, Scalars, Step, TrainState, Variables

Columns = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Parallel columns (user, item, rating), one row per rating."""


def user_major(rows: Columns, history: Columns | None = None, *, growth: float = 1.3) -> tuple[Batch, ...]:
    """One row per user of `rows`, in buckets by length.

    Args:
      rows: what is scored: the ratings to learn, or to predict.
      history: what is known of each user, N(u); `rows` itself by default.
      growth: a bucket's longest row over its shortest. Closer to 1 wastes less on padding and
        compiles more shapes.

    >>> one, two = user_major(([1, 2, 2, 2], [5, 5, 6, 7], [3.0, 4.0, 5.0, 1.0]))
    >>> one.item.tolist(), two.item.tolist(), two.label.tolist()
    ([[5]], [[5, 6, 7]], [[4.0, 5.0, 1.0]])
    """
    user, item, rating = (np.asarray(column) for column in rows)
    known = np.asarray(history[0] if history else user), np.asarray(history[1] if history else item)
    users, counts = np.unique(user, return_counts=True)
    longest = np.maximum(counts, np.bincount(known[0], minlength=users.max() + 1)[users])
    level = np.ceil(np.log(longest) / np.log(growth))

    def bucket(members: np.ndarray) -> Batch:
        items, where = padded(users[members], user, item)
        ratings, _ = padded(users[members], user, rating)
        seen = items if history is None else padded(users[members], *known)[0]
        query = Query(jnp.asarray(users[members], jnp.int32), jnp.asarray(seen, jnp.int32), {})
        label = jnp.asarray(ratings, jnp.float32)
        return Batch(query, jnp.asarray(items, jnp.int32), label, jnp.asarray(where))

    return tuple(bucket(level == value) for value in np.unique(level))


def epoch(
    step: Step, state: TrainState, buckets: Sequence[Batch], ratings_per_batch: int
) -> tuple[TrainState, Scalars]:
    """One pass over all buckets, as one `lax.scan`; jit it, like `training.epoch`.

    Each bucket's users are shuffled in each epoch. The order in which buckets take turns is fixed and even,
    so that under `vmap` over seeds every member is at the same bucket at the same time.

    Returns:
      The state and each metric's mean over the ratings seen.

    >>> query = Query(jnp.array([1, 2]), jnp.zeros((2, 0), int), {})
    >>> bucket = Batch(query, jnp.ones((2, 1), int), jnp.ones((2, 1)), jnp.ones((2, 1), bool))
    >>> state = TrainState({}, {}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    >>> step = lambda state, batch: (state._replace(step=state.step + 1), {"rows": batch.where.sum() * 1.0})
    >>> state, metrics = epoch(step, state, [bucket], ratings_per_batch=1)
    >>> int(state.step), float(metrics["rows"])
    (2, 1.0)
    """
    key = shuffle_key(state)
    orders = [batches(jax.random.fold_in(key, n), b, ratings_per_batch) for n, b in enumerate(buckets)]

    def visit(bucket: Batch, order: jax.Array):
        def run(state: TrainState, turn: jax.Array) -> tuple[TrainState, tuple[Scalars, jax.Array]]:
            batch = take(bucket, order[turn])
            state, metrics = step(state, batch)
            return state, (metrics, batch.where.sum(dtype=jnp.float32))

        return run

    branches = [visit(bucket, order) for bucket, order in zip(buckets, orders, strict=True)]

    def body(state: TrainState, at: tuple[jax.Array, jax.Array]):
        which, turn = at
        return jax.lax.switch(which, branches, state, turn)

    state, (metrics, weight) = jax.lax.scan(body, state, turns([len(order) for order in orders]))
    return state, jax.tree.map(lambda x: jnp.vdot(x, weight) / jnp.maximum(weight.sum(), 1), metrics)


def fit(
    step: Step,
    state: TrainState,
    buckets: Sequence[Batch],
    evaluate: Callable[[Variables], Scalars] | None = None,
    *,
    num_epochs: int,
    ratings_per_batch: int,
) -> tuple[TrainState, Scalars]:
    """`num_epochs` epochs, each followed by `evaluate(variables)`: `training.fit` for buckets.

    >>> query = Query(jnp.array([1, 2]), jnp.zeros((2, 0), int), {})
    >>> bucket = Batch(query, jnp.ones((2, 1), int), jnp.ones((2, 1)), jnp.ones((2, 1), bool))
    >>> state = TrainState({}, {}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    >>> step = lambda state, batch: (state._replace(step=state.step + 1), {"rows": batch.where.sum() * 1.0})
    >>> state, history = fit(step, state, [bucket], num_epochs=2, ratings_per_batch=1)
    >>> int(state.step), history["rows"].tolist()
    (4, [1.0, 1.0])
    """

    def body(state: TrainState, _: None) -> tuple[TrainState, Scalars]:
        state, metrics = epoch(step, state, buckets, ratings_per_batch)
        return state, metrics | (evaluate(state.variables) if evaluate else {})

    return jax.lax.scan(body, state, length=num_epochs)


def num_steps(buckets: Sequence[Batch], ratings_per_batch: int) -> int:
    """Steps of one epoch, for schedules.

    >>> query = Query(jnp.array([1, 2, 3]), jnp.zeros((3, 0), int), {})
    >>> bucket = Batch(query, jnp.ones((3, 2), int), jnp.ones((3, 2)), jnp.ones((3, 2), bool))
    >>> num_steps([bucket, bucket], ratings_per_batch=4)  # two users at a time: two steps for each bucket
    4
    """
    return sum(-(-len(b.item) // users_per_batch(b, ratings_per_batch)) for b in buckets)


def users_per_batch(bucket: Batch, ratings_per_batch: int) -> int:
    """As many users as have about `ratings_per_batch` ratings, padding included; at least one.

    >>> query = Query(jnp.array([1, 2, 3]), jnp.zeros((3, 0), int), {})
    >>> users_per_batch(Batch(query, jnp.ones((3, 2), int), jnp.ones((3, 2)), jnp.ones((3, 2), bool)), 4)
    2
    """
    users, longest = bucket.item.shape
    return min(max(ratings_per_batch // longest, 1), users)


def batches(key: jax.Array, bucket: Batch, ratings_per_batch: int) -> jax.Array:
    """A bucket's users in random order, `[turns users]`, the last turn filled up with -1.

    >>> query = Query(jnp.array([1, 2, 3]), jnp.zeros((3, 0), int), {})
    >>> bucket = Batch(query, jnp.ones((3, 2), int), jnp.ones((3, 2)), jnp.ones((3, 2), bool))
    >>> batches(jax.random.key(0), bucket, 4).shape  # two turns of two users, one of which is padding
    (2, 2)
    """
    users, size = len(bucket.item), users_per_batch(bucket, ratings_per_batch)
    return jnp.pad(shuffle(key, users), (0, -users % size), constant_values=-1).reshape(-1, size)


def turns(lengths: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """(bucket, its n-th batch) for every step of an epoch, each bucket's turns evenly spread.

    >>> turns([1, 2])
    (Array([1, 0, 1], dtype=int32), Array([0, 0, 1], dtype=int32))
    """
    which = np.repeat(np.arange(len(lengths)), lengths)
    turn = np.concatenate([np.arange(n) for n in lengths])
    order = np.argsort((turn + 0.5) / np.asarray(lengths)[which], kind="stable")
    return jnp.asarray(which[order], jnp.int32), jnp.asarray(turn[order], jnp.int32)
