"""Models of sparse lists against their equations, written with dense matrices in NumPy."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, score_all
from sklearn.linear_model import ElasticNet

from rezoo.data.batches import queries
from rezoo.errors import DataError
from rezoo.models import EASE, GFCF, SLIM, LocalEASE, RP3beta
from rezoo.models.factorization import (
    bspm,
    candidates,
    ease,
    gfcf,
    item_knn,
    item_lists,
    local_ease,
    rp3beta,
    slim,
)
from rezoo.nn.lists import PIECE

USERS, ITEMS = 40, 17


def log(seed=0):
    """Histories with repeats, one without anything, and the binary matrix that they are."""
    rng = np.random.default_rng(seed)
    history = rng.integers(1, ITEMS - 1, (USERS, 7))
    history[np.arange(7) >= rng.integers(1, 8, USERS)[:, None]] = 0
    history[3] = 0
    x = np.zeros((USERS, ITEMS))
    for user, row in enumerate(history):
        x[user, row[row > 0]] = 1
    return history, x


def score(kind, variables, history, *sizes):
    model = kind(ITEMS, item_lists.num_pairs(variables), *sizes)
    return np.asarray(score_all(model, variables, queries(history=history)))


@pytest.mark.parametrize("per_target", [False, True])
@pytest.mark.parametrize(("alpha", "beta", "k", "normalise"), [(1.0, 0.0, 30, False), (0.7, 0.3, 4, True)])
def test_rp3beta_is_a_walk_of_three_steps(alpha, beta, k, normalise, per_target):
    history, x = log()
    to_item = x / np.maximum(x.sum(1, keepdims=True), 1)
    to_user = x.T / np.maximum(x.T.sum(1, keepdims=True), 1)
    w = to_user**alpha @ to_item**alpha / np.maximum(x.sum(0), 1) ** beta
    np.fill_diagonal(w, 0.0)
    options = dict(alpha=alpha, beta=beta, neighbours=k, per_target=per_target, normalise=normalise)
    variables = rp3beta.fit(history, ITEMS, **options)
    lists = score(RP3beta, variables, np.arange(ITEMS)[:, None])
    if k < ITEMS:  # ties at the k-th place may be decided in either way
        axis = 0 if per_target else 1
        largest = np.sort(w, axis=axis).take(range(-k, 0), axis=axis).sum(axis)
        w = np.where(lists > 0, w, 0.0)
        np.testing.assert_allclose(w.sum(axis), largest)
        assert ((w > 0).sum(axis) <= k).all()
    if normalise:
        w = w / np.maximum(w.sum(1, keepdims=True), 1e-9)
    np.testing.assert_allclose(lists, w, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(score(RP3beta, variables, history), x @ w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_gfcf_is_its_equation(alpha):
    history, x = log()
    of_user, of_item = np.maximum(x.sum(1), 1), x.sum(0)
    inverse = np.where(of_item > 0, np.maximum(of_item, 1) ** -0.5, 0.0)
    normed = of_user[:, None] ** -0.5 * x * inverse[None]
    low = np.linalg.svd(normed)[2][:4].T
    expected = x @ (normed.T @ normed)
    expected = expected + alpha * ((x * inverse[None]) @ low) @ (low.T * of_item[None] ** 0.5)
    variables = gfcf.fit(history, ITEMS, factors=4, alpha=alpha)
    np.testing.assert_allclose(score(GFCF, variables, history, 4), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weighting", [item_knn.equal, item_knn.tf_idf])
@pytest.mark.parametrize("alpha", [0.5, 0.3])
def test_item_knn_as_lists_is_item_knn(weighting, alpha):
    history, _ = log()
    options = dict(neighbours=100, shrink=0.5, alpha=alpha, weighting=weighting)
    variables = item_knn.fit_lists(history, ITEMS, **options)
    dense = item_knn.fit(history, ITEMS, **options)["params"]["weight"]
    lists = score(item_lists.ItemLists, variables, np.arange(ITEMS)[:, None])
    np.testing.assert_allclose(lists, np.asarray(dense).T, atol=1e-5)


def test_long_slates_short_ones_and_pairs_agree_and_lists_of_any_length_are_gone_through():
    rng, items = np.random.default_rng(0), 700
    history = np.minimum(rng.zipf(1.2, (300, 9)), items - 1)
    history[:5, 3:] = 0
    variables = rp3beta.fit(history, items, neighbours=600)
    model = RP3beta(items, item_lists.num_pairs(variables))
    assert np.diff(variables["params"]["offset"]).max() > 2 * PIECE
    asked = queries(history=np.concatenate([history[:6], np.zeros((1, 9), int), np.full((1, 9), items + 3)]))
    slate = jnp.tile(jnp.arange(-1, items + 1, dtype=jnp.int32), (8, 1))
    whole = np.asarray(apply(model, variables, asked, slate))
    assert (whole[:6].max(axis=1) > 0).all() and not whole[6:].any() and not whole[:, [0, 1, -1]].any()
    some = np.asarray(apply(model, variables, asked, slate[:, :400:7]))
    np.testing.assert_allclose(some, whole[:, :400:7], rtol=1e-5, atol=1e-7)
    pair = np.asarray(apply(model, variables, asked, slate[:, 3]))
    np.testing.assert_allclose(pair, whole[:, 3], rtol=1e-5, atol=1e-7)


def test_a_catalogue_without_pairs_scores_nothing():
    variables = rp3beta.fit(np.array([[1], [2]]), 300)
    model = RP3beta(300, item_lists.num_pairs(variables))
    assert not np.asarray(score_all(model, variables, queries(history=[[1]]))).any()


def test_the_memory_of_a_score_does_not_grow_with_the_square_of_the_catalogue():
    items, asked = 20_000, queries(history=np.ones((8, 30), int))
    lists = jax.ShapeDtypeStruct((items + 1,), jnp.int32), jax.ShapeDtypeStruct((10**6,), jnp.int32)
    variables = {"params": dict(zip(("offset", "neighbour"), lists, strict=True))}
    variables["params"]["weight"] = jax.ShapeDtypeStruct((10**6,), jnp.float32)
    slate = jax.ShapeDtypeStruct((8, items), jnp.int32)
    program = jax.jit(RP3beta(items, 10**6).apply).lower(variables, asked, slate).compile()
    assert program.memory_analysis().temp_size_in_bytes < 8 * 4 * 8 * items


def test_bad_input_is_named(untyped):
    history = np.array([[1, 2], [2, 3]])
    for fit in (rp3beta.fit, item_knn.fit_lists, gfcf.fit, bspm.fit, slim.fit, local_ease.fit):
        with pytest.raises(ValueError, match="at least one event"):
            fit(np.zeros((2, 3), int), 5)
        with pytest.raises(ValueError, match="history has item 3, but num_items is 3"):
            fit(history, 3)
    few = {"factors": 1}
    for fit, given in (
        (rp3beta.fit, {"beta": -1.0}),
        (rp3beta.fit, {"alpha": np.inf}),
        (rp3beta.fit, {"neighbours": 0}),
        (slim.fit, {"l2": 0.0}),
        (slim.fit, {"tolerance": np.nan}),
        (slim.fit, {"max_sweeps": 0}),
        (gfcf.fit, {"alpha": np.nan} | few),
        (item_knn.fit, {"shrink": np.nan}),
        (item_knn.fit_lists, {"shrink": np.inf}),
    ):
        with pytest.raises(ValueError, match=f"{next(iter(given))} = .*: give"):
            fit(history, 5, **given)
    for fit in (rp3beta.fit, item_knn.fit, ease.fit):
        with pytest.raises(DataError, match=r"history has 2\.5, which is not a whole number"):
            fit(np.array([[1.0, 2.5]]), 5)
    with pytest.raises(ValueError, match="l2 must be greater than 0"):
        local_ease.fit(history, 5, l2=0.0)
    with pytest.raises(ValueError, match="candidates = 0: give 1 or more"):
        local_ease.fit(history, 5, candidates=0)
    with pytest.raises(ValueError, match="factors must be from 1 to 1, not 2"):
        gfcf.fit(history, 5, factors=2)
    with pytest.raises(ValueError, match="factors must be from 1 to 1, not 2"):
        bspm.fit(history, 5, factors=2)
    with pytest.raises(ValueError, match="neighbours"):
        gfcf.fit(history, 5, factors=1, neighbours=0)
    with pytest.raises(ValueError, match="give a share from 0 to 1"):
        item_knn.fit_lists(history, 5, alpha=2.0)


@pytest.mark.parametrize(("l1", "l2"), [(0.1, 2.0), (0.5, 2.0), (1.0, 0.3)])
def test_slim_is_scikit_learns_elastic_net_of_each_column(l1, l2):
    history, x = log()
    alpha = (l1 + l2) / USERS
    net = ElasticNet(
        alpha=alpha, l1_ratio=l1 / (l1 + l2), positive=True, fit_intercept=False, tol=1e-10, max_iter=10**5
    )
    w = np.zeros((ITEMS, ITEMS))
    for i in range(1, ITEMS - 1):
        others = np.flatnonzero(np.arange(ITEMS) != i)
        w[others, i] = net.fit(x[:, others], x[:, i]).coef_
    variables = slim.fit(history, ITEMS, l1=l1, l2=l2, tolerance=1e-7, max_sweeps=1000)
    np.testing.assert_allclose(score(SLIM, variables, history), x @ w, atol=1e-4)
    assert (x @ w).max() > 0.1


def test_slim_of_few_candidates_takes_the_nearest():
    history, x = log()
    variables = slim.fit(history, ITEMS, l1=0.0, l2=1.0, candidates=2)
    lists = score(SLIM, variables, np.arange(ITEMS)[:, None])
    cosine = cosines(x)
    assert ((lists > 0).sum(0) <= 2).all()
    second = np.sort(cosine, axis=0)[-2]
    assert ((lists > 0) <= (cosine >= second[None] - 1e-9)).all()


def cosines(x):
    """Of two items, 0 of an item with itself."""
    length = np.linalg.norm(x, axis=0)
    cosine = x.T @ x / np.maximum(length[:, None] * length[None], 1e-9)
    np.fill_diagonal(cosine, 0.0)
    return cosine


def test_local_ease_of_all_items_is_ease():
    """Of all that share a user with an item: here those are all."""
    history = np.random.default_rng(0).integers(1, ITEMS, (300, 9))
    for how in ({"l2": 0.5}, {"l2": 5.0, "dropout": 0.5}, {"l2": 500.0}, {"l2": 5.0, "user_exponent": 0.5}):
        variables = local_ease.fit(history, ITEMS, candidates=ITEMS, **how)
        assert item_lists.num_pairs(variables) == (ITEMS - 1) * (ITEMS - 2)
        dense = ease.fit(history, ITEMS, **how)
        lists = score(LocalEASE, variables, np.arange(ITEMS)[:, None])
        np.testing.assert_allclose(lists, np.asarray(dense["params"]["weight"]).T, atol=1e-5)
        whole = score_all(EASE(ITEMS), dense, queries(history=history))
        np.testing.assert_allclose(score(LocalEASE, variables, history), whole, atol=1e-4)


@pytest.mark.parametrize("most", [1, 4, ITEMS, 2 * ITEMS])
def test_shortened_lists_score_as_the_strongest_weights_of_a_square(most, monkeypatch):
    monkeypatch.setattr(item_lists, "BLOCK", 5)
    history, _ = log()
    weight = np.array(ease.fit(history, ITEMS, l2=2.0)["params"]["weight"])
    short = item_lists.shortened(weight, most)
    for row in weight:
        row[np.argsort(-np.abs(row))[most:]] = 0.0
    whole = score_all(EASE(ITEMS), {"params": {"weight": weight}}, queries(history=history))
    np.testing.assert_allclose(score(item_lists.ItemLists, short, history), whole, atol=1e-5)
    with pytest.raises(ValueError, match="most = 0: give 1 or more"):
        item_lists.shortened(weight, 0)


@pytest.mark.parametrize("most", [1, 3, 6, ITEMS])
def test_local_ease_is_the_inverse_of_the_gramian_of_an_item_and_its_candidates(most, monkeypatch):
    """`-P_ij / P_jj` in double precision, one to four items at a time, of which five are popular."""
    monkeypatch.setattr(candidates, "BYTES", (4 * 4 * 4**2,) * 2)
    monkeypatch.setattr(candidates, "POPULAR", 4 * ITEMS * 5)
    history, x = log()
    variables = local_ease.fit(history, ITEMS, l2=1.5, candidates=most)
    lists = score(LocalEASE, variables, np.arange(ITEMS)[:, None])
    cosine, expected = cosines(x), np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        chosen = np.flatnonzero(lists[:, item])
        left_out = np.delete(cosine[:, item], chosen)  # of equal ones any is chosen
        assert len(chosen) == min(most, (cosine[:, item] > 0).sum())
        assert left_out.max(initial=0.0) <= cosine[chosen, item].min(initial=1.0) + 1e-9
        own = np.append(chosen, item)
        inverse = np.linalg.inv(x[:, own].T @ x[:, own] + 1.5 * np.eye(len(own)))
        expected[chosen, item] = -inverse[:-1, -1] / inverse[-1, -1]
    np.testing.assert_allclose(lists, expected, atol=1e-5)
    assert (lists < -1e-3).any() == (most > 3)


def test_a_fit_of_candidates_holds_neither_the_square_of_the_catalogue_nor_all_pairs(monkeypatch):
    """Of 2,000 items: all pairs would be 57 MiB, and the square 15."""
    items, most, rng = 2_000, 8, np.random.default_rng(0)
    history = rng.permuted(np.tile(np.arange(1, items, dtype=np.int32), (20, 1)), axis=1)[:, :500]
    monkeypatch.setattr(item_lists, "PAIRS", 2**16)
    monkeypatch.setattr(candidates, "POPULAR", 2**20)
    tracemalloc.start()
    variables = local_ease.fit(history, items, candidates=most)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.diff(variables["params"]["offset"]).sum() > 0.5 * most * items
    assert peak < 2**23
    shape = (
        jax.ShapeDtypeStruct((4096, most, most), np.float32),
        jax.ShapeDtypeStruct((4096, most), np.float32),
    )
    program = local_ease._regress.lower(*shape, *2 * [jax.ShapeDtypeStruct((), np.float32)]).compile()
    assert program.memory_analysis().temp_size_in_bytes < 8 * 4 * 4096 * most**2
