"""Networks over a (user, item) pair."""

from rezoo.models.rating.deepfm import DeepFM
from rezoo.models.rating.neumf import NeuMF
from rezoo.models.rating.nfm import NFM

__all__ = ["NFM", "DeepFM", "NeuMF"]
