import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import init_state

from rezoo import evaluation, losses, objectives, training
from rezoo.data.batches import queries
from rezoo.models import MultDAE, MultVAE
from rezoo.models.rating.mult_vae import kl_from_standard_normal
from rezoo.types import Batch

ITEMS = 9
HISTORY = jnp.array([[1, 2, 3], [2, 3, 0], [6, 7, 8], [7, 8, 0], [0, 0, 0]], jnp.int32)


def data() -> Batch:
    real = HISTORY > 0
    return Batch(queries(history=HISTORY), HISTORY, real.astype(jnp.float32), real)


def trained(model, beta_max=0.2, epochs=120):
    likelihood = objectives.every_item(model, losses.softmax_cross_entropy)
    optimizer = optax.adam(0.02)

    def step(state, batch):
        beta = jnp.minimum(state.step / 100, 1.0) * beta_max
        return training.make_step(objectives.penalised(likelihood, beta), optimizer)(state, batch)

    state = init_state(jax.random.key(0), model, optimizer, data())
    return jax.jit(lambda s: training.fit(step, s, data(), num_epochs=epochs, batch_size=3))(state)


every_kind = pytest.mark.parametrize(
    "model",
    [MultVAE(ITEMS, hidden=8, latent=4), MultVAE(ITEMS, hidden=None, latent=4), MultDAE(ITEMS, 8)],
    ids=["vae", "affine vae", "dae"],
)


@every_kind
def test_it_learns_what_goes_together_and_serves_users_it_never_saw(model):
    state, history = trained(model)
    assert not bool(state.halted) and float(history["loss"][-1]) < float(history["loss"][0])
    new = queries(history=[[1], [6], [0]])
    ids, score = evaluation.recommend(model, state.variables, new, 2, exclude=new.history)
    assert set(np.asarray(ids[0]).tolist()) == {2, 3} and set(np.asarray(ids[1]).tolist()) == {7, 8}
    assert np.isfinite(score).all()  # also of the user without history


@every_kind
def test_a_list_longer_than_the_catalogue_ends_with_zeros(model):
    state, _ = trained(model, epochs=1)
    ids, score = evaluation.recommend(model, state.variables, data().query, 20, exclude=HISTORY)
    np.testing.assert_array_equal((ids > 0).sum(axis=1), ITEMS - 1 - (HISTORY > 0).sum(axis=1))
    assert np.isneginf(score[ids == 0]).all() and not np.isnan(score).any()


def test_without_hidden_layers_a_score_is_affine_in_the_history():
    model = MultVAE(ITEMS, hidden=None, latent=4)
    variables = trained(model, epochs=3)[0].variables
    params = jax.tree.map(np.asarray, variables["params"])
    mean = params["input"]["Bag_0"]["rows"]["embedding"][[1, 2, 3], :4].sum(0) / np.sqrt(3)
    z = mean + params["input"]["bias"][:4]
    oracle = params["output"]["embedding"] @ z + params["output_bias"]["embedding"][:, 0]
    np.testing.assert_allclose(evaluation.score_all(model, variables, data().query)[0], oracle, rtol=1e-5)


def test_beta_adds_to_the_likelihood_and_holds_the_posterior():
    model = MultVAE(ITEMS, hidden=8, latent=4)
    likelihood = objectives.every_item(model, losses.softmax_cross_entropy)
    variables = {"params": trained(model, epochs=1)[0].params}
    key = jax.random.key(0)
    free, aux = objectives.penalised(likelihood, 0.0)(variables, key, data())
    held, _ = objectives.penalised(likelihood, 2.0)(variables, key, data())
    kl = np.asarray(aux.sown["penalty"]["kl"][0])
    assert (kl > 0).all()
    np.testing.assert_allclose(held - free, 2.0 * kl[:4].mean(), rtol=1e-4)  # row 5 does not count
    np.testing.assert_allclose(free, aux.metrics["loss"], rtol=1e-6)


def test_the_kl_is_that_of_the_integral():
    x = np.linspace(-12, 12, 200_001)
    mean, deviation = 0.7, 0.4
    log = lambda m, s: -0.5 * ((x - m) / s) ** 2 - np.log(s * np.sqrt(2 * np.pi))  # noqa: E731
    q = np.exp(log(mean, deviation))
    oracle = np.trapezoid(q * (log(mean, deviation) - log(0.0, 1.0)), x)
    got = kl_from_standard_normal(jnp.array([[mean]]), jnp.array([[2 * np.log(deviation)]], jnp.float32))
    np.testing.assert_allclose(got, [oracle], rtol=1e-5)


def test_the_likelihood_is_the_multinomials():
    model = MultDAE(ITEMS, 8, dropout=0.0)
    variables = {"params": trained(model, epochs=3)[0].params}
    value, _ = objectives.every_item(model, losses.softmax_cross_entropy)(
        variables, jax.random.key(0), data()
    )
    score = np.asarray(evaluation.score_all(model, variables, data().query), np.float64)[:, 1:]
    log_pi = score - np.log(np.exp(score).sum(1, keepdims=True))
    rows = [-sum(log_pi[row, i - 1] for i in items if i) for row, items in enumerate(HISTORY.tolist())]
    np.testing.assert_allclose(value, np.mean(rows[:4]), rtol=1e-5)  # the row without items does not count
