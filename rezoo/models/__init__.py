"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, FeatureKNN, Popularity
from rezoo.models.factorization import MF, BiasedMF, FeatureMF, SVDpp
from rezoo.models.ranking import WideDeep
from rezoo.models.rating import FeatureNeuMF, NeuMF
from rezoo.models.session import GRU4Rec

__all__ = [
    "MF",
    "BiasedMF",
    "CoOccurrence",
    "FeatureKNN",
    "FeatureMF",
    "FeatureNeuMF",
    "GRU4Rec",
    "NeuMF",
    "Popularity",
    "SVDpp",
    "WideDeep",
]
