"""Rankers over rich features of a (query, item) pair."""

from rezoo.models.ranking.afm import AFM
from rezoo.models.ranking.aitm import AITM
from rezoo.models.ranking.autoint import AutoInt
from rezoo.models.ranking.blend import Blend
from rezoo.models.ranking.bst import BST
from rezoo.models.ranking.dcn import DCNv2
from rezoo.models.ranking.deepfm import DeepFM
from rezoo.models.ranking.dien import DIEN
from rezoo.models.ranking.din import DIN
from rezoo.models.ranking.dlrm import DLRM
from rezoo.models.ranking.dnn import DNN
from rezoo.models.ranking.esmm import ESMM
from rezoo.models.ranking.fibinet import FiBiNET
from rezoo.models.ranking.finalmlp import FinalMLP
from rezoo.models.ranking.masknet import MaskNet
from rezoo.models.ranking.mmoe import MMoE
from rezoo.models.ranking.ple import PLE
from rezoo.models.ranking.repeat_explore import RepeatExplore
from rezoo.models.ranking.session_ranker import SessionRanker
from rezoo.models.ranking.shared_bottom import SharedBottom
from rezoo.models.ranking.two_tower import TwoTower
from rezoo.models.ranking.wide_deep import WideDeep
from rezoo.models.ranking.xdeepfm import XDeepFM
from rezoo.models.ranking.youtube_dnn import YouTubeDNN, YouTubeRanker

__all__ = [
    "AFM",
    "AITM",
    "BST",
    "DIEN",
    "DIN",
    "DLRM",
    "DNN",
    "ESMM",
    "PLE",
    "AutoInt",
    "Blend",
    "DCNv2",
    "DeepFM",
    "FiBiNET",
    "FinalMLP",
    "MMoE",
    "MaskNet",
    "RepeatExplore",
    "SessionRanker",
    "SharedBottom",
    "TwoTower",
    "WideDeep",
    "XDeepFM",
    "YouTubeDNN",
    "YouTubeRanker",
]
