"""Networks over a (user, item) pair."""

from rezoo.models.rating.autorec import IAutoRec, UAutoRec
from rezoo.models.rating.cfgan import CFGAN
from rezoo.models.rating.mult_vae import MultDAE, MultVAE
from rezoo.models.rating.neumf import NeuMF

__all__ = ["CFGAN", "IAutoRec", "MultDAE", "MultVAE", "NeuMF", "UAutoRec"]
