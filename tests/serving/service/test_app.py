"""The service over HTTP: what it answers, and that bad requests are told what is wrong."""

import json
import threading
import time

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from shops import SETTINGS, TABLE, folder, untrained
from starlette.testclient import TestClient

from rezoo.errors import DataError
from rezoo.serving import answers, saved, tables
from rezoo.serving.service import api, fields
from rezoo.serving.service.app import app
from rezoo.serving.service.event_log import LogFullError, SqliteLog
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
    told = client.get("/items?limit=2").json()  # of the model, where there is no table
    assert len(told["items"]) == 2 and told["total"] == 40 and told["items"][0]["about"] == {}


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
    for name in (
        "requests_total",
        "request_seconds_bucket",
        "open_sessions",
        "waiting_requests",
        "ready 1.0",
    ):
        assert f"rezoo_{name}" in told
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
NAMES = st.sampled_from([*api.event(SETTINGS), *api.recommend(SETTINGS), "other"])


@hypothesis.given(st.dictionaries(NAMES, JSON, max_size=5) | JSON)
def test_whatever_is_sent_is_checked(values):
    for table in (api.event(SETTINGS), api.recommend(SETTINGS)):
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
