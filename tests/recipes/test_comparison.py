"""Which recipe is best: what is asked, that the future is not learnt from, and what is said of it."""

from functools import partial

import jax
import numpy as np
import pytest

from rezoo import recipes
from rezoo.data import split
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError
from rezoo.recipes import comparison, estimate
from rezoo.recipes.outcome import ANYTHING, NEW, Comparison

START = 1_600_000_000


def key():
    return jax.random.key(0)


def shop(users=40, rows=2000):
    """Customers who buy their three own products again and again, and at times what comes after a product."""
    rng = np.random.default_rng(0)
    user = rng.integers(0, users, rows)
    item = np.where(
        rng.random(rows) < 0.8, user % 10 * 3 + rng.integers(0, 3, rows), rng.integers(0, 40, rows)
    )
    return from_columns(
        {
            "user": [f"u{n}" for n in user],
            "item": [f"p{n}" for n in item],
            "timestamp": START + np.arange(rows) * 60,
            "title": [f"product {n}" for n in item],
        }
    )


LOG = shop()


def test_the_future_is_not_learnt_from():
    seen = {}

    def spy(log, key):
        seen["log"] = log
        return recipes.popularity(log, key)

    recipes.compare(LOG, {"spy": spy}, key())
    log, whole = seen["log"], LOG.num_rows
    assert log.num_rows == 0.8 * whole and log.timestamp.max() < LOG.timestamp[log.num_rows]
    assert set(log.items.raw) == set(LOG.items.decode(LOG.item[: log.num_rows]))
    assert set(log.users.raw) == set(LOG.users.decode(LOG.user[: log.num_rows]))


def test_what_is_asked_are_two_jobs():
    train, jobs = comparison.questions(LOG)
    later = LOG.take(np.arange(train.num_rows, LOG.num_rows))
    for row, user in enumerate(jobs[ANYTHING].user):
        raw = train.users.decode([user])[0]
        bought = set(later.items.decode(later.item[later.users.decode(later.user) == raw]))
        known = bought & set(train.items.raw)
        assert set(train.items.decode(without(jobs[ANYTHING].target[row]))) == known
        had = set(train.item[train.user == user])
        if user in jobs[NEW].user:
            at = int(np.flatnonzero(jobs[NEW].user == user)[0])
            new = set(without(jobs[NEW].target[at]))
            assert new == set(without(jobs[ANYTHING].target[row])) - had and new
            assert set(without(jobs[NEW].exclude[at])) == had
        else:
            assert set(without(jobs[ANYTHING].target[row])) <= had
    assert jobs[ANYTHING].exclude.shape[1] == 0


def without(row):
    return row[row > 0]


def test_values_are_those_of_an_independent_count():
    """NDCG@10 of the most popular, counted by hand from raw ids."""
    result = recipes.compare(LOG, [recipes.popularity], key())
    cut = int(LOG.num_rows * 0.8)
    item, user = LOG.items.decode(LOG.item), LOG.users.decode(LOG.user)
    values, count = np.unique(item[:cut], return_counts=True)
    first = {name: int(np.flatnonzero(item == name)[0]) for name in values}
    order = sorted(values, key=lambda name: (-count[values == name][0], first[name]))[:10]
    expected = {}
    for who in set(user[:cut]) & set(user[cut:]):
        bought = set(item[cut:][user[cut:] == who]) & set(values)
        if bought:
            gain = sum(1 / np.log2(place + 2) for place, name in enumerate(order) if name in bought)
            best = sum(1 / np.log2(place + 2) for place in range(min(10, len(bought))))
            expected[who] = gain / best
    found = result.ndcg[ANYTHING]["popularity"][0]
    assert len(found) == len(expected)
    # the two sets of lists may differ in the order of products that were bought equally often
    np.testing.assert_allclose(found.mean(), np.mean(list(expected.values())), rtol=0.02)


def test_the_best_is_said_with_its_error_and_whether_it_may_be_chance():
    result = recipes.compare(LOG, [recipes.popularity, recipes.buy_again], key())
    assert result.best() == "buy_again" and list(result.ndcg) == [ANYTHING, NEW]
    assert "buy_again is best" in result.verdict() and "which is not chance (p < 0.001)" in result.verdict()
    table = result.table()
    assert table["recipe"][0] == "buy_again" and table["behind"][0] == 0 and len(table["job"]) == 4
    assert table["ndcg"][:2] == sorted(table["ndcg"][:2], reverse=True)
    assert all(0 <= p <= 1 for p in table["p"])
    text = str(result)
    assert ANYTHING in text and NEW in text and "±" in text and "nan" not in text
    figure = result.picture()
    assert [axis.get_title() for axis in figure.axes] == [ANYTHING, NEW]


def test_equal_recipes_differ_by_chance():
    values = np.random.default_rng(0).random((1, 50))
    noise = np.random.default_rng(1).normal(0, 0.2, (1, 50))
    result = Comparison(
        10, {ANYTHING: {"a": values, "b": values + noise - noise.mean()}}, {"a": 1.0, "b": 1}, {}
    )
    assert "may be chance" in result.verdict()
    tie = Comparison(10, {ANYTHING: {"a": values, "b": values}}, {"a": 1.0, "b": 1.0}, {})
    assert "a and b are the best, and alike" in tie.verdict()
    one = Comparison(10, {ANYTHING: {"a": values[:, :1], "b": values[:, :1] / 2}}, {"a": 1.0, "b": 1.0}, {})
    assert "of one customer, which says little" in one.verdict() and "nan" not in str(one)


def test_seeds_are_of_those_with_randomness_and_a_stopped_comparison_goes_on(tmp_path):
    few = partial(recipes.bpr, dim=4, num_epochs=2)
    calls, run = (
        [],
        partial(recipes.compare, LOG, {"few": few, "popularity": recipes.popularity}, key(), seeds=2),
    )
    result = run(folder=tmp_path, on_result=lambda found, name: calls.append(name))
    assert result.ndcg[ANYTHING]["few"].shape[0] == 2 and result.ndcg[ANYTHING]["popularity"].shape[0] == 1
    assert not np.array_equal(*result.ndcg[ANYTHING]["few"]) and calls == ["few", "popularity"]
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    again = run(folder=tmp_path)
    np.testing.assert_array_equal(again.ndcg[ANYTHING]["few"], result.ndcg[ANYTHING]["few"])
    assert {file for file in files if file.exists() and file.stat().st_mtime_ns == files[file]} >= {
        file for file in files if file.suffix != ".lock" and "lock" not in file.name
    }


def test_the_estimate_decides_how_many_seeds_are_run_and_their_order(monkeypatch):
    costs = {"slow": estimate.Cost(60.0, 0.0, True), "quick": estimate.Cost(0.0, 0.0, False)}
    monkeypatch.setattr(estimate, "cost", lambda recipe, **_: costs[recipe.__name__])

    def slow(log, key, num_epochs=1):
        return recipes.popularity(log, key)

    def quick(log, key):
        return recipes.popularity(log, key)

    def seeds(minutes, most=5):
        told, order = [], []
        run = partial(
            recipes.compare, LOG, [slow, quick], key(), seeds=most, minutes=minutes, report=told.append
        )
        result = run(on_result=lambda found, name: order.append(name))
        assert order == ["quick", "slow"]
        return result.ndcg[ANYTHING]["slow"].shape[0], told

    assert seeds(15)[0] == 5 and seeds(0.1)[0] == 1 and seeds(15, most=3)[0] == 3
    found, told = seeds(4)
    assert found == 2 and "  5 seeds would take 6 minutes; 4 minutes are allowed" in told


def test_the_cost_of_a_fit_is_measured():
    train, jobs = comparison.questions(LOG)
    ask = partial(comparison._ask, jobs[ANYTHING], 10)
    one = estimate.cost(partial(recipes.bpr, dim=4, num_epochs=3), train, key(), ask)
    assert 0 < one.fit < 60 and 0 < one.ask < 1 and one.is_random
    assert not estimate.cost(recipes.buy_again, train, key(), ask).is_random
    assert estimate.cost(partial(recipes.ials, dim=4), train, key(), ask).fit > 0
    assert estimate.seconds({"a": one._replace(fit=2.0, ask=0.1)}, seeds=3, users=5) == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recipes.compare(LOG._replace(timestamp=None), [recipes.popularity], key()), "time"),
        (lambda: recipes.compare(LOG, [], key()), "at least one recipe"),
        (lambda: recipes.compare(LOG, [recipes.popularity] * 2, key()), "no two of one name"),
        (lambda: recipes.compare(LOG, [recipes.popularity], key(), seeds=0), "seeds=0"),
        (lambda: recipes.compare(strangers(), [recipes.popularity], key()), "nothing to predict"),
        (lambda: recipes.compare(LOG, [recipes.popularity], key()).best("all"), "job='all'"),
    ],
)
def test_what_cannot_be_compared_is_said(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_a_model_of_other_ids_is_not_compared():
    def of_the_popular(log, key):
        return recipes.popularity(split.refit_ids(log.take(log.item < log.num_items - 1), log)[0], key)

    with pytest.raises(DataError, match="of_the_popular: its model has other items than the log"):
        recipes.compare(shop(), [of_the_popular], jax.random.key(0))


def strangers():
    """No customer buys twice."""
    return from_columns({"user": range(50), "item": [1, 2] * 25, "time": range(50)}, unit="order")


def test_items_keep_their_names_from_the_log_to_the_list(tmp_path):
    from rezoo.serving import answers, saved

    saved.save(tmp_path / "shop", recipes.buy_again(LOG, key()))
    lists = answers.recommend(saved.load(tmp_path / "shop"), ["u1"], 3)
    assert list(lists) == ["user", "rank", "item", "score", "name"]
    assert lists["name"].tolist() == [f"product {item[1:]}" for item in lists["item"]]
