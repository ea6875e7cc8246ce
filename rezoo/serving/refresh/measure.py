"""A refreshed model beside the old one, on events that neither has learnt."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rezoo import evaluation
from rezoo.data import batches
from rezoo.data.interactions import Interactions
from rezoo.data.packing import at_events
from rezoo.nn.events import names
from rezoo.serving.bundle import Saved
from rezoo.serving.reads import reads_history
from rezoo.serving.refresh.events import Events, before, sequence_of
from rezoo.serving.refresh.grow import as_before, capacity, sized
from rezoo.serving.refresh.learn import Settings

MOST = 20_000
"""Held-out events that are asked about, drawn at random."""


class Measured(NamedTuple):
    """recall@k of both, as means over held-out events."""

    old: float
    new: float
    error: float
    """Standard error of their difference, paired, sequences being independent."""
    events: int
    k: int

    def __str__(self) -> str:
        return (
            f"recall@{self.k} of the newest {self.events:,} events, held out: {self.new:.4f}, before "
            f"{self.old:.4f}: {self.new - self.old:+.4f} ± {self.error:.4f}"
        )


def hits(
    saved: Saved, log: Interactions, held: np.ndarray, *, k: int = 20, length: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Whether events of a log are among the first k of the whole catalogue, after what came before them.

    Args:
      saved: the model.
      log: oldest first; its further columns are those of `events.with_columns`.
      held: bool `[n]`: what is asked for; where the model reads histories, only events with one before in
        their sequence; at most `MOST`. An event whose item the model does not know is a miss.
      k: places of a list.
      length: events before, the newest.

    Returns:
      Whether each is a hit, and its sequence.

    >>> import jax
    >>> from rezoo import recipes
    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["ann", "bob", "ann"], "item": ["tea", "tea", "cup"]})
    >>> [found.tolist() for found in hits(recipes.popularity(log, jax.random.key(0)), log, log.user > 0, k=1)]
    [[True, True, False], [1, 2, 1]]
    """
    events = Events(log.user, log.item, sequence_of(log), held, {n: log.extra[n] for n in names(saved.model)})
    at = np.flatnonzero(held)
    if len(at) > MOST:
        at = np.sort(np.random.default_rng(0).choice(at, MOST, replace=False))
    place = np.zeros((len(at), 0), np.int64)
    if reads_history(saved):
        place = before(events, at, length)
        asked = place.any(axis=1)
        at, place = at[asked], place[asked]
    if not len(at):
        return np.zeros(0, bool), np.zeros(0, np.int32)
    users, items = (
        np.append(0, ids.encode(own.raw)).astype(np.int32)
        for ids, own in ((saved.users, log.users), (saved.items, log.items))
    )
    size, spare = saved.items.size, [(0, capacity(len(at)) - len(at))]
    if hasattr(saved.model, "prefixes") and getattr(saved.model, "num_items", 0) == size:
        saved = sized(saved, capacity)  # as it was trained
    user, target = np.pad(users[log.user[at]], spare), np.pad(items[log.item[at]], spare)
    item = items[log.item]
    place = np.pad(_known(place, at_events(item, place) > 0), [*spare, (0, 0)])
    features = {name: np.asarray(column)[user] for name, column in saved.user_columns.items()}
    features |= {name: at_events(column, place) for name, column in events.columns.items()}
    query = batches.queries(user, at_events(item, place), features)
    rank = evaluation.ranks(
        as_before(saved.model), saved.variables, query, jnp.asarray(target[:, None]), num_items=size
    )
    return np.asarray(rank)[: len(at), 0] <= k, events.sequence[at]


def measure(old: Saved, new: Saved, log: Interactions, held: np.ndarray, at: Settings) -> Measured:
    """recall@k of both on the held-out events of a log, which is oldest first.

    >>> import jax
    >>> from rezoo import recipes
    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["ann", "bob", "ann"], "item": ["tea", "tea", "cup"]})
    >>> old, new = (recipes.popularity(log.take(np.array(rows)), jax.random.key(0)) for rows in ([2], [0, 1]))
    >>> measured = measure(old, new, log, np.array([True, True, False]), Settings(k=1))
    >>> measured.old, measured.new
    (0.0, 1.0)
    """
    (earlier, _), (after, sequence) = (hits(one, log, held, k=at.k, length=at.length) for one in (old, new))
    if not len(after):
        return Measured(0.0, 0.0, 0.0, 0, at.k)
    gain = after.astype(np.float64) - earlier
    left = np.bincount(np.unique(sequence, return_inverse=True)[1], gain - gain.mean())
    error = np.sqrt(np.square(left).sum() * len(left) / max(len(left) - 1, 1)) / len(gain)
    return Measured(float(earlier.mean()), float(after.mean()), float(error), len(gain), at.k)


def _known(place: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Those of each row that are known, padding at the end."""
    order = np.argsort(~known, axis=1, kind="stable")
    return np.take_along_axis(np.where(known, place, 0), order, axis=1)
