import functools
import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
sys.path.insert(0, str(EXPERIMENTS))
import tuning  # noqa: E402
from protocols import tuned  # noqa: E402
from protocols.tuned import closed, gradient, ranges  # noqa: E402
from protocols.tuned.gradient import Budget  # noqa: E402

import rezoo.models  # noqa: E402
from rezoo.errors import DataError  # noqa: E402
from rezoo.models import EASE, IALS, MF, BiasedMF, IAutoRec, UAutoRec  # noqa: E402
from rezoo.studies import resuming  # noqa: E402

SMALL = Budget(shapes=1, points=2, epochs=2)
EASE_DEFAULT = {"l2": 500.0, "dropout": 0.0, "user_exponent": 0.0}
EASE_RANGES = {"l2": "50 to 5000", "dropout": [0.0, 0.25, 0.5], "user_exponent": "0 to 0.6"}


@functools.cache
def made_up(task):
    return tuned.TASKS[task].made_up()


def test_every_model_of_the_zoo_is_asked_something_or_is_on_the_list_of_those_that_are_not():
    asked = {name for name in rezoo.models.__all__ if tuned.fitting(tuned.kind_of(name))}
    assert asked | set(tuned.ELSEWHERE) == set(rezoo.models.__all__)
    assert not asked & set(tuned.ELSEWHERE)
    for why in tuned.ELSEWHERE.values():
        (file,) = re.findall(r"\w+\.py", why)
        assert (EXPERIMENTS / file).exists()


def unit(course, values, key):
    """An epoch and what it is worth; it is traced alone."""
    init, epoch = gradient.trainer(course, 2)
    return gradient.measured(course, epoch(init(key, **values), **values))


def asked(name):
    """The models of a task, each with the part that a search sees."""
    for kind in map(tuned.kind_of, rezoo.models.__all__):
        if tuned.TASKS[name] in tuned.fitting(kind):
            yield kind, made_up(name).parts(kind)[0]


@pytest.mark.parametrize("name", tuned.TASKS)
def test_what_is_searched_can_be_built_for_every_model_of_a_task(name):
    task, kinds = tuned.TASKS[name], []
    for kind, part in asked(name):
        if closed.fit_of(kind):
            axes, default = closed.axes_of(part), closed.default_settings(part)
        else:
            axes, default = gradient.shapes_of(part), gradient.default_shape(part)
            assert {"rate"} < set(gradient.values_of(task, gradient.course_of(part, default))), kind
        assert set(axes) == set(default)
        assert json.loads(json.dumps(ranges.said(axes))).keys() == axes.keys()
        kinds.append(kind)
    assert len(kinds) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("name", tuned.TASKS)
def test_an_epoch_of_a_random_shape_of_every_model_can_be_traced(name):
    task, rng = tuned.TASKS[name], np.random.default_rng(1)
    for kind, part in asked(name):
        if not closed.fit_of(kind):
            shape = {name: ranges.drawn(axis, rng) for name, axis in gradient.shapes_of(part).items()}
            course = gradient.course_of(part, shape)
            values = {name: value for name, (_, value) in gradient.values_of(task, course).items()}
            found = jax.eval_shape(functools.partial(unit, course, values), jax.random.key(0))
            assert made_up(name).metrics[0] in found, kind


def test_a_model_in_closed_form_has_the_ranges_of_its_arguments_and_one_by_gradient_those_of_its_fields():
    part = made_up("rankings").parts(EASE)[0]
    assert ranges.said(closed.axes_of(part)) == EASE_RANGES
    part = made_up("rankings").parts(MF)[0]
    assert gradient.shapes_of(part)["dim"] == (32, 64, 128) and gradient.default_shape(part)["dim"] == 64
    course = gradient.course_of(part, gradient.default_shape(part))
    assert gradient.looked_up(course) == (["item", "user"], ["item_bias"], False)
    assert made_up("ratings").parts(IAutoRec)[0].kind is UAutoRec


@pytest.mark.parametrize(
    ("model", "dataset", "said"),
    [
        ("Elsa", "frappe", r"model='Elsa': there is no such model; there are AFM, .*eSASRec"),
        ("FM", "netflix", r"dataset='netflix': .*ratings: ml-100k-stars, .*clicks: frappe"),
        (
            "SASRec",
            "frappe",
            r"'SASRec' does not fit clicks.*next items: ml-100k-next.*Models for clicks: AFM",
        ),
        ("DCNv2", "ml-1m-next", r"'DCNv2' does not fit next items.*clicks: frappe.*: HSTU"),
        ("CFGAN", "ml-100k-taken", r"'CFGAN' is not tuned here: .*cfgan_topn.py"),
    ],
)
def test_what_does_not_fit_is_answered_by_what_does(model, dataset, said):
    with pytest.raises(DataError, match=said):
        tuned.check(tuned.kind_of(model), tuned.task_of(dataset))


def test_a_data_set_that_lacks_what_a_model_is_made_of_is_an_error_that_names_it():
    part = made_up("ratings").parts(BiasedMF)[0]._replace(facts={"num_users": 3})
    with pytest.raises(DataError, match="BiasedMF is made of num_items, which this data set does not have"):
        gradient.course_of(part, gradient.default_shape(part))


class Killed(BaseException):
    """As a signal would."""


def interrupted(monkeypatch, module, name, after):
    """The function `name` of a module, which is killed when it is called more often."""
    whole, calls = getattr(module, name), []

    def once_more(*given, **named):
        if len(calls) == after:
            raise Killed
        calls.append(1)
        return whole(*given, **named)

    monkeypatch.setattr(module, name, once_more)
    return calls


def searched(folder):
    task, data = tuned.TASKS["ratings"], made_up("ratings")
    return gradient.search(task, data, data.parts(BiasedMF)[0], SMALL, folder)


@pytest.mark.slow
def test_a_search_by_gradient_that_was_killed_chooses_the_same(tmp_path, monkeypatch, capsys):
    expected = searched(tmp_path / "whole")
    for _ in range(2):
        with monkeypatch.context() as patched:
            interrupted(patched, resuming, "save", 1)
            with pytest.raises(Killed):
                searched(tmp_path / "killed")
    assert searched(tmp_path / "killed") == expected
    assert capsys.readouterr().out.count("validation rmse") >= 2 * len(expected)
    assert len({one.score for one in expected}) > 1 and expected[0].settings["rate"] == pytest.approx(4e-3)


def test_a_search_in_closed_form_goes_on_after_the_last_settings_that_were_tried(tmp_path, monkeypatch):
    task, data = tuned.TASKS["rankings"], made_up("rankings")

    def search(name):
        return closed.search(task, data, data.parts(EASE)[0], 3, tmp_path / name)

    expected = search("whole")
    assert len(expected) == 4 and expected[0].settings == EASE_DEFAULT
    with monkeypatch.context() as patched:
        interrupted(patched, closed, "measured", 2)
        with pytest.raises(Killed):
            search("killed")
    calls = interrupted(monkeypatch, closed, "measured", 9)
    assert search("killed") == expected and len(calls) == 2


def test_settings_that_a_fit_refuses_are_worth_nothing(capsys):
    task, data = tuned.TASKS["rankings"], made_up("rankings")
    settings = {"dim": 8, "num_epochs": 2, "unobserved": 0.1, "l2": 5.0}
    assert closed.worth(task, data, data.parts(IALS)[0], settings) == -np.inf
    assert "l2=5 is so large that all vectors" in capsys.readouterr().out
    assert closed.worth(task, data, data.parts(IALS)[0], {**settings, "l2": 0.001}) > 0


def test_the_command_tells_settings_ranges_budget_and_validation_of_each_row(tmp_path, monkeypatch):
    words = ["--model", "EASE", "--dataset", "ml-100k-taken", "--smoke", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [tuning.__file__, *words])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    tuning.main()
    (file,) = tmp_path.glob("*/tuning.json")
    rows = json.loads(file.read_text("utf-8"))["rows"]
    assert [row["model"] for row in rows] == ["EASE, tuned"] * 3 + ["EASE, default settings"] * 3
    best, default = rows[0], rows[3]
    assert default["settings"] == EASE_DEFAULT and default["tried"] == 1
    assert best["grid"] == EASE_RANGES and best["budget"] == {"points": 3} and best["tried"] == 4
    assert best["validation"] >= default["validation"] > 0 and best["metric"] == "ndcg@10"
