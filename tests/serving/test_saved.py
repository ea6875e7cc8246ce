"""A saved model answers as the trained one did, elsewhere, and says what it cannot do."""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from flax.core import FrozenDict
from helpers import init, made
from hypothesis import given, settings
from hypothesis import strategies as st

from rezoo.data import clean, features, files
from rezoo.data.batches import queries
from rezoo.data.ids import Ids
from rezoo.data.interactions import from_columns
from rezoo.data.scale import Scale
from rezoo.errors import DataError
from rezoo.models import (
    DIN,
    EASE,
    FM,
    IALS,
    MF,
    NARM,
    NFM,
    STAMP,
    BiasedMF,
    Caser,
    DeepFM,
    FeatureMF,
    GRU4Rec,
    ItemKNN,
    MultVAE,
    NeuMF,
    Popularity,
    UAutoRec,
    WideDeep,
)
from rezoo.models.factorization import ease, ials, item_knn
from rezoo.models.ranking import din
from rezoo.models.session import narm, stamp
from rezoo.nn.recurrent import LSTM, hard_sigmoid
from rezoo.serving import answers, bundle, checks, cold_start, model_json, saved, tables
from rezoo.serving.bundle import Saved
from rezoo.types import Query

USERS, ITEMS = Ids(np.array(["ann", "bob", "eve"])), Ids(np.array([10, 20, 30, 40]))
PEOPLE = {"age": np.array(["", "young", "old", "young"])}
PRODUCTS = {"kind": np.array(["", "tea", "tea|cup", "cup", "pot"]), "price": np.array([np.nan, 1, 2, 3, 4])}


def ask(model, **constants):
    """The model with parameters that have no zeros in them but row 0's."""
    query = queries(history=jnp.zeros((1, 2), jnp.int32), features={"age": jnp.zeros(1, jnp.int32)})
    params = made(model, constants, query, jnp.ones(1, jnp.int32))
    return {
        "params": jax.tree.map(lambda x: jax.device_put(np.asarray(x) * np.float32(9)), params),
        **constants,
    }


def with_features() -> Saved:
    user_set = features.fit({"age": features.Categorical()}, PEOPLE)
    item_set = features.fit({"kind": features.MultiValued(), "price": features.Numeric()}, PRODUCTS)
    sizes = ({name: one.size for name, one in fitted.fitted.items()} for fitted in (user_set, item_set))
    model = FeatureMF(4, 5, *sizes, 3)
    catalogue = jax.tree.map(jnp.asarray, item_set.transform(PRODUCTS))
    variables = ask(model, catalogue=catalogue)
    columns = user_set.transform(PEOPLE)
    return Saved(model, variables, USERS, ITEMS, columns, user_set, item_set, scale=Scale(3.0, 2.0))


def without() -> Saved:
    model = BiasedMF(4, 5, 3, mean=3.5)
    return Saved(model, ask(model), USERS, ITEMS, clip=(1.0, 5.0))


PAST = np.array([[0, 0, 0], [1, 2, 0], [3, 4, 2], [0, 0, 0]])
PAIRS = np.nonzero(PAST)[0], PAST[PAST > 0]
STARS = np.array([[0.0, 0, 0], [5, 1, 0], [2, 4, 3], [0, 0, 0]])


def with_past(model=None, **fields) -> Saved:
    model = model or MultVAE(5, hidden=3, latent=2)
    return Saved(model, ask(model), USERS, ITEMS, **{"history": PAST, **fields})


def with_hour(kind=FM, **sizes) -> Saved:
    hours = features.fit({"hour": features.Categorical()}, {"hour": ["noon", "night"]})
    model = kind({"user": 4, "item": 5, **hours.sizes, **sizes})
    query = queries(history=jnp.zeros((1, 1), jnp.int32), features={"hour": jnp.zeros(1, jnp.int32)})
    variables = init(model, query, jnp.ones(1, jnp.int32))
    params = jax.tree.map(lambda x: jax.random.normal(jax.random.key(x.size), x.shape), variables["params"])
    return Saved(model, {**variables, "params": params}, USERS, ITEMS, context_features=hours)


def test_another_process_answers_the_same_without_the_training_data(tmp_path):
    one = with_features()
    saved.save(tmp_path / "run", one)
    here = answers.predict(one, ["ann", "bob"], [10, 40])
    program = (
        "import sys, json; from rezoo.serving import answers, saved; run = saved.load(sys.argv[1]);"
        "print(json.dumps([answers.predict(run, ['ann', 'bob'], [10, 40]).tolist(),"
        "answers.recommend(run, ['eve'], 2)['item'].tolist()]))"
    )
    root = str(Path(__file__).parents[2])
    env = os.environ | {"PYTHONPATH": root, "XLA_FLAGS": ""}
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        capture_output=True, text=True, check=True, env=env, cwd=tmp_path,
    )  # fmt: skip
    there, lists = json.loads(ran.stdout)
    np.testing.assert_allclose(there, here, rtol=1e-6)
    assert lists == answers.recommend(one, ["eve"], 2)["item"].tolist()


def test_predictions_are_on_the_original_scale_and_clipped_where_stated(tmp_path):
    one = with_features()
    query = queries([1], features={"age": jnp.asarray(one.user_columns["age"][1:2])})
    score = one.model.apply(one.variables, query, jnp.array([2]))
    np.testing.assert_allclose(answers.predict(one, ["ann"], [20]), 2.0 * score + 3.0, rtol=1e-5)
    far = one._replace(scale=Scale(3.0, 1e4))
    assert np.abs(answers.predict(far, ["ann"], [20])).max() > 5
    assert set(answers.predict(far._replace(clip=(1.0, 5.0)), ["ann"] * 4, ITEMS.raw)) <= {1.0, 5.0}
    chance = answers.predict(one._replace(link=bundle.probability, scale=Scale(0.0, 1.0)), ["ann"], [20])
    np.testing.assert_allclose(chance, 1 / (1 + np.exp(-score)), rtol=1e-5)


def test_the_unknown_falls_back_to_features_and_then_to_the_prior():
    one = with_features()
    asked = {"age": ["old", "young", "ancient", None]}
    who = ["new1", "new2", "new3", "new4"]
    new = answers.predict(one, who, [10] * 4, asked, on_unknown=answers.ignore)
    assert len(set(new[:2])) == 2 and new[2] == new[3]  # a category never seen is no category
    prior = answers.predict(one, ["new1"], [10], on_unknown=answers.ignore)
    np.testing.assert_allclose(prior, new[3:], rtol=1e-6)
    known = answers.predict(one, ["ann", "ann"], [10, 10], {"age": ["old", "young"]})
    np.testing.assert_allclose(known, answers.predict(one, ["ann"] * 2, [10, 10]), rtol=1e-6)

    fresh = {"kind": ["tea", "pot|cup", "spoon"], "price": [1.0, 4.0, None]}
    stars = answers.predict(one, ["ann"] * 3, [77, 78, 79], fresh)
    assert len(set(stars)) == 3 and np.isfinite(stars).all()
    longer = cold_start.with_items(one, [77, 78, 79], fresh)
    assert longer.items.size == 8 and len(longer.variables["catalogue"]["price"]) == 8
    np.testing.assert_allclose(answers.predict(longer, ["ann"] * 3, [77, 78, 79]), stars, rtol=1e-6)
    assert set(answers.recommend(longer, ["ann"], 7)["item"]) == {10, 20, 30, 40, 77, 78, 79}
    again = cold_start.with_items(longer, [77, 10], {"kind": ["pot", "pot"], "price": [9.0, 9.0]})
    assert again.items == longer.items


def test_without_features_the_unknown_gets_the_prior():
    one = without()
    bias = one.variables["params"]["item_bias"]["embedding"]
    prior = partial(answers.predict, one, on_unknown=answers.ignore)
    np.testing.assert_allclose(prior(["?"], [20]), np.clip(3.5 + bias[2], 1, 5), rtol=1e-6)
    np.testing.assert_allclose(prior(["?"], [99]), [3.5])
    assert answers.predict(one, [], []).shape == (0,)


def test_more_places_than_products_give_shorter_lists():
    lists = answers.recommend(
        without(), ["ann", "?"], 10**12, exclude=[[10, 999], []], on_unknown=answers.ignore
    )
    assert lists["user"].tolist() == ["ann"] * 3 + ["?"] * 4
    assert lists["rank"].tolist() == [1, 2, 3, 1, 2, 3, 4]
    assert 10 not in lists["item"][:3] and np.isfinite(lists["score"]).all()
    assert (np.diff(lists["score"][:3]) <= 0).all()
    with pytest.raises(DataError, match="k = 0"):
        answers.recommend(without(), ["ann"], 0)


def test_a_session_model_is_asked_with_raw_histories(tmp_path):
    model = GRU4Rec(5, 3, cell=LSTM)
    saved.save(tmp_path / "run", Saved(model, ask(model), USERS, ITEMS))
    back = saved.load(tmp_path / "run")
    assert back.model == model and back.model.cell is LSTM
    two = answers.predict(
        back, ["?", "?"], [10, 10], histories=[[20, 999, 30], []], on_unknown=answers.ignore
    )
    query = queries(history=[[2, 3]])
    np.testing.assert_allclose(two[0], model.apply(back.variables, query, jnp.array([1]))[0], rtol=1e-5)
    assert two[0] != two[1]
    with pytest.raises(DataError, match="2 users and 1 lists"):
        answers.predict(back, ["?", "?"], [10, 10], histories=[[20]])


def test_known_users_are_asked_with_the_history_that_was_saved(tmp_path):
    saved.save(tmp_path / "run", with_past())
    back = saved.load(tmp_path / "run")
    np.testing.assert_array_equal(back.history, PAST)
    asked = ["bob", "ann", "eve", "?"], [10, 40, 20, 20]
    given = answers.predict(back, *asked, histories=[[30, 40, 20], [10, 20], [], []])
    alone = answers.predict(back, *asked, on_unknown=answers.ignore)
    np.testing.assert_allclose(alone, given, rtol=1e-5)
    query = Query(jnp.array([2]), jnp.array([[3, 4, 2]]), {})
    np.testing.assert_allclose(
        given[0], back.model.apply(back.variables, query, jnp.array([1]))[0], rtol=1e-5
    )
    assert given[2] == given[3] != answers.predict(back, ["ann"], [20])
    lists = answers.recommend(back, ["bob", "ann"], 3)
    told = answers.recommend(back, ["?", "??"], 3, histories=[[30, 40, 20], [10, 20]])
    assert lists["item"].tolist() == told["item"].tolist()


@pytest.mark.parametrize(
    "model", [EASE(5), MultVAE(5, hidden=3, latent=2), GRU4Rec(5, 3)], ids=lambda m: type(m).__name__
)
def test_a_model_that_reads_a_history_is_not_asked_without(model):
    variables = ease.fit(PAST[1:3], 5) if isinstance(model, EASE) else ask(model)
    one = Saved(model, variables, USERS, ITEMS)
    message = (
        type(model).__name__ + r" reads a history, and there is none: give histories=.*Saved\(…, history=…\)"
    )
    with pytest.raises(DataError, match=message):
        tables.predict_table(one, {"user": ["ann"], "item": [10]})
    with pytest.raises(DataError, match=message):
        tables.recommend_table(one, {"user": ["ann"]}, 2)
    assert np.isfinite(answers.predict(one, ["ann"], [10], histories=[[]])).all()


def test_history_ratings_are_saved_or_given_and_never_guessed(tmp_path):
    rated = with_past(UAutoRec(5, 3, mean=3.0), history_rating=STARS)
    saved.save(tmp_path / "run", rated)
    back = saved.load(tmp_path / "run")
    query = Query(jnp.array([1]), jnp.array([[1, 2]]), {"history_rating": jnp.array([[5.0, 1.0]])})
    score = back.model.apply(back.variables, query, jnp.array([4]))
    np.testing.assert_allclose(answers.predict(back, ["ann"], [40]), score, rtol=1e-5)
    given = {"histories": [[10, 999, 20]], "ratings": [[5, 3, 1]]}
    given["on_unknown"] = answers.ignore
    np.testing.assert_allclose(answers.predict(back, ["?"], [40], **given), score, rtol=1e-5)
    table = {"user": ["?"], "item": [40], "history": ["10|999|20"], "history_rating": ["5|3|1"]}
    told = tables.predict_table(back, table, on_unknown=answers.ignore)
    np.testing.assert_allclose(told["prediction"], score, rtol=1e-5)
    with pytest.raises(DataError, match="UAutoRec weighs each event by its rating: give ratings="):
        answers.predict(back, ["ann"], [40], histories=[[10]])
    with pytest.raises(DataError, match="each as long as its history"):
        answers.predict(back, ["ann"], [40], histories=[[10]], ratings=[[5, 1]])
    with pytest.raises(DataError, match="ratings are of no histories"):
        answers.predict(back, ["ann"], [40], ratings=[[5]])
    with pytest.raises(DataError, match=r"history_rating: .*'five'.*such as 5\|3.5"):
        tables.predict_table(back, table | {"history_rating": ["five"]})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"history": PAST[1:]}, r"history is int64 \[3, 3\]: give item ids \[4 L\]"),
        ({"history": PAST + 0.5}, "history is float64"),
        ({"history": PAST + 1}, "history has ids 1 … 5 of 5 items"),
        ({"history": None, "history_rating": STARS}, "give history too"),
        ({"history_rating": STARS}, "MultVAE does not read history_rating"),
        ({"model": UAutoRec(5, 3)}, "UAutoRec weighs each event by its rating: give history_rating"),
        ({"model": UAutoRec(5, 3), "history_rating": STARS[:, :2]}, "one rating for each event"),
    ],
)  # fmt: skip
def test_histories_that_do_not_fit_are_not_saved(tmp_path, fields, message):
    with pytest.raises(DataError, match=message):
        saved.save(tmp_path / "run", with_past(**fields))


def test_users_who_come_later_have_no_history(tmp_path):
    people = features.fit({"age": features.Categorical()}, PEOPLE)
    model = GRU4Rec(5, 3, user_features={"age": 3})
    columns = people.transform(PEOPLE)
    one = Saved(model, ask(model), USERS, ITEMS, columns, people, history=PAST)
    more = cold_start.with_users(one, ["new"], {"age": ["old"]})
    saved.save(tmp_path / "run", more)
    back = saved.load(tmp_path / "run")
    assert back.users.size == 5 == len(back.history)
    new, told = (answers.predict(back, ["new"], [20], histories=past) for past in (None, [[]]))
    np.testing.assert_allclose(new, told, rtol=1e-6)
    np.testing.assert_allclose(answers.predict(one, ["new"], [20], {"age": ["old"]}), new, rtol=1e-6)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_histories_come_with_a_table_and_go_out_again(tmp_path, kind):
    one = with_past(history=None)
    past = pa.array([[10, 20], [30], []])
    columns = pa.table({"user": ["a", "b", "c"], "item": [40, 40, 40], "history": past})
    asked = files.read_table(columns)
    tables.write(asked, tmp_path / f"in.{kind}")
    answered = tables.predict_table(one, tmp_path / f"in.{kind}")
    expected = answers.predict(one, ["a", "b", "c"], [40] * 3, histories=[[10, 20], [30], []])
    np.testing.assert_allclose(answered["prediction"], expected, rtol=1e-5)
    tables.write(answered, tmp_path / f"out.{kind}")
    again = tables.recommend_table(one, tmp_path / f"out.{kind}", 2)
    assert (
        again["item"].tolist()
        == answers.recommend(one, [1, 2, 3], 2, histories=[[10, 20], [30], []])["item"].tolist()
    )
    single = tables.predict_table(one, {"user": ["b", "c"], "item": [40, 40], "history": [30.0, np.nan]})
    np.testing.assert_allclose(single["prediction"], expected[1:], rtol=1e-5)


def test_the_context_is_asked_for_by_name(tmp_path):
    saved.save(tmp_path / "run", with_hour())
    back = saved.load(tmp_path / "run")
    asked = {"user": ["ann"] * 2, "item": [20] * 2, "hour": ["night", "noon"]}
    stars = tables.predict_table(back, asked)["prediction"]
    hour = jnp.asarray(back.context_features.transform(asked)["hour"])
    query = queries([1, 1], features={"hour": hour})
    np.testing.assert_allclose(stars, back.model.apply(back.variables, query, jnp.array([2, 2])), rtol=1e-5)
    assert stars[0] != stars[1]
    with pytest.raises(DataError, match="there is no column 'hour'; there are user, item"):
        tables.predict_table(back, {"user": ["ann"], "item": [20]})
    with pytest.raises(DataError, match="there is no column 'hour'"):
        answers.recommend(back, ["ann"], 2)


@pytest.mark.parametrize("kind", [FM, NFM, DeepFM, WideDeep], ids=lambda kind: kind.__name__)
def test_a_vocabulary_of_another_size_than_the_table_is_refused(tmp_path, kind):
    one = with_hour(kind)
    for values, rows in (
        (["noon", "night", "dawn"], "4 rows"),
        (["noon"], "2 rows"),
        ([1.5, 2.5], "no table"),
    ):
        spec = features.Numeric() if rows == "no table" else features.Categorical()
        other = features.fit({"hour": spec}, {"hour": values})
        message = f"context_features: column 'hour' has {rows}, but the model was trained with 3 rows"
        with pytest.raises(DataError, match=message):
            saved.save(tmp_path / "run", one._replace(context_features=other))
    user = features.fit({"age": features.Categorical()}, PEOPLE)
    with pytest.raises(DataError, match=r"user_features: column 'age' has 3 rows, but .* with no table"):
        saved.save(tmp_path / "run", one._replace(user_features=user))


SEVERAL = {
    "FM": with_hour,
    "NFM": lambda: with_hour(NFM),
    "EASE": lambda: Saved(EASE(5), ease.fit(PAST[1:3], 5, l2=1.0), USERS, ITEMS, history=PAST),
    "ItemKNN": lambda: Saved(ItemKNN(5), item_knn.fit(PAST, 5, neighbours=2), USERS, ITEMS, history=PAST),
    "MultVAE": with_past,
    "IALS": lambda: Saved(IALS(4, 5, 3), ials.fit(jax.random.key(0), *PAIRS, 4, 5, 3), USERS, ITEMS),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_what_is_loaded_answers_like_what_was_saved(tmp_path, name):
    one = SEVERAL[name]()
    saved.save(tmp_path / "run", one)
    back = saved.load(tmp_path / "run")
    assert type(back.model) is type(one.model)
    hour = {"hour": ["noon", "night", "noon", "dawn"]}
    asked = ["ann", "ann", "bob", "?"], [30, 40, 10, 20], hour
    stars = answers.predict(one, *asked, on_unknown=answers.ignore)
    np.testing.assert_array_equal(answers.predict(back, *asked, on_unknown=answers.ignore), stars)
    assert np.isfinite(stars).all() and len(set(stars)) > 1


def test_a_folder_without_histories_of_the_format_before_is_read(tmp_path):
    saved.save(tmp_path / "run", without())
    edit(tmp_path / "run", "format", 1)
    assert saved.load(tmp_path / "run").history is None


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_in_and_out(tmp_path, kind):
    one = with_features()
    asked = {"customer_id": ["ann", "new"], "StockCode": [10, 20], "age": ["", "old"], "note": ["a", "b"]}
    tables.write({name: np.array(column) for name, column in asked.items()}, tmp_path / f"in.{kind}")
    answered = tables.predict_table(one, tmp_path / f"in.{kind}")
    tables.write(answered, tmp_path / f"out.{kind}")
    back = files.read_table(tmp_path / f"out.{kind}")
    assert list(back) == [*asked, "prediction"] and back["note"].tolist() == ["a", "b"]
    expected = answers.predict(one, ["ann", "new"], [10, 20], {"age": ["", "old"]})
    np.testing.assert_allclose(back["prediction"], expected, rtol=1e-5)
    lists = tables.recommend_table(one, tmp_path / f"in.{kind}", 2)
    assert lists["user"].tolist() == ["ann", "ann", "new", "new"]
    with pytest.raises(DataError, match=r"no item column among .* item="):
        tables.predict_table(one, {"user": ["ann"], "colour": ["red"]})
    with pytest.raises(DataError, match="there is no column 'who'"):
        tables.predict_table(one, asked, user="who")


def test_bad_questions_are_refused():
    one = with_features()
    with pytest.raises(DataError, match="'users': 1, 'items': 2"):
        answers.predict(one, ["ann"], [10, 20])
    with pytest.raises(DataError, match="column 'age': it was text in training and is numbers now"):
        answers.predict(one, ["new"], [10], {"age": [7]})
    with pytest.raises(DataError, match="no column 'price'"):
        cold_start.with_items(one, [77], {"kind": ["tea"]})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda run: None, "there is no saved model"),
        (lambda run: (run / "arrays.npz").unlink(), "is damaged"),
        (lambda run: (run / "item_features.json").write_text("{"), "not a file of saved features"),
        (lambda run: (run / "saved.json").write_text("hello"), "is damaged"),
        (lambda run: cut(run / "arrays.npz"), "is damaged"),
        (lambda run: flip(run / "arrays.npz"), "is damaged"),
        (lambda run: edit(run, "format", 99), "format 99.* save the model again"),
        (lambda run: edit(run, "clip", [5, 1]), "lowest prediction must be below"),
        (lambda run: edit(run, "model", {"class": "Oracle", "fields": {}}), "no model 'Oracle'"),
        (lambda run: edit(run, "link", {"function": "os.system"}), "link is 'os.system', but can only"),
        (lambda run: edit(run, "link", {"function": "rezoo.losses.gone"}), "link is 'rezoo.losses.gone'"),
        (lambda run: field(run, "colour", 3), "no field 'colour'"),
        (lambda run: field(run, "dim", 4), "variables do not fit FeatureMF"),
        (lambda run: field(run, "item_features", {"mapping": {"kind": 9}}), "trained on .*'kind': 9"),
    ],
)  # fmt: skip
def test_a_missing_damaged_or_foreign_folder_is_refused(tmp_path, harm, message):
    run = tmp_path / "run"
    saved.save(run, with_features())
    if harm(run) is None and message == "there is no saved model":
        run = tmp_path / "other"
    with pytest.raises(DataError, match=message):
        saved.load(run)


def cut(file):
    file.write_bytes(file.read_bytes()[:-200])


def flip(file):
    content = bytearray(file.read_bytes())
    place = content.find(b"\x93NUMPY", content.find(b"variables/params/user")) + 128 + 20
    content[place] ^= 255
    file.write_bytes(bytes(content))


def edit(run, name, value):
    content = json.loads((run / "saved.json").read_text())
    (run / "saved.json").write_text(json.dumps(content | {name: value}))


def field(run, name, value):
    model = json.loads((run / "saved.json").read_text())["model"]
    edit(run, "model", model | {"fields": model["fields"] | {name: value}})


def test_features_that_changed_since_training_are_refused(tmp_path):
    one = with_features()
    more = features.fit({"age": features.Categorical()}, {"age": ["young", "old", "older"]})
    with pytest.raises(
        DataError, match=r"user_features are .'age': 4., but the model was trained on .'age': 3."
    ):
        saved.save(tmp_path / "run", one._replace(user_features=more))
    with pytest.raises(DataError, match=r"user_columns: 'age' \[2\] must have a row for each of 4 ids"):
        saved.save(tmp_path / "run", one._replace(user_columns={"age": np.zeros(2, np.int32)}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_variables_on_the_host_are_saved_and_asked(tmp_path, dtype):
    """After `jax.device_get`, in any mapping, and in types that NumPy has not."""
    one = with_features()
    params = jax.tree.map(lambda x: np.asarray(x).astype(dtype), one.variables["params"])
    host = one._replace(variables=FrozenDict(jax.device_get({**one.variables, "params": params})))
    saved.save(tmp_path / "run", host)
    back = saved.load(tmp_path / "run")
    chex.assert_trees_all_equal(dict(back.variables), host.variables.unfreeze())
    assert {leaf.dtype for leaf in jax.tree.leaves(back.variables["params"])} == {jnp.dtype(dtype)}
    asked = ["ann", "new"], [30, 20], {"age": ["old", "young"]}
    np.testing.assert_array_equal(answers.predict(back, *asked), answers.predict(host, *asked))
    lists = answers.recommend(host, ["ann", "bob"], 3)
    assert lists["item"].tolist() == answers.recommend(back, ["ann", "bob"], 3)["item"].tolist()


def test_names_that_have_strokes_and_blanks_in_them_are_kept(tmp_path):
    name = "age / %2F of .."
    people = features.fit({name: features.Categorical()}, {name: PEOPLE["age"]})
    model = FeatureMF(4, 5, people.sizes, {"sort": 3}, 3)
    query = queries(features={name: jnp.zeros(1, jnp.int32)})
    catalogue = {"sort": jnp.zeros(5, jnp.int32)}
    params = made(model, {"catalogue": catalogue}, query, jnp.ones(1, jnp.int32))
    variables = {"params": params, "catalogue": catalogue}
    one = Saved(model, variables, USERS, ITEMS, people.transform({name: PEOPLE["age"]}), people)
    saved.save(tmp_path / "run", one)
    back = saved.load(tmp_path / "run")
    chex.assert_trees_all_equal(back.variables, one.variables)
    assert list(back.user_columns) == [name] == list(back.user_features.fitted)


integers = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
raw_ids = st.one_of(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), unique=True
    ).map(lambda ids: np.array(ids, np.str_)),
    st.sampled_from(integers).flatmap(
        lambda kind: st.lists(
            st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max)), min_size=4, unique=True
        ).map(lambda ids: np.array(ids, kind))
    ),
)


@given(raw_ids, raw_ids.filter(lambda ids: len(ids) >= 4))
@settings(max_examples=15)
def test_ids_come_back_as_they_are_spelt(users, items):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "score", lambda *_: 0.0)  # the model is not what is looked at
        saved.save(f"{folder}/run", without()._replace(users=Ids(users), items=Ids(items)))
        back = saved.load(f"{folder}/run")
    for ids, raw in ((back.users, users), (back.items, items)):
        assert ids.raw.dtype == raw.dtype and ids.raw.tolist() == raw.tolist()


@pytest.mark.parametrize(
    "raw", [np.array(["a", "b", "c"], object), np.array([1.0, 2.5, 3.0]), np.array(["\ud800", "b", "c"])]
)
def test_ids_of_other_types_are_refused(tmp_path, raw):
    with pytest.raises(DataError, match=r"users .*(integers or text|written as text)"):
        saved.save(tmp_path / "run", without()._replace(users=Ids(raw)))


def test_an_older_folder_of_that_name_gives_way(tmp_path):
    saved.save(tmp_path / "run", with_features())
    saved.save(tmp_path / "run", without())
    assert isinstance(saved.load(tmp_path / "run").model, BiasedMF)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


class Foreign(nn.Module):
    pass


@pytest.mark.parametrize(
    "model",
    [
        MF(4, 5),
        BiasedMF(4, 5, 3, mean=jnp.float32(2.5)),
        NeuMF(4, 5, 3, widths=[4, 2]),
        Popularity(5),
        with_features().model,
        DIN({"item": 5}, weights=din.CodeActivation, meet=din.beside),
        NARM(5, normalise=narm.softmax, gate=hard_sigmoid),
        STAMP(5, memory=stamp.plus_mean),
        Caser(5, activation=nn.tanh),
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_models_are_rebuilt_from_json(model):
    back = model_json.rebuild(json.loads(json.dumps(model_json.describe(model))), 10)
    assert type(back) is type(model)
    assert json.dumps(model_json.describe(back)) == json.dumps(model_json.describe(model))


def test_what_cannot_be_written_down_is_refused():
    with pytest.raises(DataError, match=r"Foreign is not a model of rezoo.models"):
        model_json.describe(Foreign())
    with pytest.raises(
        DataError,
        match=r"GRU4Rec.cell is .*LSTMCell.* can only be .*GRU, .*LSTM",
    ):
        model_json.describe(GRU4Rec(5, cell=nn.LSTMCell))
    with pytest.raises(DataError, match=r"link is .*<locals>.*, but can only be"):
        model_json.write(lambda x: x, bundle.Link, "link")


def test_ratings_off_the_scale_and_twice_given_are_reported():
    log = from_columns({"user": [1, 1, 2, 2], "item": [1, 1, 1, 2], "rating": [4, 2, 9, 3]})
    log, report = clean.drop_bad_ratings(log, low=1.0, high=5.0)
    assert log.rating.tolist() == [4, 2, 3] and "9" in str(report)
    log, report = clean.drop_duplicates(log)
    assert log.rating.tolist() == [2, 3] and report.before - report.after == 1


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda: without()._replace(items=Ids(np.array([10, 20, 10, 40]))), "items have 10 2 times"),
        (lambda: without()._replace(users=Ids(np.array(["ann", "bob", "ann"]))), "users have ann 2 times"),
        (
            lambda: with_past(history=np.array([[0, 0], [0, 1], [2, 0], [0, 0]])),
            "row 1 has an item behind a 0",
        ),
        (
            lambda: with_past(history=np.array([[3, 0], [1, 0], [2, 0], [0, 0]])),
            "row 0 is that of whoever is",
        ),
        (
            lambda: without()._replace(variables=jax.tree.map(lambda x: x * np.nan, without().variables)),
            "has NaN: save a model whose training went well",
        ),
    ],
)
def test_what_would_answer_wrongly_is_not_saved(tmp_path, broken, told):
    with pytest.raises(DataError, match=told):
        saved.save(tmp_path / "run", broken())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": Scale(0.0, 0.0)}, "finite factor that is not 0"),
        ({"scale": Scale(float("nan"), 1.0)}, "give a finite shift"),
        ({"clip": (1.0,)}, r"clip=\(1\.0,\): the lowest prediction must be below the highest, of two"),
        ({"clip": 5.0}, r"clip=5\.0: the lowest prediction"),
    ],
)
def test_scales_on_which_nothing_can_be_said_are_refused(fields, message, untyped):
    with pytest.raises(DataError, match=message):
        checks.check(without()._replace(**fields))
