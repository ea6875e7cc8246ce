"""Changes of the ratings' scale, and the way back."""

from typing import NamedTuple

import numpy as np

from rezoo.errors import DataError


class Scale(NamedTuple):
    """A change of the ratings' scale, stars → (stars - shift) / factor, and its inverse."""

    shift: float
    factor: float

    def apply(self, rating: np.ndarray) -> np.ndarray:
        """From the original scale."""
        return ((np.asarray(rating, np.float64) - self.shift) / self.factor).astype(np.float32)

    def invert(self, rating: np.ndarray) -> np.ndarray:
        """Back to the original scale."""
        return (np.asarray(rating, np.float64) * self.factor + self.shift).astype(np.float32)


def unit_scale(low: float, high: float) -> Scale:
    """Ratings low … high to 0 … 1.

    >>> unit_scale(1.0, 5.0).apply(np.array([1, 3, 5])).tolist()
    [0.0, 0.5, 1.0]
    """
    if not low < high:
        raise DataError(f"low={low} must be below high={high}")
    return Scale(low, high - low)


def centred(rating: np.ndarray, *, standardise: bool = False) -> Scale:
    """Ratings to mean 0 (and variance 1). Fit it on the training rows alone.

    >>> scale = centred(np.array([3.0, 5.0]))
    >>> scale.apply(np.array([3, 5])).tolist(), scale.invert(np.array([-1.0])).tolist()
    ([-1.0, 1.0], [3.0])
    """
    rating = np.asarray(rating, np.float64)
    if not len(rating) or not np.isfinite(rating).all():
        raise DataError("ratings to centre must be present and finite: run drop_bad_ratings first")
    deviation = float(rating.std()) if standardise else 1.0
    return Scale(float(rating.mean()), deviation or 1.0)
