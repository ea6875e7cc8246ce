import math

import numpy as np
import pytest

from rezoo.studies import optuna_search

optuna = pytest.importorskip("optuna", reason="pip install 'rezoo[tune]' to run this test")


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def score(trial):
    dim = trial.suggest_int("dim", 1, 64, log=True)
    layers = trial.suggest_categorical("layers", [1, 2, 3])
    return math.nan if layers == 3 else -abs(math.log(dim / 20)) - 0.1 * layers


def test_the_best_shape_is_found_and_one_that_diverged_loses():
    study = optuna_search.search(score, 30)
    assert 12 <= study.best_params["dim"] <= 32 and study.best_params["layers"] == 1
    assert any(trial.value == -math.inf for trial in study.trials)


def test_a_search_that_broke_off_ends_with_the_same_trials(tmp_path):
    calls = []

    def breaking(trial):
        value = score(trial)
        calls.append(value)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return value

    with pytest.raises(KeyboardInterrupt):
        optuna_search.search(breaking, 20, folder=tmp_path)
    resumed = optuna_search.search(breaking, 20, folder=tmp_path)
    assert len(calls) == 21
    done = [trial for trial in resumed.trials if trial.state.is_finished()]
    whole = optuna_search.search(score, 20)
    assert [trial.params for trial in done] == [trial.params for trial in whole.trials]


def test_another_score_starts_over_beside_the_first_and_says_so(tmp_path, caplog):
    def search(data):
        return optuna_search.search(
            lambda trial: float(data.sum()) * trial.suggest_int("n", 1, 9), 2, folder=tmp_path
        )

    monday, tuesday = search(np.ones(2)), search(-np.ones(2))
    assert tuesday.best_value < 0 < monday.best_value and "differs in score: starting over" in caplog.text
    assert [trial.params for trial in search(np.ones(2)).trials] == [trial.params for trial in monday.trials]
    with pytest.raises(ValueError, match="holds 2 trials of this search, more than 1"):
        optuna_search.search(lambda trial: trial.suggest_int("n", 1, 9), 2, folder=tmp_path, identity="it")
        optuna_search.search(lambda trial: trial.suggest_int("n", 1, 9), 1, folder=tmp_path, identity="it")


def test_a_search_killed_while_it_wrote_goes_on(tmp_path):
    first = [trial.params for trial in optuna_search.search(score, 3, folder=tmp_path).trials]
    (log,) = tmp_path.glob("*/trials.log")
    log.write_bytes(log.read_bytes() + b'{"op_code":')
    log.with_name("trials.log.lock").symlink_to(log)
    again = optuna_search.search(score, 6, folder=tmp_path)
    assert [trial.params for trial in again.trials][:3] == first
    assert len(optuna_search.search(score, 6, folder=tmp_path).trials) == 6
