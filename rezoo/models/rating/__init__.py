"""Networks of ids: over (user, item) pairs, and autoencoders and a generator over a row of all ratings."""

from rezoo.models.rating.autorec import IAutoRec, UAutoRec
from rezoo.models.rating.cfgan import CFGAN
from rezoo.models.rating.feature_neumf import FeatureNeuMF
from rezoo.models.rating.gmf import GMF
from rezoo.models.rating.mlp import MLP
from rezoo.models.rating.mult_vae import MultDAE, MultVAE
from rezoo.models.rating.neumf import NeuMF
from rezoo.models.rating.nfm import NFM

__all__ = [
    "CFGAN",
    "GMF",
    "MLP",
    "NFM",
    "FeatureNeuMF",
    "IAutoRec",
    "MultDAE",
    "MultVAE",
    "NeuMF",
    "UAutoRec",
]
