"""A saved model answers as the trained one did, elsewhere, and says what it cannot do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo.data import clean, features, files
from rezoo.data.errors import DataError
from rezoo.data.ids import Ids
from rezoo.data.interactions import from_columns
from rezoo.data.scale import Scale
from rezoo.models import MF, BiasedMF, FeatureMF, GRU4Rec, NeuMF, Popularity
from rezoo.nn.recurrent import LSTM
from rezoo.serving import answers, describe, saved, tables
from rezoo.serving.saved import Saved
from rezoo.types import Query

USERS, ITEMS = Ids(np.array(["ann", "bob", "eve"])), Ids(np.array([10, 20, 30, 40]))
PEOPLE = {"age": np.array(["", "young", "old", "young"])}
PRODUCTS = {"kind": np.array(["", "tea", "tea|cup", "cup", "pot"]), "price": np.array([np.nan, 1, 2, 3, 4])}


def ask(model, **constants):
    """The model with parameters that have no zeros in them but row 0's."""
    query = Query(jnp.zeros(1, jnp.int32), jnp.zeros((1, 2), jnp.int32), {"age": jnp.zeros(1, jnp.int32)})
    rngs = {"params": jax.random.key(0)}
    _, made = model.apply(constants, query, jnp.ones(1, jnp.int32), rngs=rngs, mutable=["params"])
    return {"params": jax.tree.map(lambda x: x * 9.0, made["params"]), **constants}


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
    query = Query(
        jnp.array([1]), jnp.zeros((1, 0), jnp.int32), {"age": jnp.asarray(one.user_columns["age"][1:2])}
    )
    score = one.model.apply(one.variables, query, jnp.array([2]))
    np.testing.assert_allclose(answers.predict(one, ["ann"], [20]), 2.0 * score + 3.0, rtol=1e-5)
    far = one._replace(scale=Scale(3.0, 1e4))
    assert np.abs(answers.predict(far, ["ann"], [20])).max() > 5
    assert set(answers.predict(far._replace(clip=(1.0, 5.0)), ["ann"] * 4, ITEMS.raw)) <= {1.0, 5.0}
    chance = answers.predict(one._replace(link=saved.probability, scale=Scale(0.0, 1.0)), ["ann"], [20])
    np.testing.assert_allclose(chance, 1 / (1 + np.exp(-score)), rtol=1e-5)


def test_the_unknown_falls_back_to_features_and_then_to_the_prior():
    one = with_features()
    asked = {"age": ["old", "young", "ancient", None]}
    new = answers.predict(one, ["new1", "new2", "new3", "new4"], [10] * 4, asked)
    assert len(set(new[:2])) == 2 and new[2] == new[3]  # a category never seen is no category
    np.testing.assert_allclose(answers.predict(one, ["new1"], [10]), new[3:], rtol=1e-6)
    known = answers.predict(one, ["ann", "ann"], [10, 10], {"age": ["old", "young"]})
    np.testing.assert_allclose(known, answers.predict(one, ["ann"] * 2, [10, 10]), rtol=1e-6)

    fresh = {"kind": ["tea", "pot|cup", "spoon"], "price": [1.0, 4.0, None]}
    stars = answers.predict(one, ["ann"] * 3, [77, 78, 79], fresh)
    assert len(set(stars)) == 3 and np.isfinite(stars).all()
    longer = answers.with_items(one, [77, 78, 79], fresh)
    assert longer.items.size == 8 and len(longer.variables["catalogue"]["price"]) == 8
    np.testing.assert_allclose(answers.predict(longer, ["ann"] * 3, [77, 78, 79]), stars, rtol=1e-6)
    assert set(answers.recommend(longer, ["ann"], 7)["item"]) == {10, 20, 30, 40, 77, 78, 79}
    again = answers.with_items(longer, [77, 10], {"kind": ["pot", "pot"], "price": [9.0, 9.0]})
    assert again.items == longer.items


def test_without_features_the_unknown_gets_the_prior():
    one = without()
    bias = one.variables["params"]["item_bias"]["embedding"]
    np.testing.assert_allclose(answers.predict(one, ["?"], [20]), np.clip(3.5 + bias[2], 1, 5), rtol=1e-6)
    np.testing.assert_allclose(answers.predict(one, ["?"], [99]), [3.5])
    assert answers.predict(one, [], []).shape == (0,)


def test_more_places_than_products_give_shorter_lists():
    lists = answers.recommend(without(), ["ann", "?"], 9, exclude=[[10, 999], []])
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
    two = answers.predict(back, ["?", "?"], [10, 10], histories=[[20, 999, 30], []])
    query = Query(jnp.zeros(1, jnp.int32), jnp.array([[2, 3]]), {})
    np.testing.assert_allclose(two[0], model.apply(back.variables, query, jnp.array([1]))[0], rtol=1e-5)
    assert two[0] != two[1]
    with pytest.raises(DataError, match="2 users and 1 lists"):
        answers.predict(back, ["?", "?"], [10, 10], histories=[[20]])


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
    with pytest.raises(DataError, match=r"0 columns of .* look like the item: name one with item="):
        tables.predict_table(one, {"user": ["ann"], "colour": ["red"]})
    with pytest.raises(DataError, match="no user column 'who'"):
        tables.predict_table(one, asked, user="who")


def test_bad_questions_are_refused():
    one = with_features()
    with pytest.raises(DataError, match="'users': 1, 'items': 2"):
        answers.predict(one, ["ann"], [10, 20])
    with pytest.raises(DataError, match="column 'age': it was text in training and is numbers now"):
        answers.predict(one, ["new"], [10], {"age": [7]})
    with pytest.raises(DataError, match="no column 'price'"):
        answers.with_items(one, [77], {"kind": ["tea"]})


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
        (lambda run: edit(run, "link", {"function": "os.system"}), "os.system is not a function of rezoo"),
        (lambda run: edit(run, "link", {"function": "rezoo.losses.gone"}), "no rezoo.losses.gone"),
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
    with pytest.raises(DataError, match="user_columns has 2 rows of 'age' for 4 ids"):
        saved.save(tmp_path / "run", one._replace(user_columns={"age": np.zeros(2, np.int32)}))
    assert not (tmp_path / "run").exists()


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
        NeuMF(4, 5, 3, [4, 2]),
        Popularity(5),
        with_features().model,
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_models_are_rebuilt_from_json(model):
    back = describe.rebuild(json.loads(json.dumps(describe.describe(model))))
    assert type(back) is type(model)
    assert json.dumps(describe.describe(back)) == json.dumps(describe.describe(model))


def test_what_cannot_be_written_down_is_refused():
    with pytest.raises(DataError, match=r"Foreign is not a model of rezoo.models"):
        describe.describe(Foreign())
    with pytest.raises(DataError, match=r"GRU4Rec.cell is .*LSTMCell.* cannot be saved"):
        describe.describe(GRU4Rec(5, cell=nn.LSTMCell))
    with pytest.raises(DataError, match=r"link is .*lambda.* cannot be saved"):
        describe.encode(lambda x: x, "link")


def test_ratings_off_the_scale_and_twice_given_are_reported():
    log = from_columns({"user": [1, 1, 2, 2], "item": [1, 1, 1, 2], "rating": [4, 2, 9, 3]})
    log, report = clean.drop_bad_ratings(log, low=1.0, high=5.0)
    assert log.rating.tolist() == [4, 2, 3] and "9" in str(report)
    log, report = clean.drop_duplicates(log)
    assert log.rating.tolist() == [2, 3] and report.before - report.after == 1
