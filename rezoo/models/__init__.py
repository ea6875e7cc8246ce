"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, Popularity
from rezoo.models.factorization import MF, BiasedMF, SVDpp
from rezoo.models.ranking import WideDeep
from rezoo.models.rating import NeuMF
from rezoo.models.session import NARM, STAMP, GRU4Rec, SASRec

__all__ = [
    "MF",
    "NARM",
    "STAMP",
    "BiasedMF",
    "CoOccurrence",
    "GRU4Rec",
    "NeuMF",
    "Popularity",
    "SASRec",
    "SVDpp",
    "WideDeep",
]
