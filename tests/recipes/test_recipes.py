"""Three lines from a file to a list, and what each recipe returns."""

import jax
import numpy as np
import pandas as pd
import pytest
from helpers import mostly_slow

from rezoo import recipes
from rezoo.data import files
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError
from rezoo.serving import answers, saved

FEW = {"bpr": dict(dim=8, num_epochs=30, rate=0.02), "neumf": dict(dim=8, num_epochs=30, rate=0.02)}
FEW |= {"gru4rec": dict(dim=8, num_epochs=5, rate=0.02), "sasrec": dict(dim=8, num_epochs=5, rate=0.02)}
FEW |= {"biased_mf": dict(dim=8, num_epochs=60, rate=0.02, l2=0.01), "svdpp": dict(dim=8, num_epochs=20)}
FEW |= {"wide_deep": dict(dim=8, num_epochs=5)}
FEW |= {"ials": dict(dim=8), "ease": dict(l2=5.0), "item_knn": dict(neighbours=10)}
ALL = ["popularity", "buy_again", "item_knn", "ease", "ials", "bpr", "neumf", "gru4rec", "sasrec"]
ALL += ["biased_mf", "svdpp", "co_occurrence", "wide_deep"]


def key():
    return jax.random.key(0)


def purchases():
    """60 customers of three kinds, each with products of their kind, which they rate above the others."""
    rng = np.random.default_rng(0)
    user = rng.integers(0, 60, 900)
    own = rng.random(900) < 0.9
    item = np.where(own, user % 3 * 6 + rng.integers(0, 6, 900), rng.integers(0, 18, 900))
    return {
        "user_id": [f"u{u}" for u in user],
        "item_id": [f"p{i}" for i in item],
        "rating": np.where(item // 6 == user % 3, 5.0, 1.0),
        "timestamp": 1_600_000_000 + np.arange(900) * 3600,
    }


LOG = from_columns(purchases())


LIKE_OTHERS = {"biased_mf", "ease", "neumf", "sasrec", "svdpp"}


@pytest.mark.parametrize("name", mostly_slow(ALL, set(ALL) - LIKE_OTHERS))
def test_a_recipe_learns_is_saved_and_answers(name, tmp_path):
    model = getattr(recipes, name)(LOG, key(), **FEW.get(name, {}))
    saved.save(tmp_path / name, model)
    back = saved.load(tmp_path / name)
    lists = answers.recommend(back, ["u0", "u1", "u2"], 6)
    pairs = zip(lists["user"], lists["item"], strict=True)
    own = [int(item[1:]) // 6 == int(user[1:]) % 3 for user, item in pairs]
    if name in ("bpr", "neumf", "ials", "ease", "item_knn", "buy_again"):
        assert np.mean(own) > 0.8
    if name in ("biased_mf", "svdpp"):
        table = purchases()
        stars, rating = answers.predict(back, table["user_id"], table["item_id"]), table["rating"]
        assert stars[rating == 5].mean() > stars[rating == 1].mean() + 1
        assert stars.min() >= 1 and stars.max() <= 5
    lists = answers.recommend(back, ["u0", "stranger"], 3, on_unknown=answers.ignore)
    assert (lists["user"] == "stranger").sum() == 3


def test_three_lines_do_the_whole_job(tmp_path):
    pd.DataFrame(purchases()).to_csv(tmp_path / "purchases.csv", index=False)
    log = files.read(tmp_path / "purchases.csv")
    model = recipes.popularity(log, key())
    assert len(answers.recommend(model, ["u5"], 10)["item"]) == 10


def test_what_was_bought_lately_comes_first_where_counts_decay():
    log = from_columns({"user": [1, 1, 1], "item": [10, 10, 20], "timestamp": [0, 0, 86_400 * 100]}, unit="s")
    plain, decayed = recipes.buy_again(log, key()), recipes.buy_again(log, key(), half_life=10.0)
    assert answers.recommend(plain, [1], 2)["item"].tolist() == [10, 20]
    assert answers.recommend(decayed, [1], 2)["item"].tolist() == [20, 10]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recipes.bpr(LOG.take(np.zeros(900, bool)), key()), "the log is empty"),
        (lambda: recipes.biased_mf(LOG._replace(rating=None), key()), "no ratings"),
        (lambda: recipes.buy_again(LOG._replace(timestamp=None), key(), half_life=3.0), "no times"),
        (lambda: recipes.gru4rec(LOG.take(np.arange(1)), key()), "two events"),
    ],
)
def test_what_cannot_be_learnt_from_is_said(call, message):
    with pytest.raises(DataError, match=message):
        call()


AGES = {"user_id": [f"u{n}" for n in range(50)], "kind": [f"kind {n % 3}" for n in range(50)]}
SHELVES = {"item_id": [f"p{n}" for n in range(18)], "shelf": [n // 6 for n in range(18)], "price": [1.5] * 18}
FEATURES = dict(dim=4, num_epochs=30, rate=0.02)


def test_wide_and_deep_knows_a_new_customer_by_features(tmp_path):
    shop = recipes.wide_deep(LOG, key(), users=AGES, items=SHELVES | {"price": np.arange(18.0)}, **FEATURES)
    saved.save(tmp_path / "shop", shop)
    back = saved.load(tmp_path / "shop")
    for kind in range(3):
        lists = answers.recommend(back, ["new"], 6, {"kind": [f"kind {kind}"]}, on_unknown=answers.ignore)
        assert np.mean([int(item[1:]) // 6 == kind for item in lists["item"]]) > 0.8
    known = answers.recommend(back, ["u1"], 6)
    assert np.mean([int(item[1:]) // 6 == 1 for item in known["item"]]) > 0.6


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (dict(users={"user_id": ["x"], "kind": ["a"]}), "none of the log's users"),
        (dict(items={"item_id": ["p1", "p1"], "shelf": [1, 2]}), "2 rows of item p1"),
        (dict(users={"kind": ["a"]}), "no user column"),
        (
            dict(users=AGES, items=SHELVES | {"kind": [1] * 18}),
            "'kind' is in the tables of users and of items",
        ),
    ],
)
def test_tables_of_features_that_do_not_fit_are_refused(tables, message):
    with pytest.raises(DataError, match=message):
        recipes.wide_deep(LOG, key(), **tables)


@pytest.mark.parametrize(
    ("recipe", "how", "told"),
    [
        ("co_occurrence", {"length": 0}, "length = 0: give 1 or more, a whole number"),
        ("ease", {"length": 2.5}, r"length = 2\.5: give 1 or more"),
        ("svdpp", {"rate": -1.0}, r"rate = -1\.0: give a finite number of 0 or more"),
        ("svdpp", {"num_epochs": 2.5}, r"num_epochs = 2\.5: give 0 or more, a whole number"),
        ("bpr", {"num_epochs": 2.5}, r"num_epochs = 2\.5: give 0 or more, a whole number"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(recipe, how, told, untyped):
    log = from_columns({"user": [1, 1, 2], "item": [5, 6, 6], "rating": [1, 5, 3]})
    with pytest.raises(ValueError, match=told):
        getattr(recipes, recipe)(log, jax.random.key(0), **how)
