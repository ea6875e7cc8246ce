import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg
from helpers import eight_devices

from rezoo import evaluation
from rezoo.data.batches import queries
from rezoo.devices import sharding
from rezoo.errors import DataError
from rezoo.models import IALS
from rezoo.models.factorization import alternation, ials, least_squares

USERS, ITEMS, DIM = 20, 15, 5
WEIGHTS = ials.Weights(0.2, 0.05, 0.7)


def log(seed=0, rows=90):
    """Interactions, some of them twice; user 4 and item 6 have none. And the matrix that they are."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(1, USERS, rows), rng.integers(1, ITEMS, rows)
    keep = (user != 4) & (item != 6)
    user, item = np.append(user[keep], user[keep][:9]), np.append(item[keep], item[keep][:9])
    x = np.zeros((USERS, ITEMS))
    x[user, item] = 1
    return user, item, x


def fit(epochs, solve=least_squares.cholesky, dim=DIM, weights=WEIGHTS):
    user, item, _ = log()
    variables = ials.fit(
        jax.random.key(0), user, item, USERS, ITEMS, dim, weights=weights, num_epochs=epochs, solve=solve
    )
    return tuple(np.asarray(variables["params"][name]["embedding"], np.float64) for name in ("user", "item"))


def dense_half(fixed, x):
    """Weighted least squares over all pairs of each row, rows and columns 0 left out."""
    out = np.zeros((len(x), fixed.shape[1]))
    for row in range(1, len(x)):
        if not x[row].any():
            continue
        count, columns = x[row].sum(), x.shape[1] - 1
        penalty = WEIGHTS.l2 * (count + WEIGHTS.unobserved * columns) ** WEIGHTS.exponent
        weight = x[row, 1:] + WEIGHTS.unobserved
        target = x[row, 1:] / weight  # (⟨p,q⟩ - 1)² + α ⟨p,q⟩² up to a constant
        a = fixed[1:].T @ (weight[:, None] * fixed[1:]) + penalty * np.eye(fixed.shape[1])
        out[row] = np.linalg.solve(a, fixed[1:].T @ (weight * target))
    return out


def objective(p, q, x):
    score = p[1:] @ q[1:].T
    seen = x[1:, 1:]
    value = (seen * (score - 1) ** 2).sum() + WEIGHTS.unobserved * (score**2).sum()
    users = WEIGHTS.l2 * (seen.sum(1) + WEIGHTS.unobserved * (ITEMS - 1)) ** WEIGHTS.exponent
    items = WEIGHTS.l2 * (seen.sum(0) + WEIGHTS.unobserved * (USERS - 1)) ** WEIGHTS.exponent
    return value + users @ (p[1:] ** 2).sum(1) + items @ (q[1:] ** 2).sum(1)


@pytest.mark.parametrize("solve", [least_squares.cholesky, least_squares.conjugate_gradient(3 * DIM)])
def test_a_half_step_is_dense_weighted_least_squares(solve):
    _, _, x = log()
    p, q = fit(3, solve)
    np.testing.assert_allclose(q, dense_half(p, x.T), rtol=1e-3, atol=1e-4)
    start = np.asarray(jax.random.normal(jax.random.key(0), (ITEMS, DIM))) * 0.1 / DIM**0.5
    start[0] = 0
    p, q = fit(1, solve)
    np.testing.assert_allclose(p, dense_half(start, x), rtol=1e-3, atol=1e-4)
    assert np.abs(q).max() > 0.1


@pytest.mark.parametrize(
    "solve",
    [least_squares.cholesky, least_squares.conjugate_gradient(1), least_squares.conjugate_gradient(3)],
)
def test_the_objective_never_rises(solve):
    _, _, x = log()
    nothing = np.zeros((USERS, DIM)), np.zeros((ITEMS, DIM))
    values = [objective(*vectors, x) for vectors in (nothing, *(fit(n, solve) for n in (1, 2, 3, 5, 8, 16)))]
    assert (np.diff(values) <= 1e-4).all() and values[-1] < 0.9 * values[0]


@pytest.mark.parametrize("solve", [least_squares.cholesky, least_squares.conjugate_gradient(3)])
def test_more_factors_than_items_and_rows_without_interactions_are_finite(solve):
    p, q = fit(4, solve, dim=2 * ITEMS)
    assert np.isfinite(p).all() and np.isfinite(q).all() and p.any()
    assert not p[[0, 4]].any() and not q[[0, 6]].any()


def test_a_user_known_by_history_alone_gets_the_vector_of_training():
    user, item, x = log()
    variables = ials.fit(jax.random.key(0), user, item, USERS, ITEMS, DIM, weights=WEIGHTS)
    seen = [np.flatnonzero(x[3]), np.array([], int)]
    history = jnp.asarray([[*row, *[0] * (ITEMS - len(row)), ITEMS + 4] for row in seen], jnp.int32)
    known = ials.with_users(variables, history, weights=WEIGHTS)
    q = np.asarray(variables["params"]["item"]["embedding"], np.float64)
    expected = dense_half(q, x)[3]
    np.testing.assert_allclose(known["params"]["user"]["embedding"][1], expected, rtol=1e-3, atol=1e-4)
    assert not np.asarray(known["params"]["user"]["embedding"][jnp.array([0, 2])]).any()
    ask = queries([1])
    score = evaluation.score_all(IALS(3, ITEMS, DIM), known, ask)[0]
    np.testing.assert_allclose(score, q @ expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("numbers", [1, 512, 2**17])
def test_blocks_hold_every_interaction_once_and_little_else(monkeypatch, numbers):
    monkeypatch.setattr(alternation, "NUMBERS", (numbers, 0))
    for rows in (1_000, 20_000):
        rng = np.random.default_rng(0)
        code = np.unique(rng.zipf(1.3, rows) % 100 * 500 + rng.integers(1, 500, rows))
        row, other = code // 500 + 1, code % 500
        cut = alternation.pieces_of(row, DIM)
        blocks = alternation.blocks_of(row, other, cut)
        k, p, c = np.nonzero(blocks.others)
        found = blocks.ids[k, blocks.row[k, p]] * 500 + blocks.others[k, p, c]
        np.testing.assert_array_equal(np.sort(found), np.sort(row * 500 + other))
        assert (np.diff(blocks.row, axis=1) >= 0).all()
        needed = len(row) + cut.length * len(np.unique(row))
        assert blocks.others.size <= 2 * needed + cut.length * cut.at_once


@pytest.mark.parametrize(("mean", "length"), [(1, 32), (30, 32), (50, 64), (165, 64)])
def test_pieces_are_about_as_long_as_rows_are(mean, length):
    cut = alternation.pieces_of(np.repeat([2, 5], mean), DIM)
    assert cut.length == length and cut.at_once * length >= mean


@pytest.mark.parametrize("cores", [2, 3, 64])
def test_blocks_are_solved_side_by_side_on_the_cores_there_are(monkeypatch, cores):
    monkeypatch.setattr(alternation, "NUMBERS", (2 * alternation.PIECE[0] * DIM, 0))  # several blocks
    monkeypatch.setattr(alternation, "cores", lambda: 1)
    alone = fit(3)
    monkeypatch.setattr(alternation, "cores", lambda: cores)
    user, item, _ = log()
    blocks = alternation.blocks_of(user, item, alternation.pieces_of(user, DIM))
    parts = alternation.parts_of(blocks)
    assert 1 < len(parts) <= cores
    assert sum((part.others > 0).sum() for part in parts) == len(user)
    jax.tree.map(np.testing.assert_array_equal, fit(3), alone)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_conjugate_gradients_are_scipys_step_by_step(steps):
    rng = np.random.default_rng(steps)
    seen, row = rng.normal(size=(4, 3, DIM)).astype(np.float32), np.array([0, 1, 1, 2])
    every = np.float32(0.2) * np.cov(rng.normal(size=(DIM, 50))).astype(np.float32)
    penalty, start = np.float32([0.5, 1, 2]), rng.normal(size=(3, DIM)).astype(np.float32)
    systems = least_squares.Systems(*map(jnp.asarray, (seen, row, every, penalty)))
    found = least_squares.conjugate_gradient(steps)(systems, jnp.asarray(start))
    for own in range(3):
        mine = seen[row == own].reshape(-1, DIM)
        a, b = mine.T @ mine + every + penalty[own] * np.eye(DIM), mine.sum(0)
        wanted, _ = scipy.sparse.linalg.cg(a, b, start[own], rtol=0, maxiter=steps)
        np.testing.assert_allclose(found[own], wanted, rtol=1e-3, atol=1e-4)


def lossy():
    """A way on which nothing arrives, and which seems the cheapest."""
    gather = sharding.gather_ids()

    def fetch(*args):
        found = yield from gather.fetch(*args)
        return found._replace(rows=0 * found.rows, overflow=jnp.int32(1))

    return gather._replace(fetch=fetch, sent=lambda *_: 0)


@eight_devices
@pytest.mark.parametrize(
    ("devices", "routes"),
    [
        (8, [sharding.all_to_all()]),
        pytest.param(8, [sharding.gather_ids(), lossy()], marks=pytest.mark.slow),
        pytest.param(3, [sharding.gather_ids()], marks=pytest.mark.slow),
        pytest.param(3, [sharding.all_to_all()], marks=pytest.mark.slow),
    ],
)
def test_over_devices_it_is_the_fit_of_one(monkeypatch, devices, routes):
    monkeypatch.setattr(alternation, "ROUTES", routes)
    monkeypatch.setattr(alternation, "NUMBERS", (4 * alternation.PIECE[1] * DIM, 0))  # several blocks
    mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])
    user, item, _ = log()
    options = {"weights": WEIGHTS, "num_epochs": 3, "solve": least_squares.cholesky}
    one, many = (
        ials.fit(jax.random.key(0), user, item, USERS, ITEMS, DIM, mesh=on, **options) for on in (None, mesh)
    )
    found = sharding.whole(many, sharding.rules(one), one)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, one)
    query = queries([3, 5])
    ids, _ = evaluation.recommend(IALS(USERS, ITEMS, DIM), many, query, 5, mesh=mesh)
    assert (ids == evaluation.recommend(IALS(USERS, ITEMS, DIM), one, query, 5)[0]).all()


def test_bad_input_is_named(untyped):
    with pytest.raises(ValueError, match="no interaction with a user and an item above 0"):
        ials.fit(jax.random.key(0), np.array([0, 1]), np.array([1, 0]), 3, 3)
    with pytest.raises(ValueError, match="item 5 is beyond num_items=3"):
        ials.fit(jax.random.key(0), np.array([1]), np.array([5]), 3, 3)
    one = np.array([1]), np.array([1]), 3, 3
    for wrong in ({"l2": 0.0}, {"l2": -1.0}, {"l2": np.nan}, {"unobserved": -1.0}, {"exponent": np.nan}):
        for ask in (
            lambda weights: ials.fit(jax.random.key(0), *one, weights=weights),
            lambda weights: ials.with_users(
                ials.fit(jax.random.key(0), *one), jnp.array([[1]]), weights=weights
            ),
        ):
            with pytest.raises(ValueError, match=f"{next(iter(wrong))} = .*: give a"):
                ask(ials.Weights(**wrong))
    for wrong in ({"num_epochs": 0}, {"dim": 0}, {"stddev": 0.0}, {"stddev": np.nan}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} = .*: give"):
            ials.fit(jax.random.key(0), *one, **wrong)
    with pytest.raises(DataError, match=r"user has 1\.5, which is not a whole number"):
        ials.fit(jax.random.key(0), np.array([1.5]), np.array([1]), 3, 3)


def test_it_stands_in_a_users_jit_vmap_and_wider_numbers():
    user, item, _ = log()

    def users(seed):
        variables = ials.fit(
            jax.random.key(seed), user, item, USERS, ITEMS, DIM, weights=WEIGHTS, num_epochs=3
        )
        return variables["params"]["user"]["embedding"]

    expected = [users(seed) for seed in (0, 1)]
    for found in ([jax.jit(users)(seed) for seed in (0, 1)], jax.vmap(users)(jnp.arange(2))):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-3, atol=1e-4)
    with jax.enable_x64(True):
        assert users(0).dtype == jnp.float64


def test_an_item_that_comes_twice_in_a_history_counts_once():
    p, q = fit(2)
    fitted = {"params": {"user": {"embedding": p}, "item": {"embedding": jnp.asarray(q, jnp.float32)}}}
    made = [
        ials.with_users(fitted, jnp.array([history]), weights=WEIGHTS)["params"]["user"]["embedding"]
        for history in ([3, 5, 0], [3, 5, 5])
    ]
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("alpha", [0.0, pytest.param(0.2, marks=pytest.mark.slow)])
def test_the_largest_l2_is_where_all_vectors_vanish(alpha):
    user, item, x = log()
    user, item = np.nonzero(x)
    most = ials.largest_l2(user, item, USERS, ITEMS, weights=ials.Weights(alpha, exponent=0.7))
    users = (x.sum(1)[1:] + alpha * (ITEMS - 1)) ** 0.7
    items = (x.sum(0)[1:] + alpha * (USERS - 1)) ** 0.7
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.nan_to_num(x[1:, 1:] / np.sqrt(users[:, None] * items[None]))
    assert most == pytest.approx(np.linalg.svd(scaled)[1][0], rel=2e-3)
    p, _ = fit(400, weights=ials.Weights(alpha, 0.9 * most, 0.7))
    assert np.abs(p).max() > 0.1
    with pytest.raises(ValueError, match=r"so large that all vectors.* become 0: .* less than"):
        fit(1, weights=ials.Weights(alpha, 1.01 * most, 0.7))


def test_a_user_without_items_has_the_vector_0_where_nothing_is_expected_of_them():
    weights = ials.Weights(unobserved=0.0, l2=0.01)
    user, item = np.array([1, 1, 2]), np.array([1, 2, 2])
    fitted = ials.fit(jax.random.key(0), user, item, 3, 4, 2, weights=weights)
    table = ials.with_users(fitted, jnp.array([[1, 2], [0, 0]]), weights=weights)["params"]["user"][
        "embedding"
    ]
    assert np.isfinite(table).all() and table[2].tolist() == [0, 0] != table[1].tolist()
