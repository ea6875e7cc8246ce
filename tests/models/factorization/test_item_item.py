import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo import evaluation
from rezoo.data.batches import queries
from rezoo.models import EASE, ItemKNN
from rezoo.models.factorization import ease, item_item, item_knn

USERS, ITEMS = 30, 13


def log(seed=0):
    """Histories with repeats, and one without anything; and the binary matrix that they are."""
    rng = np.random.default_rng(seed)
    history = rng.integers(1, ITEMS - 1, (USERS, 6))
    history[np.arange(6) >= rng.integers(1, 7, USERS)[:, None]] = 0
    history[3] = 0
    x = np.zeros((USERS, ITEMS))
    for user, row in enumerate(history):
        x[user, row[row > 0]] = 1
    return history, x


def ask(history):
    return queries(history=history)


@pytest.mark.parametrize(("dropout", "exponent"), [(0.0, 0.0), (0.5, 0.0), (0.3, 0.5)])
@pytest.mark.parametrize("block", [512, 5])
@pytest.mark.parametrize("solve", [ease._on_host, ease._on_device])
def test_ease_is_the_constrained_least_squares_solution(solve, block, dropout, exponent, monkeypatch):
    for module in (item_item, ease):
        monkeypatch.setattr(module, "BLOCK", block)
    jax.clear_caches()
    history, x = log()
    penalty = ease.checked_penalty(3.0, dropout)
    size = x.sum(1, keepdims=True)
    expected = x @ ridges(x * (size[size > 0].mean() / np.maximum(size, 1)) ** exponent, 3.0, dropout)
    variables = {"params": {"weight": solve(history, ITEMS, penalty, exponent)}}
    score = evaluation.score_all(EASE(ITEMS), variables, ask(history))
    np.testing.assert_allclose(score, expected, atol=2e-5)
    assert np.abs(expected).max() > 0.1
    jax.clear_caches()


def ridges(x, l2, dropout):
    """Column j is a ridge regression on the other columns, whose inputs are dropped."""
    b = np.zeros((ITEMS, ITEMS))
    for j in range(1, ITEMS):
        others = [i for i in range(ITEMS) if i != j]
        a = x[:, others]
        penalty = l2 + dropout / (1 - dropout) * (a**2).sum(0)
        b[others, j] = np.linalg.solve(a.T @ a + np.diag(penalty), a.T @ x[:, j])
    return b


def test_dropout_of_ease_is_the_average_over_what_is_dropped():
    """The least squares of many copies of the data, each with half of the inputs, twice as large."""
    rng, (history, x) = np.random.default_rng(1), log()
    dropped = [x * 2 * (rng.random(x.shape) < 0.5) for _ in range(20_000)]
    gram = sum(copy.T @ copy for copy in dropped) / len(dropped)
    both = sum(copy.T @ x for copy in dropped) / len(dropped)
    weight = np.asarray(ease.fit(history, ITEMS, l2=3.0, dropout=0.5)["params"]["weight"])
    for j in range(1, ITEMS):
        others = [i for i in range(ITEMS) if i != j]
        ridge = gram[np.ix_(others, others)] + 3.0 * np.eye(len(others))
        np.testing.assert_allclose(weight[j, others], np.linalg.solve(ridge, both[others, j]), atol=0.01)


@pytest.mark.parametrize("weighting", [item_knn.equal, item_knn.tf_idf])
@pytest.mark.parametrize(("k", "alpha"), [(2, 0.5), (100, 0.5), (100, 0.3), (2, 1.0)])
def test_item_knn_is_a_double_loop(weighting, k, alpha):
    history, x = log()
    shrink = 0.5
    size = x.sum(1)
    weighted = (
        x * (np.log((ITEMS - 1) / (1 + size)) if weighting is item_knn.tf_idf else np.ones(USERS))[:, None]
    )
    similarity = np.zeros((ITEMS, ITEMS))
    for i in range(ITEMS):
        for j in range(ITEMS):
            a, b = weighted[:, i], weighted[:, j]
            if i != j and a.any() and b.any():
                similarity[i, j] = a @ b / ((a @ a) ** alpha * (b @ b) ** (1 - alpha) + shrink)
    expected = np.zeros((USERS, ITEMS))
    for i in range(ITEMS):
        least = np.sort(similarity[i])[::-1][min(k, ITEMS) - 1]
        near = [j for j in range(ITEMS) if similarity[i, j] >= least - 1e-9]
        expected[:, i] = x[:, near] @ similarity[i, near]
    options = dict(shrink=shrink, alpha=alpha, weighting=weighting)
    variables = item_knn.fit(history, ITEMS, neighbours=k, **options)
    score = evaluation.score_all(ItemKNN(ITEMS), variables, ask(history))
    np.testing.assert_allclose(score, expected, atol=1e-5)


@pytest.mark.parametrize("fit", [lambda h: ease.fit(h, ITEMS, l2=2.0), lambda h: item_knn.fit(h, ITEMS)])
def test_an_item_that_comes_twice_counts_once_and_who_took_nothing_scores_nothing(fit):
    history, _ = log()
    once = [list(dict.fromkeys(row[row > 0].tolist())) for row in history]
    once = np.array([row + [0] * (6 - len(row)) for row in once])
    assert (once != history).any()
    twice, single = fit(history)["params"]["weight"], fit(once)["params"]["weight"]
    np.testing.assert_allclose(twice, single, atol=1e-6)
    assert not np.asarray(twice[0]).any() and not np.asarray(twice[:, 0]).any() and np.asarray(twice).any()
    empty = evaluation.score_all(EASE(ITEMS), {"params": {"weight": twice}}, ask(np.zeros((2, 3))))
    assert not np.asarray(empty).any()


def test_more_items_than_memory_are_refused_with_the_number_that_fits():
    for fit, needed, there, few in ((ease.fit, 18.6, 16.0, 11), (item_knn.fit, 27.9, 24.0, 9)):
        with pytest.raises(ValueError, match=rf"50,000 items need {needed} GiB .* enough for 46,340 items"):
            fit(np.ones((1, 1), int), 50_000, memory=there)
        with pytest.raises(
            ValueError, match=r"10,000,000 items need .* more than the [\d.,]+ GiB that are free"
        ):
            fit(np.ones((1, 1), int), 10_000_000)
        with pytest.raises(ValueError, match=f"memory=1e-06 GiB, which is enough for {few} items"):
            fit(np.ones((1, 1), int), 12, memory=1e-6)


@pytest.mark.parametrize("solve", [ease._solve, item_knn._nearest])
def test_a_fit_holds_the_matrices_that_the_refusal_counts(solve):
    n = 3000
    matrix, number = jax.ShapeDtypeStruct((n, n), jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    more = (number, 50) if solve is item_knn._nearest else (number,)
    memory = solve.lower(matrix, number, *more).compile().memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    block = 4 * item_item.BLOCK * n * 4
    assert held - memory.alias_size_in_bytes < item_item.MATRICES * 4 * n**2 + block


def test_bad_input_is_named():
    for fit in (ease.fit, item_knn.fit):
        with pytest.raises(ValueError, match="at least one event"):
            fit(np.zeros((2, 3), int), 5)
        with pytest.raises(ValueError, match="history has item 7, but num_items is 5"):
            fit(np.array([[7]]), 5)
    with pytest.raises(ValueError, match="l2 must be greater than 0"):
        ease.fit(np.array([[1]]), 5, l2=0.0)
    for far in (float("nan"), float("inf"), -1e4, -700.0):
        with pytest.raises(ValueError, match="user_exponent must be between 0 and 1 or so, but is"):
            ease.fit(np.array([[1, 2], [1, 0]]), 5, user_exponent=far)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), but is 1.0"):
        ease.fit(np.array([[1]]), 5, dropout=1.0)
    with pytest.raises(ValueError, match="neighbours = 0: give 1 or more"):
        item_knn.fit(np.array([[1]]), 5, neighbours=0)
    with pytest.raises(ValueError, match=r"alpha = 2.0: give a share from 0 to 1"):
        item_knn.fit(np.array([[1]]), 5, alpha=2.0)
