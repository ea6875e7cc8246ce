"""One thing about each model that is true of it alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo import evaluation
from rezoo.models import (
    CFGAN,
    GMF,
    MLP,
    CoOccurrence,
    GRU4Rec,
    MultDAE,
    MultVAE,
    NeuMF,
    Popularity,
    UAutoRec,
    WideDeep,
)
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.models.rating import neumf
from rezoo.nn.recurrent import GRU, LSTM
from rezoo.types import Query


def query(history, user=None):
    history = jnp.asarray(history, jnp.int32)
    user = jnp.zeros(len(history), jnp.int32) if user is None else jnp.asarray(user, jnp.int32)
    return Query(user, history, {})


def test_popularity_ranks_by_count_whoever_asks():
    variables = popularity.fit(np.array([[3, 3], [1, 0]]), 5)
    score = evaluation.score_all(Popularity(5), variables, query([[1], [2]]))
    np.testing.assert_array_equal(score, [[0, 1, 0, 2, 0]] * 2)


@pytest.mark.parametrize("memory", [1, 2])
def test_cooccurrence_counts_what_followed(memory):
    sessions = np.array([[1, 2, 3], [1, 2, 0], [2, 3, 1], [4, 1, 3]])
    variables = cooccurrence.fit(sessions, 6, window=1)
    model = CoOccurrence(6, len(variables["params"]["follower"]), memory)
    asked = np.array([[1, 0], [4, 2], [5, 0], [0, 0]])
    score = np.asarray(evaluation.score_all(model, variables, query(asked)))
    follows = np.zeros((6, 6))
    for session in sessions:
        for a, b in itertools.pairwise(session):
            follows[a, b] += (a > 0) * (b > 0)
    for row, history in enumerate(asked):
        events = [i for i in history if i > 0][::-1][:memory]
        np.testing.assert_array_equal(np.floor(score[row]), sum((follows[i] for i in events), np.zeros(6)))
    assert score[3].argmax() == 1  # popularity decides where nothing is known


def test_neumf_without_its_mlp_is_a_weighted_inner_product():
    model = NeuMF(4, 5, 3, (4, 2))
    asked, item = query([[0], [0]], [1, 2]), jnp.array([3, 4], jnp.int32)
    params = model.init(jax.random.key(0), asked, item)["params"]
    kernel = params["output"]["kernel"].at[3:].set(0.0)
    params = {**params, "output": {**params["output"], "kernel": kernel}}
    gmf = params["gmf_user"]["embedding"][asked.user] * params["gmf_item"]["embedding"][item]
    np.testing.assert_allclose(model.apply({"params": params}, asked, item), gmf @ kernel[:3, 0], rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_pretrained_neumf_scores_alpha_gmf_plus_the_rest_mlp(alpha):
    parts, whole = (GMF(4, 5, 3), MLP(4, 5, (4, 2))), NeuMF(4, 5, 3, (4, 2))
    asked, item = query([[0], [0], [0]], [1, 2, 0]), jnp.array([[1, 4], [3, 2], [0, 1]], jnp.int32)
    variables = [m.init(jax.random.key(k), asked, item) for k, m in enumerate(parts)]
    variables = [
        jax.tree.map(lambda x: x + jnp.cos(jnp.arange(x.size)).reshape(x.shape), v) for v in variables
    ]
    gmf, mlp = (m.apply(v, asked, item) for m, v in zip(parts, variables, strict=True))
    params = neumf.pretrained(*(v["params"] for v in variables), alpha)
    shapes = jax.tree.map(jnp.shape, whole.init(jax.random.key(0), asked, item)["params"])
    assert jax.tree.map(jnp.shape, params) == shapes
    score = whole.apply({"params": params}, asked, item)
    np.testing.assert_allclose(score, alpha * gmf + (1 - alpha) * mlp, rtol=1e-5, atol=1e-6)


def test_wide_deep_memorises_a_cross_that_no_column_shows_alone():
    sizes = {"user": 3, "item": 3}
    model = WideDeep(sizes, (("user", "item"),), 97, 2, (4,))
    asked, item = query(np.zeros((4, 1)), [1, 1, 2, 2]), jnp.array([1, 2, 1, 2], jnp.int32)
    params = model.init(jax.random.key(0), asked, item)["params"]
    before = model.apply({"params": params}, asked, item)
    table = params["user_x_item"]["embedding"]
    bumped = {**params, "user_x_item": {"embedding": table.at[1 * 3 + 2].add(5.0)}}
    np.testing.assert_allclose(model.apply({"params": bumped}, asked, item) - before, [0, 5, 0, 0], atol=1e-5)


def test_autorec_equals_its_equation_in_numpy_and_does_not_see_what_was_not_rated():
    model = UAutoRec(5, 3, mean=3.0)
    asked = query([[1, 4, 0]])._replace(features={"history_rating": jnp.array([[5.0, 2.0, 9.0]])})
    params = model.init(jax.random.key(0), asked, jnp.array([1], jnp.int32))["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    v, w = params["encoder"]["rows"]["embedding"], params["decoder"]["embedding"]
    hidden = 1 / (1 + np.exp(-(5.0 * v[1] + 2.0 * v[4] + params["encoder_bias"])))
    oracle = 3.0 + np.asarray(w) @ hidden + params["decoder_bias"]["embedding"][:, 0]
    np.testing.assert_allclose(evaluation.score_all(model, {"params": params}, asked)[0], oracle, rtol=1e-5)


def test_mult_vae_draws_z_while_it_trains_and_takes_its_mean_to_score():
    model = MultVAE(6, 4, 3, dropout=0.0)
    asked, item = query([[1, 2]]), jnp.array([3], jnp.int32)
    variables = model.init(jax.random.key(0), asked, item)
    draw = jax.jit(jax.vmap(lambda key: model.apply(variables, asked, item, rngs={"dropout": key})[0]))
    draws = np.asarray(draw(jax.random.split(jax.random.key(1), 400)))
    scored = float(model.apply(variables, asked, item)[0])
    assert np.std(draws) > 0.01 and abs(np.mean(draws) - scored) < 5 * np.std(draws) / 20 + 0.05


def test_mult_dae_knows_no_order_and_only_the_direction_of_a_history():
    model = MultDAE(6, 4)
    item = jnp.array([3], jnp.int32)
    variables = model.init(jax.random.key(0), query([[1, 2]]), item)
    one = model.apply(variables, query([[1, 2, 0, 0]]), item)
    for same in ([[2, 1, 0, 0]], [[1, 2, 1, 2]]):
        weight = 1 / np.sqrt(2) if same[0][2] else 1.0  # every event twice: x grows by 2, its norm by √2
        table = variables["params"]["input"]["Bag_0"]["rows"]["embedding"]
        scaled = {**variables["params"]["input"], "Bag_0": {"rows": {"embedding": table * weight}}}
        params = {**variables["params"], "input": scaled}
        np.testing.assert_allclose(model.apply({"params": params}, query(same), item), one, rtol=1e-5)


def test_cfgan_judges_a_purchase_vector_given_who_it_is_said_to_be_of():
    model = CFGAN(5, (4,), (3,))
    asked = query([[1, 2], [3, 0]])
    variables = model.init(jax.random.key(0), asked, jnp.array([1, 1], jnp.int32))
    r = jnp.array([[0.0, 1, 1, 0, 0]] * 2)
    logit = np.asarray(model.apply(variables, asked, r, method="judge"))
    assert logit.shape == (2,) and abs(logit[0] - logit[1]) > 1e-4
    made = model.apply(variables, asked, method="purchases")
    score = evaluation.score_all(model, variables, asked)
    np.testing.assert_allclose(made, 1 / (1 + np.exp(-np.asarray(score))), rtol=1e-5)


def test_gru4rec_forgets_nothing_before_and_sees_nothing_after_an_event():
    model = GRU4Rec(9, 6)
    asked = query([[1, 2, 3, 4]])
    params = model.init(jax.random.key(0), asked, jnp.array([1], jnp.int32))

    def states(history):
        return model.apply(params, query(history), method="prefixes")

    np.testing.assert_allclose(states([[1, 2, 3, 4]])[:, :2], states([[1, 2, 7, 8]])[:, :2], atol=1e-6)
    assert np.abs(states([[1, 2, 3, 4]])[0, 3] - states([[5, 2, 3, 4]])[0, 3]).max() > 1e-4


@pytest.mark.parametrize("cell", [GRU, LSTM])
def test_recurrent_cells_equal_their_equations_in_numpy(cell):
    ours = cell(3)
    x = jax.random.normal(jax.random.key(0), (2, 5, 4))
    params = ours.init(jax.random.key(1), x, ours.initial(2))["params"]
    kernel, bias = params["input"]["kernel"], params["input"]["bias"]
    h, c = np.zeros((2, 3)), np.zeros((2, 3))
    outputs = []
    for t in range(5):
        p = np.asarray(x[:, t]) @ np.asarray(kernel) + np.asarray(bias)
        if cell is GRU:
            zr = 1 / (1 + np.exp(-(p[:, :6] + h @ np.asarray(params["gates"]))))
            z, r = zr[:, :3], zr[:, 3:]
            h = (1 - z) * h + z * np.tanh(p[:, 6:] + (r * h) @ np.asarray(params["candidate"]))
        else:
            i, f, o, g = np.split(p + h @ np.asarray(params["recurrent"]), 4, axis=1)
            sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
            c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    _, states = ours.apply({"params": params}, x, ours.initial(2))
    np.testing.assert_allclose(states, np.stack(outputs, 1), rtol=1e-4, atol=1e-6)
