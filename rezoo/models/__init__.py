"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, Popularity
from rezoo.models.factorization import EASE, IALS, MF, BiasedMF, ItemKNN, SVDpp
from rezoo.models.ranking import WideDeep
from rezoo.models.rating import GMF, MLP, NeuMF
from rezoo.models.session import GRU4Rec

__all__ = [
    "EASE",
    "GMF",
    "IALS",
    "MF",
    "MLP",
    "BiasedMF",
    "CoOccurrence",
    "GRU4Rec",
    "ItemKNN",
    "NeuMF",
    "Popularity",
    "SVDpp",
    "WideDeep",
]
