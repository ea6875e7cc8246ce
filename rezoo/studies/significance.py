"""Whether one model is better than another where both were measured on the same seeds, folds or users.

All tests are paired: they see the n differences d = a - b alone, so what makes a user easy or a fold
hard for both models does not hide which one is better. A test over seeds speaks of other seeds on the
same data, a test over users of other users like these.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rezoo.arrays import at_least_1

BLOCK = 2**22
"""Random numbers in memory at a time."""


class Comparison(NamedTuple):
    """Two models on the same n units."""

    difference: float
    """Mean of a - b."""
    low: float
    """Lower end of its confidence interval."""
    high: float
    """Upper end of its confidence interval."""
    p: float
    """Probability of a difference at least as large, either way, if there were none."""
    n: int


def paired_t(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> Comparison:
    """Student's paired t-test: t = mean(d) / (s / √n) with n - 1 degrees of freedom.

    Student 1908, https://doi.org/10.1093/biomet/6.1.1. It takes the mean to be normal, which it is
    for thousands of users, and is taken to be for a few seeds.

    Args:
      a: one value per unit, `[n]`.
      b: the other model's values on the same units, in the same order.
      confidence: of the interval.

    Raises:
      ValueError: if the lengths differ, n is below 2, a value is not finite, or an option is out of range.

    >>> paired_t([0.31, 0.33, 0.30], [0.29, 0.30, 0.29]).p < 0.1
    True
    """
    _check(confidence)
    d = _differences(a, b)
    mean, error = d.mean(), d.std(ddof=1) / len(d) ** 0.5
    half = special.stdtrit(len(d) - 1, (1 + confidence) / 2) * error
    p = 2 * special.stdtr(len(d) - 1, -abs(mean / error)) if error > 0 else mean == 0
    return Comparison(float(mean), float(mean - half), float(mean + half), float(p), len(d))


def permutation(
    a: ArrayLike, b: ArrayLike, *, draws: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """The paired permutation test, with a bootstrap interval; neither takes anything to be normal.

    If the models were equal, each difference could as well have had the other sign: p is the share of
    the sign patterns whose mean is at least as far from 0 (Fisher 1935, The Design of Experiments,
    section 21). All 2ⁿ are tried where they are no more than `draws`, else `draws` random ones, the
    observed one counted too (Phipson and Smyth 2010, https://arxiv.org/abs/1603.05766). With n = 5
    no p is below 2/32. The interval is the percentiles of `draws` resampled means (Efron 1979,
    https://doi.org/10.1214/aos/1176344552), which is too narrow for fewer than about 20 units.

    Args:
      a: one value per unit, `[n]`.
      b: the other model's values on the same units, in the same order.
      draws: of random patterns and of resamplings.
      confidence: of the interval.
      seed: of both.

    Raises:
      ValueError: if the lengths differ, n is below 2, a value is not finite, or an option is out of range.
    """
    _check(confidence)
    at_least_1(draws=draws)
    d = _differences(a, b)
    rng = np.random.default_rng(seed)
    observed = abs(d.mean()) - 1e-12 * np.abs(d).max()
    if 2 ** min(len(d), 60) <= draws:
        patterns = np.arange(2 ** len(d))[:, None] >> np.arange(len(d)) & 1
        p = np.mean(np.abs((1 - 2 * patterns) @ d / len(d)) >= observed)
    else:
        means = _in_blocks(lambda rows: (1 - 2 * rng.integers(0, 2, (rows, len(d)))) @ d / len(d), draws, d)
        p = (1 + np.sum(np.abs(means) >= observed)) / (1 + draws)
    means = _in_blocks(lambda rows: d[rng.integers(0, len(d), (rows, len(d)))].mean(1), draws, d)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Comparison(float(d.mean()), float(low), float(high), float(p), len(d))


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence = {confidence}: give a share, such as 0.95")


def _differences(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"a and b must be two lists of one length, but have shapes {a.shape} and {b.shape}")
    if len(a) < 2:
        raise ValueError(f"a paired test needs 2 or more units, but there is {len(a)}")
    for name, values in (("a", a), ("b", b)):
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"{name}[{at}] is {values[at]}: leave this unit out of both lists, and say so")
    return a - b


def _in_blocks(function: Callable[[int], np.ndarray], draws: int, d: np.ndarray) -> np.ndarray:
    size = max(1, BLOCK // len(d))
    return np.concatenate([function(min(size, draws - start)) for start in range(0, draws, size)])
