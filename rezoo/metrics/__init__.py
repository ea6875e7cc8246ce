"""Metrics as functions of arrays: ratings, clicks, rankings, and what lies beyond accuracy.

Rankings are measured on ranks. The rank of an item is 1 + the number of better scores + half the
number of other items with the same score: its expected place if ties were broken at random. A rank
counts within k if it is ≤ k, so a model that scores all items alike is as bad as it is: every
target has the middle rank. This is decided here and nowhere else.

The last axis is the list; leading axes are batch; `where` masks. Metrics of ranks take a `cutoff`,
which says how much a rank counts within k: all or nothing unless it is told otherwise.
`rezoo.losses.smooth` and `bound` make losses of these metrics by exchanging ranks and cut-off.
"""

from rezoo.metrics.lists import coverage, gini, intra_list_diversity, mean_popularity, novelty
from rezoo.metrics.predictions import auc, gauc, log_loss, mae, rmse
from rezoo.metrics.ranking import (
    Cutoff,
    Ranks,
    Values,
    average_precision,
    hr,
    ideal_dcg,
    mean_over_users,
    mrr,
    ndcg,
    precision,
    ranks,
    recall,
    target_ranks,
    within,
)

__all__ = [
    "Cutoff",
    "Ranks",
    "Values",
    "auc",
    "average_precision",
    "coverage",
    "gauc",
    "gini",
    "hr",
    "ideal_dcg",
    "intra_list_diversity",
    "log_loss",
    "mae",
    "mean_over_users",
    "mean_popularity",
    "mrr",
    "ndcg",
    "novelty",
    "precision",
    "ranks",
    "recall",
    "rmse",
    "target_ranks",
    "within",
]
