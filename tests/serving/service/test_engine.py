"""What a session is answered is what the model says of its events; sessions come back from a log."""

import jax
import numpy as np
import pytest
from helpers import mostly_slow
from shops import SETTINGS, TABLE, engine, log, model

from rezoo.errors import DataError
from rezoo.recipes import networks
from rezoo.serving import answers
from rezoo.serving.service.asks import Ask
from rezoo.serving.service.catalogue import Catalogue
from rezoo.serving.service.engine import Engine
from rezoo.serving.service.event_log import Event
from rezoo.serving.service.requests import Predict, Wanted
from rezoo.serving.service.translate import Past

MODELS = ["gru4rec", "sasrec", "buy_again", "bpr", "co_occurrence"]


def events(count=200, visitors=30, seed=1):
    rng = np.random.default_rng(seed)
    users = [None, "u3", "u7", "nobody"]
    return [
        Event(
            str(n),
            f"v{visitor}",
            f"p{rng.integers(0, 45)}",  # some are unknown
            received=float(n * 3),
            user=users[visitor % 4],
        )
        for n, visitor in enumerate(rng.integers(0, visitors, count).tolist())
    ]


def observed(engine, some):
    for event in some:
        engine.answer([engine.open(event)])


def lists(engine, visitors=30):
    """What every visitor would be shown."""
    found = {}
    for visitor in range(visitors):
        slot = engine.find(f"v{visitor}", engine.now)
        ids, scores = engine.answer([Ask(slot)])
        found[visitor] = slot >= 0, ids[0], scores[0]
    return found


@pytest.mark.parametrize("recipe", mostly_slow(MODELS, set(MODELS) - {"sasrec"}))
def test_a_list_is_what_the_model_says_of_the_sessions_events(recipe):
    shop, one = model(recipe), engine(recipe)
    for user in ("u3", "stranger"):
        clicked = ["p3", "p5", "zzz", "p8"]
        for n, item in enumerate(clicked):
            ask = one.open(Event(f"{user}{n}", user, item, received=float(n)))
            ids, scores = one.answer([ask])
        if shop.history is not None and user == "u3":
            past = shop.items.decode(without(shop.history[shop.users.encode(["u3"])[0]])).tolist()
            clicked = [*past[-SETTINGS.length :], *clicked]
        known = [item for item in clicked if item != "zzz"]
        if recipe != "gru4rec":  # which keeps its state, where the others keep the newest events
            known = known[-SETTINGS.length :]
        expected = answers.recommend(shop, [user], 10, histories=[known], on_unknown=answers.ignore)
        np.testing.assert_allclose(
            scores[0][: len(expected["score"])], expected["score"], rtol=1e-4, atol=1e-5
        )
        clear = np.diff(expected["score"]) < -1e-4  # ties may come in any order
        same = shop.items.decode(ids[0][ids[0] > 0]) == expected["item"]
        assert same[1:-1][clear[:-1] & clear[1:]].all()


def without(row):
    return row[row > 0]


@pytest.mark.parametrize("recipe", mostly_slow(["gru4rec", "sasrec"], ["gru4rec"]))
def test_sessions_come_back_from_the_log_as_they_were(recipe):
    """Idle ones end, slots are used again, and some visitors find none free."""
    some, one, again = events(), engine(recipe), engine(recipe)
    full = 0
    for event in some:
        try:
            observed(one, [event])
        except RuntimeError:
            full += 1
    assert again.replay(iter(some)) == len(one.slots) == SETTINGS.slots and full
    np.testing.assert_array_equal(again.sessions.count, one.sessions.count)
    for (open_, ids, scores), (open_again, ids_again, scores_again) in zip(
        lists(one).values(), lists(again).values(), strict=True
    ):
        assert open_ == open_again
        np.testing.assert_allclose(scores, scores_again, rtol=1e-4, atol=1e-5)
        assert (ids == ids_again).mean() > 0.7  # but for ties by rounding
    half, rest = engine(recipe), some[100:]
    half.replay(iter(some[:100]))
    half.replay(iter(rest))
    np.testing.assert_array_equal(half.sessions.ring, again.sessions.ring)


def test_a_batch_answers_as_one_by_one():
    some, one, many = events(4, visitors=100), engine(), engine()
    alone = [one.answer([one.open(event)]) for event in some]
    ids, scores = many.answer([many.open(event) for event in some])
    np.testing.assert_array_equal(ids[: len(some)], np.concatenate([row for row, _ in alone]))
    np.testing.assert_allclose(scores[: len(some)], np.concatenate([row for _, row in alone]), rtol=1e-5)
    assert not set(many.answer([Ask(0, seen=False, exclude=[3, 4])])[0][0]) & {
        3,
        4,
        many.first.item(some[0].item),
    } - {0}


def test_nothing_is_compiled_by_a_question():
    shop = model()
    jax.clear_caches()  # other tests may have compiled what a question needs
    one = Engine(shop, "1", SETTINGS, table=Catalogue.read(TABLE))
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        compiled = []
        from jax._src import compiler

        patch.setattr(compiler, "backend_compile_and_load", lambda *a, **k: compiled.append(a))
        observed(one, events(20))
        ask = one.of_user("u3", None, Wanted(5, exclude=["p3"]))
        one.ask(ask, Past([1, 2]))
        one.similar(3)
        one.predict(Predict(["p1", "p2"], user="u3"), -1)
        one.predict(Predict(["p1", "p2"], visitor="v3"), 0)
        one.reasons(ask, Past([1, 2]), np.array([3, 4]))
        filtered = Wanted(5, filters={"category": "tea"}, at_most={"price": 1}, reasons=True)
        some = [one.of_slot(slot, filtered) for slot in (0, 1)]
        ids, scores = one.answer(some)
        one.cut(some[0], Past(), (ids[0], scores[0]), filtered)
        one.reasons(some[0], Past(), ids[0])
    assert not compiled


def test_a_stranger_is_known_by_features():
    ages = {"user": [f"u{n}" for n in range(20)], "age": [n % 2 for n in range(20)]}
    shop = networks.wide_deep(log(), jax.random.key(0), users=ages, dim=4, num_epochs=1)
    one = Engine(shop, "1", SETTINGS)
    event = Event("1", "new", "p3", features={"age": 1})
    _, scores = one.answer([one.open(event)])
    expected = answers.recommend(shop, ["new"], 10, {"age": [1]}, on_unknown=answers.ignore)
    np.testing.assert_allclose(scores[0], expected["score"], rtol=1e-5)
    with pytest.raises(DataError, match="age"):
        one.open(Event("2", "other", "p3", features={"old": 1}))


@pytest.mark.parametrize("recipe", mostly_slow(["sasrec", "gru4rec", "buy_again"], ["gru4rec", "buy_again"]))
def test_who_signs_in_goes_on_with_a_past(recipe):
    shop, one, again = model(recipe), engine(recipe), engine(recipe)
    some = [Event("1", "v", "p3"), Event("2", "v", "p5", user="u3"), Event("3", "v", "p8")]
    for event in some:
        _, scores = one.answer([one.open(event)])
    past = (
        [] if shop.history is None else shop.items.decode(without(shop.history[shop.users.encode(["u3"])[0]]))
    )
    clicked = [*[*past, "p3"][-SETTINGS.length :], "p5", "p8"]  # gru4rec keeps its state
    clicked = clicked if recipe == "gru4rec" else clicked[-SETTINGS.length :]
    expected = answers.recommend(shop, ["u3"], 10, histories=[clicked])
    np.testing.assert_allclose(scores[0], expected["score"], rtol=1e-4, atol=1e-5)
    again.replay(some[:1])
    again.replay(some[1:])
    _, from_log = again.answer([again.of_slot(again.find("v", 0.0), Wanted(10))])
    np.testing.assert_allclose(from_log[0], scores[0], rtol=1e-4, atol=1e-5)


def test_another_user_begins_another_session():
    one, shop = engine("sasrec"), model("sasrec")
    for n, (user, item) in enumerate([("u3", "p3"), ("u3", "p5"), ("u7", "p8"), (None, "p9")]):
        _, scores = one.answer([one.open(Event(str(n), "v", item, user=user))])
    past = shop.items.decode(without(shop.history[shop.users.encode(["u7"])[0]])).tolist()
    known = [*past[-SETTINGS.length :], "p8", "p9"][-SETTINGS.length :]
    expected = answers.recommend(shop, ["u7"], 10, histories=[known])
    np.testing.assert_allclose(scores[0], expected["score"], rtol=1e-4, atol=1e-5)
    for n, (user, count) in enumerate([("carl", 1), ("carl", 2), ("dora", 1)]):  # strangers, one and another
        one.answer([one.open(Event(f"{user}{n}", "w", "p3", user=user))])
        assert one.sessions.count[one.find("w", 0.0)] == count


def test_features_may_come_later_than_the_session():
    ages = {"user": [f"u{n}" for n in range(20)], "age": [n % 2 for n in range(20)]}
    shop = networks.wide_deep(log(), jax.random.key(0), users=ages, dim=4, num_epochs=1)
    one = Engine(shop, "1", SETTINGS)
    for n, features in enumerate([None, {"age": 1}, None]):
        _, scores = one.answer([one.open(Event(str(n), "new", "p3", features=features))])
        expected = answers.recommend(
            shop, ["new"], 10, {"age": [1]} if n else None, on_unknown=answers.ignore
        )
        np.testing.assert_allclose(scores[0], expected["score"], rtol=1e-5)
    _, scores = one.answer([one.open(Event("9", "new", "p3", user="u4"))])
    np.testing.assert_allclose(scores[0], answers.recommend(shop, ["u4"], 10)["score"], rtol=1e-5)
