"""A prediction is that of `answers.predict`; `test_kinds` asks the other models."""

import functools

import numpy as np
import pytest
from shops import served, untrained

from rezoo.errors import DataError
from rezoo.serving import answers
from rezoo.serving.service.event_log import Event
from rezoo.serving.service.requests import Predict

ITEMS = ["p3", "p5", "new", "p39"]
NOW = 50.0


def engine(name, ranker=None):
    return served(name, ranker, table=name == "GRU4Rec")  # as in test_lists


def expected(name, user, order=1, columns=None, **past):
    columns = {column: [value] * len(ITEMS) for column, value in (columns or {}).items()}
    past = {column: [value] * len(ITEMS) for column, value in past.items()}
    if name == "WideDeep":
        columns = {"hour": [None] * len(ITEMS)} | columns
    saved = untrained(name, order)
    return answers.predict(saved, [user] * len(ITEMS), ITEMS, columns, **past, on_unknown=answers.ignore)


SLOW = pytest.param("UAutoRec", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["BiasedMF", "NeuMF", "WideDeep", "GRU4Rec", SLOW])
def test_the_same_question_has_the_same_answer(name):
    ours = functools.partial(engine(name).predict, slot=-1)
    for user in ("u3", "stranger"):
        told = ours(Predict(ITEMS, user=user))
        np.testing.assert_allclose(told, expected(name, user), rtol=1e-4, atol=1e-5)
    assert len(set(ours(Predict(ITEMS, user="u3")).tolist())) > 1
    if name in ("UAutoRec", "GRU4Rec"):
        past = {"history": ["p1", "p7", "?", "p2"]}
        also = {"histories": ["p1", "p7", "p2"]}
        if name == "UAutoRec":
            past, also = past | {"ratings": [1.0, -2.0, 0.0, 2.0]}, also | {"ratings": [1.0, -2.0, 2.0]}
        told = ours(Predict(ITEMS, user="u3", **past))
        np.testing.assert_allclose(told, expected(name, "u3", **also), rtol=1e-4, atol=1e-5)


def test_features_and_context_of_a_question():
    ours = functools.partial(engine("WideDeep").predict, slot=-1)
    for hour in (8, 20):
        told = ours(Predict(ITEMS, user="?", features={"age": "old"}, context={"hour": hour}))
        also = expected("WideDeep", "?", columns={"age": "old", "hour": hour})
        np.testing.assert_allclose(told, also, rtol=1e-4)
    assert not np.allclose(told, ours(Predict(ITEMS, user="?", features={"age": "old"}, context={"hour": 8})))
    with pytest.raises(DataError, match="hour"):
        ours(Predict(ITEMS, user="u1", context={"hour": "noon"}))
    with pytest.raises(DataError, match="age"):
        ours(Predict(ITEMS, user="?", features={"old": 3}))


@pytest.mark.slow
def test_ratings_beside_a_history():
    ours = functools.partial(engine("UAutoRec").predict, slot=-1)
    for one, message in (
        (Predict(ITEMS, user="u1", history=["p1"]), "give ratings beside the history"),
        (Predict(ITEMS, user="u1", history=["p1"], ratings=[1.0, 2.0]), "1 items and there are 2 ratings"),
        (Predict(ITEMS, user="u1", ratings=[1.0]), "give history too"),
    ):
        with pytest.raises(DataError, match=message):
            ours(one)


@pytest.mark.parametrize("name", ["GRU4Rec", "BiasedMF", "WideDeep"])
def test_a_session_is_predicted_for_from_its_events(name):
    one = engine(name)
    for item in ("p1", "p7", "p2"):
        one.answer([one.open(Event(item, f"v {name}", item, received=NOW))])
    told = one.predict(Predict(ITEMS, visitor=f"v {name}"), one.find(f"v {name}", NOW))
    past = {"histories": ["p1", "p7", "p2"]} if name == "GRU4Rec" else {}
    np.testing.assert_allclose(told, expected(name, "?", **past), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ranker", ["WideDeep", pytest.param("DIN", marks=pytest.mark.slow)])
def test_with_two_stages_the_ranker_predicts(ranker):
    both = engine("GRU4Rec", ranker)
    columns = {"age": "old", "hour": 9} if ranker == "WideDeep" else {}
    event = Event(ranker, "v1", "p4", received=NOW, features={"age": "old"})
    both.answer([both.open(event)])
    told = both.predict(Predict(ITEMS, visitor="v1", context={"hour": 9}), both.find("v1", NOW))
    past = {"histories": ["p4"]} if ranker == "DIN" else {}
    np.testing.assert_allclose(told, expected(ranker, "?", -1, columns, **past), rtol=1e-4, atol=1e-5)
    told = both.predict(Predict(ITEMS, user="u3", context={"hour": 9}), -1)
    columns = {"hour": 9} if columns else {}
    np.testing.assert_allclose(told, expected(ranker, "u3", -1, columns), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_session_keeps_the_ratings_that_were_saved_and_rates_its_events_1():
    one, shop = engine("UAutoRec"), untrained("UAutoRec")
    for item in ("p1", "?", "p7"):
        _, scores = one.answer([one.open(Event(item, "v", item, received=NOW, user="u3"))])
    row = shop.users.encode(["u3"])[0]
    kept, width = shop.history[row] > 0, one.settings.length
    past = [*shop.items.decode(shop.history[row][kept]).tolist()[-width:], "p1", "p7"][-width:]
    ratings = [*shop.history_rating[row][kept].tolist()[-width:], 1.0, 1.0][-width:]
    assert len(set(ratings)) > 1
    told = one.predict(Predict(ITEMS, visitor="v"), one.find("v", NOW))
    also = expected("UAutoRec", "u3", histories=past, ratings=ratings)
    np.testing.assert_allclose(told, also, rtol=1e-4, atol=1e-5)
    best = answers.recommend(shop, ["u3"], 10, histories=[past], ratings=[ratings])["score"]
    np.testing.assert_allclose(scores[0][:10], best, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_weighs_ratings_orders_nothing_of_sessions_without():
    with pytest.raises(
        DataError, match="UAutoRec weighs each event by its rating, which sessions of GRU4Rec"
    ):
        served("GRU4Rec", "UAutoRec")


@pytest.mark.slow
def test_ratings_are_numbers_of_float32():
    ours = functools.partial(engine("UAutoRec").predict, slot=-1)
    with pytest.raises(DataError, match=r"ratings: 1e[+]39 is not a finite number"):
        ours(Predict(ITEMS, user="u1", history=["p1"], ratings=[1e39]))
