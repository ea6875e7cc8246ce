import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import evaluation, losses, objectives, training
from rezoo.models import YouTubeRanker
from rezoo.types import Batch, Query


def test_a_ranker_trained_on_what_was_spent_expects_what_is_spent():
    """20 shows of each of 3 products, of which none, one and two were bought."""
    item = jnp.repeat(jnp.arange(1, 4, dtype=jnp.int32), 20)
    spent = jnp.zeros((3, 20)).at[1, 0].set(38.0).at[2, :2].set(jnp.array([9.0, 27.0])).ravel()
    nobody = jnp.zeros(60, jnp.int32)
    batch = Batch(Query(nobody, jnp.zeros((60, 1), jnp.int32), {}), item, spent, jnp.ones(60, bool))
    model, optimizer = YouTubeRanker({"user": 1, "item": 4}, 4, widths=(8,)), optax.adam(0.03)
    step = training.make_step(objectives.pointwise(model, losses.weighted_logistic), optimizer)
    state = training.init_state(jax.random.key(0), model, optimizer, batch)
    state, _ = jax.jit(lambda s: training.fit(step, s, batch, num_epochs=400, batch_size=60))(state)
    expected = np.exp(evaluation.predict(model, state.variables, batch)).reshape(3, 20)[:, 0]
    np.testing.assert_allclose(expected[1:], [38 / 19, 36 / 18], rtol=0.05)
    assert expected[0] < 0.05
