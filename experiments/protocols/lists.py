"""Item-item models of sparse lists, fitted to histories."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np

from rezoo.models.factorization.item_lists import num_pairs
from rezoo.types import Variables


def fitted(
    kind: Callable[..., nn.Module],
    fit: Callable[..., Variables],
    history: np.ndarray,
    num_items: int,
    **how: Any,
) -> tuple[nn.Module, Variables]:
    """A model and its variables; `factors`, where it has some, are at most a quarter of the items."""
    own = {}
    if factors := how.get("factors", getattr(kind, "factors", None)):
        own["factors"] = min(factors, num_items // 4)
    variables = fit(history, num_items, **how | own)
    return kind(num_items, num_pairs(variables), **own), variables
