"""Next items: training from the first event on, and recall by the number of known events of a session."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rezoo import losses, objectives
from rezoo.types import Aux, Batch, Objective, Variables


def with_first_event(model: nn.Module) -> Objective:
    """The softmax over the catalogue of every event that follows another, and of the first one."""
    following = objectives.next_item_softmax(model)
    beginning = objectives.every_item(model, losses.softmax_cross_entropy)

    def objective(variables: Variables, key: jax.Array, rows: Batch) -> tuple[jax.Array, Aux]:
        one, two = jax.random.split(key)
        value, aux = following(variables, one, rows)
        first, query = rows.query.history[:, :1], rows.query._replace(history=rows.query.history[:, :0])
        alone, _ = beginning(variables, two, Batch(query, first, jnp.ones(first.shape), first > 0))
        events, sessions = rows.where.sum(), (first > 0).sum()
        value = (value * events + alone * sessions) / jnp.maximum(events + sessions, 1)
        return value, Aux({"loss": value}, aux.sown)

    return objective


def by_length(recalled: jax.Array, known: np.ndarray, cuts: tuple[int, ...]) -> dict[str, float]:
    """recall@20 of those with so many events known: fewer than `cuts[0]`, from there to `cuts[1]` …"""
    group = np.digitize(known, cuts)
    ends = ("0", *map(str, cuts)), (*(str(cut - 1) for cut in cuts), "…")
    named = {f"recall@20, {low} to {high} events": i for i, (low, high) in enumerate(zip(*ends, strict=True))}
    return {name: float(recalled[group == i].mean()) for name, i in named.items() if (group == i).any()}
