"""Training with products of bfloat16 ends where training in float32 does."""

import functools

import jax
import numpy as np
import optax
import pytest

from rezoo import evaluation, losses, objectives, sampling, training
from rezoo.data import batches, split
from rezoo.datasets import movielens
from rezoo.models import MF
from rezoo.training import row_sparse


@pytest.mark.slow
@pytest.mark.parametrize("by_row", [False, True])
def test_bfloat16_on_movielens_100k_is_within_a_hundredth_of_float32(data_folder, tmp_path, by_row):
    log = movielens.load("ml-100k", manual_dir=data_folder, data_dir=tmp_path).ratings
    parts = split.ratio_per_user(log)
    train, test = log.take(parts.train), log.take(parts.test)
    data, held = batches.pairs(train.user, train.item), batches.held_out(train, test)
    model = MF(log.num_users, log.num_items, 32)
    plain = objectives.sampled(model, losses.bpr, sampling.uniform(log.num_items), 4)

    def run(objective, key):
        if by_row:
            optimizers = optax.adam(3e-3), row_sparse.lazy_adam(3e-3)
            state = row_sparse.init_state(key, model, *optimizers, data)
            step = row_sparse.make_step(objective, *optimizers)
        else:
            state = training.init_state(key, model, optax.adam(3e-3), data)
            step = training.make_step(objective, optax.adam(3e-3))
        return training.fit(step, state, data, num_epochs=20, batch_size=4096)[0].variables

    @jax.jit
    def measure(variables):
        return evaluation.evaluate(model, variables, held.query, held.target, exclude=held.exclude)

    keys = jax.random.split(jax.random.key(0), 3)
    found = []
    for objective in (plain, objectives.mixed(plain)):
        fitted = jax.jit(jax.vmap(functools.partial(run, objective)))(jax.random.clone(keys))
        each = [jax.tree.map(lambda leaf, n=n: leaf[n], fitted) for n in range(len(keys))]
        assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(fitted["params"]))
        found.append(np.mean([measure(one)["ndcg@10"] for one in each]))
    print(found)
    assert found[0] > 0.2 and abs(found[1] / found[0] - 1) < 0.01
