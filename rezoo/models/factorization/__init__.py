"""Factorization models: a query and an item meet in an inner product."""

from rezoo.models.factorization.bspm import BSPM
from rezoo.models.factorization.ease import EASE
from rezoo.models.factorization.feature_mf import FeatureMF
from rezoo.models.factorization.fism import FISM
from rezoo.models.factorization.fm import FM
from rezoo.models.factorization.gfcf import GFCF
from rezoo.models.factorization.ials import IALS
from rezoo.models.factorization.item_knn import ItemKNN
from rezoo.models.factorization.lightgcn import LightGCN
from rezoo.models.factorization.local_ease import LocalEASE
from rezoo.models.factorization.mf import MF, BiasedMF
from rezoo.models.factorization.rp3beta import RP3beta
from rezoo.models.factorization.simplex import SimpleX
from rezoo.models.factorization.slim import SLIM
from rezoo.models.factorization.svdpp import SVDpp

__all__ = [
    "BSPM",
    "EASE",
    "FISM",
    "FM",
    "GFCF",
    "IALS",
    "MF",
    "SLIM",
    "BiasedMF",
    "FeatureMF",
    "ItemKNN",
    "LightGCN",
    "LocalEASE",
    "RP3beta",
    "SVDpp",
    "SimpleX",
]
