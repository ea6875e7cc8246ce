"""The service over HTTP: what it answers, and that bad requests are told what is wrong."""

import json
import re
import shutil
import threading
import time

import hypothesis
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import init, noisy
from hypothesis import strategies as st
from shops import SETTINGS, TABLE, folder, untrained
from starlette.testclient import TestClient

from rezoo.data import batches, features
from rezoo.errors import DataError
from rezoo.models import GRU4Rec
from rezoo.serving import answers, saved, service, tables
from rezoo.serving.bundle import Saved
from rezoo.serving.service import api, fields
from rezoo.serving.service.app import app
from rezoo.serving.service.event_log import Event, LogFullError, SqliteLog
from rezoo.serving.service.requests import Observe, Recommend, Wanted
from rezoo.serving.service.shop import Shop

TOKEN = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("shop") / "model")


@pytest.fixture(scope="module")
def client(place):
    with TestClient(app(Shop(place, SqliteLog(":memory:"), SETTINGS), token="secret")) as client:
        wait(client)
        yield client


def wait(client):
    end = time.monotonic() + 120
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_event_is_answered_by_what_comes_after_it(client, place):
    for item in ("p3", "p5"):
        told = client.post("/events", json={"visitor": "ann", "item": item, "k": 4}).json()
    expected = answers.recommend(
        saved.load(place), ["ann"], 4, histories=[["p3", "p5"]], on_unknown=answers.ignore
    )
    assert [one["item"] for one in told["items"]] == expected["item"].tolist()
    assert told["accepted"] and told["items"][0]["name"] == "a product" and told["unknown"] == {}
    again = client.get("/recommend?visitor=ann&k=4").json()
    assert again["items"] == told["items"] and again["version"] == told["version"]
    new = client.get("/recommend?visitor=ann&k=10&seen=false&exclude=p7,p8").json()["items"]
    assert not {one["item"] for one in new} & {"p3", "p5", "p7", "p8"}


def test_a_history_a_user_and_a_stranger(client, place):
    model = saved.load(place)
    told = client.post("/recommend", json={"history": ["p3", "zz", "p5"], "k": 3}).json()
    expected = answers.recommend(model, ["?"], 3, histories=[["p3", "p5"]], on_unknown=answers.ignore)
    assert [one["item"] for one in told["items"]] == expected["item"].tolist()
    assert told["unknown"] == {"history": ["zz"]}
    told = client.get("/recommend?user=u3&k=3").json()
    expected = answers.recommend(model, ["u3"], 3)
    assert [one["item"] for one in told["items"]] == expected["item"].tolist()
    told = client.get("/recommend?user=nobody&k=3").json()
    assert told["unknown"] == {"user": ["nobody"]} and len(told["items"]) == 3
    assert len(client.get("/recommend?visitor=never-seen&k=3").json()["items"]) == 3
    by_visitor = client.get("/recommend?visitor=u3&k=3").json()  # who has no session, but is a customer
    assert [one["item"] for one in by_visitor["items"]] == expected["item"].tolist()


@pytest.fixture(scope="module")
def with_table(place, tmp_path_factory):
    """A service with a ranker and a table of items, and that table's file."""
    here = tmp_path_factory.mktemp("table")
    saved.save(here / "ranker", untrained("WideDeep", -1))
    tables.write({name: np.array(values) for name, values in TABLE.items()}, here / "items.csv")
    shop = Shop(place, SqliteLog(":memory:"), SETTINGS, ranker=here / "ranker", items=here / "items.csv")
    with TestClient(app(shop, token="secret")) as client:
        wait(client)
        yield client, here / "items.csv"


def test_the_catalogue(with_table, client):
    told = with_table[0].get("/items?category=tea,cup&price=10..20&limit=2&start=1").json()
    assert [one["item"] for one in told["items"]] == ["p12", "p13"] and told["total"] == 7
    assert told["items"][0]["about"] == {"category": "tea", "price": 12.0, "stock": 5}
    assert told["items"][0]["name"] == "product 12" and told["columns"]["stock"]["kind"] == "number"
    told = with_table[0].get("/items?ids=p7,none").json()
    assert [one["item"] for one in told["items"]] == ["p7"] and told["unknown"] == ["none"]
    wanted = {"category": ["tea"], "price": {"max": 3}}
    told = with_table[0].get("/items", params={"filters": json.dumps(wanted)}).json()
    assert [one["item"] for one in told["items"]] == ["p3"]  # p0 has no stock
    for query, message in (("colour=red", "'colour'"), ("price=low", "'price'"), ("filters=x", "filters")):
        refused = with_table[0].get(f"/items?{query}")
        assert refused.status_code == 400 and message in refused.json()["error"]
    counts = {"listed": 34, "only_in_model": 0, "only_in_table": 0, "unknown_to_ranker": 0}
    assert with_table[0].get("/ready").json()["items"] == counts
    told = client.get("/items?limit=2").json()  # of the model, where there is no table
    assert len(told["items"]) == 2 and told["total"] == 40 and told["items"][0]["about"] == {}


def test_two_stages_with_filters_reasons_and_context(with_table):
    client = with_table[0]
    wanted = {
        "k": 5,
        "filters": {"category": ["tea", "pot"], "price": {"min": 4}},
        "at_most": {"category": 2},
    }
    for item in ("p3", "p5"):
        event = {"visitor": "zoe", "item": item, "features": {"age": "old"}, "reasons": True, **wanted}
        told = client.post("/events", json=event | {"context": {"hour": 9}})
        assert told.status_code == 200, told.text
        told = told.json()
    assert [one["about"]["category"] for one in told["items"]].count("tea") == 2 == len(told["items"]) - 2
    assert all(one["about"]["price"] >= 4 and one["about"]["stock"] for one in told["items"])
    assert told["unknown"] == {} and told["reason"] == "left out"
    reasons = [reason for one in told["items"] for reason in one["because"]]
    assert {one["item"] for one in reasons} <= {"p3", "p5"} and reasons[0]["name"].startswith("product")
    asked = {"visitor": "zoe", "context": {"hour": 9}, **wanted}
    again = client.post("/recommend", json=asked).json()
    assert again["items"] == [{k: v for k, v in one.items() if k != "because"} for one in told["items"]]
    assert "reason" not in again
    told = client.get(
        "/recommend", params={"visitor": "zoe", "filters": json.dumps({"price": {"max": 3}})}
    ).json()
    assert {one["item"] for one in told["items"]} == {"p1", "p2", "p3"}
    assert told["unknown"] == {"ranker": {"context": ["hour"]}}


def test_predictions(with_table):
    items, features, context = ["p3", "zz", "p5"], {"age": "old"}, {"hour": 9}
    asked = {"user": "new", "items": items, "features": features, "context": context}
    told = with_table[0].post("/predict", json=asked).json()
    columns = {"age": ["old"] * 3, "hour": [9] * 3}
    expected = answers.predict(
        untrained("WideDeep", -1), ["new"] * 3, items, columns, on_unknown=answers.ignore
    )
    assert [one["item"] for one in told["items"]] == items
    np.testing.assert_allclose([one["prediction"] for one in told["items"]], expected, rtol=1e-4)
    assert told["unknown"] == {"items": ["zz"], "user": ["new"]}
    told = with_table[0].post("/predict", json={"visitor": "u3", "items": ["p1"]}).json()
    assert told["unknown"] == {"context": ["hour"]} and 0 < told["items"][0]["prediction"] < 1


def test_both_models_and_the_table_are_one_version(tmp_path):
    for name, order in (("one", -1), ("two", 1)):
        saved.save(tmp_path / name / "model", untrained("GRU4Rec", order))
        saved.save(tmp_path / name / "ranker", untrained("BiasedMF", -order))
        tables.write({"item": np.array(TABLE["item"]), "stock": np.ones(40)}, tmp_path / name / "items.csv")
    link, log = tmp_path / "now", SqliteLog(":memory:")
    link.symlink_to("one")
    shop = Shop(link / "model", log, SETTINGS, ranker=link / "ranker", items=link / "items.csv")
    shop.renew()

    def listed(*requests):
        told = shop.work([*requests, Recommend(Wanted(10), visitor="ann")])[-1]
        return told.version, [one["item"] for one in told.items]

    def expected(name):
        first, second = (saved.load(tmp_path / name / which) for which in ("model", "ranker"))
        past = [["p3", "p5"]]
        best = answers.recommend(first, ["?"], 12, histories=past, on_unknown=answers.ignore)["item"]
        stars = answers.predict(second, ["?"] * 12, best, on_unknown=answers.ignore)
        return best[np.argsort(-stars, kind="stable")][:10].tolist()

    before = listed(*(Observe(Event(item, "ann", item)) for item in ("p3", "p5")))
    assert before[1] == expected("one")
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    assert listed() == before
    version, engine = shop.renew(), shop.newest
    after = listed()
    assert after[0] == version != before[0] and after[1] == expected("two") != before[1]
    gone = after[1][0]  # is sold out
    stock = np.where(np.array(TABLE["item"]) == gone, 0, 1)
    tables.write({"item": np.array(TABLE["item"]), "stock": stock}, link / "items.csv")
    version = shop.renew()
    third = listed()
    assert third[0] == version != after[0] and gone not in third[1] and shop.engine is engine
    (link / "items.csv").write_text("title\ntea\n")
    with pytest.raises(DataError, match="item column"):
        shop.renew()
    assert listed() == third and "cannot be served" in shop.trouble
    for which in ("items.csv", "ranker", "model"):  # each is named, but not where it lies
        shutil.rmtree(link / which) if (link / which).is_dir() else (link / which).unlink()
        with pytest.raises(DataError, match=which):
            shop.renew()
        assert which in shop.trouble and tmp_path.name not in shop.trouble


@pytest.mark.parametrize("column", ["age", "hour"])
def test_a_session_comes_back_from_the_log_with_its_features_or_its_context(tmp_path, column):
    kind, values = {
        "age": (features.Categorical(), ["", "young", "old"]),
        "hour": (features.Numeric(), [8, 20]),
    }[column]
    fitted, like = features.fit({column: kind}, {column: values}), untrained("GRU4Rec")
    model = GRU4Rec(like.items.size, 4, user_features={column: fitted.fitted[column].size})
    columns = {column: fitted.transform({column: values[:1]})[column]}
    variables = init(model, batches.queries([0], np.ones((1, 3), np.int32), columns), jnp.array([1]))
    variables = {**variables, "params": noisy(variables["params"], 0.5)}
    how = {"context_features": fitted}
    if column == "age":
        how = {"user_features": fitted, "user_columns": {"age": np.zeros(like.users.size, np.int32)}}
    saved.save(tmp_path / "model", Saved(model, variables, like.users, like.items, **how))

    def started():
        shop = Shop(tmp_path / "model", SqliteLog(tmp_path / "events.sqlite"), SETTINGS, clock=lambda: 9.0)
        shop.renew()
        return shop

    def lists(shop):
        told = shop.work([Recommend(Wanted(10), visitor=visitor) for visitor in visitors])
        return [tuple([one[what] for one in each.items] for what in ("item", "score")) for each in told]

    shop, visitors = started(), {"ann": {}, "bob": {column: values[-1]}, "eve": {column: values[-2]}}
    for visitor, given in visitors.items():
        event = Event(visitor, visitor, "p3")
        if column == "hour":
            shop.work([Observe(event, Wanted(0, context=given))])
        else:
            shop.work([Observe(event._replace(features=given))])
        shop.work([Observe(Event(visitor + "2", visitor, "p5"))])
    before = lists(shop)
    assert len({scores[0] for _, scores in before}) == len(visitors)  # what was given matters
    shop.log.close()
    again = started()
    for (items, scores), (same, close) in zip(lists(again), before, strict=True):
        assert items == same
        np.testing.assert_allclose(scores, close, rtol=1e-5)
    again.log.close()


def test_an_event_that_is_refused_is_not_kept(with_table):
    client, event = with_table[0], {"visitor": "eve", "item": "p1", "key": "once", "k": 3}
    for wrong in (
        {"filters": {"colour": 1}},
        {"at_most": {"colour": 1}},
        {"context": {"hour": "noon"}},
        {"features": {"old": 1}},
    ):
        assert client.post("/events", json=event | wrong).status_code == 400
    assert not client.post("/events", json=event).json()["duplicate"]


def test_an_event_that_is_sent_twice_counts_once(client):
    event = {"visitor": "bob", "item": "p4", "key": "one", "k": 3}
    first, second = (client.post("/events", json=event).json() for _ in range(2))
    assert not first["duplicate"] and second["duplicate"] and second["number"] is None
    assert first["items"] == second["items"]


def test_items_like_an_item(client):
    told = client.get("/items/p3/similar?k=5").json()["items"]
    assert len(told) == 5 and "p3" not in [one["item"] for one in told]
    assert all(-1 <= one["score"] <= 1 for one in told)
    assert client.get("/items/none/similar").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/events", {"visitor": "a"}, 400, "'item' is missing"),
        ("POST", "/events", {"visitor": "a", "item": "p1", "colour": 3}, 400, "no field 'colour'"),
        ("POST", "/events", {"visitor": "", "item": "p1"}, 400, "visitor is ''"),
        ("POST", "/events", {"visitor": "a", "item": ["p1"]}, 400, "item is"),
        ("POST", "/events", {"visitor": "a", "item": True}, 400, "item is True"),
        ("POST", "/events", {"visitor": "a", "item": 2**70}, 400, "64 bits"),
        ("POST", "/events", {"visitor": "a", "item": "p1", "k": 11}, 400, "from 0 to 10"),
        ("POST", "/events", {"visitor": "a", "item": "p1", "time": "now"}, 400, "time is"),
        ("POST", "/events", {"visitor": "a", "item": "p1", "exclude": ["p1"] * 6}, 400, "5 ids at most"),
        ("POST", "/events", [1, 2], 400, "a list"),
        ("POST", "/events", b"{", 400, "not JSON"),
        ("POST", "/events", b'{"visitor": "a", "item": "p1", "time": NaN}', 400, "not JSON"),
        ("POST", "/events", b"[" * 50_000, 400, "not JSON"),
        ("POST", "/events", b'{"visitor": "\\ud800", "item": "p1"}', 400, "visitor is"),
        ("POST", "/events", b"x" * 70_000, 413, "65,536 bytes"),
        ("GET", "/recommend", None, 400, "who asks?"),
        ("GET", "/recommend?visitor=a&user=b", None, 400, "not both"),
        ("GET", "/recommend?visitor=a&k=many", None, 400, "k is 'many'"),
        ("GET", "/recommend?visitor=a&visitor=b", None, 400, "twice"),
        ("GET", "/recommend?visitor=a&features=x", None, 400, "no field 'features'"),
        ("POST", "/recommend", {"visitor": "a", "filters": {"price": 3}}, 400, "serve a table"),
        ("POST", "/recommend", {"visitor": "a", "filters": ["price"]}, 400, "filters is a list"),
        ("POST", "/recommend", {"visitor": "a", "filters": {"price": [[3]]}}, 400, "a list of values"),
        ("POST", "/recommend", {"visitor": "a", "at_most": {"price": 0}}, 400, "1 or more"),
        ("POST", "/recommend", {"visitor": "a", "reasons": "yes"}, 400, "true or false"),
        ("POST", "/predict", {"items": ["p1"]}, 400, "who asks?"),
        ("POST", "/predict", {"visitor": "a"}, 400, "'items' is missing"),
        ("POST", "/predict", {"visitor": "a", "items": ["p1"] * 9}, 400, "8 ids at most"),
        (
            "POST",
            "/predict",
            {"user": "a", "items": ["p1"], "history": ["p1"], "ratings": ["x"]},
            400,
            "ratings",
        ),
        ("POST", "/admin/reload", None, 401, "token"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(client, method, path, body, status, message):
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    told = client.request(method, path, content=content)
    assert told.status_code == status and message in told.json()["error"], told.text


def test_a_wrong_token_is_refused_and_no_secret_is_told(client, caplog):
    for given in ("Bearer wrong", "secret", "Bearer é", "Bearer"):
        assert client.post("/admin/reload", headers={"Authorization": given.encode()}).status_code == 401
    assert client.post("/admin/reload", headers=TOKEN).status_code == 200
    assert "secret" not in caplog.text + client.get("/metrics").text


def test_what_is_to_be_watched(client):
    client.get("/recommend?visitor=a")
    told = client.get("/metrics").text
    assert "rezoo_ready 1.0" in told and "rezoo_folder_refused 0.0" in told
    for name in re.findall(r"`((?:rezoo|process)_\w+)", str(service.__doc__)):
        assert f"# TYPE {name}" in told, name
    assert client.get("/health").json() == {"status": "alive"}


def test_the_description_is_of_what_is_there(client):
    told = client.get("/openapi.json").json()
    for path, methods in told["paths"].items():
        for method in methods:
            got = client.request(method, path.replace("{item}", "p1"), headers=TOKEN)
            assert got.status_code not in (404, 405), (method, path)
    assert "POST /events" in client.get("/docs").text.replace("<code>", "").replace("</code>", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = api.event(SETTINGS), api.recommend(SETTINGS), api.predict(SETTINGS), api.items(SETTINGS)
NAMES = st.sampled_from([*sorted({name for table in FIELDS for name in table}), "other"])


@hypothesis.given(st.dictionaries(NAMES, JSON, max_size=5) | JSON)
def test_whatever_is_sent_is_checked(values):
    for table in FIELDS:
        try:
            read = fields.from_json(values, table)
        except DataError as error:
            assert str(error)
        else:
            json.dumps(read, allow_nan=False).encode()


def test_a_full_log_is_said_and_questions_are_answered(place):
    class Full(SqliteLog):
        def append(self, events):
            raise LogFullError("the log of events cannot be written to: it is full")

    with TestClient(app(Shop(place, Full(":memory:"), SETTINGS))) as client:
        wait(client)
        told = client.post("/events", json={"visitor": "a", "item": "p1", "k": 3})
        assert told.status_code == 507 and "full" in told.json()["error"]
        assert client.get("/recommend?visitor=a&k=3").status_code == 200
        assert client.post("/admin/reload", headers=TOKEN).status_code == 401  # there is no token


def test_a_folder_that_cannot_be_served_is_said(tmp_path):
    with TestClient(app(Shop(tmp_path / "none", SqliteLog(":memory:"), SETTINGS))) as client:
        end = time.monotonic() + 20
        while "none" not in (told := client.get("/ready")).json()["error"]:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert told.status_code == 503 and told.headers["retry-after"] == "1"
        assert client.get("/recommend?visitor=a").status_code == 503
        assert client.get("/health").status_code == 200


@pytest.mark.slow
def test_a_new_model_takes_over_while_requests_go_on(tmp_path):
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two", seed=1)
    link = tmp_path / "now"
    link.symlink_to(one)
    with TestClient(app(Shop(link, SqliteLog(":memory:"), SETTINGS), token="secret")) as client:
        wait(client)
        for item in ("p3", "p5", "p9"):
            client.post("/events", json={"visitor": "ann", "item": item})
        expected = {}
        for place in (one, two):
            lists = answers.recommend(
                saved.load(place), ["ann"], 5, histories=[["p3", "p5", "p9"]], on_unknown=answers.ignore
            )
            expected[Shop(place, SqliteLog(":memory:")).content()] = lists["item"].tolist()
        told, over = [], threading.Event()

        def keep_asking():
            while not over.is_set():
                told.append(client.get("/recommend?visitor=ann&k=5"))

        thread = threading.Thread(target=keep_asking)
        thread.start()
        (tmp_path / "next").symlink_to(two)
        (tmp_path / "next").replace(link)
        assert client.post("/admin/reload", headers=TOKEN).status_code == 200
        time.sleep(0.2)
        bad = tmp_path / "bad"
        bad.mkdir()
        (tmp_path / "next").symlink_to(bad)
        (tmp_path / "next").replace(link)
        refused = client.post("/admin/reload", headers=TOKEN)
        over.set()
        thread.join()
        assert refused.status_code == 400 and "cannot be served" in client.get("/ready").json()["trouble"]
    assert {one.status_code for one in told} == {200}
    versions = [one.json()["version"] for one in told]
    assert set(versions) == set(expected) and versions == sorted(versions, key=versions.index)
    for answer in told:
        assert [row["item"] for row in answer.json()["items"]] == expected[answer.json()["version"]]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"slots": 0}, "slots = 0: give 1 or more"),
        ({"length": 2.5}, r"length = 2\.5: give 1 or more, a whole number"),
        ({"sizes": (4, 1)}, r"sizes = \(4, 1\): give one number or more, each above the one before"),
        ({"items": ()}, r"items = \(\): give one number or more"),
        ({"exclude": -1}, "exclude = -1: give a finite number of 0 or more"),
        ({"idle": 0.0}, r"idle = 0\.0: give a finite number above 0"),
    ],
)
def test_settings_with_which_nothing_can_be_answered_are_refused_at_once(tmp_path, untyped, setting, told):
    with pytest.raises(ValueError, match=told):
        Shop(tmp_path, SqliteLog(":memory:"), SETTINGS._replace(**setting))


@pytest.mark.parametrize("waits", [{"window": -1.0}, {"window": np.nan}, {"waiting": 0}, {"watch": 0.0}])
def test_what_cannot_be_waited_for_is_refused_at_once(tmp_path, waits):
    with pytest.raises(ValueError, match=f"{next(iter(waits))} = .*: give "):
        app(Shop(tmp_path, SqliteLog(":memory:"), SETTINGS), **waits)


def test_filters_are_of_numbers_that_there_are_and_of_each_column_once(with_table):
    client, _ = with_table
    for query in (
        'filters={"price":{"min":NaN}}',
        'filters={"price":{"max":1e999}}',
        'filters={"price":5,"price":6}',
        "price=nan",
        "price=inf",
        "price=5_0",
    ):
        answer = client.get(f"/items?{query}")
        assert answer.status_code == 400, query


def test_what_was_seen_and_what_is_excluded_are_left_out_however_much_it_is(client):
    past = [f"p{n}" for n in range(1, 9)]
    assert len(past) > SETTINGS.exclude
    told = client.post(
        "/recommend", json={"history": past, "seen": False, "exclude": ["p10", "p11"], "k": 10}
    ).json()
    found = {one["item"] for one in told["items"]}
    assert found and not found & {*past, "p10", "p11"}
