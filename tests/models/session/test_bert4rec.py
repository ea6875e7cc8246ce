"""BERT4Rec and its objective beside their equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, init, noisy
from oracles import attended, dense, gelu, in_double, normed

from rezoo import objectives
from rezoo.data.batches import queries
from rezoo.models import BERT4Rec
from rezoo.objectives.cloze import hide
from rezoo.types import Batch

ITEMS, LONGEST = 9, 4
MODEL = BERT4Rec(ITEMS, 4, num_blocks=2, max_length=LONGEST)
ITEM = jnp.array([1], jnp.int32)


def variables():
    return noisy(init(MODEL, queries(history=[[1, 2]]), ITEM), 0.3)


def told(w, history, hidden):
    """[GELU(W h + b) ; 1] at every place."""
    v = w["item"]["embedding"][history]
    v[hidden] = w["mask"][0, 0]
    x = v + w["position"]["embedding"][np.minimum(np.arange(len(history)), LONGEST - 1)]
    for name in ("blocks_0", "blocks_1"):
        block = w[name]
        y = dense(block["attention_out"], attended(block, x, 2, lambda t: slice(None)))
        y = normed(x + y, block["attention_norm"])
        x = normed(y + dense(block["feed_out"], gelu(dense(block["feed_in"], y))), block["feed_norm"])
    return np.c_[gelu(dense(w["head"], x)), np.ones(len(x))]


@pytest.mark.parametrize("history", [[3, 1], [3, 1, 4, 1, 5], []])
def test_the_next_item_is_asked_for_by_a_mask_behind_the_newest_events(history):
    params = variables()
    padded = queries(history=[(history + [0] * 5)[:5]])
    read = [*history[-(LONGEST - 1) :], 0]
    expected = told(in_double(params["params"]), read, [len(read) - 1])[-1]
    found = apply(MODEL, params, padded, method="encode")[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_objective_is_the_mean_over_hidden_events_of_a_softmax_over_the_catalogue():
    params = variables()
    history = np.array([[3, 1, 4, 1, 5, 2], [6, 5, 0, 0, 0, 0], [0] * 6, [7, 8, 7, 8, 7, 0]])
    where = (history > 0) & (np.arange(4) < 3)[:, None]
    batch = Batch(queries(history=history), jnp.asarray(history), jnp.ones((4, 6)), jnp.asarray(where))
    share = 0.5
    value, _ = jax.jit(objectives.cloze(MODEL, share, chunk=3))(params, jax.random.key(3), batch)
    drawn = jax.random.split(jax.random.key(3))[0]
    hidden = np.asarray(hide(drawn, batch.where, jnp.asarray(history > 0).astype(int), share, 0.1)[0])
    w, terms = in_double(params["params"]), []
    table = np.c_[w["item"]["embedding"], w["bias"]["embedding"]]
    for row, places in enumerate(map(np.flatnonzero, hidden)):
        events = history[row][history[row] > 0]
        states = told(w, events, places) if len(events) else None
        for place in places:
            score = table[1:] @ states[place]
            terms.append(np.log(np.exp(score).sum()) - score[events[place] - 1])
    assert hidden.sum(1).tolist() == [3, 1, 0, 0]
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-5)


def test_histories_of_a_row_do_not_see_each_other():
    params = variables()
    query = queries(history=[[3, 1, 4, 2, 5, 0]], features={"segment": np.array([[1, 1, 1, 2, 2, 0]])})
    hidden = jnp.array([[False, True, False, False, True, False]])
    found = apply(MODEL, params, query, hidden, method="hidden_states")[0]
    w = in_double(params["params"])
    expected = np.concatenate([told(w, [3, 1, 4], [1]), told(w, [2, 5], [1])])
    np.testing.assert_allclose(found[:5], expected, rtol=1e-4, atol=1e-5)


def test_what_is_hidden():
    rng = np.random.default_rng(0)
    length = rng.integers(0, 11, 4000)
    may = jnp.asarray(np.arange(10) < length[:, None])
    segment = may.astype(jnp.int32)
    some = jax.jit(hide, static_argnums=(3, 4))
    hidden, place, real = map(np.asarray, some(jax.random.key(0), may, segment, 0.3, 0.25))
    assert not (hidden & ~np.asarray(may)).any() and place.shape == (4000, 3)
    for row in range(0, 4000, 7):
        assert sorted(place[row][real[row]]) == np.flatnonzero(hidden[row]).tolist()
    wanted = np.where(length > 0, np.clip(np.round(0.3 * length), 1, 3), 0)
    only_last = hidden[np.arange(4000), np.maximum(length - 1, 0)] & (hidden.sum(1) == 1)
    assert ((hidden.sum(1) == wanted) | only_last).all()
    long = length > 6  # of which at least two are hidden, if not just the last
    np.testing.assert_allclose(only_last[long].mean(), 0.25, atol=0.03)
    spread = hidden[length == 10].mean(0)
    np.testing.assert_allclose(spread, [*[0.75 * 0.3] * 9, 0.25 + 0.75 * 0.3], atol=0.08)
    packed = jnp.array([[1, 1, 2, 2, 2, 0]])
    hidden, _, _ = some(jax.random.key(1), packed > 0, packed, 0.4, 1.0)
    assert hidden.tolist() == [[False, True, False, False, True, False]]


@pytest.mark.slow
def test_all_may_be_hidden_and_bad_shares_are_refused():
    history = jnp.array([[3, 1, 4, 1], [0, 0, 0, 0]])
    batch = Batch(queries(history=history), history, jnp.ones((2, 4)), history > 0)
    step = jax.jit(jax.value_and_grad(objectives.cloze(MODEL, 1.0, last=0.0), has_aux=True))
    (value, _), gradient = step(variables(), jax.random.key(0), batch)
    assert float(value) > 0 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    for share, last, said in (
        (0.0, 0.1, "share = 0.0: give a finite number above 0"),
        (1.2, 0.1, "share = 1.2: give a share from 0 to 1"),
        (0.2, -0.1, "last = -0.1: give a share from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=said):
            objectives.cloze(MODEL, share, last=last)
    with pytest.raises(ValueError, match="shapes differ"):
        objectives.cloze(MODEL)(variables(), jax.random.key(0), batch._replace(where=jnp.ones(2, bool)))
