"""One thing about each model that is true of it alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo import evaluation
from rezoo.data.sessions import Sessions
from rezoo.models import (
    NARM,
    SKNN,
    STAMP,
    VSKNN,
    Caser,
    CoOccurrence,
    GRU4Rec,
    NeuMF,
    NextItNet,
    Popularity,
    SASRec,
    SessionPopularity,
    WideDeep,
)
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.models.session import neighbours
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


def test_wide_deep_memorises_a_cross_that_no_column_shows_alone():
    sizes = {"user": 3, "item": 3}
    model = WideDeep(sizes, (("user", "item"),), 97, 2, (4,))
    asked, item = query(np.zeros((4, 1)), [1, 1, 2, 2]), jnp.array([1, 2, 1, 2], jnp.int32)
    params = model.init(jax.random.key(0), asked, item)["params"]
    before = model.apply({"params": params}, asked, item)
    table = params["user_x_item"]["embedding"]
    bumped = {**params, "user_x_item": {"embedding": table.at[1 * 3 + 2].add(5.0)}}
    np.testing.assert_allclose(model.apply({"params": bumped}, asked, item) - before, [0, 5, 0, 0], atol=1e-5)


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


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("model", [NARM(9, 4, 5), STAMP(9, 4)], ids=["NARM", "STAMP"])
def test_attention_on_all_prefixes_at_once_equals_the_expanded_prefixes(model):
    whole = query([[1, 2, 3, 4], [5, 6, 0, 0]])
    expanded = query([[1, 0, 0, 0], [1, 2, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4], [5, 0, 0, 0], [5, 6, 0, 0]])
    params = model.init(jax.random.key(0), whole, jnp.array([1, 1], jnp.int32))
    weight = jax.random.normal(jax.random.key(1), (6, 4))

    def one_pass(params):
        states = model.apply(params, whole, method="prefixes")
        return (weight * jnp.concatenate([states[0], states[1, :2]])).sum()

    def each(params):
        return (weight * model.apply(params, expanded, method="encode")).sum()

    ours, theirs = jax.value_and_grad(one_pass)(params), jax.value_and_grad(each)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, theirs)


def test_narm_is_its_equations_over_the_states_of_its_encoder():
    model, asked = NARM(9, 4, 5), query([[1, 2, 3]])
    variables = model.init(jax.random.key(0), asked, jnp.array([1], jnp.int32))
    h = np.asarray(model.apply(variables, asked, method="states"))[0]
    w = jax.tree.map(np.asarray, variables["params"])
    pair = sigmoid(h[2] @ w["of_query"]["kernel"] + h @ w["of_key"]["kernel"])
    alpha = pair @ w["weight"]["kernel"][:, 0]
    expected = np.concatenate([h[2], alpha @ h]) @ w["bilinear"]["kernel"] @ w["item"]["embedding"].T
    np.testing.assert_allclose(
        evaluation.score_all(model, variables, asked)[0], expected, rtol=1e-4, atol=1e-6
    )


def test_stamp_is_its_equations():
    model, asked = STAMP(9, 4), query([[1, 2, 3]])
    variables = model.init(jax.random.key(0), asked, jnp.array([1], jnp.int32))
    w = jax.tree.map(np.asarray, variables["params"])
    table = w["item"]["embedding"]
    x = table[[1, 2, 3]]
    given = x @ w["of_event"]["kernel"] + x[2] @ w["of_last"]["kernel"] + x.mean(0) @ w["of_mean"]["kernel"]
    alpha = sigmoid(given + w["of_mean"]["bias"]) @ w["weight"]["kernel"][:, 0]
    hidden = np.tanh(alpha @ x @ w["session"]["kernel"]) * np.tanh(x[2] @ w["last"]["kernel"])
    np.testing.assert_allclose(
        evaluation.score_all(model, variables, asked)[0], table @ hidden, rtol=1e-4, atol=1e-7
    )


def test_sasrec_sees_nothing_after_an_event_and_knows_the_order_before_it():
    model, asked = SASRec(9, 4, max_length=5), query([[1, 2, 3, 4]])
    variables = model.init(jax.random.key(0), asked, jnp.array([1], jnp.int32))

    def states(history):
        return model.apply(variables, query(history), method="prefixes")[0]

    np.testing.assert_allclose(states([[1, 2, 3, 4]])[:2], states([[1, 2, 7, 8]])[:2], atol=1e-6)
    assert np.abs(states([[1, 2, 3, 4]])[3] - states([[2, 1, 3, 4]])[3]).max() > 1e-4


def test_session_popularity_counts_this_session_first():
    variables = popularity.fit(np.array([[3, 3], [1, 0]]), 5)
    score = evaluation.score_all(SessionPopularity(5), variables, query([[2, 2, 1], [0, 0, 0]]))
    assert np.argsort(-score[0])[:3].tolist() == [2, 1, 3] and score[1].argmax() == 3


@pytest.mark.parametrize("kind", [SKNN, VSKNN])
def test_neighbours_equal_their_formulas_by_brute_force(kind):
    past = [[1, 2, 3], [3, 4], [2, 5, 2], [6, 1], [5, 6, 7, 1]]
    made = Sessions(np.concatenate(past).astype(np.int32), np.array([0, 3, 5, 8, 10, 14]))
    variables = neighbours.fit(made, 9, recent=4, longest=5)
    model = kind(9, 6, recent=4, longest=5, k=3)
    asked = [[1, 2], [7, 6, 3], [8, 0]]
    score = np.asarray(evaluation.score_all(model, variables, query([[*s, 0][:3] for s in asked])))
    for row, session in enumerate(asked):
        session = [i for i in session if i]
        place = {i: len(session) - 1 - at for at, i in enumerate(session)}
        found = []
        for n in past:
            shared = [i for i in session if i in n]
            weights = [(len(session) - place[i]) / len(session) for i in shared]
            cosine = len(shared) / np.sqrt(len(session) * len(n))
            found.append(sum(weights) if kind is VSKNN else cosine)
        expected = np.zeros(9)
        for n in np.argsort(-np.array(found), kind="stable")[:3]:
            steps = min([place[i] for i in session if i in past[n]], default=0)
            for i in set(past[n]):
                idf = np.log(len(past) / sum(i in other for other in past))
                expected[i] += found[n] * ((1 - 0.1 * steps) * idf if kind is VSKNN else 1)
        np.testing.assert_allclose(score[row], expected, atol=1e-3)


def test_nextitnet_sees_as_far_back_as_its_dilations_and_no_further():
    model, asked = NextItNet(9, 4, (1,), kernel=2), query([[1, 2, 3, 4, 5]])
    variables = model.init(jax.random.key(0), asked, jnp.array([1], jnp.int32))

    def last(history):
        return model.apply(variables, query(history), method="encode")[0]

    before = last([[1, 2, 3, 4, 5]])  # two convolutions, dilations 1 and 2: three steps back
    np.testing.assert_array_equal(before, last([[7, 2, 3, 4, 5]]))
    assert np.abs(before - last([[1, 7, 3, 4, 5]])).max() > 1e-5


def test_caser_sees_its_window_alone_and_the_user():
    model, asked = Caser(9, 4, num_users=4, window=3), query([[1, 2, 3, 4, 5]], [1])
    variables = model.init(jax.random.key(0), asked, jnp.array([1], jnp.int32))

    def last(history, user):
        return model.apply(variables, query(history, [user]), method="encode")[0]

    before = last([[1, 2, 3, 4, 5]], 1)
    np.testing.assert_array_equal(before, last([[7, 8, 3, 4, 5]], 1))
    assert np.abs(before - last([[1, 2, 7, 4, 5]], 1)).max() > 1e-5
    assert np.abs(before - last([[1, 2, 3, 4, 5]], 2)).max() > 1e-5
