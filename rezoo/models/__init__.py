"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, Popularity
from rezoo.models.factorization import MF, BiasedMF, SVDpp
from rezoo.models.ranking import WideDeep
from rezoo.models.rating import CFGAN, IAutoRec, MultDAE, MultVAE, NeuMF, UAutoRec
from rezoo.models.session import GRU4Rec

__all__ = [
    "CFGAN",
    "MF",
    "BiasedMF",
    "CoOccurrence",
    "GRU4Rec",
    "IAutoRec",
    "MultDAE",
    "MultVAE",
    "NeuMF",
    "Popularity",
    "SVDpp",
    "UAutoRec",
    "WideDeep",
]
