"""Tables stored in bfloat16 on MovieLens 100k: as good as those of float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rezoo import evaluation, losses, objectives, training
from rezoo.data import batches, sessions
from rezoo.datasets import movielens
from rezoo.models import MF, GRU4Rec
from rezoo.training import row_sparse

SEEDS = 2


def trained(model, objective, data, dtype, seed, epochs, batch, rate):
    optimizers = optax.adam(rate), row_sparse.lazy_adam(rate)
    state = row_sparse.init_state(jax.random.key(seed), model, *optimizers, data, table_dtype=dtype)
    step = row_sparse.make_step(objective, *optimizers)
    run = jax.jit(lambda state: training.fit(step, state, data, num_epochs=epochs, batch_size=batch)[0])
    return run(state).variables


@pytest.mark.slow
def test_mf_of_bfloat16_tables_predicts_ratings_as_well(data_folder):
    log = movielens.load("ml-100k", manual_dir=data_folder).ratings
    order = np.random.default_rng(0).permutation(len(log.user))
    train, test = order[:80_000], order[80_000:]
    mean = log.rating[train].mean()
    data = batches.pairs(log.user[train], log.item[train], log.rating[train] - mean)
    model = MF(int(log.user.max()) + 1, int(log.item.max()) + 1, dim=16)
    objective = objectives.l2(objectives.pointwise(model, losses.squared), 0.05)

    def rmse(dtype, seed):
        variables = trained(model, objective, data, dtype, seed, 10, 2048, 3e-3)
        asked = batches.pairs(log.user[test], log.item[test])
        score = evaluation.apply(model, variables, asked.query, asked.item)
        assert variables["params"]["user"]["embedding"].dtype == dtype
        return float(np.sqrt(np.mean((np.asarray(score, np.float64) + mean - log.rating[test]) ** 2)))

    low, full = (np.mean([rmse(dtype, n) for n in range(SEEDS)]) for dtype in (jnp.bfloat16, jnp.float32))
    print(low, full, np.std(log.rating[test]))
    assert low < 1.01 * full and full < 0.9 * np.std(log.rating[test])


@pytest.mark.slow
def test_gru4rec_of_bfloat16_tables_finds_the_next_item_as_well(data_folder):
    log = movielens.load("ml-100k", manual_dir=data_folder).ratings
    whole = sessions.by_id(log._replace(session=log.user)).newest(21)
    history = sessions.pad(whole, 21)
    last = (history > 0).sum(axis=1) - 1
    rows = np.arange(len(history))
    target = history[rows, last]
    known = history.copy()
    known[rows, last] = 0
    inputs = known[:, :-1].copy()
    inputs[rows, last - 1] = 0
    following = np.where(inputs > 0, known[:, 1:], 0)
    data = batches.queries(history=inputs)
    data = batches.Batch(data, jnp.asarray(following), jnp.ones(following.shape), jnp.asarray(following > 0))
    items = int(history.max()) + 1
    model = GRU4Rec(items, 16)
    popularity = jnp.asarray(np.bincount(known.ravel(), minlength=items).astype(np.float32))
    objective = objectives.next_item_sampled(model, losses.softmax_cross_entropy, popularity, 512)
    asked = batches.queries(history=known[:, :-1])

    def loss(dtype, seed):
        variables = trained(model, objective, data, dtype, seed, 12, 32, 3e-3)
        full = jax.tree.map(lambda x: x.astype(jnp.float32), variables)
        score = jax.jit(lambda: evaluation.apply(model, full, asked, method="encode"))()
        score = score @ evaluation.apply(model, full, method="table").T
        return float(losses.softmax_cross_entropy(score[:, 1:], jax.nn.one_hot(target - 1, items - 1)).mean())

    low, full = (np.mean([loss(dtype, n) for n in range(SEEDS)]) for dtype in (jnp.bfloat16, jnp.float32))
    print(low, full, np.log(items - 1))
    assert low < 1.01 * full and full < 0.95 * np.log(items - 1)
