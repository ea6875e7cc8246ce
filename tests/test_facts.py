"""One thing about each model that is true of it alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo import evaluation
from rezoo.models import (
    CoOccurrence,
    FeatureKNN,
    FeatureMF,
    FeatureNeuMF,
    GRU4Rec,
    NeuMF,
    Popularity,
    WideDeep,
)
from rezoo.models.baselines import cooccurrence, feature_knn, popularity
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


def feature_model(name, drop):
    user, item = {"age": 4, "income": None}, {"words": 6, "price": None}
    widths = {"dim": 3} if name == "FeatureMF" else {"dim": 3, "widths": (4, 2)}
    model = {"FeatureMF": FeatureMF, "FeatureNeuMF": FeatureNeuMF}[name]
    return model(5, 7, user, item, **widths, id_dropout=drop)


FEATURES = {"age": jnp.array([1, 2]), "income": jnp.array([0.3, -1.0])}
CATALOGUE = {"words": jnp.array([[0, 0], [1, 2], [3, 0], *[[4, 5]] * 6]), "price": jnp.linspace(-1, 1, 9)}


def feature_params(model, asked, item):
    """Parameters with no zeros left in them."""
    rngs = {"params": jax.random.key(0)}
    _, made = model.apply({"catalogue": CATALOGUE}, asked, item, rngs=rngs, mutable=["params"])
    return jax.tree.map(lambda x: x + 0.1, made["params"])


@pytest.mark.parametrize("name", ["FeatureMF", "FeatureNeuMF"])
def test_without_ids_a_feature_model_knows_all_by_their_features(name):
    catalogue = {**CATALOGUE, "price": CATALOGUE["price"].at[8].set(CATALOGUE["price"][4])}
    asked = query([[0], [0]], [1, 2])._replace(features=FEATURES)
    seen, new = jnp.array([4, 4], jnp.int32), jnp.array([8, 8], jnp.int32)
    model = feature_model(name, 1.0)
    variables = {"params": feature_params(model, asked, seen), "catalogue": catalogue}
    known = model.apply(variables, asked, seen)
    dropped = model.apply(variables, asked, seen, rngs={"dropout": jax.random.key(1)})
    nobody = asked._replace(user=jnp.array([0, 99], jnp.int32))
    np.testing.assert_allclose(dropped, model.apply(variables, nobody, new), rtol=1e-6)
    assert (np.abs(dropped - known) > 1e-4).all()


def test_feature_mf_is_mf_on_sums_of_embeddings():
    model = feature_model("FeatureMF", 0.5)
    asked = query([[0], [0]], [1, 9])._replace(features=FEATURES)
    item = jnp.array([1, 8], jnp.int32)
    params = feature_params(model, asked, item)
    user, items = jax.tree.map(np.asarray, params["user"]), jax.tree.map(np.asarray, params["item"])
    p = user["id"]["embedding"][[1, 0]] + user["feature"]["age"]["embedding"][[1, 2]]
    p = p + np.array([[0.3], [-1.0]]) * user["feature"]["income_scale"]
    words = items["feature"]["words"]["embedding"]
    q = items["id"]["embedding"][[1, 0]] + np.stack([words[[1, 2]].mean(0), words[[4, 5]].mean(0)])
    q = q + np.array([[-0.75], [1.0]]) * items["feature"]["price_scale"]
    expected = (p * q[:, :-1]).sum(1) + q[:, -1]
    score = model.apply({"params": params, "catalogue": CATALOGUE}, asked, item)
    np.testing.assert_allclose(score, expected, rtol=1e-5)


def test_a_feature_model_says_which_column_it_misses():
    model = feature_model("FeatureMF", 0.5)
    asked, item = query([[0]], [1]), jnp.array([1], jnp.int32)
    with pytest.raises(ValueError, match="no column of the feature 'age'; there are none"):
        model.init(jax.random.key(0), asked, item)
    wrong = asked._replace(features={"age": jnp.ones(1), "income": jnp.ones(1)})
    with pytest.raises(ValueError, match="'age' is float32; the model takes integers below 4"):
        model.init(jax.random.key(0), wrong, item)


def test_feature_knn_equals_its_equations_in_numpy():
    rng = np.random.default_rng(0)
    user_vectors, item_vectors = rng.random((6, 4)), rng.random((8, 5))
    user_vectors[0] = item_vectors[0] = 0
    user, item = rng.integers(1, 5, 20), rng.integers(1, 7, 20)  # user 5 and item 7 are new
    variables = feature_knn.fit(user, item, user_vectors, item_vectors, k=2, weight=0.5)
    score = evaluation.score_all(FeatureKNN(6, 8), variables, query(np.zeros((6, 1)), np.arange(6)))
    known = {(u, i) for u, i in zip(user.tolist(), item.tolist(), strict=True)}

    def nearest(vectors, n, known):
        cosine = {m: v @ vectors[n] / np.linalg.norm(v) for m, v in enumerate(vectors) if m in known - {n}}
        best = sorted(cosine, key=cosine.get)[-2:]
        return {m: cosine[m] / sum(cosine[b] for b in best) for b in [0] for m in best}

    def profile(u, i):
        mine = {u: 1.0} if u < 5 else nearest(user_vectors, u, {u for u, _ in known})
        return sum(w * ((v, i) in known) for v, w in mine.items())

    for u in range(1, 6):
        for i in range(1, 8):
            close = nearest(item_vectors, i, {i for _, i in known})
            expected = profile(u, i) + 0.5 * sum(w * profile(u, j) for j, w in close.items())
            np.testing.assert_allclose(score[u, i], expected, rtol=1e-4, atol=1e-6)


def test_tf_idf_weighs_rare_terms_and_leaves_padding_out():
    vector = feature_knn.tf_idf(np.array([[1, 2, 0], [1, 0, 0], [1, 2, 2]]), 3)
    rare = np.log(3 / 2)
    np.testing.assert_allclose(vector, [[0, 0, rare], [0, 0, 0], [0, 0, (1 + np.log(2)) * rare]], atol=1e-6)
