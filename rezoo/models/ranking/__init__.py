"""Rankers over rich features of a (query, item) pair."""

from rezoo.models.ranking.afm import AFM
from rezoo.models.ranking.autoint import AutoInt
from rezoo.models.ranking.dcn import DCNv2
from rezoo.models.ranking.dnn import DNN
from rezoo.models.ranking.wide_deep import WideDeep

__all__ = ["AFM", "DNN", "AutoInt", "DCNv2", "WideDeep"]
