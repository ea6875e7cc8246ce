"""The models, one file each, in families: baselines, factorization, rating, ranking, session."""

from rezoo.models.baselines import CoOccurrence, Popularity
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
]
