import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import census_multitask

from rezoo.data.leak import refuse_labels
from rezoo.datasets import census
from rezoo.errors import DataError


def row(**values):
    made = {name: "0" if name in census.NUMBERS else "Not in universe" for name in census.COLUMNS}
    return ", ".join(str(value) for value in (made | values).values())


def write(folder, train, test=None):
    for part, lines in (("data", train), ("test", test or train)):
        (folder / f"census-income.{part}.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))


def test_columns_are_numbers_or_text_and_a_question_mark_is_nothing(tmp_path):
    write(tmp_path, [row(age=38, income_50k="50000+.", state_prev_res="?"), row(age=7, wage_per_hour=1240)])
    train, test = census.load(tmp_path)
    np.testing.assert_array_equal(train["age"], np.array([38, 7], np.float32))
    assert train["age"].dtype == np.float32 and train["state_prev_res"].tolist() == ["", "Not in universe"]
    assert len(train) == 42 and test["wage_per_hour"].tolist() == [0, 1240]


def test_labels_of_the_three_tasks(tmp_path):
    bachelor, none = "Bachelors degree(BA AB BS)", "High school graduate"
    rows = [
        row(income_50k="50000+.", marital_stat="Never married", education=bachelor),
        row(income_50k="- 50000.", marital_stat="Divorced", education=none),
    ]
    write(tmp_path, rows)
    made = census.labels(census.load(tmp_path).train)
    assert {task: label.tolist() for task, label in made.items()} == {
        task: [1.0, 0.0] for task in census.SOURCES
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [([row(), "1, 2, 3"], "row 2 has 3 columns"), ([row(age="young")], "'age' must hold numbers")],
)
def test_bad_rows_are_named(tmp_path, lines, message):
    write(tmp_path, lines)
    with pytest.raises(DataError, match=message):
        census.load(tmp_path)


def test_a_file_that_is_missing_or_cut_off_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("REZOO_DATA", raising=False)
    with pytest.raises(DataError, match=r"census-income\.data\.gz is not in"):
        census.load(tmp_path)
    write(tmp_path, [row(age=n % 90) for n in range(500)])
    whole = (tmp_path / "census-income.test.gz").read_bytes()
    (tmp_path / "census-income.test.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"census-income\.test\.gz is damaged"):
        census.load(tmp_path)


@pytest.mark.slow
def test_the_files_have_the_published_counts(data_folder):
    train, test = census.load(data_folder)
    assert [len(part["age"]) for part in (train, test)] == [199_523, 99_762]
    assert [int(census.labels(part)["income"].sum()) for part in (train, test)] == [12_382, 6_186]


MARRIED = np.array([1, 0, 1, 0, 0, 1], np.float32)


@pytest.mark.parametrize(
    "column",
    [
        {"never_married": np.zeros(6)},
        {"marital_stat": np.zeros(6)},
        {"renamed": 1 - MARRIED},
        {"finer": np.array([3, 1, 4, 2, 2, 4], np.int32)[[0, 1, 2, 3, 4, 0]][[0, 1, 0, 3, 3, 0]]},
    ],
    ids=["by name", "by source", "by values", "by finer values"],
)
def test_a_label_among_the_features_is_refused_by_name(column):
    features = {"age": np.array([1, 1, 2, 2, 3, 3]), **column}
    with pytest.raises(DataError, match=f"column '{next(iter(column))}' .* 'never_married'"):
        refuse_labels(features, {"never_married": MARRIED}, census.SOURCES)


def test_honest_features_pass():
    features = {"age": np.array([1, 1, 2, 2, 3, 3]), "id": np.arange(6), "genres": np.zeros((6, 2))}
    refuse_labels(features, {"never_married": MARRIED, "constant": np.ones(6)}, census.SOURCES)


@pytest.mark.parametrize("tasks", census_multitask.GROUPS.values(), ids=census_multitask.GROUPS)
def test_the_experiment_keeps_its_tasks_labels_from_the_features(tasks):
    table = census_multitask.made_up(300)
    data = census_multitask.prepare(table, tasks, census_multitask.SPECS)
    labels = {"income_50k", *(census.SOURCES[task] for task in tasks)}
    for part in (data.train, data.valid, data.test):
        features = {name: np.asarray(column) for name, column in part.query.features.items()}
        assert set(part.tasks) == set(tasks) and set(features) == set(census_multitask.SPECS) - labels
        refuse_labels(features, {task: np.asarray(target.label) for task, target in part.tasks.items()})
    whole = census.labels(table.train)
    for task, target in data.train.tasks.items():
        np.testing.assert_array_equal(target.label, whole[task])
