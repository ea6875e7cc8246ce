"""Metrics as functions of arrays: ratings, clicks, rankings, and what lies beyond accuracy.

Rankings are measured on ranks. The rank of an item is 1 + the number of better scores + half the
number of other items with the same score: its expected place if ties were broken at random. A rank
counts within k if it is ≤ k, so a model that scores all items alike is as bad as it is: every
target has the middle rank. A NaN score is worse than every other and its rank is inf, as is that of a
target that is in no list: no metric counts it within any k. This is decided here and nowhere else.

The last axis is the list; leading axes are batch; `where` masks. Metrics of ranks take a `cutoff`,
which says how much a rank counts within k: all or nothing unless another is given. But for `dcg` they
are between 0 and 1 for any ranks that `ranks` and `target_ranks` give. Arrays whose shapes do not match,
and a k below 1, are a ValueError.

`rezoo.losses.smooth` and `bound` make losses of these metrics by exchanging ranks and cut-off.
"""

from rezoo.metrics.counting import Ranks, distinct, ranks, target_ranks
from rezoo.metrics.debiased import debiased_ndcg, debiased_recall, propensities
from rezoo.metrics.lists import (
    coverage,
    gini,
    intra_list_diversity,
    long_tail,
    mean_popularity,
    novelty,
    serendipity,
    shannon_entropy,
    tail_share,
)
from rezoo.metrics.predictions import auc, gauc, log_loss, mae, rmse
from rezoo.metrics.ranking import (
    Cutoff,
    Values,
    average_precision,
    average_precision_of_all,
    dcg,
    hr,
    ideal_dcg,
    mean_over_users,
    mrr,
    ndcg,
    precision,
    r_precision,
    recall,
    within,
)

__all__ = [
    "Cutoff",
    "Ranks",
    "Values",
    "auc",
    "average_precision",
    "average_precision_of_all",
    "coverage",
    "dcg",
    "debiased_ndcg",
    "debiased_recall",
    "distinct",
    "gauc",
    "gini",
    "hr",
    "ideal_dcg",
    "intra_list_diversity",
    "log_loss",
    "long_tail",
    "mae",
    "mean_over_users",
    "mean_popularity",
    "mrr",
    "ndcg",
    "novelty",
    "precision",
    "propensities",
    "r_precision",
    "ranks",
    "recall",
    "rmse",
    "serendipity",
    "shannon_entropy",
    "tail_share",
    "target_ranks",
    "within",
]
