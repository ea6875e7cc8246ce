"""Factorization models: a query and an item meet in an inner product."""

from rezoo.models.factorization.fm import FM
from rezoo.models.factorization.mf import MF, BiasedMF
from rezoo.models.factorization.svdpp import SVDpp

__all__ = ["FM", "MF", "BiasedMF", "SVDpp"]
