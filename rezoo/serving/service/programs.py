"""The functions of arrays that an engine runs: observe and list, list, predict, similar, why.

They are pure, and take everything that may change as arguments, so that each is compiled once for each size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo import evaluation
from rezoo.arrays import best_places
from rezoo.evaluation import explain
from rezoo.nn.events import names
from rezoo.serving import live, two_stage
from rezoo.serving.session_buffer import Sessions, queries
from rezoo.types import Query, Variables

List = tuple[Int[Array, " B k"], Float[Array, " B k"]]
"""Ids and scores, best first; 0 and -inf where there is none."""


class Models(NamedTuple):
    """What the models are asked with: arrays only."""

    first: live.Served
    norm: Float[Array, " N"] | None = None
    """Of the item vectors, where there are any."""
    ranker: Variables | None = None
    """Of a ranker that is asked in the item ids of the first, `two_stage.renumbered`."""

    def vectors(self) -> tuple[Float[Array, " D N"], Float[Array, " N"]]:
        """The item vectors of a model that has them, and their lengths."""
        assert self.first.table is not None and self.norm is not None
        return self.first.table, self.norm


def models(first: live.Served, ranker: Variables | None = None) -> Models:
    """What is asked with, of one model, or of two."""
    norm = None if first.table is None else jnp.maximum(jnp.linalg.norm(first.table, axis=0), 1e-12)
    return Models(first, norm, ranker)


@dataclass(frozen=True, eq=False)
class Programs:
    """The functions, of one model or of two."""

    model: nn.Module
    ranker: nn.Module | None
    k: int
    """Places of lists."""
    candidates: int
    """How many items the ranker is asked about."""

    def reset(self, models: Models, sessions: Sessions, batch: Mapping[str, Any]) -> Sessions:
        """Begin the sessions that are `fresh`."""
        slot = jnp.where(batch["fresh"], batch["slot"], -1)
        none = {
            name: jnp.zeros((len(slot), 0, *x.shape[2:]), x.dtype) for name, x in sessions.columns.items()
        }
        query = Query(batch["user"], jnp.zeros((len(slot), 0), jnp.int32), {**batch["features"], **none})
        return live.begin(self.model, models.first, sessions, slot, query)

    def begin(self, models: Models, sessions: Sessions, slot: Int[Array, " B"], query: Query) -> Sessions:
        """Sessions of users with a past."""
        return live.begin(self.model, models.first, sessions, slot, query)

    def observe(self, models: Models, sessions: Sessions, batch: Mapping[str, Any]) -> Sessions:
        """One more event in each of these sessions."""
        slot, item, event = (batch[name] for name in ("slot", "item", "event"))
        return live.observe(self.model, models.first, sessions, slot, item, event)

    def step(
        self, models: Models, sessions: Sessions, batch: Mapping[str, Any], allowed: Bool[Array, " A N"]
    ) -> tuple[Sessions, List]:
        """Begin, observe, and the best allowed items of each session; A is B, or 1."""
        slot = batch["slot"]
        sessions = self.reset(models, sessions, batch)
        sessions = self.observe(models, sessions, batch)
        score = live.scores(self.model, models.first, sessions, slot, batch["context"])
        query = queries(sessions, slot)
        seen = jnp.where(batch["seen"][:, None], 0, query.history)
        exclude = jnp.concatenate([batch["exclude"], seen], axis=1)
        return sessions, self._best(models, score, query, exclude, allowed, batch)

    def ask(
        self, models: Models, query: Query, batch: Mapping[str, Any], allowed: Bool[Array, " A N"]
    ) -> List:
        """The best allowed items of each query, without a session."""
        score = live.of_queries(self.model, models.first, query)
        return self._best(models, score, query, batch["exclude"], allowed, batch)

    def _best(
        self,
        models: Models,
        score: Float[Array, " B N"],
        query: Query,
        exclude: Int[Array, " B E"],
        allowed: Bool[Array, " A N"],
        batch: Mapping[str, Any],
    ) -> List:
        score = jnp.where(allowed, score, -jnp.inf)
        score = score.at[jnp.arange(len(score))[:, None], exclude].set(-jnp.inf, mode="drop")
        if self.ranker is None or models.ranker is None:
            return best_places(score, self.k)
        item, _ = best_places(score, self.candidates)
        of_events = [*names(self.ranker), *([live.RATING] if live.RATING in query.features else [])]
        told = {name: query.features[name] for name in of_events}
        asked = Query(batch["ranker_user"], query.history, batch["ranker_features"] | told)
        return two_stage.rank(two_stage.Stage(self.ranker, models.ranker), asked, item, self.k)

    def of_session(
        self, models: Models, sessions: Sessions, slot: Int[Array, " B"], item: Int[Array, " B C"]
    ) -> Float[Array, " B C"]:
        """The score of given items for open sessions, of a model that keeps their state."""
        return jnp.take_along_axis(live.scores(self.model, models.first, sessions, slot), item, axis=1)

    def similar(self, models: Models, item: Int[Array, " B"], allowed: Bool[Array, " A N"]) -> List:
        """The allowed items whose vectors have the highest cosine with an item's."""
        table, norm = models.vectors()
        cosine = (table[:, item].T @ table) / (norm[item][:, None] * norm[None])
        cosine = cosine.at[jnp.arange(len(item)), item].set(-jnp.inf)
        return best_places(jnp.where(allowed, cosine, -jnp.inf), self.k)

    def left_out(
        self, models: Models, query: Query, item: Int[Array, " B C"], beside: Int[Array, " R"]
    ) -> Float[Array, " B C L"]:
        """What each item's score loses without each event, above what the items `beside` lose on average."""
        others = jnp.broadcast_to(beside[None], (item.shape[0], beside.shape[0]))
        both = jnp.concatenate([item, others], axis=1)
        lost = explain.leave_one_out(self.model, models.first.variables, query, both)
        count = item.shape[1]
        return lost[:, :count] - lost[:, count:].mean(axis=1, keepdims=True)

    def attention(
        self, models: Models, query: Query, item: Int[Array, " B C"], beside: Int[Array, " R"]
    ) -> Float[Array, " B C L"]:
        """The weight of each event for each item, where the model has such weights."""
        return evaluation.apply(self.model, models.first.variables, query, item, method="attention")

    def likeness(
        self, models: Models, query: Query, item: Int[Array, " B C"], beside: Int[Array, " R"]
    ) -> Float[Array, " B C L"]:
        """The cosine of each item's vector with that of each event; 0 for padding."""
        table, norm = models.vectors()
        unit = {name: table[:, ids] / norm[ids][None] for name, ids in (("c", item), ("l", query.history))}
        cosine = jnp.einsum("dbc,dbl->bcl", unit["c"], unit["l"])
        return jnp.where(query.history[:, None] > 0, cosine, 0.0)


def compiled(function: Callable[..., Any], *arguments: Any, donate: tuple[int, ...] = ()) -> Any:
    """The function, compiled for arguments of these shapes."""
    return jax.jit(function, donate_argnums=donate).lower(*arguments).compile()
