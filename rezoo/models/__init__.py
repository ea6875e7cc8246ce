"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, Popularity
from rezoo.models.factorization import MF, BiasedMF, SVDpp
from rezoo.models.ranking import WideDeep
from rezoo.models.rating import NeuMF
from rezoo.models.session import GRU4Rec

__all__ = ["MF", "BiasedMF", "CoOccurrence", "GRU4Rec", "NeuMF", "Popularity", "SVDpp", "WideDeep"]
