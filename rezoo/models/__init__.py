"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, FeatureKNN, Popularity
from rezoo.models.factorization import EASE, IALS, MF, BiasedMF, FeatureMF, ItemKNN, SVDpp
from rezoo.models.ranking import (
    DIN,
    ESMM,
    PLE,
    MMoE,
    SharedBottom,
    TwoTower,
    WideDeep,
    YouTubeDNN,
    YouTubeRanker,
)
from rezoo.models.rating import CFGAN, GMF, MLP, FeatureNeuMF, IAutoRec, MultDAE, MultVAE, NeuMF, UAutoRec
from rezoo.models.session import GRU4Rec

__all__ = [
    "CFGAN",
    "DIN",
    "EASE",
    "ESMM",
    "GMF",
    "IALS",
    "MF",
    "MLP",
    "PLE",
    "BiasedMF",
    "CoOccurrence",
    "FeatureKNN",
    "FeatureMF",
    "FeatureNeuMF",
    "GRU4Rec",
    "IAutoRec",
    "ItemKNN",
    "MMoE",
    "MultDAE",
    "MultVAE",
    "NeuMF",
    "Popularity",
    "SVDpp",
    "SharedBottom",
    "TwoTower",
    "UAutoRec",
    "WideDeep",
    "YouTubeDNN",
    "YouTubeRanker",
]
