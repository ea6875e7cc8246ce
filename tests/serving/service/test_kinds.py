"""Behind the service, models of every kind answer as they do from Python: lists, predictions and sessions."""

import functools

import numpy as np
import pytest
from helpers import noisy

from rezoo.data import features
from rezoo.data.ids import Ids
from rezoo.serving import answers, reads
from rezoo.serving.bundle import Saved
from rezoo.serving.service.asks import Settings
from rezoo.serving.service.engine import Engine
from rezoo.serving.service.event_log import Event
from rezoo.serving.service.requests import Predict, Wanted
from rezoo.serving.service.translate import Past

pytestmark = pytest.mark.slow
SETTINGS = Settings(sizes=(1,), slots=4, length=5, k=5, exclude=2, items=(4,), candidates=6)
SOME = (
    *("MF", "SVDpp", "FM", "DCNv2", "MMoE", "ESMM", "IAutoRec", "CFGAN", "DIN", "YouTubeDNN", "TwoTower"),
    *("GRU4Rec-features", "STAMP-features", "Caser-features", "VSKNN", "CoOccurrence", "TopFreq"),
    *("Popularity", "EASE"),
)
ITEMS = ["p1", "p2", "new", "p9"]
COLUMNS = {"age": ["a", "b", "c"], "genres": ["a|b|c", "d", "a"]}
PEOPLE = features.fit({"age": features.Categorical(), "genres": features.MultiValued()}, COLUMNS)
HOURS = features.fit({"hour": features.Numeric()}, {"hour": [1.0, 5.0, 9.0]})
close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)


def saved(name):
    import test_contract as contract

    case = contract.CASES[name]
    variables = case.fitted
    if variables is None:
        variables = contract.first_state(name).variables
        variables = {**variables, "params": noisy(variables["params"], 0.3)}
    users = Ids(np.array([f"u{n}" for n in range(contract.USERS - 1)]))
    items = Ids(np.array([f"p{n}" for n in range(contract.ITEMS - 1)]))
    rng, more = np.random.default_rng(0), {}
    if getattr(case.model, "sizes", None) or getattr(case.model, "user_features", None):
        age, genres = rng.integers(0, 4, contract.USERS), rng.integers(0, 5, (contract.USERS, 3))
        columns = {"age": age.astype(np.int32), "genres": genres.astype(np.int32)}
        more = {"user_columns": columns, "user_features": PEOPLE, "context_features": HOURS}
    one = Saved(case.model, variables, users, items, **more)
    past = np.vstack([np.zeros(5, int), contract.LOG]).astype(np.int32)
    return one._replace(history=past if reads.reads_history(one) else None)


@pytest.mark.parametrize("name", SOME)
def test_the_service_says_what_the_model_says(name):
    shop = saved(name)
    engine, values = Engine(shop, "1", SETTINGS), {"hour": 3.0} if shop.context_features.fitted else {}
    wanted = Wanted(5, context=values)

    def expected(user, history=None):
        past = None if history is None or shop.history is None else [history]
        columns = {name: [value] for name, value in values.items()}
        return answers.recommend(shop, [user], 5, columns, histories=past, on_unknown=answers.ignore)["score"]

    for user in ("u3", "stranger"):
        told = engine.predict(Predict(ITEMS, user=user, context=values), -1)
        columns = {name: [value] * 4 for name, value in values.items()}
        close(told, answers.predict(shop, [user] * 4, ITEMS, columns, on_unknown=answers.ignore))
        ask = engine.of_user(user, None, wanted)
        _, scores = engine.ask(ask, engine.first.past(ask.who.user))
        best = expected(user)
        close(scores[: len(best)], best)
    for item in ("p1", "p4"):
        ask = engine.open(Event(item, "v", item, user="u2"), wanted)
        ids, scores = engine.answer([ask])
    events = [f"p{item - 1}" for item in engine.first.past(3).items] + ["p1", "p4"]
    best = expected("u2", events if hasattr(shop.model, "step") else events[-5:])
    close(scores[0][: len(best)], best)
    reasons = engine.reasons(ask, Past(), ids[0])
    assert len(reasons) == 5 and (any(reasons) or engine.reason in (None, "popular"))
