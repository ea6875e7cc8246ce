"""Session neighbours: what was clicked in past sessions like this one. Nothing is trained.

Jannach, Ludewig 2017 (S-KNN), https://doi.org/10.1145/3109859.3109872; Ludewig, Jannach 2018
(VSKNN), https://arxiv.org/abs/1803.09587, section 3.2.3. With s the session, n a neighbour:

    S-KNN  sim = |s ∩ n| / √(|s| |n|),        score_i = Σ_n sim(s, n) [i ∈ n]
    VSKNN  sim = Σ_{j ∈ s ∩ n} w_j(s),        score_i = Σ_n sim(s, n) λ(s, n) idf_i [i ∈ n]

w_j weighs an event by how late it stands in s, λ by how late the last shared one does. Ties are
decided by popularity. Differs from the papers: the neighbours are sought among the `recent` newest
sessions of each item (a sample of the newest sessions there), which is what the fit keeps.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1, distinct_pairs, in_table, ranges
from rezoo.data.sessions import Sessions, pad
from rezoo.devices.meshes import each_row, lookup
from rezoo.nn.embedding import or_unknown
from rezoo.nn.model import Model
from rezoo.types import Query


def linear(steps: Array, length: Array) -> Array:
    """From 1 at the end down to 1 / length at the beginning."""
    return jnp.maximum(length - steps, 0) / jnp.maximum(length, 1)


def tenths(steps: Array, length: Array) -> Array:
    """A tenth less for each step from the end, 0 from ten steps on."""
    return jnp.maximum(1 - 0.1 * steps, 0.0) + 0 * length


def evenly(steps: Array, length: Array) -> Array:
    """1 for every event."""
    return jnp.ones_like(steps, jnp.float32) + 0 * length


Weight = Annotated[Callable[[Array, Array], Array], linear, tenths, evenly]
"""`(steps from the session's end, its length) -> weight` of an event; a model is saved with one of these."""


class VSKNN(Model):
    """Score = Σ over the `k` most similar sessions of similarity × decay × idf, plus a share < 1e-3."""

    num_items: int
    num_sessions: int
    """Of the fit, and one for padding."""
    _: KW_ONLY
    recent: int = 500
    longest: int = 30
    """Events of each session, its newest, whose items are kept."""
    k: int = 100
    memory: int = 10
    """Events of the query that are used: its newest."""
    weight: Weight = linear
    decay: Weight = tenths
    idf: bool = True

    def setup(self) -> None:
        zeros = nn.initializers.zeros
        self.sessions_of = self.param("sessions_of", zeros, (self.num_items, self.recent), jnp.int32)
        self.events_of = self.param("events_of", zeros, (self.num_sessions, self.longest), jnp.int32)
        self.share = self.param("share", zeros, (self.num_items,), jnp.float32)
        self.rarity = self.param("rarity", zeros, (self.num_items,), jnp.float32)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        def one(row: tuple[Array, Array]) -> Array:
            history, wanted = row
            return self.scores(history)[wanted]

        return each_row(one, (query.history, or_unknown(item, self.num_items)))

    def scores(self, history: Int[Array, " L"]) -> Float[Array, " N"]:
        """Of every item for one session."""
        item, steps, length = self.newest(history)
        real = item > 0
        weight = jnp.where(real, self.weight(steps, length), 0.0).astype(jnp.float32)
        session = jnp.where(real[:, None], lookup(self.sessions_of, item), 0)
        similar = jnp.zeros(self.num_sessions, jnp.float32).at[session].add(weight[:, None]).at[0].set(0.0)
        nearest = jnp.full(self.num_sessions, self.memory, steps.dtype).at[session].min(steps[:, None])
        near, chosen = self.neighbours(similar, session, real.sum())
        shared = nearest[chosen]
        value = (near * self.decay(shared, length)).astype(jnp.float32)
        events = lookup(self.events_of, chosen)
        value = jnp.where(events > 0, value[:, None], 0.0)
        score = jnp.zeros(self.num_items, jnp.float32).at[events].add(value)
        return score * (self.rarity if self.idf else 1.0) + 1e-3 * self.share

    def neighbours(self, similar: Array, session: Array, own: Array) -> tuple[Array, Array]:
        """(similarity, number) of the k sessions most like one of `own` items; 0 where there are fewer."""
        flat = session.ravel()
        place = jnp.arange(flat.shape[0], dtype=jnp.int32)
        last = jnp.zeros(self.num_sessions, jnp.int32).at[flat].max(place)
        value = jnp.where((last[flat] == place) & (flat > 0), self.similarity(similar[flat], flat, own), 0.0)
        near, at = jax.lax.top_k(value, min(self.k, flat.shape[0]))
        return near, jnp.where(near > 0, flat[at], 0)

    def similarity(self, shared: Array, session: Array, own: Array) -> Array:
        """Of sessions by the weight that they share with the query."""
        return shared

    def newest(self, history: Int[Array, " L"]) -> tuple[Array, Array, Array]:
        """(items, steps from the end, length) of the newest events; an item clicked twice counts once."""
        length = (history > 0).sum()  # with those that nobody knows, behind which others stand
        history = or_unknown(history, self.num_items)
        steps = jnp.arange(self.memory)
        item = jnp.where(steps < length, jnp.pad(history, (0, 1))[jnp.maximum(length - 1 - steps, 0)], 0)
        again = jnp.tril(item[:, None] == item[None], -1).any(axis=1)
        return jnp.where(again, 0, item), steps, length


class SKNN(VSKNN):
    """Score = Σ over the `k` most similar sessions of their cosine with this one, plus a share < 1e-3."""

    weight: Weight = evenly
    decay: Weight = evenly
    idf: bool = False

    def similarity(self, shared: Array, session: Array, own: Array) -> Array:
        """|s ∩ n| / √(|s| |n|), of the distinct items of the events that are kept."""
        other = (lookup(self.events_of, session) > 0).sum(axis=-1)
        return shared / jnp.sqrt(jnp.maximum(other * own, 1))


def fit(sessions: Sessions, num_items: int, *, recent: int = 500, longest: int = 30) -> dict[str, Any]:
    """The variables of `VSKNN(num_items, sessions.num_sessions + 1, recent=…, longest=…)` and of `SKNN`.

    `sessions` are in the order of time, the newest last.

    Raises:
      ValueError: if an item is beyond the catalogue, or `recent` or `longest` is not 1 or more.
    """
    at_least_1(recent=recent, longest=longest)
    in_table("item", sessions.items, num_items)
    events = np.sort(np.concatenate([np.zeros((1, longest), np.int32), pad(sessions, longest)]), axis=1)
    events[:, 1:][events[:, 1:] == events[:, :-1]] = 0  # an item clicked twice counts once
    number = np.repeat(np.arange(1, sessions.num_sessions + 1), sessions.lengths)
    item, session = distinct_pairs(sessions.items, number)
    size = np.bincount(item, minlength=num_items)
    kept = np.minimum(size, recent)
    end = np.cumsum(size)
    table = np.zeros((num_items, recent), np.int32)
    table[np.repeat(np.arange(num_items), kept), ranges(np.zeros_like(kept), kept)] = session[
        ranges(end - kept, kept)
    ]
    clicks = np.bincount(sessions.items, minlength=num_items)
    params = {
        "sessions_of": jnp.asarray(table),
        "events_of": jnp.asarray(events),
        "share": jnp.asarray(clicks / max(clicks.sum(), 1), jnp.float32),
        "rarity": jnp.asarray(np.log(max(sessions.num_sessions, 1) / np.maximum(size, 1)), jnp.float32),
    }
    return {"params": params}
