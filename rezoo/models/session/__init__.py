"""Models of a session's next event."""

from rezoo.models.session.caser import Caser
from rezoo.models.session.gru4rec import GRU4Rec
from rezoo.models.session.narm import NARM
from rezoo.models.session.neighbours import SKNN, VSKNN
from rezoo.models.session.nextitnet import NextItNet
from rezoo.models.session.sasrec import SASRec
from rezoo.models.session.stamp import STAMP

__all__ = ["NARM", "SKNN", "STAMP", "VSKNN", "Caser", "GRU4Rec", "NextItNet", "SASRec"]
