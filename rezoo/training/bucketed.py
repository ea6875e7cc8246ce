"""User-major training, for models whose query costs more than a score (SVD++).

Users have from a few to thousands of ratings. Padding all to the longest would waste most of the
work, so `data.batches.by_user` sorts them into length buckets, each an ordinary `Batch` of its own shape:
one user per row, `history: [U L]`, `item: [U C]`. An epoch visits the batches of all buckets interleaved,
each batch with as many users as make about the same number of ratings.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.arrays import at_least_1, whole_at_least_0
from rezoo.training.step import shuffle, shuffle_key, take
from rezoo.types import Batch, Scalars, Step, TrainState, Variables


def epoch(
    step: Step, state: TrainState, buckets: Sequence[Batch], ratings_per_batch: int
) -> tuple[TrainState, Scalars]:
    """One pass over all buckets, as one `lax.scan`; jit it, like `training.epoch`.

    Each bucket's users are shuffled in each epoch. The order in which buckets take turns is fixed and even,
    so that under `vmap` over seeds every member is at the same bucket at the same time.

    Returns:
      The state and each metric's mean over the ratings seen.

    Raises:
      ValueError: if there is no user, or `ratings_per_batch` is below 1.

    >>> from rezoo.data.batches import by_user
    >>> buckets = by_user(([1, 2], [5, 6], [3.0, 4.0]))
    >>> state = TrainState({}, {}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    >>> step = lambda state, batch: (state._replace(step=state.step + 1), {"rows": batch.where.sum() * 1.0})
    >>> state, metrics = epoch(step, state, buckets, ratings_per_batch=1)
    >>> int(state.step), float(metrics["rows"])
    (2, 1.0)
    """
    if not all(len(bucket.item) for bucket in buckets) or not buckets:
        raise ValueError("there is nobody to learn from in a bucket: give users, in one bucket or more")
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

    >>> from rezoo.data.batches import by_user
    >>> buckets = by_user(([1, 2], [5, 6], [3.0, 4.0]))
    >>> state = TrainState({}, {}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    >>> step = lambda state, batch: (state._replace(step=state.step + 1), {"rows": batch.where.sum() * 1.0})
    >>> state, history = fit(step, state, buckets, num_epochs=2, ratings_per_batch=1)
    >>> int(state.step), history["rows"].tolist()
    (4, [1.0, 1.0])
    """
    whole_at_least_0(num_epochs=num_epochs)

    def body(state: TrainState, _: None) -> tuple[TrainState, Scalars]:
        state, metrics = epoch(step, state, buckets, ratings_per_batch)
        return state, metrics | (evaluate(state.variables) if evaluate else {})

    return jax.lax.scan(body, state, length=num_epochs)


def num_steps(buckets: Sequence[Batch], ratings_per_batch: int) -> int:
    """Steps of one epoch, for schedules.

    >>> from rezoo.data.batches import by_user
    >>> buckets = by_user(([1, 1, 2, 2, 3, 3], [5, 6, 5, 6, 5, 6], [1.0] * 6))
    >>> num_steps(buckets, ratings_per_batch=4)  # three users of two ratings each, two users at a time
    2
    """
    return sum(-(-len(b.item) // users_per_batch(b, ratings_per_batch)) for b in buckets)


def users_per_batch(bucket: Batch, ratings_per_batch: int) -> int:
    """As many users as have about `ratings_per_batch` ratings, padding included; at least one.

    >>> from rezoo.data.batches import by_user
    >>> (bucket,) = by_user(([1, 1, 2, 2, 3, 3], [5, 6, 5, 6, 5, 6], [1.0] * 6))
    >>> users_per_batch(bucket, ratings_per_batch=4)
    2
    """
    at_least_1(ratings_per_batch=ratings_per_batch)
    users, longest = bucket.item.shape
    return min(max(ratings_per_batch // longest, 1), users)


def batches(key: jax.Array, bucket: Batch, ratings_per_batch: int) -> jax.Array:
    """A bucket's users in random order, `[turns users]`, the last turn filled up with -1.

    >>> from rezoo.data.batches import by_user
    >>> (bucket,) = by_user(([1, 1, 2, 2, 3, 3], [5, 6, 5, 6, 5, 6], [1.0] * 6))
    >>> batches(jax.random.key(0), bucket, 4).shape  # two turns of two users, one of which is padding
    (2, 2)
    """
    users, size = len(bucket.item), users_per_batch(bucket, ratings_per_batch)
    return jnp.pad(shuffle(key, users), (0, -users % size), constant_values=-1).reshape(-1, size)


def turns(lengths: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """(bucket, its n-th batch) for every step of an epoch, each bucket's turns evenly spread.

    >>> [x.tolist() for x in turns([1, 2])]
    [[1, 0, 1], [0, 0, 1]]
    """
    which = np.repeat(np.arange(len(lengths)), lengths)
    turn = np.concatenate([np.arange(n) for n in lengths])
    order = np.argsort((turn + 0.5) / np.asarray(lengths)[which], kind="stable")
    return jnp.asarray(which[order], jnp.int32), jnp.asarray(turn[order], jnp.int32)
