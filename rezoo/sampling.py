"""Negative samplers: `(key, query, item [B], n) -> [B n]` item ids, never 0.

What a sampler knows of the data (counts, known positives) it holds as arrays, so that it can stand inside
`jit` and `vmap`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rezoo.arrays import at_least_1, cumulative, distinct_pairs, draw, find, finite, ids_of, in_table
from rezoo.devices.backend import pick
from rezoo.devices.meshes import everywhere, lookup
from rezoo.types import Query, Sampler

TRIES = 8
"""Draws for each negative that must not be a positive, on an accelerator."""


def uniform(num_items: int) -> Sampler:
    """Every item alike, positives too.

    Raises:
      ValueError: if there is no item above 0, or `num_items` is no whole number.
    """
    if num_items < 2:
        raise ValueError(f"num_items = {num_items} counts 0, which is no item: give 2 or more")
    at_least_1(num_items=num_items)

    def sample(key: jax.Array, query: Query, item: Int[Array, " B"], n: int) -> Int[Array, " B n"]:
        bits = jax.random.bits(key, (item.shape[0], n))
        return (bits % jnp.uint32(num_items - 1) + 1).astype(jnp.int32)

    return sample


def popularity(count: Float[Array, " N"] | np.ndarray, alpha: float | Array = 0.75) -> Sampler:
    """In proportion to count^α (Mikolov 2013, https://arxiv.org/abs/1310.4546, section 2.2).

    α = 1 is popularity, α = 0 uniform over the items that occur. `count[0]` is taken as 0. α may be
    traced, as in a `sweep.study`; the counts may not.

    Raises:
      ValueError: if no item has a count, one is below 0, or a number is not finite.
    """
    with jax.ensure_compile_time_eval():  # inside jit XLA would fold a long sum, and take its time
        occurs, log_share = _log_share(count, alpha)
        sums = cumulative(jnp.exp(log_share))

    def sample(key: jax.Array, query: Query, item: Int[Array, " B"], n: int) -> Int[Array, " B n"]:
        return occurs.at[draw(key, sums, (item.shape[0], n))].get(mode="clip")

    return sample


def log_popularity(count: Float[Array, " N"] | np.ndarray, alpha: float | Array = 0.75) -> Float[Array, " N"]:
    """Logarithm of the probability of each item under `popularity`, for a loss that corrects for it.

    An item that does not occur is never drawn; it gets the smallest of the others'.

    >>> print(jnp.exp(log_popularity(np.array([0.0, 3.0, 1.0, 0.0]), 1.0)).round(2))
    [0.25 0.75 0.25 0.25]
    """
    with jax.ensure_compile_time_eval():
        occurs, log_share = _log_share(count, alpha)
        return jnp.full(len(count), log_share.min()).at[occurs].set(log_share)


def in_batch() -> Sampler:
    """The positives of n other rows of the batch, each row the next ones in a random cycle.

    Raises:
      ValueError: of the sampler, if the batch has no n other rows.
    """

    def sample(key: jax.Array, query: Query, item: Int[Array, " B"], n: int) -> Int[Array, " B n"]:
        if n >= item.shape[0]:
            raise ValueError(f"{n} negatives of a batch of {item.shape[0]} rows: ask for fewer, or give more")
        order = jax.random.permutation(key, item.shape[0])
        place = jnp.argsort(order)
        ahead = (place[:, None] + jnp.arange(1, n + 1)[None]) % item.shape[0]
        return everywhere(item)[order[ahead]]

    return sample


def fixed(negatives: Int[Array, " U n"]) -> Sampler:
    """The first n of a given list per user, `negatives[user]`, row 0 for those beyond; NCF's test protocol.

    Raises:
      ValueError: of the sampler, if the lists are shorter than n.
    """

    def sample(key: jax.Array, query: Query, item: Int[Array, " B"], n: int) -> Int[Array, " B n"]:
        if n > negatives.shape[1]:
            raise ValueError(
                f"{n} negatives of lists of {negatives.shape[1]}: give longer ones, or ask for fewer"
            )
        user = jnp.where((query.user > 0) & (query.user < len(negatives)), query.user, 0)
        return lookup(negatives[:, :n], user)

    return sample


class Positives(NamedTuple):
    """The positives of each user, to be looked up on the device."""

    offset: Int[Array, " S"]
    """User u's items are `item[offset[u]:offset[u + 1]]`."""
    item: Int[Array, " M"]
    """Ascending within each user."""
    longest: int
    """The most items of any user."""


def positives_by_user(user: np.ndarray, item: np.ndarray, num_users: int) -> Positives:
    """The distinct pairs of a log, by user.

    Raises:
      ValueError: if the columns differ in length, an id is below 0, or a user beyond `num_users`.
      DataError: if an id is not a whole number within int32.

    >>> pairs = positives_by_user(np.array([2, 1, 2, 2]), np.array([5, 4, 3, 5]), 3)
    >>> pairs.offset.tolist(), pairs.item.tolist(), pairs.longest
    ([0, 0, 1, 3], [4, 3, 5], 2)
    """
    user, item = distinct_pairs(*map(np.asarray, ids_of(user=user, item=item)))
    in_table("user", user, num_users)
    offset = np.searchsorted(user, np.arange(num_users + 1))
    longest = int(np.diff(offset).max(initial=0))
    return Positives(jnp.asarray(offset, jnp.int32), jnp.asarray(item, jnp.int32), longest)


def are_positive(positives: Positives, user: Int[Array, " B"], item: Int[Array, " n"]) -> Bool[Array, " B n"]:
    """Which of some items, the same for all rows, are positives of the row's user.

    Walks along the positives of the batch's users, which are fewer than its B × n pairs.

    >>> pairs = positives_by_user(np.array([2, 1, 2]), np.array([5, 4, 3]), 3)
    >>> are_positive(pairs, jnp.array([2, 0]), jnp.array([5, 4, 5])).tolist()
    [[True, False, True], [False, False, False]]
    """
    rows, size = user.shape[0], positives.item.shape[0]
    if not size:
        return jnp.zeros((rows, item.shape[0]), bool)
    user = jnp.where((user > 0) & (user < positives.offset.shape[0] - 1), user, 0)
    end = positives.offset[user + 1]
    walked = jnp.cumsum(end - positives.offset[user])
    ascending = jnp.sort(item)

    def mark(state: tuple[Array, Array]) -> tuple[Array, Array]:
        step, hit = state
        step = step + jnp.arange(16 * rows)
        row = jnp.searchsorted(walked, step, side="right")
        of_row = jnp.minimum(row, rows - 1)
        positive = positives.item[jnp.minimum(end[of_row] - walked[of_row] + step, size - 1)]
        column = jnp.searchsorted(ascending, positive)
        hit = hit.at[row, column].max(ascending.at[column].get(mode="clip") == positive, mode="drop")
        return step[-1] + 1, hit

    start = jnp.int32(0), jnp.zeros((rows, item.shape[0]), bool)
    _, hit = jax.lax.while_loop(lambda state: state[0] < walked[-1], mark, start)
    return hit[:, jnp.searchsorted(ascending, item)]


def reject_positives(sampler: Sampler, positives: Positives, num_items: int, *, redraws: int = 64) -> Sampler:
    """The sampler's draws, with known positives of the row's user drawn again until none is left.

    Each further round draws an eighth of the batch, as there are seldom more to replace; on an accelerator,
    where a round is a wait for the host, there are seldom any, as the first of `TRIES` draws is taken that
    is no positive. A draw that is still a positive after `redraws` rounds is replaced by the user's next
    item that is not one, so the result is exact even for a user who knows all items but one. A user who
    knows every item gets the padding id 0.

    Args:
      sampler: draws with this distribution.
      positives: `positives_by_user(user, item, num_users)`.
      num_items: rows of the item table.
      redraws: rounds before the replacement.
    """

    def is_known(user: Array, item: Array) -> Array:
        return find(positives.offset, positives.item, user, item, longest=positives.longest) >= 0

    def sample(key: jax.Array, query: Query, item: Int[Array, " B"], n: int) -> Int[Array, " B n"]:
        query, item = everywhere((query, item))
        rows = item.shape[0]
        user = jnp.where(query.user < positives.offset.shape[0] - 1, query.user, 0).repeat(n)
        at_once = -(-rows * n // 8)

        def again(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            round_, drawn, bad = state
            (place,) = jnp.nonzero(bad, size=at_once, fill_value=rows * n)
            row = jnp.minimum(place // n, rows - 1)
            some = jax.tree.map(lambda column: column[row], query)
            fresh = sampler(jax.random.fold_in(key, round_), some, item[row], 1)[:, 0]
            drawn = drawn.at[place].set(fresh, mode="drop")
            still = is_known(user.at[place].get(mode="clip"), fresh)
            return round_ + 1, drawn, bad.at[place].set(still, mode="drop")

        tries = pick(cpu=1, accelerator=TRIES)
        drawn = sampler(jax.random.fold_in(key, 0), query, item, n * tries).reshape(-1, tries)
        bad = is_known(user.repeat(tries), drawn.ravel()).reshape(drawn.shape)
        first = bad.argmin(axis=1)[:, None]
        drawn, bad = (jnp.take_along_axis(column, first, axis=1)[:, 0] for column in (drawn, bad))
        start = jnp.int32(1), drawn, bad
        _, drawn, bad = jax.lax.while_loop(lambda s: (s[0] <= redraws) & s[2].any(), again, start)
        drawn = jax.lax.cond(
            bad.any(), lambda: jnp.where(bad, replacement(user, drawn), drawn), lambda: drawn
        )
        return drawn.reshape(rows, n)

    def replacement(user: Array, drawn: Array) -> Array:
        def move(state: tuple[Array, Array]) -> tuple[Array, Array]:
            tried, item = state
            item = jnp.where(is_known(user, item), item % (num_items - 1) + 1, item)
            return tried + 1, item

        _, moved = jax.lax.while_loop(
            lambda s: (s[0] < num_items) & is_known(user, s[1]).any(), move, (jnp.int32(0), drawn)
        )
        return jnp.where(is_known(user, moved), 0, moved)

    return sample


def _log_share(
    count: Float[Array, " N"] | np.ndarray, alpha: float | Array
) -> tuple[Int[Array, " M"], Float[Array, " M"]]:
    """The items that occur, ascending, and ln (count^α / Σ count^α) of each."""
    known = np.asarray(count, np.float64)
    if not ((known[1:] >= 0) & np.isfinite(known[1:])).all():
        raise ValueError("a count is not finite, or below 0: give how often each item occurs, by item id")
    occurs = 1 + np.flatnonzero(known[1:] > 0)
    if not len(occurs):
        raise ValueError("no item has a count: give the number of times each item occurs, by item id")
    known = known[occurs]
    finite(alpha=alpha)
    log_ratio = jnp.asarray(np.log(known / known.max()), jnp.float32)
    return jnp.asarray(occurs, jnp.int32), jax.nn.log_softmax(alpha * log_ratio)
