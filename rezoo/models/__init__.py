"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, Popularity
from rezoo.models.factorization import FM, MF, BiasedMF, SVDpp
from rezoo.models.ranking import AFM, DNN, AutoInt, DCNv2, WideDeep
from rezoo.models.rating import NFM, DeepFM, NeuMF
from rezoo.models.session import GRU4Rec

__all__ = [
    "AFM",
    "DNN",
    "FM",
    "MF",
    "NFM",
    "AutoInt",
    "BiasedMF",
    "CoOccurrence",
    "DCNv2",
    "DeepFM",
    "GRU4Rec",
    "NeuMF",
    "Popularity",
    "SVDpp",
    "WideDeep",
]
