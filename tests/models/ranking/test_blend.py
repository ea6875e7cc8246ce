"""Blend: its equation, the likelihood of its weights beside SciPy's, and what it refuses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, noisy, score_all
from scipy.optimize import minimize
from scipy.special import logsumexp

from rezoo import evaluation
from rezoo.data import batches
from rezoo.models import MF, Blend, CoOccurrence, GRU4Rec, Popularity
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.models.ranking import blend

N, ROWS = 12, 300
RNG = np.random.default_rng(0)
LOG = RNG.integers(1, N, (40, 6))
ASKED = batches.queries(user=RNG.integers(1, 5, ROWS), history=RNG.integers(1, N, (ROWS, 4)))
AFTER = cooccurrence.fit(LOG, N)
READS = partial(GRU4Rec, N, 3)
PARTS = {
    "reads": READS,
    "after": partial(CoOccurrence, N, len(AFTER["params"]["follower"])),
    "often": partial(Popularity, N),
}
MODEL = Blend(N, PARTS, counts=["after", "often"])


@pytest.fixture(scope="module")
def fitted():
    reads = jax.jit(READS().init)(jax.random.key(0), ASKED, ASKED.user)
    return {"reads": noisy(reads, 0.7), "after": AFTER, "often": popularity.fit(LOG, N)}


def scores_of(fitted):
    """What each part says of every item, by itself."""
    return {name: np.asarray(score_all(PARTS[name](), fitted[name], ASKED), np.float64) for name in PARTS}


def by_hand(scores, weights, floors):
    return sum(
        weights[name] * (np.log(np.exp(floors[name]) + score) if name in floors else score)
        for name, score in scores.items()
    )


def likely(logit, hidden=None):
    """A target of each row, drawn by the softmax over what is not hidden."""
    logit = np.where(np.arange(N) == 0, -np.inf, logit)
    logit = logit if hidden is None else np.where(hidden, -np.inf, logit)
    return (logit + RNG.gumbel(size=logit.shape)).argmax(axis=1)


def test_it_is_the_weighted_sum_of_its_parts(fitted):
    weights, floors = {"reads": 0.7, "after": 1.2, "often": -0.3}, {"after": -1.0, "often": -2.0}
    values = {f"weight_{k}": v for k, v in weights.items()} | {f"log_floor_{k}": v for k, v in floors.items()}
    found = score_all(MODEL, blend.joined(fitted, **values), ASKED)
    np.testing.assert_allclose(found, by_hand(scores_of(fitted), weights, floors), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("excluded", "candidates"), [(False, 100), (True, 100), (True, 3)])
def test_fit_finds_the_most_likely_weights(fitted, excluded, candidates):
    scores = scores_of(fitted)
    exclude = RNG.integers(0, N, (ROWS, 2)) if excluded else None
    outside = np.tile([[-1, N + 3]], (ROWS, 1))  # no items: nothing is excluded by them
    hidden = np.zeros((ROWS, N), bool)
    hidden[:, 0] = True
    if exclude is not None:
        hidden[np.arange(ROWS)[:, None], exclude] = True
    true = by_hand(scores, {"reads": 1.5, "after": 1.0, "often": 0.5}, {"after": 0.0, "often": 0.0})
    target = likely(true, hidden)
    target[:7] = 0  # counts for nothing
    best_of = [np.where(hidden, -np.inf, score).argsort(axis=1, kind="stable") for score in scores.values()]
    short = np.zeros((ROWS, N), bool)
    for order in best_of:
        np.put_along_axis(short, order[:, -candidates:], True, axis=1)
    hidden |= ~short
    known = short[np.arange(ROWS), target] & (target > 0)
    names = list(PARTS)

    def surprise(x):
        logit = by_hand(scores, dict(zip(names, x[:3], strict=True)), {"after": x[3], "often": x[4]})
        free = np.where(hidden, -np.inf, logit)
        return (logsumexp(free, axis=1) - logit[np.arange(ROWS), target])[known].mean()

    best = minimize(surprise, [0.3, 0.3, 0.3, -1.0, -1.0], method="Nelder-Mead", options={"maxiter": 4000})
    variables = blend.fit(
        MODEL,
        fitted,
        ASKED,
        jnp.asarray(target),
        exclude=None if exclude is None else jnp.asarray(np.concatenate([exclude, outside], axis=1)),
        candidates=candidates,
        block=64,
    )
    own = variables["params"]
    found = [float(own[f"weight_{name}"]) for name in names]
    found += [float(own[f"log_floor_{name}"]) for name in ("after", "often")]
    assert surprise(np.array(found)) <= best.fun + 1e-4
    np.testing.assert_allclose(found[:2], best.x[:2], atol=0.1)
    for name in PARTS:
        assert_equal(own[f"models_{name}"], fitted[name]["params"])


def assert_equal(one, other):
    assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b), dict(one), dict(other)))


def test_even_weights_give_each_part_the_same_spread_within_a_row(fitted):
    exclude = jnp.asarray(ASKED.history[:, :2])
    weights = blend.even(MODEL, fitted, ASKED, exclude=exclude)["params"]
    real = np.ones((ROWS, N), bool)
    real[:, 0] = False
    np.put_along_axis(real, np.asarray(exclude), False, axis=1)
    floors = {name: blend.LOG_FLOOR for name in MODEL.counts}
    for name, score in scores_of(fitted).items():
        logit = by_hand({name: score}, {name: 1.0}, floors)
        spread = np.sqrt(np.mean([row[kept].var() for row, kept in zip(logit, real, strict=True)]))
        np.testing.assert_allclose(weights[f"weight_{name}"], 1 / (3 * spread), rtol=1e-4)


def test_it_finds_more_than_its_parts(fitted):
    target = likely(by_hand(scores_of(fitted), {"reads": 3.0, "after": 3.0, "often": 0.0}, {"after": 0.0}))
    query = jax.tree.map(lambda x: x[:200], ASKED)
    variables = blend.fit(MODEL, fitted, query, jnp.asarray(target[:200]))
    rest, wanted = jax.tree.map(lambda x: x[200:], ASKED), jnp.asarray(target[200:])[:, None]

    def mrr(model, variables):
        return float((1 / evaluation.ranks(model, variables, rest, wanted)).mean())

    alone = [mrr(PARTS[name](), fitted[name]) for name in PARTS]
    assert mrr(MODEL, variables) > max(alone) + 0.05


def test_what_it_reads_in_collections_goes_to_its_own_part():
    fitted = {
        "a": {"params": {"x": 1}, "graph": {"g": 2}, "catalogue": {"price": 3}},
        "b": {"params": {"x": 4}},
    }
    joined = blend.joined(fitted, weight_a=0.5, weight_b=1.0)
    assert joined["graph"] == {"models_a": {"g": 2}} and joined["catalogue"] == {"price": 3}
    assert joined["params"]["models_b"] == {"x": 4} and float(joined["params"]["weight_a"]) == 0.5


def test_a_part_of_users_knows_the_user():
    model = Blend(N, {"taste": partial(MF, 5, N)})
    variables = jax.jit(model.init)(jax.random.key(0), ASKED, ASKED.user)
    own = {"params": variables["params"]["models_taste"]}
    np.testing.assert_allclose(
        score_all(model, variables, ASKED), score_all(MF(5, N), own, ASKED), rtol=1e-5, atol=1e-6
    )


def test_what_it_refuses(fitted):
    with pytest.raises(ValueError, match=r"counts has 'rarely', .* reads, after, often"):
        apply(Blend(N, PARTS, counts=["rarely"]), {"params": {}}, ASKED, ASKED.user)
    with pytest.raises(ValueError, match="there are no parts"):
        apply(Blend(N, {}), {"params": {}}, ASKED, ASKED.user)
    target = jnp.ones(ROWS, jnp.int32)
    with pytest.raises(ValueError, match="the parts are reads, after, often, but fitted has reads"):
        blend.fit(MODEL, {"reads": fitted["reads"]}, ASKED, target)
    with pytest.raises(ValueError, match="no target is in a shortlist"):
        blend.fit(MODEL, fitted, ASKED, 0 * target)
    with pytest.raises(ValueError, match="target"):
        blend.fit(MODEL, fitted, ASKED, target[1:])
    with pytest.raises(ValueError, match="weight_often is missing"):
        blend.joined(fitted, weight_reads=1.0, weight_after=1.0)
    with pytest.raises(ValueError, match="log_floor_rare is of none of the parts"):
        blend.joined({"often": fitted["often"]}, weight_often=1.0, log_floor_rare=0.0)
    broken = jax.tree.map(lambda x: x.at[0].set(jnp.nan), fitted["reads"])
    with pytest.raises(ValueError, match="scores of reads are not finite"):
        blend.fit(MODEL, fitted | {"reads": broken}, ASKED, target)
    flat = jax.tree.map(jnp.ones_like, fitted["often"])
    with pytest.raises(ValueError, match="scores of often are the same for all items"):
        blend.even(MODEL, fitted | {"often": flat}, ASKED)
