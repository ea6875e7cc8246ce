"""Training with products of bfloat16 ends where training in float32 does."""

import jax
import numpy as np
import optax
import pytest

from rezoo import evaluation, losses, objectives, sampling, training
from rezoo.data import batches, split
from rezoo.datasets import movielens
from rezoo.models import MF


@pytest.mark.slow
def test_bfloat16_on_movielens_100k_is_within_a_hundredth_of_float32(data_folder, tmp_path):
    log = movielens.load("ml-100k", manual_dir=data_folder, data_dir=tmp_path).ratings
    parts = split.ratio_per_user(log)
    train, test = log.take(parts.train), log.take(parts.test)
    data, held = batches.pairs(train.user, train.item), batches.held_out(train, test)
    model, optimizer = MF(log.num_users, log.num_items, 32), optax.adam(3e-3)
    plain = objectives.sampled(model, losses.bpr, sampling.uniform(log.num_items), 4)

    def ndcg(objective):
        def run(key):
            state = training.init_state(key, model, optimizer, data)
            step = training.make_step(objective, optimizer)
            return training.fit(step, state, data, num_epochs=15, batch_size=4096)[0].variables

        variables = jax.jit(run)(jax.random.key(0))
        assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(variables["params"]))
        found = evaluation.evaluate(model, variables, held.query, held.target, exclude=held.exclude)
        return float(found["ndcg@10"])

    whole = ndcg(plain)
    assert whole > 0.3 and abs(ndcg(objectives.mixed(plain)) / whole - 1) < 0.01
