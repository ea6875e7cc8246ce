"""Models of the graph of who took what, in closed form, fitted to histories."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np

from rezoo.models import BSPM
from rezoo.models.factorization import bspm
from rezoo.models.factorization.item_lists import num_pairs
from rezoo.types import Variables


def fitted(
    kind: Callable[..., nn.Module],
    fit: Callable[..., Variables],
    history: np.ndarray,
    num_items: int,
    **how: Any,
) -> tuple[nn.Module, Variables]:
    """A model of sparse lists and its variables; `factors`, if any, are at most a quarter of the items."""
    own = {}
    if factors := how.get("factors", getattr(kind, "factors", None)):
        own["factors"] = min(factors, num_items // 4)
    variables = fit(history, num_items, **how | own)
    return kind(num_items, num_pairs(variables), **own), variables


def sharpened(
    history: np.ndarray,
    num_items: int,
    *,
    factors: int = BSPM.factors,
    beta: float = BSPM.beta,
    sharpening: float = BSPM.sharpening,
    **exponents: float,
) -> tuple[nn.Module, Variables]:
    """A `BSPM` and its variables; `factors` likewise."""
    factors = min(factors, num_items // 4)
    model = BSPM(num_items, factors, beta=beta, sharpening=sharpening)
    return model, bspm.fit(history, num_items, factors=factors, **exponents)
