from dataclasses import replace

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rezoo.datasets import shop, shop_histories
from rezoo.datasets.shop import ShopConfig
from rezoo.datasets.shop_histories import Needs
from rezoo.errors import DataError

SMALL = ShopConfig(shoppers=60, products=40, impressions=4000)
NEEDS = Needs(events=15, length=8, rest=3, reach=2)


def both(visits):
    return {name: np.concatenate([visits.train[name], visits.test[name]]) for name in visits.train}


def test_the_truth_is_that_of_the_docstring_row_by_row():
    visits = shop_histories.draw(SMALL, NEEDS)
    rows, world = both(visits), visits.world
    category = np.asarray(world.category)
    kinds = set()
    for n in range(300):
        h, i = rows["history"][n].tolist(), int(rows["item"][n])
        lasts = shop.NOUNS[category[i] - 1] in shop_histories.LASTING
        r = 0 if i not in h else -1 if lasts or i in h[-NEEDS.rest :] else 1
        s = any(category[i] == category[j] % 12 + 1 for j in h[-NEEDS.reach :])
        base = shop.click_logit(
            world, *(jnp.asarray(rows[name][n : n + 1]) for name in ("user", "item", "hour"))
        )
        np.testing.assert_allclose(rows["logit"][n], float(base[0]) + 3 * r + 3 * s, rtol=1e-4, atol=1e-4)
        kinds.add((r, s))
    assert len(kinds) == 6


def test_without_rest_and_what_follows_the_order_of_a_history_does_not_matter():
    needs = replace(NEEDS, rest=0, follow=0.0)
    visits = shop_histories.draw(SMALL, needs)
    history, item = jnp.asarray(visits.test["history"]), jnp.asarray(visits.test["item"])
    found = shop_histories.effect(visits.world, needs, history, item)
    np.testing.assert_array_equal(found, shop_histories.effect(visits.world, needs, history[:, ::-1], item))
    assert set(np.unique(found)) == {-3.0, 0.0, 3.0}
    reads_order = [shop_histories.effect(visits.world, NEEDS, h, item) for h in (history, history[:, ::-1])]
    assert (reads_order[0] != reads_order[1]).any()


def test_clicks_come_as_often_as_the_truth_says_and_nobody_ranks_them_better():
    rows = both(shop_histories.draw(replace(SMALL, impressions=20_000), NEEDS))
    p = 1 / (1 + np.exp(-rows["logit"].astype(float)))
    assert abs(rows["click"].sum() - p.sum()) < 5 * np.sqrt((p * (1 - p)).sum())
    blurred = rows["logit"] + np.random.default_rng(0).normal(0, 1, len(p))
    assert roc_auc_score(rows["click"], rows["logit"]) > roc_auc_score(rows["click"], blurred) + 0.01


def test_histories_are_stretches_of_one_sequence_of_purchases():
    rows = both(shop_histories.draw(SMALL, NEEDS))
    assert rows["history"].min() >= 1 and rows["history"].max() <= SMALL.products
    of_one = rows["history"][rows["user"] == rows["user"][0]]
    assert len(np.unique(of_one, axis=0)) <= NEEDS.events - NEEDS.length + 1 < len(of_one)


def test_switched_off_histories_add_nothing_and_a_seed_gives_the_same_visits():
    off = replace(NEEDS, again=0.0, follow=0.0)
    visits = shop_histories.draw(SMALL, off, 3)
    rows = both(visits)
    columns = (jnp.asarray(rows[name]) for name in ("user", "item", "hour"))
    np.testing.assert_allclose(rows["logit"], shop.click_logit(visits.world, *columns), rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_equal(visits, shop_histories.draw(SMALL, off, 3))
    assert (shop_histories.draw(SMALL, off, 4).test["item"] != visits.test["item"]).any()


@pytest.mark.parametrize("change", [{"length": 0}, {"length": 99}, {"rest": -1}, {"reach": 9}])
def test_needs_that_cannot_be_are_refused(change):
    with pytest.raises(DataError, match=next(iter(change))):
        shop_histories.draw(SMALL, replace(NEEDS, **change))
