"""What baselines count, of columns that do not fit."""

import jax
import numpy as np
import pytest

from rezoo import evaluation, recipes
from rezoo.data.batches import pairs, queries
from rezoo.data.interactions import from_columns
from rezoo.data.sessions import of_padded
from rezoo.errors import DataError
from rezoo.models import TopFreq
from rezoo.models.baselines import cooccurrence, feature_knn, popularity, tifu_knn, top_freq, upcf
from rezoo.models.factorization import biases, ease, gfcf, ials
from rezoo.models.session import neighbours
from rezoo.serving import answers


def test_a_log_in_which_nothing_follows_anything_is_answered_by_what_is_popular():
    log = from_columns({"user": ["a", "b", "c"], "item": ["x", "y", "x"]})
    model = recipes.co_occurrence(log, jax.random.key(0))
    assert answers.recommend(model, ["b"], 1)["item"].tolist() == ["x"]


@pytest.mark.parametrize(
    "fit",
    [
        lambda item: cooccurrence.fit(np.array([[1, item]]), 3),
        lambda item: popularity.fit(np.array([item]), 3),
        lambda item: top_freq.fit(np.array([1]), np.array([item]), 3, 3),
        lambda item: feature_knn.fit(np.array([1]), np.array([item]), np.eye(3), np.eye(3)),
        lambda item: biases.fit(pairs([1], [item], [5.0]), 3, 3),
    ],
)
def test_an_item_beyond_the_catalogue_is_named(fit):
    with pytest.raises(ValueError, match="item 7 is beyond num_items=3"):
        fit(7)


def test_ids_below_0_are_nobodys():
    known = feature_knn.fit(np.array([1]), np.array([2]), np.eye(3), np.eye(4))
    more = feature_knn.fit(np.array([1, 1, -1]), np.array([2, -1, 2]), np.eye(3), np.eye(4))
    jax.tree.map(np.testing.assert_array_equal, more, known)
    data = pairs([1, 1, 2, 2], [1, 2, 1, 2], [5, 1, 1, 1.0])
    strange = pairs([1, 1, 2, 2, -1], [1, 2, 1, 2, 2], [5, 1, 1, 1.0, 9.0])
    fits = jax.jit(lambda data: biases.fit(data, 3, 3))
    jax.tree.map(np.testing.assert_array_equal, fits(strange), fits(data))
    assert popularity.fit(np.array([-1, 2]), 3)["params"]["count"].tolist() == [0, 0, 1]


@pytest.mark.parametrize("given", [{"k": 0}, {"weight": float("nan")}])
def test_neighbours_by_features_want_numbers(given):
    with pytest.raises(ValueError, match=f"{next(iter(given))} = .*: give"):
        feature_knn.fit(np.array([1]), np.array([2]), np.eye(3), np.eye(4), **given)
    with pytest.raises(ValueError, match="item_vectors has a number that is not finite"):
        feature_knn.fit(np.array([1]), np.array([2]), np.eye(3), np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="an age is not finite"):
        top_freq.fit(np.array([1]), np.array([1]), 3, 3, age=np.array([np.nan]), half_life=1.0)


def test_biases_of_known_rows_may_be_fitted_inside_jit():
    data = pairs([1, 2], [1, 2], [5.0, 1.0])
    expected = biases.fit(data, 3, 3)
    found = jax.jit(lambda damping: biases.fit(data, 3, 3, user_damping=damping))(10.0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


def test_what_a_user_took_comes_before_what_they_did_not_however_long_ago():
    """Where events decay, in the order of their decayed counts, popularity for ties alone."""
    user = np.array([1, 1, 1, 2, 2, *[3] * 8])
    item = np.array([1, 1, 2, 3, 4, *[2] * 8])
    age = np.array([40.0, 50, 45, 3000, 5000, *[0.0] * 8])
    fitted = top_freq.fit(user, item, 4, 6, age=age, half_life=10.0)
    model = TopFreq(4, 6, len(fitted["params"]["item"]))
    ids, score = evaluation.recommend(model, fitted, queries([1, 2]), 3)
    assert ids.tolist() == [[1, 2, 3], [3, 4, 2]]
    assert (np.asarray(score)[:, :2] > 1).all() and (np.asarray(score)[:, 2] < 1).all()
    once = top_freq.fit(user, item, 4, 6, age=age + 1e6, half_life=10.0)  # all of it long past
    jax.tree.map(np.testing.assert_array_equal, once, fitted)


@pytest.mark.parametrize("fit", [tifu_knn.fit, upcf.fit])
def test_ids_and_baskets_are_whole(fit):
    user, item = np.array([1, 1]), np.array([1, 2])
    with pytest.raises(DataError, match=r"item has 1\.5, which is not a whole number"):
        fit(user, np.array([1.5, 2]), user, 3, 4)
    with pytest.raises(ValueError, match="a basket is not a finite number"):
        fit(user, item, np.array([1.0, np.nan]), 3, 4)


def test_a_rating_that_is_not_finite_is_no_mean():
    with pytest.raises(ValueError, match="a label that counts is not finite"):
        biases.fit(pairs([1, 2], [1, 2], [5.0, np.nan]), 3, 3)


PAIRS = np.array([1, 1, 2]), np.array([1, 2, 2])
PAST = np.array([[0, 0], [1, 2], [2, 0]], np.int32)


@pytest.mark.parametrize(
    ("fit", "told"),
    [
        (
            lambda: ials.fit(jax.random.key(0), PAIRS[0], PAIRS[1][:2], 3, 3, 2),
            r"shapes differ: .*item \[2\]",
        ),
        (lambda: top_freq.fit(PAIRS[0], PAIRS[1][:2], 3, 3), r"shapes differ: .*item \[2\]"),
        (
            lambda: top_freq.fit(*PAIRS, 3, 3, age=-np.ones(3), half_life=2.0),
            "an age is not finite, or below 0",
        ),
        (lambda: top_freq.fit(*PAIRS, 3, 3, age=np.ones(2), half_life=2.0), r"shapes differ: .*age \[2\]"),
        (lambda: cooccurrence.fit(PAST[1], 3), r"history has the shape \[2\]: give a row for each session"),
        (lambda: ease.fit(PAST, 3, l2=np.inf), "l2 must be greater than 0, but is inf"),
        (lambda: gfcf.fit(PAST, 3, factors=1.5), r"factors = 1\.5: give 1 or more, a whole number"),
        (lambda: neighbours.fit(of_padded(PAST), 3, recent=0), "recent = 0: give 1 or more"),
        (lambda: neighbours.fit(of_padded(PAST), 3, longest=2.5), r"longest = 2\.5: give 1 or more"),
        (lambda: feature_knn.fit(*PAIRS, np.ones(3), np.ones((3, 1))), r"user_vectors have the shape \[3\]"),
    ],
)
def test_what_closed_forms_cannot_count_is_refused(fit, told, untyped):
    with pytest.raises(ValueError, match=told):
        fit()
