"""Baselines without training. Each has a `fit` that returns the variables to score with."""

from rezoo.models.baselines.cooccurrence import CoOccurrence
from rezoo.models.baselines.feature_knn import FeatureKNN
from rezoo.models.baselines.popularity import Popularity
from rezoo.models.baselines.session_popularity import SessionPopularity
from rezoo.models.baselines.tifu_knn import TIFUKNN
from rezoo.models.baselines.top_freq import TopFreq
from rezoo.models.baselines.upcf import UPCF

__all__ = ["TIFUKNN", "UPCF", "CoOccurrence", "FeatureKNN", "Popularity", "SessionPopularity", "TopFreq"]
