"""Networks over a (user, item) pair."""

from rezoo.models.rating.neumf import NeuMF

__all__ = ["NeuMF"]
