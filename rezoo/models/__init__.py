"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, Popularity, SessionPopularity
from rezoo.models.factorization import MF, BiasedMF, SVDpp
from rezoo.models.ranking import WideDeep
from rezoo.models.rating import NeuMF
from rezoo.models.session import NARM, SKNN, STAMP, VSKNN, Caser, GRU4Rec, NextItNet, SASRec

__all__ = [
    "MF",
    "NARM",
    "SKNN",
    "STAMP",
    "VSKNN",
    "BiasedMF",
    "Caser",
    "CoOccurrence",
    "GRU4Rec",
    "NeuMF",
    "NextItNet",
    "Popularity",
    "SASRec",
    "SVDpp",
    "SessionPopularity",
    "WideDeep",
]
