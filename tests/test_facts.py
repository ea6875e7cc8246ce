"""One thing about each model that is true of it alone."""

import functools
import itertools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import apply, init, init_state, made, mostly_slow, noisy, score_all

from rezoo import losses, objectives, training
from rezoo.data.sessions import Sessions
from rezoo.models import (
    AITM,
    BSPM,
    CFGAN,
    DIN,
    ESMM,
    FISM,
    GFCF,
    GMF,
    HSTU,
    MLP,
    NARM,
    PLE,
    SKNN,
    SLIM,
    SRGNN,
    STAMP,
    TIFUKNN,
    TIGER,
    UPCF,
    VSKNN,
    BERT4Rec,
    Caser,
    CoOccurrence,
    FeatureKNN,
    FeatureMF,
    FeatureNeuMF,
    GRU4Rec,
    LightGCN,
    LocalEASE,
    LRURec,
    MMoE,
    MultDAE,
    MultVAE,
    NeuMF,
    NextItNet,
    Popularity,
    RP3beta,
    SASRec,
    SessionPopularity,
    SharedBottom,
    SimpleX,
    TopFreq,
    TwoTower,
    UAutoRec,
    WideDeep,
    YouTubeDNN,
    YouTubeRanker,
    eSASRec,
)
from rezoo.models.baselines import cooccurrence, feature_knn, popularity, tifu_knn, top_freq, upcf
from rezoo.models.factorization import bspm, gfcf, item_lists, lightgcn, local_ease, rp3beta, slim
from rezoo.models.ranking import din
from rezoo.models.rating import neumf
from rezoo.models.session import narm, neighbours, stamp
from rezoo.nn.recurrent import GRU, LSTM, hard_sigmoid
from rezoo.types import Batch, Query


def query(history, user=None):
    history = jnp.asarray(history, jnp.int32)
    user = jnp.zeros(len(history), jnp.int32) if user is None else jnp.asarray(user, jnp.int32)
    return Query(user, history, {})


def test_popularity_ranks_by_count_whoever_asks():
    variables = popularity.fit(np.array([[3, 3], [1, 0]]), 5)
    score = score_all(Popularity(5), variables, query([[1], [2]]))
    np.testing.assert_array_equal(score, [[0, 1, 0, 2, 0]] * 2)


@pytest.mark.parametrize("memory", [1, 2])
def test_cooccurrence_counts_what_followed(memory):
    sessions = np.array([[1, 2, 3], [1, 2, 0], [2, 3, 1], [4, 1, 3]])
    variables = cooccurrence.fit(sessions, 6, window=1)
    model = CoOccurrence(6, len(variables["params"]["follower"]), memory=memory)
    asked = np.array([[1, 0], [4, 2], [5, 0], [0, 0]])
    score = np.asarray(score_all(model, variables, query(asked)))
    follows = np.zeros((6, 6))
    for session in sessions:
        for a, b in itertools.pairwise(session):
            follows[a, b] += (a > 0) * (b > 0)
    for row, history in enumerate(asked):
        events = [i for i in history if i > 0][::-1][:memory]
        np.testing.assert_array_equal(np.floor(score[row]), sum((follows[i] for i in events), np.zeros(6)))
    assert score[3].argmax() == 1  # popularity decides where nothing is known


@pytest.mark.parametrize("memory", [1, 3])
def test_cooccurrence_counts_a_long_slate_as_it_counts_pairs(memory):
    rng = np.random.default_rng(0)
    variables = cooccurrence.fit(rng.zipf(1.3, (200, 8)) % 400, 400, window=2)
    model = CoOccurrence(400, len(variables["params"]["follower"]), memory=memory)
    asked = query([[1, 2, 3], [7, 0, 0], [0, 0, 0], [399, 1, 500]])
    slate = jnp.tile(jnp.arange(402, dtype=jnp.int32), (4, 1))
    whole = np.asarray(apply(model, variables, asked, slate))
    followers = np.diff(variables["params"]["offset"]).max()
    assert cooccurrence.LONG < 402 and followers > cooccurrence.AT_ONCE
    for part in (slate[:, :200], slate[:, 200:401]):
        np.testing.assert_allclose(apply(model, variables, asked, part), whole[:, part[0]], rtol=1e-6)


def test_fism_equals_its_equation_and_leaves_the_item_itself_out_while_it_trains():
    model, asked = FISM(7, 3, alpha=0.3), query([[2, 5, 3], [4, 0, 0], [0, 0, 0]])
    item = jnp.array([[5, 1], [4, 6], [1, 2]], jnp.int32)
    params = noisy(init(model, asked, item)["params"], 0.4)
    p, q = params["taken"]["rows"]["embedding"], params["item"]["embedding"]
    for rngs, leaves_out in ({}, False), ({"rngs": {"dropout": jax.random.key(0)}}, True):
        score = apply(model, {"params": params}, asked, item, **rngs)
        for (row, place), i in np.ndenumerate(item):
            others = [j for j in np.asarray(asked.history[row]) if j > 0 and not (leaves_out and j == i)]
            state = sum((p[j] for j in others), np.zeros(3)) * max(len(others), 1) ** -0.3
            expected = params["item_bias"]["embedding"][i, 0] + state @ q[i]
            np.testing.assert_allclose(score[row, place], expected, rtol=1e-4, atol=1e-6)


def test_rp3beta_of_a_larger_beta_prefers_what_few_took():
    history = np.array([[1, 2, 3], [1, 2, 0], [1, 2, 0], [1, 3, 0], [2, 4, 0], [2, 4, 0]])
    ranked = {}
    for beta in (0.0, 1.0):
        variables = rp3beta.fit(history, 5, beta=beta)
        model = RP3beta(5, item_lists.num_pairs(variables))
        ranked[beta] = np.asarray(score_all(model, variables, query([[1]])))[0]
    assert ranked[0.0][2] > ranked[0.0][3] and ranked[1.0][3] > ranked[1.0][2]  # of 5 and of 2 users


def test_gfcf_of_all_singular_vectors_filters_nothing_out():
    """Ū Ūᵀ = 1 then, and the low-pass filter adds α times the history itself."""
    history = np.array([[1, 2, 0], [2, 3, 0], [3, 4, 1], [4, 1, 0], [1, 3, 0]])
    score = {}
    for alpha in (0.0, 0.5):
        variables = gfcf.fit(history, 5, factors=4, alpha=alpha)
        model = GFCF(5, item_lists.num_pairs(variables), 4)
        score[alpha] = np.asarray(score_all(model, variables, query(history)))
    taken = (history[:, :, None] == np.arange(5)).any(1) * (np.arange(5) > 0)
    np.testing.assert_allclose(score[0.5] - score[0.0], 0.5 * taken, atol=1e-5)


def test_bspm_sharpens_away_what_many_share():
    """The score falls most for the item that everybody has, which varies slowest over the graph."""
    history = np.array([[1, 2, 5], [2, 3, 5], [3, 4, 5], [4, 1, 5], [1, 3, 5]])
    score, variables = {}, bspm.fit(history, 6, factors=4)
    for sharpening in (0.0, 0.5):
        model = BSPM(6, 4, beta=0.3, sharpening=sharpening)
        score[sharpening] = np.asarray(score_all(model, variables, query([[1, 2]])))[0]
    variables = gfcf.fit(history, 6, factors=4, alpha=0.3)
    plain = score_all(GFCF(6, item_lists.num_pairs(variables), 4), variables, query([[1, 2]]))[0]
    np.testing.assert_allclose(score[0.0], plain, atol=1e-5)
    assert (score[0.0] - score[0.5])[1:].argmax() == 4


def test_slim_gives_no_weight_to_an_item_that_shares_less_than_l1():
    history = np.array([[1, 2, 3], [1, 2, 0], [1, 2, 0], [1, 3, 0], [2, 4, 0], [2, 4, 0]])
    for l1, left in ((0.5, [2, 3]), (2.5, [2]), (3.5, [])):  # 1 shares 3 users with 2, and 2 with 3
        variables = slim.fit(history, 5, l1=l1, l2=1.0)
        model = SLIM(5, item_lists.num_pairs(variables))
        scores = np.asarray(score_all(model, variables, query([[2], [3]])))
        assert (np.flatnonzero(scores[:, 1]) + 2).tolist() == left


def test_local_ease_of_one_candidate_is_the_share_of_its_users_who_took_the_item():
    history = np.array([[1, 2, 3], [1, 2, 0], [1, 2, 0], [1, 3, 0], [2, 4, 0], [2, 4, 0]])
    variables = local_ease.fit(history, 5, l2=1.0, candidates=1)
    scores = score_all(LocalEASE(5, item_lists.num_pairs(variables)), variables, query([[1], [2], [3], [4]]))
    expected = np.zeros((4, 5))  # 1 is nearest to 3, and 3 to 1; 1 to 2, and 2 to 4; λ is one user more
    expected[2, 1], expected[0, 2], expected[0, 3], expected[1, 4] = 2 / 3, 3 / 5, 2 / 5, 2 / 6
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_lightgcn_places_who_came_after_training_by_their_edges():
    model, asked = LightGCN(3, 5, 4, num_layers=2), query([[0]] * 3, [2, 3, 4])
    old = {"graph": lightgcn.graph(np.array([1, 1, 2, 2]), np.array([1, 2, 2, 4]), 3, 5)}
    params = noisy(made(model, old, asked, jnp.ones(3, jnp.int32)), 0.5)
    # User 3 took what user 2 did, user 4 nothing.
    new = {"graph": lightgcn.graph(np.array([1, 1, 2, 2, 3, 3]), np.array([1, 2, 2, 4, 2, 4]), 5, 5)}
    variables = {"params": params, **new}
    known, newcomer, nobody = np.asarray(score_all(model, variables, asked))
    own = np.asarray(params["user"]["embedding"][2]) / 3
    items = np.asarray(apply(model, variables, method="table"))
    np.testing.assert_allclose(newcomer, known - items @ own, rtol=1e-4, atol=1e-6)
    assert np.ptp(newcomer) > 1e-3 and not nobody.any()
    before = np.asarray(score_all(model, {"params": params, **old}, asked))
    np.testing.assert_array_equal(before[1], before[2])


def test_simplex_does_not_look_at_the_length_of_a_vector():
    model, asked = SimpleX(4, 6, 3), query([[2, 5], [4, 0]], [1, 3])
    params = noisy(init(model, asked, jnp.ones(2, jnp.int32))["params"], 0.5)
    before = np.asarray(score_all(model, {"params": params}, asked))
    table = params["item"]["embedding"]
    longer = {**params, "item": {"embedding": table.at[3].multiply(9.0)}}
    np.testing.assert_allclose(score_all(model, {"params": longer}, asked), before, rtol=1e-5, atol=1e-6)
    assert np.abs(before).max() <= 1 + 1e-6


def test_neumf_without_its_mlp_is_a_weighted_inner_product():
    model = NeuMF(4, 5, 3, widths=(4, 2))
    asked, item = query([[0], [0]], [1, 2]), jnp.array([3, 4], jnp.int32)
    params = init(model, asked, item)["params"]
    kernel = params["output"]["kernel"].at[3:].set(0.0)
    params = {**params, "output": {**params["output"], "kernel": kernel}}
    gmf = params["gmf_user"]["embedding"][asked.user] * params["gmf_item"]["embedding"][item]
    np.testing.assert_allclose(apply(model, {"params": params}, asked, item), gmf @ kernel[:3, 0], rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_pretrained_neumf_scores_alpha_gmf_plus_the_rest_mlp(alpha):
    parts, whole = (GMF(4, 5, 3), MLP(4, 5, (4, 2))), NeuMF(4, 5, 3, widths=(4, 2))
    asked, item = query([[0], [0], [0]], [1, 2, 0]), jnp.array([[1, 4], [3, 2], [0, 1]], jnp.int32)
    variables = [init(m, asked, item, seed=k) for k, m in enumerate(parts)]
    variables = [
        jax.tree.map(lambda x: x + jnp.cos(jnp.arange(x.size)).reshape(x.shape), v) for v in variables
    ]
    gmf, mlp = (apply(m, v, asked, item) for m, v in zip(parts, variables, strict=True))
    params = neumf.pretrained(*(v["params"] for v in variables), alpha)
    shapes = jax.tree.map(jnp.shape, init(whole, asked, item)["params"])
    assert jax.tree.map(jnp.shape, params) == shapes
    score = apply(whole, {"params": params}, asked, item)
    np.testing.assert_allclose(score, alpha * gmf + (1 - alpha) * mlp, rtol=1e-5, atol=1e-6)


def test_wide_deep_memorises_a_cross_that_no_column_shows_alone():
    sizes = {"user": 3, "item": 3}
    model = WideDeep(sizes, crosses=(("user", "item"),), buckets=97, dim=2, widths=(4,))
    asked, item = query(np.zeros((4, 1)), [1, 1, 2, 2]), jnp.array([1, 2, 1, 2], jnp.int32)
    params = init(model, asked, item)["params"]
    before = apply(model, {"params": params}, asked, item)
    table = params["user_x_item"]["embedding"]
    bumped = {**params, "user_x_item": {"embedding": table.at[1 * 3 + 2].add(5.0)}}
    np.testing.assert_allclose(
        apply(model, {"params": bumped}, asked, item) - before, [0, 5, 0, 0], atol=1e-5
    )


def test_autorec_equals_its_equation_in_numpy_and_does_not_see_what_was_not_rated():
    model = UAutoRec(5, 3, mean=3.0)
    asked = query([[1, 4, 0]])._replace(features={"history_rating": jnp.array([[5.0, 2.0, 9.0]])})
    params = init(model, asked, jnp.array([1], jnp.int32))["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    v, w = params["encoder"]["rows"]["embedding"], params["decoder"]["embedding"]
    hidden = 1 / (1 + np.exp(-(5.0 * v[1] + 2.0 * v[4] + params["encoder_bias"])))
    oracle = 3.0 + np.asarray(w) @ hidden + params["decoder_bias"]["embedding"][:, 0]
    np.testing.assert_allclose(score_all(model, {"params": params}, asked)[0], oracle, rtol=1e-5)


def test_mult_vae_draws_z_while_it_trains_and_takes_its_mean_to_score():
    model = MultVAE(6, hidden=4, latent=3, dropout=0.0)
    asked, item = query([[1, 2]]), jnp.array([3], jnp.int32)
    variables = init(model, asked, item)
    draw = jax.jit(jax.vmap(lambda key: apply(model, variables, asked, item, rngs={"dropout": key})[0]))
    draws = np.asarray(draw(jax.random.split(jax.random.key(1), 400)))
    scored = float(apply(model, variables, asked, item)[0])
    assert np.std(draws) > 0.01 and abs(np.mean(draws) - scored) < 5 * np.std(draws) / 20 + 0.05


def test_mult_dae_knows_no_order_and_only_the_direction_of_a_history():
    model = MultDAE(6, 4)
    item = jnp.array([3], jnp.int32)
    variables = init(model, query([[1, 2]]), item)
    one = apply(model, variables, query([[1, 2, 0, 0]]), item)
    for same in ([[2, 1, 0, 0]], [[1, 2, 1, 2]]):
        weight = 1 / np.sqrt(2) if same[0][2] else 1.0  # every event twice: x grows by 2, its norm by √2
        table = variables["params"]["input"]["Bag_0"]["rows"]["embedding"]
        scaled = {**variables["params"]["input"], "Bag_0": {"rows": {"embedding": table * weight}}}
        params = {**variables["params"], "input": scaled}
        np.testing.assert_allclose(apply(model, {"params": params}, query(same), item), one, rtol=1e-5)


def test_cfgan_judges_a_purchase_vector_given_who_it_is_said_to_be_of():
    model = CFGAN(5, generator_widths=(4,), discriminator_widths=(3,))
    asked = query([[1, 2], [3, 0]])
    variables = init(model, asked, jnp.array([1, 1], jnp.int32))
    r = jnp.array([[0.0, 1, 1, 0, 0]] * 2)
    logit = np.asarray(apply(model, variables, asked, r, method="judge"))
    assert logit.shape == (2,) and abs(logit[0] - logit[1]) > 1e-4
    made = apply(model, variables, asked, method="purchases")
    score = score_all(model, variables, asked)
    np.testing.assert_allclose(made, 1 / (1 + np.exp(-np.asarray(score))), rtol=1e-5)


def test_gru4rec_forgets_nothing_before_and_sees_nothing_after_an_event():
    model = GRU4Rec(9, 6)
    asked = query([[1, 2, 3, 4]])
    params = init(model, asked, jnp.array([1], jnp.int32))

    def states(history):
        return apply(model, params, query(history), method="prefixes")

    np.testing.assert_allclose(states([[1, 2, 3, 4]])[:, :2], states([[1, 2, 7, 8]])[:, :2], atol=1e-6)
    assert np.abs(states([[1, 2, 3, 4]])[0, 3] - states([[5, 2, 3, 4]])[0, 3]).max() > 1e-4


@pytest.mark.parametrize(("cell", "gate"), [(GRU, None), (GRU, hard_sigmoid), (LSTM, None)])
def test_recurrent_cells_equal_their_equations_in_numpy(cell, gate):
    ours = cell(3, gate) if gate else cell(3)
    squash = (lambda v: np.clip(0.2 * v + 0.5, 0, 1)) if gate else sigmoid
    x = jax.random.normal(jax.random.key(0), (2, 5, 4))
    params = init(ours, x, ours.initial(2), seed=1)["params"]
    kernel, bias = params["input"]["kernel"], params["input"]["bias"]
    h, c = np.zeros((2, 3)), np.zeros((2, 3))
    outputs = []
    for t in range(5):
        p = np.asarray(x[:, t]) @ np.asarray(kernel) + np.asarray(bias)
        if cell is GRU:
            zr = squash(p[:, :6] + h @ np.asarray(params["gates"]))
            z, r = zr[:, :3], zr[:, 3:]
            h = (1 - z) * h + z * np.tanh(p[:, 6:] + (r * h) @ np.asarray(params["candidate"]))
        else:
            i, f, o, g = np.split(p + h @ np.asarray(params["recurrent"]), 4, axis=1)
            c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    _, states = apply(ours, {"params": params}, x, ours.initial(2))
    np.testing.assert_allclose(states, np.stack(outputs, 1), rtol=1e-4, atol=1e-6)


SIZES, PAIR = {"user": 4, "item": 6}, jnp.array([2, 5], jnp.int32)


def speaking(model, asked, item):
    return noisy(init(model, asked, item)["params"], 0.4)


def gradient_of_task_a(model, params, asked):
    return jax.jit(jax.grad(lambda p: apply(model, {"params": p}, asked, PAIR, method="tasks")["a"].sum()))(
        params
    )


def test_a_shared_bottom_is_moved_by_a_task_whose_tower_alone_is_its_own():
    model, asked = SharedBottom(SIZES, ("a", "b"), 3, widths=(5,), tower=(4,)), query([[0], [0]], [1, 3])
    params = speaking(model, asked, PAIR)
    grad = gradient_of_task_a(model, params, asked)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grad["b_tower"]))
    assert np.any(grad["bottom"]["Dense_0"]["kernel"]) and np.any(grad["a_tower"]["output"]["kernel"])


def test_mmoe_with_one_expert_is_a_shared_bottom():
    tasks, asked = ("a", "b"), query([[0], [0]], [1, 3])
    mmoe, bottom = (
        MMoE(SIZES, tasks, 3, experts=1, widths=(5,), tower=(4,)),
        SharedBottom(SIZES, tasks, 3, widths=(5,), tower=(4,)),
    )
    params = speaking(mmoe, asked, PAIR)
    alike = {name: params[name] for name in ("inputs", "a_tower", "b_tower")}
    alike["bottom"] = jax.tree.map(lambda leaf: leaf[0], params["experts"]["experts"])
    ours = apply(mmoe, {"params": params}, asked, PAIR, method="tasks")
    theirs = apply(bottom, {"params": alike}, asked, PAIR, method="tasks")
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), ours, theirs)


@pytest.mark.parametrize(("levels", "meets"), [(1, False), (2, True)])
def test_ple_lets_a_task_hear_of_anothers_experts_from_the_second_level_on(levels, meets):
    model, asked = (
        PLE(
            SIZES,
            ("a", "b"),
            3,
            levels=levels,
            num_task_experts=2,
            num_shared_experts=1,
            widths=(5,),
            tower=(4,),
        ),
        query([[0], [0]], [1, 3]),
    )
    params = speaking(model, asked, PAIR)
    grad = gradient_of_task_a(model, params, asked)
    assert np.any(jax.tree.leaves(grad["shared_experts_0"])[1])
    assert any(np.any(leaf) for leaf in jax.tree.leaves(grad["b_experts_0"])) == meets


def test_esmm_multiplies_probabilities_at_any_size():
    model, asked = ESMM(SIZES, 3, widths=(5,)), query([[0], [0]], [1, 3])
    params = speaking(model, asked, PAIR)
    for scale in (1.0, 30.0):
        params["click_tower"]["output"]["kernel"] = scale * params["click_tower"]["output"]["kernel"]
        score = apply(model, {"params": params}, asked, PAIR, method="tasks")
        p = {name: 1 / (1 + np.exp(-np.asarray(x, np.float64))) for name, x in score.items()}
        np.testing.assert_allclose(p["purchase"], p["click"] * p["conversion"], rtol=1e-4)
    low = losses.logistic(score["purchase"], jnp.ones(2))
    assert np.isfinite(low).all()


def test_aitm_hands_on_what_a_step_knows_and_nothing_back():
    model, asked = AITM(SIZES, ("a", "b"), 3, widths=(9, 8)), query([[0], [0]], [1, 3])
    params = speaking(model, asked, PAIR)
    found = apply(model, {"params": params}, asked, PAIR, method="tasks")
    np.testing.assert_array_equal(apply(model, {"params": params}, asked, PAIR), found["b"])
    reached = {name for name, tree in gradient_of_task_a(model, params, asked).items() if any_of(tree)}
    assert reached == {"inputs", "a_tower", "a_output"}
    last = jax.grad(lambda p: apply(model, {"params": p}, asked, PAIR).sum())(params)
    assert {name for name, tree in last.items() if any_of(tree)} == set(params) - {"a_output"}
    # Equations 2 to 6 in NumPy.
    p = jax.tree.map(np.asarray, params)

    def dense(of, x):
        return x @ of["kernel"] + of["bias"]

    def layers(of, x):
        for name in sorted(of):
            x = np.maximum(dense(of[name], x), 0)
        return x

    ids = {"item": [2, 5], "user": [1, 3]}
    x = np.hstack([p["inputs"]["fields"][name]["embedding"][of] for name, of in ids.items()])
    z = layers(p["a_tower"], x)
    np.testing.assert_allclose(found["a"], dense(p["a_output"], z)[:, 0], rtol=1e-4, atol=1e-6)
    u = np.stack([layers(p["b_handed"], z), layers(p["b_tower"], x)])
    h1, h2, h3 = (dense(p["b_transfer"][name], u) for name in ("value", "key", "query"))
    weight = np.exp((h2 * h3).sum(-1, keepdims=True) / np.sqrt(8))
    z = (weight / weight.sum(0) * h1).sum(0)
    np.testing.assert_allclose(found["b"], dense(p["b_output"], z)[:, 0], rtol=1e-4, atol=1e-6)


def any_of(tree):
    return any(np.any(leaf) for leaf in jax.tree.leaves(tree))


def test_din_weighs_the_history_by_the_product_at_hand_and_its_twin_does_not():
    asked, item = query([[3, 1, 4, 0], [2, 2, 5, 1]]), jnp.array([[2, 5], [2, 5]], jnp.int32)
    model, twin = DIN({"item": 6}, 3, widths=(5,)), DIN({"item": 6}, 3, widths=(5,), weights=din.Mean)
    variables = {"params": speaking(model, asked, item)}
    variables["batch_stats"] = init(model, asked, item)["batch_stats"]
    weight = apply(model, variables, asked, item, method="attention")
    assert weight.shape == (2, 2, 4) and not np.any(weight[0, :, 3])
    assert np.abs(weight[:, 0] - weight[:, 1]).max() > 1e-3
    assert np.abs(weight.sum(-1) - 1).min() > 1e-3  # not normalised
    np.testing.assert_allclose(weight[1, :, 0], weight[1, :, 1], rtol=1e-5)
    turned = query([[4, 3, 1, 0], [1, 5, 2, 2]])
    np.testing.assert_allclose(
        apply(model, variables, turned, item), apply(model, variables, asked, item), rtol=1e-5
    )
    mean = apply(twin, variables, asked, item, method="attention")
    np.testing.assert_allclose(mean[0, 1], [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)
    # The unit in NumPy, with the paper's concatenation.
    p = jax.tree.map(np.asarray, variables["params"])
    table, unit = p["items"]["item"]["embedding"], p["unit"]
    h, t = table[3], table[5]
    kernel = np.concatenate([unit[name]["kernel"] for name in ("event", "target", "product")])
    hidden = np.concatenate([h, t, h * t]) @ kernel + unit["event"]["bias"]
    hidden = np.where(hidden > 0, hidden, unit["activation"]["negative_slope"] * hidden)
    expected = hidden @ unit["output"]["kernel"] + unit["output"]["bias"]
    np.testing.assert_allclose(weight[0, 1, 0], expected[0], rtol=1e-4)


def test_din_of_the_figure_and_of_the_authors_code():
    asked, item = query([[3, 1, 4, 0]]), jnp.array([2], jnp.int32)
    model = DIN(
        {"item": 6}, 3, widths=(5,), weights=functools.partial(din.CodeActivation, (4, 2)), meet=din.beside
    )
    variables = {
        "params": speaking(model, asked, item),
        "batch_stats": init(model, asked, item)["batch_stats"],
    }
    p = jax.tree.map(np.asarray, variables["params"])
    table, unit = p["items"]["item"]["embedding"], p["unit"]
    score, target = [], table[2]
    for event in table[[3, 1, 4]]:
        x = np.concatenate([target, event, target - event, target * event])
        for layer in ("Dense_0", "Dense_1"):
            x = sigmoid(x @ unit["unit"][layer]["kernel"] + unit["unit"][layer]["bias"])
        score.append((x @ unit["output"]["kernel"] + unit["output"]["bias"])[0] / np.sqrt(3))
    weight = np.exp(score) / np.exp(score).sum()
    found = apply(model, variables, asked, item, method="attention")
    np.testing.assert_allclose(found, [[*weight, 0]], rtol=1e-4)
    x = np.concatenate([weight @ table[[3, 1, 4]], target]) @ p["layers_0"]["kernel"] + p["layers_0"]["bias"]
    step = sigmoid(x)  # the moments are 0 and 1
    x = x * (step + (1 - step) * p["dice_0"]["alpha"])
    expected = x @ p["output"]["kernel"] + p["output"]["bias"]
    np.testing.assert_allclose(apply(model, variables, asked, item), expected, rtol=1e-4)


def test_dice_takes_its_step_where_the_batch_is_and_passes_over_padding():
    dice, counted = din.Dice(), jnp.array([True, True, True, False])
    x = jnp.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0], [1e6, 1e6]])
    variables = {**init(dice, x), "batch": {"where": counted}}
    variables["params"] = {"alpha": jnp.array([0.25, -0.5])}
    rngs = {"dropout": jax.random.key(0)}
    y, new = dice.apply(variables, x, rngs=rngs, mutable=["batch_stats"])
    z = np.asarray(x, np.float64)[:3]
    p = 1 / (1 + np.exp(-(z - z.mean(0)) / np.sqrt(z.var(0) + 1e-8)))
    np.testing.assert_allclose(y[:3], p * z + (1 - p) * np.array([0.25, -0.5]) * z, rtol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["moments"]["mean"], z.mean(0) / 100, rtol=1e-4)
    np.testing.assert_allclose(new["batch_stats"]["moments"]["var"], 0.99 + z.var(0) / 100, rtol=1e-4)


def test_youtube_dnn_knows_what_was_watched_and_not_in_which_order():
    asked = query([[3, 1, 0], [0, 0, 0]])._replace(features={"example_age": jnp.array([0.5, 0.0])})
    model = YouTubeDNN(6, {}, 3, widths=(5,))
    params = speaking(model, asked, PAIR)
    p = jax.tree.map(np.asarray, params)
    watched = np.stack([p["watched"]["embedding"][[3, 1]].mean(0), np.zeros(3)])
    x = np.concatenate([watched, np.outer([0.5, 0.0], p["context"]["example_age_scale"])], axis=1)
    hidden = np.maximum(x @ p["mlp"]["Dense_0"]["kernel"] + p["mlp"]["Dense_0"]["bias"], 0)
    user = hidden @ p["last"]["kernel"] + p["last"]["bias"]
    expected = user @ p["item"]["embedding"].T + p["item_bias"]["embedding"][:, 0]
    np.testing.assert_allclose(score_all(model, {"params": params}, asked), expected, rtol=1e-4, atol=1e-5)
    papers = YouTubeDNN(6, {}, 3, widths=(5,), user_activation=nn.relu, bias=False)
    params.pop("item_bias")
    expected = np.maximum(user, 0) @ p["item"]["embedding"].T
    np.testing.assert_allclose(score_all(papers, {"params": params}, asked), expected, rtol=1e-4, atol=1e-5)


def test_the_youtube_rankers_odds_are_the_expected_amount():
    spent = jnp.array([0.0, 0, 0, 0, 0, 0, 0, 12, 0, 30])
    score = 0.0
    slope = jax.grad(lambda s: losses.weighted_logistic(jnp.full(10, s), spent).mean())
    slope, bend = jax.jit(slope), jax.jit(jax.grad(slope))
    for _ in range(60):  # Newton's method on one shared score
        score -= float(slope(score) / bend(score))
    np.testing.assert_allclose(np.exp(score), 42 / 8, rtol=1e-4)
    asked = query([[1], [2]], [1, 3])._replace(features={"price": jnp.array([0.0, -4.0])})
    model = YouTubeRanker(SIZES, 2, widths=(4,))
    params = speaking(model, asked, PAIR)
    grad = jax.jit(jax.grad(lambda p: apply(model, {"params": p}, asked, PAIR).sum()))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grad))
    assert {"price_scale", "price_squared_scale", "price_root_scale"} <= set(params["fields"])


def test_two_towers_meet_in_one_weighted_product():
    asked, model = query([[0], [0]], [1, 3]), TwoTower(SIZES, 2, widths=(4, 3))
    params = speaking(model, asked, PAIR)
    p = jax.tree.map(np.asarray, params)

    def tower(x, which):
        hidden = np.maximum(
            x @ p[f"{which}_tower"]["Dense_0"]["kernel"] + p[f"{which}_tower"]["Dense_0"]["bias"], 0
        )
        return hidden @ p[f"{which}_output"]["kernel"] + p[f"{which}_output"]["bias"]

    user = tower(np.concatenate([np.zeros((2, 2)), p["users"]["user"]["embedding"][[1, 3]]], axis=1), "user")
    item = tower(p["items"]["item"]["embedding"][[2, 5]], "item")
    np.testing.assert_allclose(
        apply(model, {"params": params}, asked, PAIR), (user * item) @ p["weight"], rtol=1e-4, atol=1e-5
    )


def feature_model(name, drop):
    user, item = {"age": 4, "income": None}, {"words": 6, "price": None}
    widths = {"dim": 3} if name == "FeatureMF" else {"dim": 3, "widths": (4, 2)}
    model = {"FeatureMF": FeatureMF, "FeatureNeuMF": FeatureNeuMF}[name]
    return model(5, 7, user, item, **widths, id_dropout=drop)


FEATURES = {"age": jnp.array([1, 2]), "income": jnp.array([0.3, -1.0])}
CATALOGUE = {"words": jnp.array([[0, 0], [1, 2], [3, 0], *[[4, 5]] * 6]), "price": jnp.linspace(-1, 1, 9)}


def feature_params(model, asked, item):
    """Parameters with no zeros left in them."""
    params = made(model, {"catalogue": CATALOGUE}, asked, item)
    return jax.tree.map(lambda x: jax.device_put(np.asarray(x) + np.float32(0.1)), params)


@pytest.mark.parametrize("name", ["FeatureMF", "FeatureNeuMF"])
def test_without_ids_a_feature_model_knows_all_by_their_features(name):
    catalogue = {**CATALOGUE, "price": CATALOGUE["price"].at[8].set(CATALOGUE["price"][4])}
    asked = query([[0], [0]], [1, 2])._replace(features=FEATURES)
    seen, new = jnp.array([4, 4], jnp.int32), jnp.array([8, 8], jnp.int32)
    model = feature_model(name, 1.0)
    variables = {"params": feature_params(model, asked, seen), "catalogue": catalogue}
    known = apply(model, variables, asked, seen)
    dropped = apply(model, variables, asked, seen, rngs={"dropout": jax.random.key(1)})
    nobody = asked._replace(user=jnp.array([0, 99], jnp.int32))
    np.testing.assert_allclose(dropped, apply(model, variables, nobody, new), rtol=1e-6)
    assert (np.abs(dropped - known) > 1e-4).all()


def test_feature_mf_is_mf_on_sums_of_embeddings():
    model = feature_model("FeatureMF", 0.5)
    asked = query([[0], [0]], [1, 9])._replace(features=FEATURES)
    item = jnp.array([1, 8], jnp.int32)
    params = feature_params(model, asked, item)
    user, items = (jax.tree.map(np.asarray, params[side]) for side in ("user", "item"))
    user, items = jax.tree.map(np.asarray, params["user"]), jax.tree.map(np.asarray, params["item"])
    p = user["id"]["embedding"][[1, 0]] + user["feature"]["age"]["embedding"][[1, 2]]
    p = p + np.array([[0.3], [-1.0]]) * user["feature"]["income_scale"]
    words = items["feature"]["words"]["embedding"]
    q = items["id"]["embedding"][[1, 0]] + np.stack([words[[1, 2]].mean(0), words[[4, 5]].mean(0)])
    q = q + np.array([[-0.75], [1.0]]) * items["feature"]["price_scale"]
    expected = (p * q[:, :-1]).sum(1) + q[:, -1]
    score = apply(model, {"params": params, "catalogue": CATALOGUE}, asked, item)
    np.testing.assert_allclose(score, expected, rtol=1e-5)


def test_a_feature_model_says_which_column_it_misses():
    model = feature_model("FeatureMF", 0.5)
    asked, item = query([[0]], [1]), jnp.array([1], jnp.int32)
    with pytest.raises(ValueError, match="no column of the feature 'age'; there are none"):
        init(model, asked, item)
    wrong = asked._replace(features={"age": jnp.ones(1), "income": jnp.ones(1)})
    with pytest.raises(ValueError, match="'age' is float32; the model takes integers below 4"):
        init(model, wrong, item)


def test_feature_knn_equals_its_equations_in_numpy():
    rng = np.random.default_rng(0)
    user_vectors, item_vectors = rng.random((6, 4)), rng.random((8, 5))
    user_vectors[0] = item_vectors[0] = 0
    user, item = rng.integers(1, 5, 20), rng.integers(1, 7, 20)  # user 5 and item 7 are new
    variables = feature_knn.fit(user, item, user_vectors, item_vectors, k=2, weight=0.5)
    score = score_all(FeatureKNN(6, 8), variables, query(np.zeros((6, 1)), np.arange(6)))
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
    vector = feature_knn.tf_idf_vectors(np.array([[1, 2, 0], [1, 0, 0], [1, 2, 2]]), 3)
    rare = np.log(3 / 2)
    np.testing.assert_allclose(vector, [[0, 0, rare], [0, 0, 0], [0, 0, (1 + np.log(2)) * rare]], atol=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


AUTHORS_NARM = NARM(9, 4, hidden=5, normalise=narm.softmax, gate=hard_sigmoid)
AUTHORS_STAMP = STAMP(9, 4, memory=stamp.plus_mean, max_norm=0.1)
MODELS = {"NARM": NARM(9, 4, hidden=5), "STAMP": STAMP(9, 4), "SRGNN": SRGNN(9, 4, num_steps=2)}
MODELS |= {"authors' NARM": AUTHORS_NARM, "authors' STAMP": AUTHORS_STAMP}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_attention_on_all_prefixes_at_once_equals_the_expanded_prefixes(model):
    whole = query([[1, 2, 3, 4], [5, 6, 0, 0]])
    expanded = query([[1, 0, 0, 0], [1, 2, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4], [5, 0, 0, 0], [5, 6, 0, 0]])
    params = init(model, whole, jnp.array([1, 1], jnp.int32))
    weight = jax.random.normal(jax.random.key(1), (6, 4))

    def one_pass(params):
        states = apply(model, params, whole, method="prefixes")
        return (weight * jnp.concatenate([states[0], states[1, :2]])).sum()

    def each(params):
        return (weight * apply(model, params, expanded, method="encode")).sum()

    ours, theirs = (jax.jit(jax.value_and_grad(way))(params) for way in (one_pass, each))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [MODELS["NARM"], AUTHORS_NARM], ids=["paper", "authors"])
def test_narm_is_its_equations_over_the_states_of_its_encoder(model):
    asked, authors = query([[1, 2, 3]]), model is AUTHORS_NARM
    squash = (lambda v: np.clip(0.2 * v + 0.5, 0, 1)) if authors else sigmoid
    variables = init(model, asked, jnp.array([1], jnp.int32))
    h = np.asarray(apply(model, variables, asked, method="states"))[0]
    w = jax.tree.map(np.asarray, variables["params"])
    pair = squash(h[2] @ w["of_query"]["kernel"] + h @ w["of_key"]["kernel"])
    alpha = pair @ w["weight"]["kernel"][:, 0]
    alpha = np.exp(alpha) / np.exp(alpha).sum() if authors else alpha
    expected = np.concatenate([h[2], alpha @ h]) @ w["bilinear"]["kernel"] @ w["item"]["embedding"].T
    np.testing.assert_allclose(score_all(model, variables, asked)[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", [MODELS["STAMP"], AUTHORS_STAMP], ids=["paper", "authors"])
def test_stamp_is_its_equations(model):
    asked, authors = query([[1, 2, 3]]), model is AUTHORS_STAMP
    variables = init(model, asked, jnp.array([1], jnp.int32))
    w = jax.tree.map(np.asarray, variables["params"])
    table = w["item"]["embedding"]
    x = table[[1, 2, 3]]
    if authors:
        length = np.linalg.norm(x, axis=1, keepdims=True)
        assert length.min() < 0.1 < length.max()
        x = x * np.minimum(1, 0.1 / length)
    given = x @ w["of_event"]["kernel"] + x[2] @ w["of_last"]["kernel"] + x.mean(0) @ w["of_mean"]["kernel"]
    alpha = sigmoid(given + w["of_mean"]["bias"]) @ w["weight"]["kernel"][:, 0]
    memory = alpha @ x + (x.mean(0) if authors else 0)
    hidden = np.tanh(memory @ w["session"]["kernel"]) * np.tanh(x[2] @ w["last"]["kernel"])
    np.testing.assert_allclose(score_all(model, variables, asked)[0], table @ hidden, rtol=1e-4, atol=1e-7)


def test_sr_gnn_is_its_equations_over_the_nodes_of_a_session():
    model, clicks = SRGNN(9, 4, num_steps=2), [5, 2, 5, 3, 3, 5, 2]
    variables = init(model, query([clicks]), jnp.array([1], jnp.int32))
    params = noisy(variables["params"], 0.5)
    w = jax.tree.map(np.asarray, params)
    node, place = np.unique(clicks, return_inverse=True)
    walked = np.zeros((len(node), len(node)))
    for one, other in itertools.pairwise(place):
        walked[one, other] += 1
    a_in = walked.T / np.maximum(walked.sum(0), 1)[:, None]
    a_out = walked / np.maximum(walked.sum(1), 1)[:, None]

    def dense(x, name):
        return x @ w[name]["kernel"] + w[name].get("bias", 0)

    v = w["item"]["embedding"][node]
    for _ in range(2):
        kernels = np.concatenate([w["of_incoming"]["kernel"], w["of_outgoing"]["kernel"]])
        heard = np.concatenate([a_in @ dense(v, "incoming"), a_out @ dense(v, "outgoing")], axis=1)
        a = np.split(heard @ kernels + w["bias"], 3, axis=1)
        u = np.split(dense(v, "of_node"), 3, axis=1)
        z, r = sigmoid(a[0] + u[0]), sigmoid(a[1] + u[1])
        v = (1 - z) * v + z * np.tanh(a[2] + r * u[2])
    v, last = v[place], v[place[-1]]
    alpha = dense(sigmoid(dense(last, "of_last") + dense(v, "of_memory")), "weight")[:, 0]
    expected = dense(np.concatenate([last, alpha @ v]), "combine") @ w["item"]["embedding"].T
    ours = score_all(model, {"params": params}, query([clicks]))[0]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_sasrec_sees_nothing_after_an_event_and_knows_the_order_before_it():
    model, asked = SASRec(9, 4, max_length=5), query([[1, 2, 3, 4]])
    variables = init(model, asked, jnp.array([1], jnp.int32))

    def states(history):
        return apply(model, variables, query(history), method="prefixes")[0]

    np.testing.assert_allclose(states([[1, 2, 3, 4]])[:2], states([[1, 2, 7, 8]])[:2], atol=1e-6)
    assert np.abs(states([[1, 2, 3, 4]])[3] - states([[2, 1, 3, 4]])[3]).max() > 1e-4


def test_sasrec_is_its_equations():
    model, asked = SASRec(9, 4, num_blocks=1, max_length=5), query([[1, 2, 3]])
    w = noisy(init(model, asked, jnp.array([1], jnp.int32))["params"], 0.3)
    variables, w = {"params": w}, jax.tree.map(np.asarray, w)
    block, table = w["blocks_0"], w["item"]["embedding"]

    def normed(x, name, of=block):
        centred = x - x.mean(1, keepdims=True)
        return centred / np.sqrt(centred.var(1, keepdims=True) + 1e-6) * of[name]["scale"] + of[name]["bias"]

    def dense(x, name):
        return x @ block[name]["kernel"] + block[name]["bias"]

    x = 2 * table[[1, 2, 3]] + w["position"]["embedding"][:3]
    q = normed(x, "LayerNorm_0")
    share = np.exp(np.where(np.tri(3), dense(q, "query") @ dense(x, "key").T / 2, -np.inf))
    z = normed(q + share / share.sum(1, keepdims=True) @ dense(x, "value"), "LayerNorm_1")
    x = z + dense(np.maximum(dense(z, "feed_in"), 0), "feed_out")
    expected = normed(x, "norm", w)[2] @ table.T
    np.testing.assert_allclose(score_all(model, variables, asked)[0], expected, rtol=1e-4, atol=1e-5)


def test_esasrec_with_closed_gates_is_the_last_item_and_its_position():
    model, asked = eSASRec(9, 4, num_blocks=2, max_length=5), query([[1, 2, 3]])
    params = jax.device_get(speaking(model, asked, jnp.array([1], jnp.int32)))
    closed = {"kernel": np.zeros((4, 4), np.float32), "bias": np.full(4, -40, np.float32)}
    for block in ("blocks_0", "blocks_1"):
        params[block] |= {"attention_gate": closed, "feed_gate": closed}
    x = 2 * params["item"]["embedding"][3] + params["position"]["embedding"][2]
    normed = (x - x.mean()) / np.sqrt(x.var() + 1e-6)
    expected = normed * params["norm"]["scale"] + params["norm"]["bias"]
    state = apply(model, {"params": params}, asked, method="encode")[0]
    np.testing.assert_allclose(state, expected, rtol=1e-4)


def test_hstu_hears_how_long_ago_an_event_was_and_not_when():
    model, item = HSTU(9, 4, num_blocks=1, max_length=5, time="time"), jnp.array([1], jnp.int32)

    def asked(*times):
        return query([[1, 2, 3]])._replace(features={"time": jnp.array([times])})

    variables = {"params": speaking(model, asked(0, 0, 0), item)}
    here, later, slower = (
        apply(model, variables, asked(*times), method="encode")
        for times in ((5, 9, 90), (100_005, 100_009, 100_090), (5, 9, 9000))
    )
    np.testing.assert_array_equal(here, later)
    assert np.abs(here - slower).max() > 1e-3


def test_bert4rec_tells_a_hidden_event_from_what_comes_after_it_and_not_from_itself():
    model, item = BERT4Rec(9, 4, num_blocks=1, max_length=5), jnp.array([1], jnp.int32)
    variables = {"params": speaking(model, query([[1, 2, 3]]), item)}
    hidden = jnp.array([[False, True, False, False]])

    def told(history):
        return apply(model, variables, query([history]), hidden, method="hidden_states")[0, 1]

    np.testing.assert_array_equal(told([1, 2, 3, 0]), told([1, 7, 3, 0]))
    assert np.abs(told([1, 2, 3, 0]) - told([1, 2, 4, 0])).max() > 1e-4


def test_tigers_probabilities_of_all_codes_sum_to_one_after_each_event_in_one_pass():
    code = jnp.array(list(itertools.product(range(4), range(3), range(2))), jnp.int32)
    model, asked = TIGER((3, 2, 1), 4, num_blocks=1, max_length=3), query([[2, 5, 3, 7], [4, 0, 0, 0]])
    constants = {"catalogue": {"code": code}}
    variables = {"params": noisy(made(model, constants, asked, asked.user), 0.5), **constants}
    whole = score_all(model, variables, asked)
    np.testing.assert_allclose(np.exp(whole).sum(1), [1.0, 1.0], rtol=1e-5)
    following = jnp.array([[5, 3, 7, 9], [6, 0, 0, 0]], jnp.int32)
    told = np.asarray(apply(model, variables, asked, following, method="likelihoods"))
    packed = asked._replace(
        history=jnp.array([[2, 5, 3, 7, 4]]), features={"segment": jnp.array([[1, 1, 1, 1, 2]])}
    )._replace(user=jnp.zeros(1, jnp.int32))
    together = apply(model, variables, packed, jnp.array([[5, 3, 7, 9, 6]]), method="likelihoods")
    np.testing.assert_allclose(together, [[*told[0], told[1, 0]]], rtol=1e-5)
    for events in range(1, 5):
        shorter = score_all(model, variables, query(asked.history[:1, :events]))
        np.testing.assert_allclose(told[0, events - 1], shorter[0, following[0, events - 1]], rtol=1e-5)


def test_lrurec_whose_decay_is_zero_knows_the_last_event_alone():
    model, item = LRURec(9, 4, num_blocks=2), jnp.array([1], jnp.int32)
    params = speaking(model, query([[1, 2, 3]]), item)

    def last(history, rate):
        blocks = {name: {**params[name], "log_rate": jnp.full(8, rate)} for name in ("blocks_0", "blocks_1")}
        return apply(model, {"params": params | blocks}, query([history]), method="encode")

    np.testing.assert_allclose(last([1, 2, 3], 5.0), last([7, 8, 3], 5.0), atol=1e-6)
    assert np.abs(last([1, 2, 3], -3.0) - last([7, 8, 3], -3.0)).max() > 1e-3


def test_top_freq_ranks_what_a_user_took_most_before_what_is_popular():
    user, item = np.array([1, 1, 1, 2, 2, 2, 0]), np.array([2, 3, 3, 4, 4, 2, 1])
    score = np.asarray(
        score_all(TopFreq(3, 6, pairs=4), top_freq.fit(user, item, 3, 6), query([[0]] * 3, [1, 2, 9]))
    )
    assert (-score[0]).argsort(kind="stable")[:3].tolist() == [3, 2, 4]
    assert (-score[1]).argsort(kind="stable")[:3].tolist() == [4, 2, 3]
    even = np.array([1, 1, 2, 2, 2]), np.array([1, 2, 2, 2, 3])
    score_even = score_all(TopFreq(3, 4, pairs=4), top_freq.fit(*even, 3, 4), query([[0]], [1]))
    assert np.asarray(score_even)[0].argmax() == 2 and (np.asarray(score_even)[0, 1:3] > 1).all()
    assert score[2, 2] == score[2, 3] == score[2, 4] > score[2, 5] == 0  # an unknown user: popularity
    age = np.array([0.0, 2.0, 2.0, 0, 0, 0, 0])
    fitted = top_freq.fit(user, item, 3, 6, age=age, half_life=1.0)  # two events of a quarter
    assert np.asarray(score_all(TopFreq(3, 6, pairs=4), fitted, query([[0]], [1])))[0].argmax() == 2


def test_top_freq_scores_a_long_slate_as_a_short_one():
    rng = np.random.default_rng(0)
    user, item = rng.integers(1, 5, 500), rng.integers(1, 300, 500)
    fitted = top_freq.fit(user, item, 5, 300)
    model = TopFreq(5, 300, pairs=len(fitted["params"]["item"]))
    asked = query([[0]] * 5, [0, 1, 2, 3, 4])
    whole = score_all(model, fitted, asked)
    some = jnp.tile(jnp.arange(0, 300, 7), (5, 1))
    np.testing.assert_array_equal(apply(model, fitted, asked, some), np.asarray(whole)[:, ::7])


def dense_baskets(log, num_items):
    """Each user's baskets as sets, oldest first."""
    return [[np.isin(np.arange(num_items), b).astype(float) for b in user] for user in log]


VISITS_OF = [[], [[1, 2], [2, 3], [2]], [[2, 3], [3]], [[4], [1, 4]], [[2], [2], [5, 3], [2]]]
BOUGHT = np.array([(u, i, at) for u, log in enumerate(VISITS_OF) for at, b in enumerate(log) for i in b]).T


@pytest.mark.parametrize("group", [1, 2, 7])
def test_tifu_knn_equals_its_equations_by_brute_force(group):
    fitted = tifu_knn.fit(*BOUGHT, 5, 6, k=2, group=group, basket_decay=0.8, group_decay=0.5, alpha=0.6)
    model = TIFUKNN(5, 6, len(fitted["params"]["item"]), 3)
    vectors = np.zeros((5, 6))
    for user, log in enumerate(dense_baskets(VISITS_OF, 6)):
        groups = [log[max(end - group, 0) : end] for end in range(len(log), 0, -group)]
        for back, some in enumerate(groups):
            mean = sum(0.8 ** (len(some) - 1 - j) * b for j, b in enumerate(some)) / len(some)
            vectors[user] += 0.5**back * mean / len(groups)
    score = score_all(model, fitted, query([[0]] * 5, range(5)))
    for user in range(1, 5):
        far = [np.inf if v in (0, user) else ((vectors[user] - vectors[v]) ** 2).sum() for v in range(5)]
        expected = 0.6 * vectors[user] + 0.4 * vectors[np.argsort(far)[:2]].mean(0)
        np.testing.assert_allclose(score[user], expected, atol=2e-6)
    assert np.asarray(score[0]).argmax() == 2  # an unknown user: popularity


def test_upcf_equals_its_equations_by_brute_force():
    fitted = upcf.fit(*BOUGHT, 5, 6, k=2, recent=2, asymmetry=0.3, locality=2.0)
    model = UPCF(5, 6, len(fitted["params"]["item"]), 3)
    logs = dense_baskets(VISITS_OF, 6)
    popular = np.array([sum(log[-2:], np.zeros(6)) / max(min(2, len(log)), 1) for log in logs])
    ever = np.array([sum(log, np.zeros(6)) > 0 for log in logs])
    score = score_all(model, fitted, query([[0]] * 5, range(5)))
    for user in range(1, 5):
        s = [(ever[user] & v).sum() / (ever[user].sum() ** 0.3 * max(v.sum(), 1) ** 0.7) for v in ever]
        near = [v for v in np.argsort([-x for x in s]) if v != user][:2]
        expected = popular[user] + sum(s[v] ** 2 * popular[v] for v in near)
        np.testing.assert_allclose(score[user], expected, atol=2e-6)


def test_session_popularity_counts_this_session_first():
    variables = popularity.fit(np.array([[3, 3], [1, 0]]), 5)
    score = score_all(SessionPopularity(5), variables, query([[2, 2, 1], [0, 0, 0]]))
    assert np.argsort(-score[0])[:3].tolist() == [2, 1, 3] and score[1].argmax() == 3


@pytest.mark.parametrize("kind", [SKNN, VSKNN])
def test_neighbours_equal_their_formulas_by_brute_force(kind):
    past = [[1, 2, 3], [3, 4], [2, 5, 2], [6, 1], [5, 6, 7, 1]]
    made = Sessions(np.concatenate(past).astype(np.int32), np.array([0, 3, 5, 8, 10, 14]))
    variables = neighbours.fit(made, 9, recent=4, longest=5)
    model = kind(9, 6, recent=4, longest=5, k=3)
    asked = [[1, 2], [7, 6, 3], [8, 0]]
    score = np.asarray(score_all(model, variables, query([[*s, 0][:3] for s in asked])))
    for row, session in enumerate(asked):
        session = [i for i in session if i]
        place = {i: len(session) - 1 - at for at, i in enumerate(session)}
        found = []
        for n in past:
            shared = [i for i in session if i in n]
            weights = [(len(session) - place[i]) / len(session) for i in shared]
            cosine = len(shared) / np.sqrt(len(set(session)) * len(set(n)))
            found.append(sum(weights) if kind is VSKNN else cosine)
        expected = np.zeros(9)
        for n in np.argsort(-np.array(found), kind="stable")[:3]:
            steps = min([place[i] for i in session if i in past[n]], default=0)
            for i in set(past[n]):
                idf = np.log(len(past) / sum(i in other for other in past))
                expected[i] += found[n] * ((1 - 0.1 * steps) * idf if kind is VSKNN else 1)
        np.testing.assert_allclose(score[row], expected, atol=1e-3)


def test_nextitnet_sees_as_far_back_as_its_dilations_and_no_further():
    model, asked = NextItNet(9, 4, dilations=(1,), kernel=2), query([[1, 2, 3, 4, 5]])
    variables = init(model, asked, jnp.array([1], jnp.int32))

    def last(history):
        return apply(model, variables, query(history), method="encode")[0]

    before = last([[1, 2, 3, 4, 5]])  # two convolutions, dilations 1 and 2: three steps back
    np.testing.assert_array_equal(before, last([[7, 2, 3, 4, 5]]))
    assert np.abs(before - last([[1, 7, 3, 4, 5]])).max() > 1e-5


def test_caser_sees_its_window_alone_and_the_user():
    model, asked = Caser(9, 4, num_users=4, window=3), query([[1, 2, 3, 4, 5]], [1])
    variables = init(model, asked, jnp.array([1], jnp.int32))

    def last(history, user):
        return apply(model, variables, query(history, [user]), method="encode")[0]

    before = last([[1, 2, 3, 4, 5]], 1)
    np.testing.assert_array_equal(before, last([[7, 8, 3, 4, 5]], 1))
    assert np.abs(before - last([[1, 2, 7, 4, 5]], 1)).max() > 1e-5
    assert np.abs(before - last([[1, 2, 3, 4, 5]], 2)).max() > 1e-5


@pytest.mark.parametrize(
    "kind",
    mostly_slow(
        (GRU4Rec, SASRec, NARM, STAMP, SRGNN, Caser, NextItNet, HSTU, LRURec, eSASRec), (GRU4Rec, SASRec)
    ),
)
def test_a_new_item_is_ranked_among_those_that_it_is_like(kind):
    """Sessions stay with one sort of item; item 9 comes after training and is of sort 2, as 2, 5, 8 are."""
    rng = np.random.default_rng(0)
    sort = jnp.array([0, 1, 2, 3, 1, 2, 3, 1, 2], jnp.int32)
    history = np.array([rng.choice([[1, 4, 7], [2, 5, 8], [3, 6, 6]][n % 3], 6) for n in range(60)], np.int32)
    rows = Batch(
        query(history[:, :5]), jnp.asarray(history[:, 1:]), jnp.ones((60, 5)), jnp.ones((60, 5), bool)
    )
    model, optimizer = kind(9, 8, item_features={"sort": 4}), optax.adam(0.03)
    state = init_state(jax.random.key(0), model, optimizer, rows, constants={"catalogue": {"sort": sort}})
    step = training.make_step(objectives.next_item_softmax(model), optimizer)
    state, _ = jax.jit(lambda state: training.fit(step, state, rows, num_epochs=15, batch_size=20))(state)
    grown = {**state.variables, "catalogue": {"sort": jnp.append(sort, 2)}}
    score = np.asarray(score_all(model, grown, query([[2, 5], [1, 4], [8, 9]])))
    assert score[0, 9] > score[0, [1, 3, 4, 6, 7]].max()
    assert score[1, 9] < score[1, [1, 4, 7]].min()
    assert score[2, [2, 5, 9]].min() > score[2, [1, 3, 4, 6, 7]].max()  # it is read, too


PEOPLE = {"age": 4, "income": None}


@pytest.mark.parametrize(
    "kind",
    [
        *(GRU4Rec, NARM, STAMP, SASRec, Caser, NextItNet),
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in (SRGNN, BERT4Rec, HSTU, LRURec, eSASRec)),
    ],
)
def test_user_features_speak_for_an_empty_session_and_unknown_ones_say_nothing(kind):
    model, plain = kind(9, 4, user_features=PEOPLE), kind(9, 4)

    def asked(history, age, income):
        features = {"age": jnp.array(age, jnp.int32), "income": jnp.array(income)}
        return query(history)._replace(features=features)

    somebody = asked([[0, 0], [0, 0], [0, 0]], [1, 2, 1], [0.0, 0.0, 2.0])
    params = speaking(model, somebody, jnp.array([1, 1, 1], jnp.int32))
    score = score_all(model, {"params": params}, somebody)
    assert min(np.abs(score[0] - score[1]).max(), np.abs(score[0] - score[2]).max()) > 1e-3

    nobody = asked([[1, 2], [3, 0], [0, 0]], [0, 0, 0], [0.0, 0.0, 0.0])
    without = {name: value for name, value in params.items() if name != "profile"}
    if kind is Caser:  # the users' half of its output vectors
        without["output"] = {"embedding": params["output"]["embedding"][:, :4]}
    np.testing.assert_allclose(
        score_all(model, {"params": params}, nobody),
        score_all(plain, {"params": without}, nobody),
        rtol=1e-5,
        atol=1e-6,
    )
