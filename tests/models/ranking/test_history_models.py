"""BST and DIEN are their equations, and what is true of each alone."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import apply, init, noisy

from rezoo import losses, objectives
from rezoo.data.batches import queries
from rezoo.models import BST, DIEN
from rezoo.models.ranking import dien
from rezoo.types import Batch

HISTORY, ITEM = [[3, 1, 4, 0], [0, 0, 0, 0], [2, 5, 5, 1]], jnp.array([2, 5, 3], jnp.int32)
ASKED = queries(history=HISTORY)


def speaking(model):
    return {"params": noisy(init(model, ASKED, ITEM)["params"], 0.4)}


def dense(x, layer):
    return x @ layer["kernel"] + layer.get("bias", 0.0)


def normed(x, layer):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * layer["scale"] + layer["bias"]


def softmax(x):
    share = np.exp(x - x.max(-1, keepdims=True))
    return share / share.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def agree(model, variables, by_hand):
    """The model's scores are those of `by_hand(params, real events, item)`."""
    params = jax.tree.map(np.asarray, variables["params"])
    events = [[i for i in row if i] for row in HISTORY]
    expected = [by_hand(params, row, i).item() for row, i in zip(events, ITEM.tolist(), strict=True)]
    np.testing.assert_allclose(apply(model, variables, ASKED, ITEM), expected, rtol=1e-3, atol=1e-5)


def test_bst_is_its_equations():
    model = BST({"item": 6}, 4, widths=(5,), heads=2, max_length=2)

    def by_hand(p, events, item):
        back = [min(len(events) - place, 2) for place in range(len(events))]
        table, position = p["items"]["item"]["embedding"], p["position"]["embedding"]
        x = np.concatenate([table[[*events, item]], position[[*back, 0]]], axis=1)
        block = p["TransformerBlock_0"]
        heads = []
        for head in range(2):
            q, k, v = (x @ block[name]["kernel"][:, head] for name in "qkv")
            heads.append(softmax(q @ k.T / 2) @ v)
        y = normed(x + dense(np.concatenate(heads, axis=1), block["heads_out"]), block["norm_in"])
        fed = dense(leaky(dense(y, block["feed_in"])), block["feed_out"])
        x = normed(y + fed, block["norm_out"])
        mean = x[:-1].mean(0) if events else np.zeros(8)
        return dense(leaky(dense(np.concatenate([mean, x[-1]]), p["mlp"]["Dense_0"])), p["output"])

    agree(model, speaking(model), by_hand)


def test_bst_knows_the_order_of_the_last_events_and_not_of_those_before():
    model = BST({"item": 6}, 4, widths=(5,), max_length=2)
    variables, item = speaking(model), jnp.array([2], jnp.int32)

    def score(history):
        return float(apply(model, variables, queries(history=[history]), item)[0])

    assert np.isclose(score([3, 1, 4, 5]), score([1, 3, 4, 5]), rtol=1e-4)
    assert abs(score([3, 1, 4, 5]) - score([3, 1, 5, 4])) > 1e-3


def test_dien_is_its_equations():
    model = DIEN({"item": 6}, 3, widths=(5,))

    def by_hand(p, events, item):
        table, gru, evolution = p["items"]["item"]["embedding"], p["extractor"], p["evolution"]

        def step(state, x, cell, weight):
            x = dense(x, cell["input"])
            z, r = np.split(sigmoid(x[:6] + state @ cell["gates"]), 2)
            new = np.tanh(x[6:] + (r * state) @ cell["candidate"])
            return (1 - weight * z) * state + weight * z * new

        h = [np.zeros(3)]
        for event in events:
            h.append(step(h[-1], table[event], gru, 1.0))
        h, s = h[1:], np.zeros(3)
        if h:
            a = softmax(np.stack(h) @ (table[item] @ p["attention"]["kernel"]))
            for state, weight in zip(h, a, strict=True):
                s = step(s, state, evolution, weight)
        hidden = np.maximum(dense(np.concatenate([s, table[item]]), p["mlp"]["Dense_0"]), 0)
        return dense(hidden, p["output"])

    agree(model, speaking(model), by_hand)


def test_dien_sows_how_badly_its_states_tell_the_next_event_from_a_random_one():
    model = DIEN({"item": 6}, 3, widths=(5,))
    variables, batch = speaking(model), Batch(ASKED, ITEM, jnp.ones(3), jnp.ones(3, bool))
    plain = objectives.pointwise(model, losses.logistic)
    key = jax.random.key(0)
    loss, aux = jax.jit(plain)(variables, key, batch)
    sown = np.asarray(aux.sown["penalty"]["auxiliary"][0])
    assert sown.shape == (3,) and sown[1] == 0 and (sown[[0, 2]] > 0.1).all()
    whole, _ = jax.jit(objectives.penalised(plain, 0.5))(variables, key, batch)
    np.testing.assert_allclose(whole, loss + 0.5 * sown.mean(), rtol=1e-5)


def test_the_auxiliary_loss_is_its_equation():
    h, following, other = np.random.default_rng(0).normal(size=(3, 2, 4, 3)).astype(np.float32)
    real = np.array([[True, True, True, False], [False] * 4])
    right, wrong = (sigmoid((h * e).sum(-1)) for e in (following, other))
    expected = -(np.log(right) + np.log(1 - wrong))[0, :3].mean()
    np.testing.assert_allclose(
        dien.auxiliary(*map(jnp.asarray, (h, following, other, real))), [expected, 0], rtol=1e-5
    )
