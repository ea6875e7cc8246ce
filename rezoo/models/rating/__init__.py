"""Networks over a (user, item) pair."""

from rezoo.models.rating.feature_neumf import FeatureNeuMF
from rezoo.models.rating.neumf import NeuMF

__all__ = ["FeatureNeuMF", "NeuMF"]
