"""Losses as functions of arrays.

`(score, label, *, where=None)`: the last axis is the list, leading axes are batch, `where` masks. A
pointwise loss has the shape of the scores and is 0 where masked. A listwise loss has a value per list,
which is 0 if the list has no positive, or no valid pair: all of it is masked, nothing is relevant, or no
element is above another. Labels are grades: of two elements the one with the larger label should come
first, and one with label 0 is irrelevant. Nothing is reduced over the batch here: a weight of a row or
element is a factor of its value, and `weights=` of the objectives that reduce it.

For any finite scores, value and gradient are finite (beyond ±1e15 a score counts as that), and what is
masked may be NaN or infinite without an effect on either. Scores, labels and masks of different shapes,
and a k below 1, are a ValueError.

| kind | loss | what it is | paper |
| --- | --- | --- | --- |
| ratings | `squared`, `absolute`, `huber` | distance from the label, pointwise | Huber 1964 |
| cross entropy | `logistic` | each element a yes or no; with many negatives, NCF's | He 2017 |
| | `gbce` | the same, calibrated for sampled negatives | Petrov and Macdonald 2023 |
| | `weighted_logistic` | the same, a positive weighing its amount (watch time, spend) | Covington 2016 |
| | `softmax_cross_entropy` | one choice among the list; also in-batch | McFadden 1974 |
| | `catalogue_softmax` | one choice among all items, without the array of batch × catalogue | Milakov 2018 |
| | `listnet` | the same towards the softmax of graded labels | Cao 2007 |
| | `sampled_softmax` | one choice among a sample, corrected by log Q | Bengio and Senécal 2008 |
| order of pairs | `bpr` = `pairwise_logistic` | log-likelihood of the order | Rendle 2009, Burges 2005 |
| | `hinge` | margin between the two | Joachims 2002 |
| | `smooth_auc` | share of wrong pairs, smoothed | Yan 2003 |
| | `warp` | margin, weighted by the rank of the better one | Weston 2011 |
| | `top1` | wrong pairs, with scores held at 0 | Hidasi 2016 |
| | `top1_max`, `bpr_max` | the strongest opponents count most | Hidasi and Karatzoglou 2018 |
| | `list_mle` | likelihood of the whole order | Xia 2008 |
| relevance | `lambda_rank` | pairs, weighted by what their swap does to NDCG | Burges 2010 |
| | `approx_ndcg`, `approx_mrr` | the metric on soft ranks | Qin 2010 |
| | `smooth_rank` | the metric on soft places | Chapelle and Wu 2010 |
| negatives | `ccl` | cosines: positives to 1, negatives below a margin | Mao 2021 |
| | `hardest(loss)` | any loss, against the negatives with the largest scores | Zhang 2013 |
| metric → loss | `smooth(metric)` | any metric of ranks on soft ranks | Qin 2010 |
| | `bound(metric)` | an upper bound of 1 - metric | Agarwal 2019 |

Lists of one element: a pairwise loss has no pair and is 0, softmax and ListMLE have no choice and are
0, a metric of the only item is perfect if it is relevant. Where all labels are alike there is no pair
either; `softmax_cross_entropy` and `listnet` then draw the scores together, and a metric is 1
whatever the order of the whole list, so that its loss (without cut-off) has no gradient but for
what smoothing leaves.

In-batch softmax is `objectives.in_batch` with `softmax_cross_entropy`, or `sampled_softmax` with its
correction.
"""

from rezoo.losses.catalogue import catalogue_softmax
from rezoo.losses.choice import list_mle, listnet, sampled_softmax, softmax_cross_entropy
from rezoo.losses.negatives import ccl, hardest
from rezoo.losses.pairs import (
    bpr,
    bpr_max,
    hinge,
    pairwise_logistic,
    smooth_auc,
    top1,
    top1_max,
    warp,
)
from rezoo.losses.pointwise import absolute, gbce, huber, logistic, squared, weighted_logistic
from rezoo.losses.relevance import (
    approx_mrr,
    approx_ndcg,
    bound,
    exponential_gain,
    lambda_rank,
    ndcg_weights,
    smooth,
    smooth_rank,
    soft_ranks,
)

__all__ = [
    "absolute",
    "approx_mrr",
    "approx_ndcg",
    "bound",
    "bpr",
    "bpr_max",
    "catalogue_softmax",
    "ccl",
    "exponential_gain",
    "gbce",
    "hardest",
    "hinge",
    "huber",
    "lambda_rank",
    "list_mle",
    "listnet",
    "logistic",
    "ndcg_weights",
    "pairwise_logistic",
    "sampled_softmax",
    "smooth",
    "smooth_auc",
    "smooth_rank",
    "soft_ranks",
    "softmax_cross_entropy",
    "squared",
    "top1",
    "top1_max",
    "warp",
    "weighted_logistic",
]
