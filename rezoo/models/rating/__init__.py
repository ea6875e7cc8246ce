"""Networks over a (user, item) pair."""

from rezoo.models.rating.gmf import GMF
from rezoo.models.rating.mlp import MLP
from rezoo.models.rating.neumf import NeuMF

__all__ = ["GMF", "MLP", "NeuMF"]
