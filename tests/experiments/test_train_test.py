import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))
from common import Results
from protocols.ratings import synthetic
from protocols.train_test import Entry, run

from rezoo.data import split
from rezoo.models import Popularity
from rezoo.models.baselines import popularity


def test_seeds_that_are_missing_are_run_and_those_that_are_there_are_not(tmp_path):
    log = synthetic()
    train, _, test = split.ratio_per_user(log, test=0.2).of(log)
    fitted: list[int] = []

    def fit(log, seed):
        fitted.append(seed)
        return Popularity(log.num_items), popularity.fit(log.item[None], log.num_items)

    results = Results("made_up", tmp_path, tmp_path / "a.json")
    models = {"drawn": Entry(fit, random=True), "counted": Entry(fit)}
    for seeds in (2, 3, 3):
        run(results, models, train, test, dataset="synthetic", protocol="split", seeds=seeds)
    assert fitted == [0, 1, 0, 2]
    assert len(results.values("drawn", "synthetic", "split", "ndcg@20")) == 3
    assert len(results.values("counted", "synthetic", "split", "ndcg@20")) == 1
