"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, Popularity
from rezoo.models.factorization import EASE, IALS, MF, BiasedMF, ItemKNN, SVDpp
from rezoo.models.ranking import WideDeep
from rezoo.models.rating import CFGAN, GMF, MLP, IAutoRec, MultDAE, MultVAE, NeuMF, UAutoRec
from rezoo.models.session import GRU4Rec

__all__ = [
    "CFGAN",
    "EASE",
    "GMF",
    "IALS",
    "MF",
    "MLP",
    "BiasedMF",
    "CoOccurrence",
    "GRU4Rec",
    "IAutoRec",
    "ItemKNN",
    "MultDAE",
    "MultVAE",
    "NeuMF",
    "Popularity",
    "SVDpp",
    "UAutoRec",
    "WideDeep",
from rezoo.models.factorization import MF, BiasedMF, SVDpp
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
from rezoo.models.rating import NeuMF
from rezoo.models.session import GRU4Rec

__all__ = [
    "DIN",
    "ESMM",
    "MF",
    "PLE",
    "BiasedMF",
    "CoOccurrence",
    "GRU4Rec",
    "MMoE",
    "NeuMF",
    "Popularity",
    "SVDpp",
    "SharedBottom",
    "TwoTower",
    "WideDeep",
    "YouTubeDNN",
    "YouTubeRanker",
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
