"""Models of a session's next event."""

from rezoo.models.session.bert4rec import BERT4Rec
from rezoo.models.session.caser import Caser
from rezoo.models.session.esasrec import eSASRec
from rezoo.models.session.fuxi import FuXi
from rezoo.models.session.gru4rec import GRU4Rec
from rezoo.models.session.hstu import HSTU
from rezoo.models.session.lrurec import LRURec
from rezoo.models.session.narm import NARM
from rezoo.models.session.neighbours import SKNN, VSKNN
from rezoo.models.session.nextitnet import NextItNet
from rezoo.models.session.sasrec import SASRec
from rezoo.models.session.srgnn import SRGNN
from rezoo.models.session.stamp import STAMP
from rezoo.models.session.tiger import TIGER

__all__ = [
    "HSTU",
    "NARM",
    "SKNN",
    "SRGNN",
    "STAMP",
    "TIGER",
    "VSKNN",
    "BERT4Rec",
    "Caser",
    "FuXi",
    "GRU4Rec",
    "LRURec",
    "NextItNet",
    "SASRec",
    "eSASRec",
]
