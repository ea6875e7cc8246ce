"""An exported model that reads columns of events answers as the saved one does, in JAX and in ONNX."""

import functools
import json

import numpy as np
import pytest
from exports import rows, same_lists
from helpers import init, mostly_slow, noisy

from rezoo.data import batches, features, sessions
from rezoo.data.interactions import from_columns
from rezoo.models import (
    HSTU,
    BERT4Rec,
    Caser,
    GRU4Rec,
    LRURec,
    SASRec,
)
from rezoo.nn.events import TimeGap
from rezoo.serving import answers, export
from rezoo.serving.bundle import Saved
from rezoo.serving.export.load import Model

START, LENGTH = 1_714_557_600, 6
WHO = ["u1", "nobody", "u3"]
PAST = [["p1", "none", "p4"], [], ["p2", "p2"]]
TYPES = [["view", "buy", "rent"], [], ["cart", None]]
TAGS = [[["red"], ["new", "red"], []], [], [["new"], ["old"]]]
PRICES = [[3.5, 9.0, None], [], [1.0, 2.0]]
TIMES = [[START, START + 60, START + 9], [], [None, START + 5]]  # the last of the first one goes back
KINDS = {
    "GRU4Rec": GRU4Rec,
    "SASRec": functools.partial(SASRec, num_heads=2),
    "HSTU": functools.partial(HSTU, num_blocks=1, time="time"),
    "LRURec": functools.partial(LRURec, num_blocks=1),
    "Caser": functools.partial(Caser, window=3, horizontal=2, vertical=2),
    "BERT4Rec": functools.partial(BERT4Rec, num_blocks=1),
}
"""The others read columns by the same module."""
every_model = pytest.mark.parametrize("name", mostly_slow(KINDS, ["GRU4Rec"]))


@functools.cache
def shop(name):
    rng = np.random.default_rng(0)
    log = from_columns(
        {
            "user": [f"u{n}" for n in rng.integers(0, 5, 60)],
            "item": [f"p{n}" for n in np.r_[np.arange(9), rng.integers(0, 9, 51)]],
            "type": np.array(["buy", "cart", "view"])[rng.integers(0, 3, 60)],
            "tags": np.array(["new", "red", "new|red"])[rng.integers(0, 3, 60)],
            "price": rng.integers(1, 9, 60) * 1.5,
            "timestamp": START + rng.integers(0, 10**5, 60),
        }
    )
    specs = {"type": features.Categorical(), "tags": features.MultiValued(), "price": features.Numeric()}
    fitted = features.fit(specs, log.extra)
    columns = fitted.transform(log.extra) | {"time": sessions.seconds(log)}
    data = batches.next_items(sessions.by_user(log, columns=columns), LENGTH)
    model = KINDS[name](log.num_items, 4, event_features=fitted.rows | {"time": TimeGap})
    variables = {"params": noisy(init(model, data.query, data.item[:, 0])["params"], 0.3)}
    told = {name: sessions.histories(log, LENGTH, of=column) for name, column in columns.items()}
    history = sessions.histories(log, LENGTH)
    return Saved(
        model, variables, log.users, log.items, history=history, event_features=fitted, history_columns=told
    )


def asked_raw():
    return {"histories": PAST, "events": {"type": TYPES, "tags": TAGS, "price": PRICES, "time": TIMES}}


def asked_fitted(one):
    raw = asked_raw()["events"]
    fitted = {
        name: [kind.transform(row).tolist() if row else [] for row in raw[name]]
        for name, kind in one.event_features.fitted.items()
    }
    seconds = [[0 if time is None else time for time in row] for row in TIMES]
    return {"histories": PAST, "events": fitted | {"time": seconds}}


def told(one, how):
    lists = answers.recommend(one, WHO, 6, **how, on_unknown=answers.ignore)
    stars = answers.predict(one, WHO, ["p7", "p1", "none"], **how, on_unknown=answers.ignore)
    return rows(lists, 3), stars


@every_model
def test_programs_answer_from_histories_with_their_columns(tmp_path, name):
    one = shop(name)
    export.save(tmp_path / "run", one, k=6, length=LENGTH)
    model = Model(tmp_path / "run")
    for ours, theirs in (({}, {}), (asked_fitted(one), asked_raw())):
        lists, stars = told(one, theirs)
        same_lists(model.recommend(WHO, k=6, **ours), lists)
        found = model.predict(WHO, ["p7", "p1", "none"], **ours)
        np.testing.assert_allclose(found, stars, rtol=1e-5, atol=1e-6)
    assert (
        model.manifest["events"]
        == {
            "type": ["int32", []],
            "tags": ["int32", [2]],
            "price": ["float32", []],
            "time": ["int32", []],
        }
        and model.manifest["features"] == {}
    )
    assert model.manifest["programs"]["recommend"][1]["features"]["tags"] == "int32[rows, events, 2]"
    how = asked_fitted(one)
    lost = {name: [np.zeros_like(row) for row in lists] for name, lists in how["events"].items()}
    without = model.predict(WHO, ["p7"] * 3, histories=PAST, events=lost)
    assert np.abs(without - model.predict(WHO, ["p7"] * 3, **how))[0] > 1e-4


@every_model
def test_live_sessions_go_on_with_the_columns_of_each_event(tmp_path, name):
    one = shop(name)
    export.save(tmp_path / "run", one, k=6, length=LENGTH)
    model, how = Model(tmp_path / "run"), asked_fitted(one)
    past, events = how["histories"], how["events"]
    begun = {name: [row[:1] for row in lists] for name, lists in events.items()}
    sessions = model.begin(model.start(4), [2, 3, 0], WHO, histories=[row[:1] for row in past], events=begun)
    for slots, who, nth in (([2, 0], [0, 2], 1), ([2], [0], 2)):
        items = [past[n][nth] for n in who]
        now = {name: [lists[n][nth] for n in who] for name, lists in events.items()}
        sessions = model.observe(sessions, slots, items, events=now)
    same_lists(model.next_items(sessions, [2, 3, 0], k=6), model.recommend(WHO, k=6, **how))
    takes = model.manifest["programs"]["observe"]
    assert takes[-1] == {
        "type": "int32[rows]",
        "tags": "int32[rows, 2]",
        "price": "float32[rows]",
        "time": "int32[rows]",
    }


@every_model
def test_onnx_runtime_answers_with_columns_of_events(tmp_path, name):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    one = shop(name)
    assert one.history is not None
    export.onnx(tmp_path / "run", one, k=6)
    dense = one.users.encode(WHO)
    given = {"user": dense, "history": one.history[dense], "item": one.items.encode(["p7", "p1", "none"])}
    given |= {f"features/{name}": column[dense] for name, column in one.history_columns.items()}
    given["exclude"] = np.zeros((3, 1), np.int32)
    options, found = onnxruntime.SessionOptions(), {}
    options.log_severity_level = 3
    for program in ("recommend", "predict"):
        session = onnxruntime.InferenceSession(str(tmp_path / "run" / f"{program}.onnx"), options)
        takes = [one.name for one in session.get_inputs()]
        assert {"history", *(f"features/{name}" for name in one.history_columns)} <= {*takes}
        found[program] = session.run(None, {name: given[name] for name in takes})
    lists, stars = told(one, {})
    ids, scores = (part.tolist() for part in found["recommend"])
    ours = [
        [(one.items.raw[item - 1], score) for item, score in zip(*row, strict=True) if item]
        for row in zip(ids, scores, strict=True)
    ]
    same_lists(ours, lists)
    np.testing.assert_allclose(found["predict"][0], stars, rtol=1e-5, atol=1e-6)
    content = json.loads((tmp_path / "run" / "onnx.json").read_text())
    assert content["events"]["price"] == ["float32", []] and content["features"] == {}


def test_vectors_of_users_are_after_the_columns_of_their_events(tmp_path):
    one = shop("GRU4Rec")
    export.vectors(tmp_path / "run", one)
    users, items = (np.load(tmp_path / "run" / f"{name}.npy") for name in ("users", "items"))
    stars = answers.predict(one, [one.users.raw[2]] * len(items), one.items.raw.tolist())
    np.testing.assert_allclose(users[2] @ items.T, stars, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    export.save(folder, shop("GRU4Rec"), k=3, length=LENGTH)
    return Model(folder)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (
            {"type": None},
            r"GRU4Rec reads the columns type of each event: give lists of them .*events=\{'type'",
        ),
        ({"type": [[1], [], [1, 2]]}, "type must be as many as the histories, and each as long"),
        ({"type": [[1, 2, 3], [1, 2]]}, "type must be as many as the histories"),
        ({"type": [["view"] * 3, [], [1, 2]]}, r"'type' of events is <U4 \[3\]: give int32 \[3\], as fitted"),
        ({"type": [[1.5, 1, 1], [], [1, 2]]}, r"'type' of events is float64 \[3\]: give int32"),
        (
            {"time": [[2**31, 1, 1], [], [1, 2]]},
            r"'time' of events is int64 \[3\]: give int32 .*within its type",
        ),
        ({"price": [[1.0, np.nan, 1.0], [], [1, 2]]}, "'price' of events is float64 .* finite"),
        ({"tags": [[[1], [1, 2], []], [], [[1, 2], [1, 2]]]}, r"'tags' of events .*give int32 \[3, 2\]"),
        ({"price": [[None, 1.0, 1.0], [], [1, 2]]}, r"'price' of events is object"),
    ],
)
def test_columns_that_are_not_what_the_model_reads_are_refused_by_name(loaded, wrong, match):
    how = asked_fitted(shop("GRU4Rec"))
    events = {name: lists for name, lists in (how["events"] | wrong).items() if lists is not None}
    with pytest.raises(ValueError, match=match):
        loaded.recommend(WHO, k=3, histories=PAST, events=events)


def test_events_without_a_history_or_an_item_without_its_columns_are_refused(loaded):
    with pytest.raises(ValueError, match="events are of no histories: give histories"):
        loaded.recommend(["u1"], events={"type": [[1]]})
    with pytest.raises(ValueError, match="reads the columns type, tags, price, time of each event"):
        loaded.recommend(["u1"], histories=[["p1"]])
    sessions = loaded.start(2)
    with pytest.raises(
        ValueError, match=r"of each event: give a value for each item, events=\{'type': \[…\]\}"
    ):
        loaded.observe(sessions, [1], ["p1"])
    now = {"type": [1], "tags": [[1, 0]], "price": [0.5], "time": [START]}
    with pytest.raises(ValueError, match=r"'type' of events is int64 \[2\]: give int32 \[1\]"):
        loaded.observe(sessions, [1], ["p1"], events=now | {"type": [1, 2]})
