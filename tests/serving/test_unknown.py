"""Answers count what they do not know, and know ids however a question spells them."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import init

from rezoo.data import features
from rezoo.data.ids import Ids
from rezoo.errors import DataError
from rezoo.models import MF, FeatureMF, GRU4Rec, Popularity
from rezoo.serving import answers, cold_start, separators, tables
from rezoo.serving.bundle import Saved
from rezoo.types import Query

NUMBERS, FILMS = Ids(np.array([12, 15, 777])), Ids(np.array(["a", "b", "c"]))
PEOPLE = {"age": np.array(["", "young", "old", "young"])}


def made(model, users=NUMBERS, items=NUMBERS, **fields):
    query = Query(jnp.ones(1, jnp.int32), jnp.zeros((1, 3), jnp.int32), {"age": jnp.zeros(1, jnp.int32)})
    variables = jax.tree.map(lambda x: x * 30, init(model, query, jnp.array([1]), seed=1))
    return Saved(model, variables, users, items, **fields)


def factors(**ids):
    return made(MF(4, 4, 3), **ids)


def sessions(items=FILMS):
    return made(GRU4Rec(4, 4), items=items)


def with_ages(users=NUMBERS):
    people = features.fit({"age": features.Categorical()}, PEOPLE)
    model = FeatureMF(4, 4, {"age": 3}, {}, 3)
    return made(model, users=users, user_columns=people.transform(PEOPLE), user_features=people)


class Told(list):
    """Remembers what it is told, as `on_unknown`."""

    def __call__(self, unknown):
        self.append(unknown)


def test_ids_of_any_spelling_are_known():
    one = factors()
    right = answers.predict(one, [12, 15, 777], [12, 15, 777])
    spellings = (["12.0", "15.0", "777.0"], [" 12", "15 ", "777"])
    for users in (*spellings, ["12", "15", "777"], [12.0, 15.0, 777.0], np.array([12, 15, 777], object)):
        np.testing.assert_array_equal(answers.predict(one, users, [12, 15, 777]), right)


def test_some_unknown_ids_are_counted_in_a_warning():
    told = Told()
    answers.predict(factors(), [12, 5, 6, 5, 7, 8], [15, 15, 1, 15, 15, 777], on_unknown=told)
    assert str(told[0]) == "4 of 5 users unknown: 5, 6, 7 …; 1 of 3 items unknown: 1"
    with pytest.warns(answers.UnknownIds, match=r"1 of 2 users unknown: 5. Unknown users .* get the prior"):
        stars = answers.predict(factors(), [12, 5], [15, 15])
    quiet = answers.predict(factors(), [12, 5], [15, 15], on_unknown=answers.ignore)
    np.testing.assert_array_equal(stars, quiet)
    answers.predict(factors(), [12], [15], on_unknown=told)
    assert len(told) == 1  # nothing was unknown
    answers.recommend(factors(), [12], 2, exclude=[[15, 16]], on_unknown=told)
    assert str(told[1]) == "1 of 2 items to exclude unknown: 16"


def test_a_question_of_which_nothing_is_known_is_refused():
    for ask in (
        lambda **how: answers.predict(factors(), [5, 6], [12, 15], **how),
        lambda **how: answers.recommend(factors(), ["0012", "x"], 2, **how),
        lambda **how: tables.recommend_table(factors(users=FILMS), {"user": ["A", "B"]}, 2, **how),
    ):
        with pytest.raises(DataError, match=r"2 of 2 users unknown: .*Nothing is known of the users.*spelt"):
            ask()
        ask(on_unknown=answers.ignore)
    with pytest.raises(DataError, match=r"2 of 2 items unknown: 1, 2. Nothing is known of the items"):
        answers.predict(factors(), [12, 15], [1, 2])
    with pytest.raises(DataError, match=r"3 of 3 items of histories unknown: x, y, z. .*separator=','"):
        answers.recommend(sessions(), [1, 2], 2, histories=[["x", "y"], ["z"]])


def test_who_is_placed_otherwise_is_not_unknown():
    told = Told()
    answers.recommend(sessions(), ["?", "??"], 2, histories=[["a"], []], on_unknown=told)
    answers.predict(made(Popularity(4)), ["?"], [12], on_unknown=told)
    answers.predict(with_ages(), ["new", 12, 12.0], [12] * 3, {"age": ["old", "", ""]}, on_unknown=told)
    assert not told
    answers.predict(with_ages(), [99, 12], [12, 12], {"age": ["", "old"]}, on_unknown=told)
    past = np.array([[0], [1], [2], [3]])
    answers.predict(sessions()._replace(history=past), [99, 12], ["a", "a"], on_unknown=told)
    assert [unknown.users.raw for unknown in told] == [(99,), (99,)]


def test_the_ids_of_one_question_are_known_beside_new_ones_of_another_kind():
    one = with_ages()
    asked = answers.predict(one, ["zoe", "12"], [12, 12], {"age": ["old", ""]})
    np.testing.assert_allclose(asked[1], answers.predict(one, [12], [12])[0], rtol=1e-6)


@pytest.mark.parametrize("between", ["|", ",", " ", ";", ", ", "\t"])
def test_histories_with_any_separator(between):
    told = Told()
    right = tables.recommend_table(sessions(), {"user": [1, 2, 3], "history": ["a|b", "c|a|b", "b"]}, 2)
    past = [between.join(row) for row in ("ab", "cab", "b")]
    found = tables.recommend_table(sessions(), {"user": [1, 2, 3], "history": past}, 2, on_unknown=told)
    np.testing.assert_allclose(found["score"], right["score"], rtol=1e-5)
    assert not told


def test_histories_as_lists_and_numbers():
    one = sessions(items=NUMBERS)
    right = tables.recommend_table(one, {"user": [1, 2], "history": ["12|15", "777"]}, 2)["score"]
    for past in (
        ["[12, 15]", "[777]"],
        ["12 15", "777"],
        ["12;15", 777],
        [[12, 15], [777]],
        ["12.0|15", "777"],
    ):
        column = np.fromiter(past, object, 2)
        found = tables.recommend_table(one, {"user": [1, 2], "history": column}, 2)["score"]
        np.testing.assert_allclose(found, right, rtol=1e-5)
    single = tables.recommend_table(one, {"user": [1, 2], "history": [12, 777]}, 2)["score"]
    np.testing.assert_allclose(single[2:], right[2:], rtol=1e-5)
    np.testing.assert_allclose(
        tables.recommend_table(one, {"user": [1], "history": ["12-15"]}, 2, separator="-")["score"],
        right[:2],
        rtol=1e-5,
    )
    with pytest.raises(DataError, match="1 of 1 items of histories unknown: 12-15"):
        tables.recommend_table(one, {"user": [1], "history": ["12-15"]}, 2)
    with pytest.raises(DataError, match="a list of items is a text"):
        answers.recommend(one, [1], 2, histories=["12|15"])


def test_a_separator_that_may_be_part_of_an_id_is_not_guessed():
    titles = Ids(np.array(["tea, green", "tea", "green"]))
    assert separators.find(np.array(["tea, green", "tea,green"]), titles) == "|"
    assert separators.find(np.array(["tea,green"]), titles) == ","
    assert separators.find(np.array(["tea green,tea"]), titles) == "|"  # a part is known either way


def test_text_ids_of_a_file_stay_text(tmp_path):
    users, items = Ids(np.array(["0012", "12"])), Ids(np.array(["0108775015", "108775015"]))
    one = made(MF(3, 3, 3), users=users, items=items)
    (tmp_path / "pairs.csv").write_text("user_id,item_id\n0012,0108775015\n12,108775015\n")
    expected = answers.predict(one, users.raw, items.raw)
    np.testing.assert_allclose(tables.predict_table(one, tmp_path / "pairs.csv")["prediction"], expected)
    shop = made(GRU4Rec(3, 3), users=users, items=items)
    (tmp_path / "users.csv").write_text("who,history\n0012,0108775015\n12,108775015\n")
    found = tables.recommend_table(shop, tmp_path / "users.csv", 2, user="who")
    assert found["user"].tolist() == ["0012"] * 2 + ["12"] * 2
    right = answers.recommend(shop, users.raw, 2, histories=[["0108775015"], ["108775015"]])
    np.testing.assert_allclose(found["score"], right["score"])


def test_lists_are_never_longer_than_the_catalogue():
    for one in (factors(), made(Popularity(4))):
        lists = answers.recommend(one, [12], 10**9)
        assert lists["rank"].tolist() == [1, 2, 3] and sorted(lists["item"].tolist()) == [12, 15, 777]


@pytest.mark.parametrize("k", [0, -1])
def test_a_list_has_a_place_or_more(k):
    with pytest.raises(DataError, match=f"k = {k}: a list has 1 place or more"):
        answers.recommend(factors(), [12], k)


def test_new_items_of_a_model_without_features_are_refused():
    for one in (factors(), sessions()):
        with pytest.raises(
            DataError, match=f"{type(one.model).__name__} was saved without features of items"
        ):
            cold_start.with_items(one, [99], {"genre": ["x"]})
        with pytest.raises(DataError, match=r"without features of users.*such as 99"):
            cold_start.with_users(one, [12, 99], {})
        assert cold_start.with_users(one, [12], {}) is one


def test_what_newcomers_must_be():
    one, words = with_ages(), with_ages(users=FILMS)
    with pytest.raises(
        DataError, match="column 'genre' is not a feature of the users of this model; they are age"
    ):
        cold_start.with_users(one, [99], {"age": ["old"], "genre": ["x"]})
    with pytest.raises(DataError, match="'age' has 2 values for 1 users"):
        cold_start.with_users(one, [99], {"age": ["old", "young"]})
    with pytest.raises(
        DataError,
        match="users of this model are integers, such as 12, but not all of the new ones, such as 99, zoe",
    ):
        cold_start.with_users(one, ["99", "zoe"], {"age": ["old", "old"]})
    with pytest.raises(DataError, match="row 2 of the new users is missing"):
        cold_start.with_users(words, ["zoe", "NULL"], {"age": ["old", "old"]})
    more = cold_start.with_users(one, ["99", 100, 99.0], {"age": ["old", "young", "young"]})
    assert more.users.raw.tolist() == [12, 15, 777, 99, 100]
    assert cold_start.with_users(words, [7], {"age": ["old"]}).users.raw.tolist() == ["a", "b", "c", "7"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(answers.predict(more, ["99", 12], [12, 12])).all()


def test_what_a_table_says_of_a_user_is_said_once():
    one = sessions()
    same = tables.recommend_table(one, {"user": [1, 1], "history": ["a|b", "a|b"]}, 2)
    assert same["user"].tolist() == [1, 1]
    with pytest.raises(DataError, match="row 2: 'history' differs from that of the user's first row"):
        tables.recommend_table(one, {"user": [1, 1], "history": ["a|b", "b"]}, 2)
    with pytest.raises(DataError, match="'prediction', which would be lost: rename it"):
        tables.predict_table(with_ages(), {"user": [12], "item": [12], "prediction": [5]})


def test_columns_of_a_question_are_as_long_as_it():
    with pytest.raises(DataError, match="every column must have a value per row, but their lengths are"):
        answers.recommend(with_ages(), ["zoe", "12"], 2, {"age": [60]})


def test_a_stranger_is_one_person():
    one, asked = with_ages(), [[99, 12, 99], [12, 12, 15]]
    with pytest.raises(DataError, match="users: 99 has two values of 'age', in rows of its own: give one"):
        answers.predict(one, *asked, {"age": ["old", "", "young"]})
    told = answers.predict(one, *asked, {"age": ["old", "", "old"]})
    assert told[2] == answers.predict(one, [99], [15], {"age": ["old"]})[0]
