"""Next items: recall by the number of known events of a session."""

import jax
import numpy as np


def by_length(recalled: jax.Array, known: np.ndarray, cuts: tuple[int, ...]) -> dict[str, float]:
    """recall@20 of those with so many events known: fewer than `cuts[0]`, from there to `cuts[1]` …"""
    group = np.digitize(known, cuts)
    ends = ("0", *map(str, cuts)), (*(str(cut - 1) for cut in cuts), "…")
    named = {f"recall@20, {low} to {high} events": i for i, (low, high) in enumerate(zip(*ends, strict=True))}
    return {name: float(recalled[group == i].mean()) for name, i in named.items() if (group == i).any()}
