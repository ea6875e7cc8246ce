"""Scores over a catalogue: evaluation by rank, and recommendation lists.

Rankings are over the whole catalogue, with the items that a user has seen masked; the sampled
protocol of some papers has a function of its own. Users without a target are left out of every
mean and counted, and so is what is wrong with targets and scores. Work is done in blocks, so memory
is bounded whatever the number of users, and is compiled once for each model object and each shape, also
where these functions are called outside of `jit`.
"""

from rezoo.evaluation.beams import recommend_by_beam
from rezoo.evaluation.lists import recommend, recommend_raw
from rezoo.evaluation.measures import MEASURES, evaluate, evaluate_sampled, ranks
from rezoo.evaluation.predictions import evaluate_clicks, evaluate_ratings
from rezoo.evaluation.scoring import apply, catalogue_size, is_retriever, predict, predict_tasks, score_all

__all__ = [
    "MEASURES",
    "apply",
    "catalogue_size",
    "evaluate",
    "evaluate_clicks",
    "evaluate_ratings",
    "evaluate_sampled",
    "explain",
    "is_retriever",
    "predict",
    "predict_tasks",
    "ranks",
    "recommend",
    "recommend_by_beam",
    "recommend_raw",
    "score_all",
]
