import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import cold_start
import cold_text
from protocols import cold

from rezoo import metrics


def log(rows=2000, users=40, items=30):
    rng = np.random.default_rng(0)
    pairs = np.unique(np.stack([rng.integers(1, users, rows), rng.integers(1, items, rows)], 1), axis=0)
    return cold_start.Log(pairs[:, 0], pairs[:, 1], {}, {}, {}, {})


def test_what_is_cold_is_not_learnt_from():
    whole = log()
    parts = cold_start.divide(whole)
    assert parts.user.max() < parts.num_users and parts.item.max() < parts.num_items
    found = [parts.user_row[np.append(parts.user, parts.test_user)]]
    found += [parts.item_row[np.append(parts.item, parts.test_item)]]
    both = np.stack(found, 1)
    np.testing.assert_array_equal(both[np.lexsort(both.T[::-1])], np.stack([whole.user, whole.item], 1))
    inner = cold_start.training_part(whole, parts)
    cold_users = parts.user_row[parts.num_users :]
    assert not np.isin(inner.user, cold_users).any() and len(inner.user) == len(parts.user)


def test_each_setting_asks_about_what_its_name_says():
    parts = cold_start.divide(log())
    found = cold_start.settings(parts)
    warm = np.arange(len(parts.item_row)) < parts.num_items
    for name, new_user, new_item in (("cold users", 1, 0), ("cold items", 0, 1), ("both", 1, 1)):
        one = found[name]
        assert ((one.users >= parts.num_users) == new_user).all()
        target = one.target[one.target > 0]
        assert ((target >= parts.num_items) == new_item).all()
        assert (one.where[:, 1:] == (warm[None, 1:] != new_item)).all() and not one.where[:, 0].any()
    whole = found["cold items, whole"]
    for row, user in enumerate(whole.users):
        assert not whole.where[row, parts.item[parts.user == user]].any()
        assert whole.where[row, parts.num_items :].all()


def test_everybody_is_asked_once_in_every_setting():
    whole = log()
    asked = {name: [] for name in cold_start.PROTOCOLS}
    new_items = []
    for part in range(cold_start.PARTS):
        parts = cold_start.divide(whole, part)
        new_items += [*parts.item_row[parts.num_items :]]
        for name, one in cold_start.settings(parts).items():
            asked[name] += [*parts.user_row[one.users]]
    assert sorted(new_items) == sorted(set(whole.item))
    for users in asked.values():
        assert sorted(users) == sorted(set(whole.user))


def test_margins_are_over_the_users_of_all_divisions():
    rng = np.random.default_rng(0)
    base, values = rng.normal(size=40), rng.normal(1.0, 1.0, (3, 40))
    each = [
        cold_start.Measured({"a": part}, 1.0, {"l2": at})
        for at, part in enumerate(np.array_split(values, 2, axis=1))
    ]
    mine = cold_start.pooled(each)
    assert mine.seconds == 2.0 and mine.chosen == {"l2": [0, 1]}
    np.testing.assert_array_equal(mine.values["a"], values)
    means, notes = cold.summary([*mine.values["a"]], base, base + 1.0)
    apart = values.mean(0) - base
    error = np.hypot(apart.std(ddof=1) / 40**0.5, values.mean(1).std(ddof=1) / 3**0.5)
    np.testing.assert_allclose(means, values.mean(1))
    assert notes["margin_in_errors"] == round(apart.mean() / error, 1)
    assert notes["margin_over_like_items"] == round((apart.mean() - 1.0) / error, 1)
    assert "margin_in_errors" not in cold.summary([base], base)[1]


def test_ranks_within_ten_are_those_among_all():
    rng = np.random.default_rng(0)
    score = jnp.asarray(rng.integers(0, 9, (50, 80)), jnp.float32)  # many ties
    target = np.zeros((50, 40), np.int32)
    for row in target:
        count = rng.integers(1, 40)
        row[:count] = rng.permutation(np.arange(1, 80))[:count]
    where = jnp.ones((50, 80), bool).at[:, 0].set(False)
    asked = jnp.asarray(target)
    whole = np.asarray(metrics.target_ranks(score, asked, where=where, counted=asked > 0))
    quick = np.asarray(cold.target_ranks(score, jnp.asarray(target), where))
    real = target > 0
    within = real & (whole <= 10)
    assert within.any()
    np.testing.assert_array_equal(quick[within], whole[within])
    assert (quick[real & ~within] > 10).all()


def test_new_products_are_new_and_the_future_is_not_learnt_from():
    sold = cold_text.synthetic()
    end = int(sold.timestamp.max()) + 1
    one = cold_text.part(sold, end)
    parts = one.world.parts
    cut = end - 8 * cold_text.WEEK
    old = np.unique(sold.item[sold.timestamp < cut])
    assert set(parts.item_row[1 : parts.num_items]) == set(old)
    assert not np.isin(parts.item_row[parts.num_items :], old).any()
    assert parts.item.max() < parts.num_items <= parts.test_item.min()
    earlier = cold_text.part(sold, cut)
    assert set(earlier.world.parts.item_row) - {0} == set(old)
