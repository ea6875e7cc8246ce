import itertools
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rezoo import metrics
from rezoo.datasets import shop, shop_builder, shop_rows
from rezoo.datasets.shop import ShopConfig

SMALL = ShopConfig(shoppers=80, products=50, ratings_per_shopper=10, impressions=600, sessions=200)


def made(task, part, config=SMALL, seed=0):
    chunks = list(shop_rows.chunks(config, seed, task, part))
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def test_the_builder_reads_back_what_it_made(tmp_path):
    first = shop_builder.load(SMALL, data_dir=tmp_path)
    again = shop_builder.load(SMALL, data_dir=tmp_path)
    for task, columns in {"ratings": "stars", "impressions": "click", "sessions": "items"}.items():
        for part in ("train", "test"):
            expected = made(task, part)[columns]
            np.testing.assert_array_equal(getattr(getattr(first, task), part)[columns], expected)
            np.testing.assert_array_equal(getattr(getattr(again, task), part)[columns], expected)
    assert len(first.names) == SMALL.products + 1 and first.names[0] == "(unknown)"
    assert shop_builder.load(SMALL, seed=1, data_dir=tmp_path).names != first.names
    chex.assert_trees_all_equal(shop_builder.draw(SMALL)[1:], first[1:])


@pytest.mark.parametrize("task", ["ratings", "impressions"])
def test_ids_and_values_are_in_range(task):
    for part in ("train", "test"):
        rows = made(task, part)
        assert rows["user"].min() >= 1 and rows["user"].max() <= SMALL.shoppers
        assert rows["item"].min() >= 1 and rows["item"].max() <= SMALL.products
    if task == "ratings":
        assert set(np.unique(rows["stars"])) <= {1, 2, 3, 4, 5}


def test_nobody_buys_twice_and_train_and_test_are_disjoint():
    train, test = made("ratings", "train"), made("ratings", "test")
    bought = [(u, i) for rows in (train, test) for u, i in zip(rows["user"], rows["item"], strict=True)]
    assert len(bought) == len(set(bought))


def test_sessions_are_padded_at_the_end():
    items = made("sessions", "test")["items"]
    length = (items > 0).sum(1)
    assert length.min() >= 3
    assert all((row[:n] > 0).all() for row, n in zip(items, length, strict=True))


@pytest.mark.parametrize("task", ["ratings", "impressions", "sessions"])
def test_cold_shoppers_and_products_are_in_the_test_part_alone(task):
    config = replace(SMALL, cold_shoppers=0.25, cold_products=0.2)
    train, test = made(task, "train", config), made(task, "test", config)
    item = "items" if task == "sessions" else "item"
    assert train["user"].max() <= 60 < test["user"].max()
    assert train[item].max() <= 40 < test[item].max()


def test_popularity_bias_makes_sales_unequal():
    def inequality(bias):
        config = replace(SMALL, popularity_bias=bias, affinity=0.5)
        return float(metrics.gini(jnp.asarray(made("ratings", "train", config)["item"][:, None]), 51))

    assert inequality(0.0) + 0.1 < inequality(1.5)


def test_drift_makes_neighbouring_clicks_less_alike():
    def alike(drift):
        config = replace(SMALL, drift=drift, sessions=4000)
        vector = np.asarray(shop.world(jax.random.key(0), config).vector)
        items = made("sessions", "test", config)["items"][:, :2]
        return np.einsum("sd,sd->s", vector[items[:, 0]], vector[items[:, 1]]).mean()

    assert alike(0.0) > alike(0.9) + 0.1


def test_the_forward_algorithm_equals_summing_over_every_path_of_intents():
    config = replace(SMALL, intents=3, products=6)
    world = shop.world(jax.random.key(2), config)
    clicks = [2, 5, 1]
    start, move, emit = (np.exp(np.asarray(x, np.float64)) for x in (world.start, world.move, world.emit))
    joint = np.zeros(7)
    for path in itertools.product(range(3), repeat=4):
        p = start[9, path[0]]
        for t, click in enumerate(clicks):
            p *= emit[path[t], click] * move[path[t], path[t + 1]]
        joint += p * emit[path[3]]
    history = jnp.array([[*clicks, 0]], jnp.int32)
    found = np.exp(np.asarray(shop.next_click(world, jnp.array([9]), history)))[0]
    np.testing.assert_allclose(found, joint / joint.sum(), rtol=1e-4)


def test_the_oracle_of_clicks_within_a_session_sums_over_every_path_of_intents():
    config = replace(SMALL, intents=3, products=6)
    drawn = shop.world(jax.random.key(2), config)
    world = jax.device_get(drawn)
    start, move, emit = (np.exp(x.astype(np.float64)) for x in (world.start, world.move, world.emit))
    user, item, hour, clicks = 9, 4, 2, [2, 5]
    share = np.zeros(3)
    for path in itertools.product(range(3), repeat=3):
        p = start[user, path[0]]
        for t, click in enumerate(clicks):
            p *= emit[path[t], click] * move[path[t], path[t + 1]]
        share[path[2]] += p
    category = world.category[item]
    logit = 0.5 + 0.5 * world.log_popularity[item] + world.hour_category[hour, category]
    logit = logit + world.age_category[world.age[user], category] + 1.5 * world.intent @ world.vector[item]
    expected = (share / share.sum()) @ (1 / (1 + np.exp(-logit)))
    asked = (jnp.array(x) for x in ([user], [[*clicks, 0]], [item], [hour]))
    np.testing.assert_allclose(shop.session_click(drawn, *asked), [expected], rtol=1e-4)


def test_impressions_within_sessions_are_clicked_as_often_as_their_oracle_says():
    world = shop.world(jax.random.key(0), SMALL)
    user, items = shop_rows.draw_sessions(jax.random.key(1), world, SMALL, 5000)
    drawn = jax.device_get(
        shop_rows.draw_session_impressions(jax.random.key(2), world, SMALL, user, items, 3)
    )
    p, click, known = drawn["truth"], drawn["click"], (drawn["history"] > 0).sum(1)
    assert abs(click.sum() - p.sum()) < 5 * np.sqrt((p * (1 - p)).sum())
    high = p > np.median(p)
    assert abs(click[high].sum() - p[high].sum()) < 5 * np.sqrt((p * (1 - p))[high].sum())
    whole = np.repeat(items, 3, axis=0)
    assert (known >= 1).all() and (known < (whole > 0).sum(1)).all()
    np.testing.assert_array_equal(drawn["history"], np.where(np.arange(9) < known[:, None], whole[:, :-1], 0))


def test_the_oracle_of_stars_is_their_mean():
    world = shop.world(jax.random.key(0), SMALL)
    user, item = jnp.array([3, 40]), jnp.array([7, 21])
    value = shop.opinion(world, user, item)
    noise = SMALL.noise * jax.random.normal(jax.random.key(1), (200_000, 2))
    drawn = jnp.clip(jnp.round(value[None] + noise), 1, 5)
    np.testing.assert_allclose(
        shop.mean_stars(world, SMALL.noise, user, item), drawn.mean(0), atol=5 * 0.6 / 200_000**0.5
    )


def test_nobody_beats_the_oracles():
    config = replace(SMALL, impressions=40_000, sessions=8_000)
    world = shop.world(jax.random.key(0), config)
    rng = np.random.default_rng(0)
    rows = made("impressions", "train", config)
    blurred = rows["logit"] + rng.normal(0, 0.5, len(rows["logit"]))
    assert roc_auc_score(rows["click"], rows["logit"]) > roc_auc_score(rows["click"], blurred) + 0.005
    items = made("sessions", "train", config)
    user, history = jnp.asarray(items["user"]), jnp.asarray(items["items"][:, :2])
    target = jnp.asarray(items["items"][:, 2:3])
    whole = shop.next_click(world, user, history)
    last_only = shop.next_click(world, user, history[:, 1:])
    stranger = shop.next_click(world, jnp.roll(user, 1), history)
    truth, *others = (
        float(jnp.take_along_axis(log_p, target, axis=1).mean()) for log_p in (whole, last_only, stranger)
    )
    assert all(truth > other for other in others)


def test_clicks_happen_as_often_as_the_oracle_says():
    rows = made("impressions", "train", replace(SMALL, impressions=200_000))
    p = 1 / (1 + np.exp(-rows["logit"]))
    error = np.sqrt((p * (1 - p)).sum())
    assert abs(rows["click"].sum() - p.sum()) < 5 * error
    assert (rows["purchase"] <= rows["click"]).all() and rows["purchase"].sum() > 100


def test_a_shop_is_made_in_chunks(monkeypatch):
    monkeypatch.setattr(shop_rows, "CHUNK_NUMBERS", 1000)
    chunks = list(shop_rows.chunks(SMALL, 0, "ratings", "train"))
    assert len(chunks) > 2 and max(len(chunk["user"]) for chunk in chunks) <= 20 * 8
    users = np.concatenate([chunk["user"] for chunk in chunks])
    assert np.unique(users).tolist() == list(range(1, 77))


def test_an_impression_becomes_a_row_with_the_columns_of_its_shopper():
    drawn = shop_builder.draw(SMALL)
    rows = drawn.impressions.train
    batch = drawn.impression_batch(rows)
    assert set(batch.query.features) | set(drawn.catalogue) | {"user", "item"} >= set(drawn.table_rows)
    np.testing.assert_array_equal(batch.query.features["age"], drawn.shoppers["age"][rows["user"]])
    np.testing.assert_array_equal(batch.query.features["hour"], rows["hour"])
    np.testing.assert_array_equal(batch.label, rows["click"])
    columns = batch.query.features | {"category": drawn.catalogue["category"][batch.item]}
    assert all(columns[name].max() < drawn.table_rows[name] for name in ("age", "gender", "hour", "category"))
