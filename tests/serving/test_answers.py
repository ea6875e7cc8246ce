"""What a question may hold: lists for lists, numbers for ratings, one id in each row."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo.data.batches import queries
from rezoo.data.ids import Ids
from rezoo.errors import DataError
from rezoo.models import UAutoRec
from rezoo.serving import answers
from rezoo.serving.bundle import Saved

pytestmark = pytest.mark.usefixtures("untyped")
HATS = Ids(np.array(["hat", "tea", "cup"]))


@pytest.fixture(scope="module")
def shop():
    """A model that reads the ratings of histories."""
    model = UAutoRec(4, 3, mean=3.0)
    query = queries(history=[[1]], features={"history_rating": np.ones((1, 1), np.float32)})
    return Saved(model, model.init(jax.random.key(0), query, jnp.array([1])), Ids(np.array(["ann"])), HATS)


PAST = [["hat", "tea"]]


@pytest.mark.parametrize("ratings", [[[5, None]], [[5, np.nan]], [[5, np.inf]], [[5, "3"]], [[1e300, 1]]])
def test_a_rating_is_a_finite_number(shop, ratings):
    with pytest.raises(DataError, match=r"^ratings: .* is not a finite number: leave out an event"):
        answers.predict(shop, ["ann"], ["cup"], histories=PAST, ratings=ratings)


@pytest.mark.parametrize(
    "lists", [[None], [7], [{"hat": 1, "tea": 2}], [np.array([["hat", "tea"]])], {0: PAST}]
)
def test_a_list_is_given_for_each_row(shop, lists):
    told = {"ratings": [[5, 1]]}
    for given in ({"histories": lists}, {"histories": PAST, "exclude": lists}):
        with pytest.raises(DataError, match=r"give a list for each row|0 lists of items: give one to each"):
            answers.recommend(shop, ["ann"], **told | given)


@pytest.mark.parametrize("ratings", ["51", ["51"], [5], [[5]], [[5, 1], [5, 1]]])
def test_ratings_are_lists_beside_the_histories(shop, ratings):
    with pytest.raises(DataError, match="ratings"):
        answers.recommend(shop, ["ann"], histories=PAST, ratings=ratings)


def test_any_collection_is_a_list(shop):
    found = [
        answers.recommend(shop, ["ann"], 3, histories=[past], ratings=[stars], exclude=[hidden])["score"]
        for past, stars, hidden in (
            (PAST[0], [5, 1], ["hat"]),
            (np.array(PAST[0]), np.array([5, 1]), {"hat"}),
            (tuple(PAST[0]), (np.float32(5), np.int8(1)), ("hat",)),
        )
    ]
    np.testing.assert_array_equal(found[1:], [found[0]] * 2)


def test_a_row_has_one_id(shop):
    told = {"histories": PAST, "ratings": [[5, 1]]}
    with pytest.raises(DataError, match=re.escape("users have the shape [1, 1]: give one id for each row")):
        answers.recommend(shop, np.array([["ann"]]), **told)
    with pytest.raises(DataError, match=re.escape("items have the shape [1, 1]: give one id for each row")):
        answers.predict(shop, ["ann"], np.array([["cup"]]), **told)
    for user in (["ann"], {"ann"}, {"ann": 1}):
        with pytest.raises(DataError, match=r"an id is a (list|set|dict), .*: give a number or a text"):
            answers.recommend(shop, ["ann", user], histories=PAST * 2, ratings=[[5, 1]] * 2)


def test_a_switch_is_no_length(shop):
    with pytest.raises(DataError, match="k = True: a list has 1 place or more"):
        answers.recommend(shop, ["ann"], True, histories=PAST, ratings=[[5, 1]])
