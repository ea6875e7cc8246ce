import numpy as np

from rezoo.datasets import shop_days
from rezoo.datasets.shop import ShopConfig
from rezoo.datasets.shop_days import Drift

CONFIG = ShopConfig(shoppers=30, products=50)


def made(**drift):
    return list(shop_days.days(CONFIG, Drift(**{"days": 4, "sessions": 400} | drift)))


def test_products_leave_for_good_and_others_enter():
    days = made(entering=0.1)
    for number, day in enumerate(days):
        clicked = np.unique(day.items[day.items > 0])
        assert day.on_sale.sum() == 50 and day.on_sale[clicked].all()
        assert (day.on_sale & ~days[max(number - 1, 0)].on_sale).sum() == 5 * (number > 0)
    gone = days[1].on_sale & ~days[2].on_sale
    assert gone.sum() == 5 and not (days[3].on_sale & gone).any()
    assert len(days[0].on_sale) == 1 + 50 + 3 * 5


def test_without_drift_every_day_is_alike_and_with_it_none_is():
    first, *_, last = made(entering=0.0, intents=0.0, fashion=0.0)
    np.testing.assert_allclose(first.world.emit, last.world.emit, rtol=1e-5)
    first, second, *_, last = made(entering=0.0, intents=0.3, fashion=0.3)
    change = [np.abs(day.world.intent - first.world.intent).mean() for day in (second, last)]
    assert 0 < change[0] < change[1]
    spread = [float(day.world.log_popularity[1:].std()) for day in (first, last)]
    assert 0.5 < spread[1] / spread[0] < 2


def test_a_seed_always_gives_the_same_days():
    for one, again in zip(made(), made(), strict=True):
        assert np.array_equal(one.items, again.items) and np.array_equal(one.user, again.user)
