"""Several models that were fitted alone as one, by the rows that chose their epochs."""

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rezoo.data import batches
from rezoo.models import Blend
from rezoo.models.ranking import blend
from rezoo.training import loop
from rezoo.types import Query, Variables

ROWS = 2000
"""At most, drawn once, by which the weights are chosen."""


def fit(
    runs: Mapping[str, tuple[nn.Module, loop.Run]],
    counted: Mapping[str, tuple[nn.Module, Variables]],
    num_items: int,
    query: Query,
    target: np.ndarray,
    exclude: Any = None,
) -> tuple[Blend, Variables, float, dict[str, float]]:
    """The blend, its variables, its seconds with those of the runs, and the weight of each part.

    Args:
      runs: networks by name.
      counted: models whose scores are counts, with their variables.
      num_items: rows of the catalogue.
      query: those that chose the networks' epochs, as `target` and `exclude` of `blend.fit`.
    """
    start = time.monotonic()
    parts = {name: (model, run.best) for name, (model, run) in runs.items()} | dict(counted)
    model, fitted = _joined(parts, num_items, counted)
    rows = np.sort(np.random.default_rng(0).permutation(len(target))[:ROWS])
    query, target, exclude = jax.tree.map(lambda x: x[rows], (query, target, exclude))
    variables = blend.fit(model, fitted, query, jnp.asarray(target), exclude=exclude)
    weights = {name: round(float(variables["params"][f"weight_{name}"]), 3) for name in parts}
    print(weights, flush=True)
    seconds = time.monotonic() - start + sum(run.seconds for _, run in runs.values())
    return model, variables, seconds, weights


def even(
    parts: Mapping[str, tuple[nn.Module, Variables]], num_items: int, history: np.ndarray
) -> tuple[Blend, Variables]:
    """The blend in which each part has the same say, and its variables; `history` `[U L]` has the users' own
    items, which are not in question.
    """
    model, fitted = _joined(parts, num_items)
    known = np.random.default_rng(0).permutation(history)[:ROWS]
    return model, blend.even(model, fitted, batches.queries(history=known), exclude=jnp.asarray(known))


def _joined(
    parts: Mapping[str, tuple[nn.Module, Variables]], num_items: int, counts: Iterable[str] = ()
) -> tuple[Blend, dict[str, Variables]]:
    """The blend of some models, and the variables of each."""
    makers = {name: partial(_the, model) for name, (model, _) in parts.items()}
    fitted = {name: variables for name, (_, variables) in parts.items()}
    return Blend(num_items, makers, counts=list(counts)), fitted


def _the(model: nn.Module) -> nn.Module:
    return model
