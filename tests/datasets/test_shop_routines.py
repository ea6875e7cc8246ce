from dataclasses import replace

import chex
import jax
import numpy as np
import pytest

from rezoo.datasets import shop, shop_routines
from rezoo.datasets.shop import ShopConfig
from rezoo.datasets.shop_routines import Routines
from rezoo.errors import DataError

SMALL = ShopConfig(shoppers=300, products=40)
ROUTINES = Routines(events=60, staples=6, shortest=4, longest=30)


def of_docstring(log, routines, u, events):
    """The probability of each product for the shopper in row u, event by event."""
    past = log.items[u, :events].tolist()
    due = []
    for product, period, before in zip(log.staple[u], log.period[u], log.before[u], strict=True):
        since = past[::-1].index(product) + 1 if product in past else before + events
        if since >= period:
            due.append(product)
    world = log.world
    category, w = np.asarray(world.category), np.exp(np.asarray(world.log_popularity, float))
    taste = np.asarray(jax.nn.softmax(shop.preference(world, SMALL.affinity, jax.numpy.array([u + 1]))))[0]
    goes = w * (category == category[past[-1]] % 12 + 1) if past else 0 * w
    routine = routines.routine if due else 0.0
    follow = routines.follow if goes.sum() > 0 else 0.0
    found = (1 - routine - follow) * taste + follow * goes / max(goes.sum(), 1e-30)
    for product in due:
        found[product] += routine / len(due)
    return found


@pytest.mark.parametrize("events", [0, 1, 20, 59])
def test_the_truth_is_that_of_the_docstring_shopper_by_shopper(events):
    log = shop_routines.draw(SMALL, ROUTINES)
    given = shop_routines.chances(log, SMALL, ROUTINES, np.arange(1, 301), events)
    for u in range(0, 300, 7):
        np.testing.assert_allclose(given[u], of_docstring(log, ROUTINES, u, events), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("events", [0, 1, 30, 59])
def test_products_are_bought_as_often_as_the_truth_says(events):
    config = replace(SMALL, shoppers=5000)
    log = shop_routines.draw(config, ROUTINES, 3)
    given = np.asarray(shop_routines.chances(log, config, ROUTINES, np.arange(1, 5001), events), float)
    bought = np.bincount(log.items[:, events], minlength=41)
    spread = np.sqrt((given * (1 - given)).sum(0)) + 1
    assert (np.abs(bought - given.sum(0)) < 5 * spread).all()
    assert bought[0] == 0
    # The staples that are due, the product that goes with the last one, and taste, each as often as it says.
    of_item = np.take_along_axis(given, log.items[:, events, None], 1)[:, 0]
    expected = np.square(given).sum(1)
    assert abs(of_item.mean() - expected.mean()) < 5 * of_item.std() / np.sqrt(5000)


def test_staples_are_the_shoppers_own_and_periods_within_their_ends():
    log = shop_routines.draw(SMALL, ROUTINES)
    assert all(len(set(row)) == ROUTINES.staples for row in log.staple.tolist())
    assert log.staple.min() >= 1 and (log.before < log.period).all() and (log.before >= 0).all()
    assert log.period.min() >= ROUTINES.shortest and log.period.max() <= ROUTINES.longest * 1.001


def test_shoppers_are_drawn_in_parts_and_a_seed_gives_the_same(monkeypatch):
    one, two = (shop_routines.draw(SMALL, ROUTINES, 1) for _ in range(2))
    chex.assert_trees_all_equal(one, two)
    assert (shop_routines.draw(SMALL, ROUTINES, 2).items != one.items).any()
    monkeypatch.setattr(shop_routines, "AT_ONCE", 128)
    parts = shop_routines.draw(SMALL, ROUTINES, 1)
    assert parts.items.shape == one.items.shape
    np.testing.assert_array_equal(parts.world.category, one.world.category)
    given = shop_routines.chances(parts, SMALL, ROUTINES, np.arange(129, 301), 30)
    assert (np.take_along_axis(np.asarray(given), parts.items[128:, 30, None], 1) > 0).all()


@pytest.mark.parametrize(
    "change",
    [
        *({"events": 0}, {"staples": 0}, {"staples": 41}, {"shortest": 0}, {"shortest": 31}),
        *({"routine": -0.1}, {"routine": 0.9, "follow": 0.2}, {"routine": float("nan")}),
    ],
)
def test_routines_that_cannot_be_are_refused(change):
    with pytest.raises(DataError, match=next(iter(change))):
        shop_routines.draw(SMALL, replace(ROUTINES, **change))
