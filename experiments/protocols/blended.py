"""Several models that were fitted alone as one, by the rows that chose their epochs."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rezoo.models import Blend
from rezoo.models.ranking import blend
from rezoo.types import Query

ROWS = 2000
"""At most, drawn once, by which the weights are chosen."""


class Part(NamedTuple):
    """A fitted model."""

    model: nn.Module
    variables: Any
    counts: bool = False
    """Whether its scores are counts."""


def fit(
    parts: Mapping[str, Part], num_items: int, query: Query, target: np.ndarray, exclude: Any = None
) -> tuple[Blend, Any, dict[str, float]]:
    """The blend, its variables, and the weight of each part."""
    model = Blend(
        num_items,
        {name: partial(_the, part.model) for name, part in parts.items()},
        counts=[name for name, part in parts.items() if part.counts],
    )
    rows = np.sort(np.random.default_rng(0).permutation(len(target))[:ROWS])
    query, target, exclude = jax.tree.map(lambda x: x[rows], (query, target, exclude))
    fitted = {name: part.variables for name, part in parts.items()}
    variables = blend.fit(model, fitted, query, jnp.asarray(target), exclude=exclude)
    weights = {name: round(float(variables["params"][f"weight_{name}"]), 3) for name in parts}
    print(weights, flush=True)
    return model, variables, weights


def _the(model: nn.Module) -> nn.Module:
    return model
