import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, init, made
from scipy.special import log_softmax

from rezoo import losses, metrics, objectives, sampling
from rezoo.data.batches import queries
from rezoo.models import DIN, MF, TIGER, BERT4Rec, GRU4Rec, SessionRanker
from rezoo.types import Batch

MODEL = MF(6, 9, 4)


def pairs(user, item, where=None):
    user, item = (jnp.asarray(ids, jnp.int32) for ids in (user, item))
    where = jnp.ones(len(user), bool) if where is None else jnp.asarray(where)
    return Batch(queries(user), item, jnp.ones(len(user)), where)


def variables(batch):
    return init(MODEL, batch.query, batch.item)


BATCH = pairs([1, 2, 3, 4, 5], [3, 7, 3, 1, 8], [True, True, True, True, False])


def test_a_sampled_list_knows_how_often_each_item_was_to_be_expected():
    """ln (n Q) of the negatives, 0 of the positive; a negative that is the positive does not count."""
    negatives = jnp.array([[3, 4], [3, 4], [1, 2], [5, 6], [5, 6]], jnp.int32)
    log_q = jnp.log(jnp.arange(1.0, 10.0) / 45)

    def loss(score, label, *, where, log_q):
        np.testing.assert_array_equal(label, [[1, 0, 0]] * 5)
        np.testing.assert_array_equal(where, [[1, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0]])
        expected = np.log(2 * (np.asarray(negatives) + 1) / 45)
        np.testing.assert_allclose(log_q, np.c_[np.zeros(5), expected], rtol=1e-5, atol=1e-6)
        return losses.sampled_softmax(score, label, log_q=log_q, where=where)

    objective = objectives.sampled(MODEL, loss, lambda *_: negatives, 2, log_q=log_q)
    assert np.isfinite(objective(variables(BATCH), jax.random.key(1), BATCH)[0])


def test_shared_negatives_are_a_list_with_each_rows_items_but_its_own_among_them():
    drawn, log_q = jnp.array([[3, 8, 5]], jnp.int32), jnp.log(jnp.arange(1.0, 10.0) / 45)
    item = jnp.array([[3, 1, 0], [2, 5, 7], [4, 0, 0]], jnp.int32)
    batch = Batch(queries([1, 2, 3]), item, (item > 0).astype(jnp.float32), (item > 0).at[2].set(False))
    objective = objectives.shared(MODEL, losses.sampled_softmax, sampling.fixed(drawn), 3, log_q=log_q)
    values = variables(BATCH)
    found, _ = jax.jit(objective)(values, jax.random.key(1), batch)
    slate = np.concatenate([item, np.broadcast_to(drawn, (3, 3))], axis=1)
    score, terms = np.array(apply(MODEL, values, batch.query, slate)), []
    score[:, 3:] -= np.log(3) + np.asarray(log_q)[drawn]
    for row, kept in (0, [0, 1, 4, 5]), (1, [0, 1, 2, 3, 4]):
        logits = log_softmax(score[row, kept])
        terms.append(-logits[: int((item[row] > 0).sum())].sum())
    np.testing.assert_allclose(found, np.mean(terms), rtol=1e-5)


def test_shared_negatives_that_the_user_took_do_not_count():
    taken = sampling.positives_by_user(np.array([1, 1, 2]), np.array([3, 5, 8]), 4)
    batch, values = pairs([1, 2, 3], [3, 8, 7]), variables(BATCH)
    drawn = sampling.fixed(jnp.array([[3, 8, 5]], jnp.int32))
    objective = objectives.shared(MODEL, losses.softmax_cross_entropy, drawn, 3, positives=taken)
    found, _ = jax.jit(objective)(values, jax.random.key(1), batch)
    terms = [
        -log_softmax(np.array(apply(MODEL, values, batch.query, jnp.array([slate] * 3)))[row])[0]
        for row, slate in enumerate(([3, 8], [8, 3, 5], [7, 3, 8, 5]))
    ]
    np.testing.assert_allclose(found, np.mean(terms), rtol=1e-5)


@pytest.mark.parametrize("corrected", [False, True])
def test_in_batch_softmax_is_that_over_the_batch_without_accidental_hits(corrected):
    log_q = jnp.log(jnp.arange(1.0, 10.0) / 45)
    loss = losses.sampled_softmax if corrected else losses.softmax_cross_entropy
    objective = objectives.in_batch(MODEL, loss, log_q=log_q if corrected else None)
    value, _ = objective(variables(BATCH), jax.random.key(1), BATCH)
    slate = jnp.broadcast_to(BATCH.item[None], (5, 5))
    score = np.asarray(MODEL.apply(variables(BATCH), BATCH.query, slate))
    item, terms = np.asarray(BATCH.item), []
    for row in range(4):
        others = [c for c in range(4) if item[c] != item[row]]
        shift = np.log(3) + np.asarray(log_q)[item[others]] if corrected else 0.0
        logits = np.array([score[row, row], *(score[row, others] - shift)])
        terms.append(-log_softmax(logits)[0])
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-5)


def penalty(objective, weight, variables, batch):
    """What `objectives.l2` adds to the objective's value."""
    both = objective, objectives.l2(objective, weight)
    plain, held = (jax.jit(one)(variables, jax.random.key(1), batch)[0] for one in both)
    return held - plain


@pytest.mark.parametrize("drawn", [[3, 8, 5], [3, 8, 5, 2, 6]])  # not as many as there are rows, and as many
def test_l2_counts_what_a_batch_shares_for_every_observation(drawn):
    """As if each row had drawn them itself."""
    own = jnp.broadcast_to(jnp.array(drawn, jnp.int32), (len(BATCH.item), len(drawn)))
    each = objectives.sampled(MODEL, losses.softmax_cross_entropy, lambda *_: own, len(drawn))
    once = objectives.shared(MODEL, losses.softmax_cross_entropy, sampling.fixed(own[:1]), len(drawn))
    both = (penalty(one, 0.3, variables(BATCH), BATCH) for one in (each, once))
    np.testing.assert_allclose(next(both), next(both), rtol=1e-4)


@pytest.mark.parametrize("drawn", [3, 4])
def test_l2_of_drawn_items_and_of_a_catalogues_columns_is_that_of_all_events(drawn):
    features = {"item_features": {"category": 4}, "id_dropout": 0.0}
    catalogue = {"catalogue": {"category": jnp.arange(9, dtype=jnp.int32) % 4}}
    history = jnp.array([[1, 2, 3], [4, 5, 0], [6, 0, 0], [7, 8, 0]], jnp.int32)
    batch = Batch(queries(history=history), history, jnp.ones((4, 3)), history > 0)
    plain, of_columns = GRU4Rec(9, 2, tied=True), GRU4Rec(9, 2, tied=True, **features)

    def found(model, constants, objective):
        params = jax.tree.map(jnp.ones_like, made(model, constants, batch.query, history))
        return penalty(objective, {"item": 1.0}, {"params": params, **constants}, batch)

    for model, constants, tables in (plain, {}, 1), (of_columns, catalogue, 2):
        sampled = objectives.next_item_sampled(model, losses.bpr, jnp.ones(9), drawn, corrected=False)
        rows = 1 + 1 + drawn  # event, target, drawn
        np.testing.assert_allclose(found(model, constants, sampled), 2 * tables * rows, rtol=1e-4)
    of_all = found(of_columns, catalogue, objectives.next_item_softmax(of_columns))
    np.testing.assert_allclose(of_all, 2 * 2 * (1 + 9), rtol=1e-4)  # event, catalogue
    of_events = found(plain, {}, objectives.next_item_softmax(plain))
    np.testing.assert_allclose(of_events, 2, rtol=1e-4)


def test_in_batch_of_one_row_has_no_choice():
    alone = pairs([1, 2], [3, 4], [True, False])
    objective = objectives.in_batch(
        MODEL, losses.sampled_softmax, log_q=sampling.log_popularity(np.ones(9), 1.0)
    )
    loss_and_grad = jax.value_and_grad(lambda v: objective(v, jax.random.key(0), alone)[0])
    value, grad = jax.jit(loss_and_grad)(variables(alone))
    assert float(value) == 0.0 and all((leaf == 0).all() for leaf in jax.tree.leaves(grad))


@pytest.mark.parametrize(
    "loss",
    [
        partial(losses.gbce, rate=0.3),
        partial(losses.bpr_max, positives=1),
        losses.lambda_rank,
        losses.smooth(metrics.recall, k=1),
    ],
    ids=["gbce", "bpr_max", "lambda_rank", "smooth"],
)
def test_losses_of_every_kind_reach_the_parameters(loss):
    objective = objectives.sampled(MODEL, loss, sampling.uniform(9), 3)
    grad = jax.jit(jax.grad(lambda v: objective(v, jax.random.key(0), BATCH)[0]))(variables(BATCH))
    touched = np.asarray(jnp.abs(grad["params"]["user"]["embedding"]).sum(1) > 0)
    np.testing.assert_array_equal(touched, [False, True, True, True, True, False])


NEXT = Batch(
    queries(history=[[3, 4], [5, 1]]), jnp.array([[4, 1], [1, 2]]), jnp.ones((2, 2)), jnp.ones((2, 2), bool)
)


@pytest.mark.parametrize("objective", ["sampled", "in_batch", "next_item", "next_item_sampled"])
def test_pairs_of_a_list_with_one_positive_are_as_many_as_its_negatives(objective):
    """17 of them, and no array of lists is 17 × 17 or 18 × 18."""
    session = GRU4Rec(18, 4)
    made, model, batch = {
        "sampled": (lambda loss: objectives.sampled(MODEL, loss, sampling.uniform(9), 17), MODEL, BATCH),
        "in_batch": (
            lambda loss: objectives.in_batch(MODEL, loss),
            MODEL,
            pairs(np.arange(18) % 6, [3] * 18),
        ),
        "next_item": (lambda loss: objectives.next_item(session, loss), session, NEXT),
        "next_item_sampled": (
            lambda loss: objectives.next_item_sampled(session, loss, jnp.ones(18), 17, corrected=False),
            session,
            NEXT,
        ),
    }[objective]
    values = init(model, batch.query, batch.item if batch.item.ndim == 1 else batch.item[:, 0])
    for loss in (losses.bpr, losses.hardest(losses.hinge), partial(losses.bpr_max, positives=1)):
        program = jax.make_jaxpr(made(loss))(values, jax.random.key(0), batch)
        assert not re.search(",1[78],1[78]\\]", str(program))


HISTORY = Batch(
    queries(history=[[3, 3, 0], [5, 1, 3], [2, 0, 0], [4, 4, 4]]),
    jnp.array([1, 2, 5, 4], jnp.int32),
    jnp.ones(4),
    jnp.array([True, True, True, False]),
)


def test_with_counts_each_id_of_a_batch_is_held_once_and_the_less_the_more_often_it_occurs():
    model, count = DIN({"item": 6, "user": 3}, 3, widths=(4,)), np.array([0, 7, 1, 40, 2, 0])
    batch = HISTORY._replace(query=HISTORY.query._replace(user=jnp.array([1, 1, 2, 2], jnp.int32)))
    variables = init(model, batch.query, batch.item)
    plain = objectives.pointwise(model, losses.logistic)
    held = objectives.l2(plain, {"item": 0.3, "user": 0.1}, {"item": count})

    def penalty(params):
        whole = {**variables, "params": params}
        return held(whole, jax.random.key(1), batch)[0] - plain(whole, jax.random.key(1), batch)[0]

    value, grad = jax.jit(jax.value_and_grad(penalty))(variables["params"])
    item = np.asarray(variables["params"]["items"]["item"]["embedding"])
    user = np.asarray(variables["params"]["profile"]["user"]["embedding"])
    met = [1, 2, 3]  # not 4, which is met in the masked row alone; 5 and padding are said never to occur
    expected = 0.3 * sum(np.square(item[j]).sum() / count[j] for j in met)
    expected += 0.1 * (2 * np.square(user[1]).sum() + np.square(user[2]).sum()) / 3
    np.testing.assert_allclose(value, expected, rtol=1e-3)
    slope = np.zeros_like(item)
    slope[met] = 0.3 * 2 * item[met] / count[met, None]
    np.testing.assert_allclose(grad["items"]["item"]["embedding"], slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("weight", "counts", "what"), [(0.1, {"itm": np.ones(9)}, "counts"), ({"itm": 0.1}, None, "weights")]
)
def test_weights_and_counts_of_a_table_that_is_not_looked_up_are_refused(weight, counts, what):
    held = objectives.l2(objectives.pointwise(MODEL, losses.squared), weight, counts)
    with pytest.raises(ValueError, match=rf"{what} for \['itm'\], of which.*'item', 'item_bias', 'user'"):
        held(variables(BATCH), jax.random.key(0), BATCH)


@pytest.mark.parametrize(
    "weighted",
    [
        lambda weights: objectives.pointwise(MODEL, losses.squared, weights=weights),
        lambda weights: objectives.sampled(MODEL, losses.bpr, sampling.uniform(9), 3, weights=weights),
        lambda weights: objectives.sampled(MODEL, losses.logistic, sampling.uniform(9), 3, weights=weights),
        lambda weights: objectives.in_batch(MODEL, losses.softmax_cross_entropy, weights=weights),
        lambda weights: objectives.shared(MODEL, losses.bpr, sampling.uniform(9), 3, weights=weights),
        lambda weights: objectives.every_item(MODEL, losses.softmax_cross_entropy, weights=weights),
    ],
)
def test_a_weight_of_a_row_is_how_often_it_counts(weighted):
    """The weighted mean is the sum of what each row gives alone, and what does not count has no weight."""
    values = variables(BATCH)

    @jax.jit
    def value(weight, values=values):
        return weighted(lambda batch: weight)(values, jax.random.key(1), BATCH)[0]

    plain = weighted(None)(values, jax.random.key(1), BATCH)[0]
    np.testing.assert_allclose(value(jnp.ones(5)), plain, rtol=1e-6)
    alone = jnp.stack([value(row) for row in jnp.eye(5)])
    np.testing.assert_allclose(alone.sum(), plain, rtol=1e-5)
    weight = jnp.array([2.0, 0.0, 0.5, 1.0, jnp.nan])
    np.testing.assert_allclose(value(weight), jnp.vdot(alone[:4], weight[:4]), rtol=1e-5)
    grads = jax.jit(jax.grad(lambda values: value(weight, values)))(values)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    with pytest.raises(ValueError, match=r"weights have the shape \[4\]"):
        value(jnp.ones(4))


def test_weights_by_propensity_have_the_expectation_of_what_was_not_shown():
    """Schnabel 2016, https://arxiv.org/abs/1602.05352, equation 10: Σ δ / P over the observed is unbiased."""
    propensity = jnp.linspace(0.2, 1.0, 9)
    objective = objectives.pointwise(MODEL, losses.squared, weights=lambda batch: 1 / propensity[batch.item])
    values = variables(BATCH)
    error = losses.squared(MODEL.apply(values, BATCH.query, BATCH.item), BATCH.label)
    expected = (error / propensity[BATCH.item])[:4].mean()
    np.testing.assert_allclose(objective(values, jax.random.key(0), BATCH)[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "weighted",
    [
        partial(objectives.next_item, loss=losses.softmax_cross_entropy),
        objectives.next_item_softmax,
        partial(objectives.next_item_sampled, loss=losses.bpr, popularity=jnp.ones(9), num_negatives=4),
    ],
)
def test_sessions_are_weighed_by_row_or_by_step(weighted):
    model = GRU4Rec(9, 4)
    history = jnp.array([[1, 2, 3], [4, 5, 0]], jnp.int32)
    item = jnp.array([[2, 3, 4], [5, 6, 0]], jnp.int32)
    query = queries(history=history)
    batch = Batch(query, item, (item > 0) * 1.0, item > 0)
    values = init(model, query, item)

    def value(weight):
        return jax.jit(weighted(model, weights=weight))(values, jax.random.key(1), batch)[0]

    by_row = value(lambda batch: jnp.array([2.0, 0.5]))
    by_step = value(lambda batch: jnp.array([[2.0] * 3, [0.5, 0.5, jnp.nan]]))
    np.testing.assert_allclose(by_row, by_step, rtol=1e-6)
    np.testing.assert_allclose(value(lambda batch: jnp.ones(2)), value(None), rtol=1e-6)
    assert abs(float(by_row - value(None))) > 1e-3


def test_targets_of_the_batch_are_negatives_beside_those_drawn():
    model, drawn, count = GRU4Rec(9, 4), np.eye(9)[3], np.array([9.0, 1, 4, 2, 3, 0, 0, 0, 0])
    item = jnp.array([[2, 4, 2], [3, 2, 0]], jnp.int32)
    batch = Batch(queries(history=[[1, 2, 4], [4, 3, 0]]), item, (item > 0) * 1.0, item > 0)
    values = init(model, batch.query, item[:, 0])
    objective = objectives.next_item_sampled(
        model, losses.softmax_cross_entropy, jnp.asarray(drawn), 2, in_batch=jnp.asarray(count)
    )
    state, table = apply(model, values, batch.query, method="prefixes"), apply(model, values, method="table")
    score = np.einsum("bld,nd->bln", state, table)
    terms = []
    for own, one in zip(score.reshape(6, 9)[:5], [2, 4, 2, 3, 2], strict=True):
        negative = np.array([other for other in [3, 3, 2, 4, 2, 3, 2] if other != one])
        expected = 2 * np.maximum(drawn, 1e-12) + 5 * count / 10
        others = own[negative] - np.log(expected[negative])
        terms.append(np.log(np.exp([own[one], *others]).sum()) - own[one])
    found, _ = jax.jit(objective)(values, jax.random.key(1), batch)
    np.testing.assert_allclose(found, np.mean(terms), rtol=1e-5)


def test_a_loss_of_another_shape_is_refused_and_not_averaged():
    with pytest.raises(ValueError, match=r"the loss has the shape \[5, 5\], but what it is of has \[5\]"):
        objectives.pointwise(MODEL, lambda score, label, *, where: score[:, None] - label[None])(
            variables(BATCH), jax.random.key(0), BATCH
        )
    wrong = BATCH._replace(label=jnp.ones((5, 1)))
    with pytest.raises(ValueError, match=r"score \[5\], label \[5, 1\]"):
        objectives.pointwise(MODEL, losses.squared)(variables(BATCH), jax.random.key(0), wrong)


@pytest.mark.parametrize(
    "made",
    [
        partial(objectives.next_item, loss=losses.softmax_cross_entropy),
        objectives.next_item_softmax,
        partial(objectives.next_item_sampled, loss=losses.bpr, popularity=np.ones(9, int), num_negatives=4),
    ],
)
@pytest.mark.parametrize("unknown", [-1, 0, 9, 99])
def test_a_target_that_is_in_no_catalogue_counts_nowhere(made, unknown):
    model = GRU4Rec(9, 4)
    item = jnp.array([[2, 3, unknown]], jnp.int32)
    asked = queries(history=[[1, 2, 3]])
    values, objective = init(model, asked, item), made(model)
    where = jnp.array([[True, True, True]])

    def learnt(where):
        batch = Batch(asked, item, jnp.ones((1, 3)), where)
        return jax.jit(jax.value_and_grad(lambda v: objective(v, jax.random.key(1), batch)[0]))(values)

    whole, without = learnt(where), learnt(where.at[0, 2].set(False))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), whole, without)


def test_an_event_that_is_in_no_catalogue_is_learnt_by_no_objective():
    """As a hidden event, as the next one of a second task, and as digits."""
    history = jnp.array([[1, 2, 9, 3]], jnp.int32)
    asked, where = queries(history=history), jnp.ones((1, 4), bool)
    bert = BERT4Rec(5, 4, num_blocks=1)
    values = init(bert, asked, history[:, 0])
    batch = Batch(asked, history, jnp.ones((1, 4)), where)

    def hidden(batch, key):
        return jax.jit(objectives.cloze(bert, 1.0))(values, key, batch)[0]

    key = jax.random.key(1)
    np.testing.assert_allclose(hidden(batch, key), np.log(4), rtol=0.01)  # weights are small at first
    rank = SessionRanker({"item": 5}, partial(GRU4Rec, 5, 4), 4)
    pair = Batch(asked, jnp.array([3]), jnp.ones(1), jnp.ones(1, bool))
    values_of_two = init(rank, asked, pair.item)
    second = jax.jit(objectives.with_next_item(rank, losses.squared))(values_of_two, key, pair)[1]
    np.testing.assert_allclose(second.metrics["next_item"], np.log(4), rtol=0.01)
    tiger, asked = TIGER((3,), dim=2), queries(history=[[1, 2]])
    catalogue = {"catalogue": {"code": jnp.arange(4)[:, None]}}
    learnt = {"params": made(tiger, catalogue, asked, asked.user), **catalogue}
    told = jax.jit(objectives.next_item_likelihood(tiger))
    whole, without = (
        Batch(asked, jnp.array([[2, item]]), jnp.ones((1, 2)), jnp.array([[True, counts]]))
        for item, counts in ((99, True), (3, False))
    )
    np.testing.assert_allclose(told(learnt, key, whole)[0], told(learnt, key, without)[0], rtol=1e-6)


@pytest.mark.parametrize("kind", [objectives.sampled, objectives.shared])
def test_negatives_are_asked_for_and_a_drawn_0_is_none(kind):
    with pytest.raises(ValueError, match="num_negatives = 0: give 1 or more"):
        kind(MODEL, losses.bpr, sampling.uniform(9), 0)
    values, batch = variables(BATCH), pairs([1, 2], [3, 7])
    drawn = {False: [[4, 5]] * 3, True: [[4, 5, 0]] * 3}
    found = [
        jax.jit(kind(MODEL, losses.softmax_cross_entropy, sampling.fixed(jnp.array(of)), 2 + more))(
            values, jax.random.key(0), batch
        )[0]
        for more, of in drawn.items()
    ]
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"popularity": jnp.ones(6)}, r"popularity has the shape \[6\]: give a number for each of 9"),
        ({"popularity": jnp.zeros(9)}, "not all are 0"),
        ({"popularity": -jnp.ones(9)}, "at least 0"),
        ({"popularity": jnp.full(9, jnp.nan)}, "at least 0"),
        ({"in_batch": jnp.ones(5)}, "in_batch has the shape"),
        ({"num_negatives": 0}, "num_negatives = 0: give 1 or more"),
    ],
)
def test_frequencies_are_of_the_models_items(given, told):
    with pytest.raises(ValueError, match=told):
        objectives.next_item_sampled(
            GRU4Rec(9, 4), losses.bpr, **{"popularity": jnp.ones(9), "num_negatives": 2, **given}
        )


def test_the_objective_for_a_model_is_named():
    for objective in (objectives.next_item_softmax, partial(objectives.next_item, loss=losses.bpr)):
        with pytest.raises(ValueError, match=r"BERT4Rec has no `prefixes`.*trained by objectives\.cloze"):
            objective(BERT4Rec(9, 4))
    with pytest.raises(ValueError, match=r"GRU4Rec has no `hidden_states`.*next_item"):
        objectives.cloze(GRU4Rec(9, 4))
    with pytest.raises(ValueError, match=r"GRU4Rec has no `likelihoods`"):
        objectives.next_item_likelihood(GRU4Rec(9, 4))


def test_an_objective_may_be_made_inside_jit():
    model, counts = GRU4Rec(9, 4), jnp.ones(9)
    batch = Batch(queries(history=[[1, 2]]), jnp.array([[2, 3]]), jnp.ones((1, 2)), jnp.ones((1, 2), bool))
    values = init(model, batch.query, batch.item)

    @jax.jit
    def value(values):
        objective = objectives.next_item_sampled(model, losses.bpr, counts, 3)
        return objective(values, jax.random.key(1), batch)[0]

    assert np.isfinite(value(values))


@pytest.mark.parametrize(
    "made",
    [
        lambda plain: objectives.l2(plain, -0.1),
        lambda plain: objectives.l2(plain, {"user": 0.1, "item": float("nan")}),
        lambda plain: objectives.penalised(plain, float("inf")),
        lambda plain: objectives.with_next_item(MODEL, losses.squared, -1.0),
        lambda plain: objectives.in_order(MODEL, {"a": losses.squared}, ["a"], float("nan")),
        lambda plain: objectives.multi_task(MODEL, {"a": losses.squared}, {"a": float("nan")}),
    ],
)
def test_a_weight_that_cannot_be_is_refused(made):
    with pytest.raises(ValueError, match=r"(weight|item|a) = .*: give a finite number"):
        made(objectives.pointwise(MODEL, losses.squared))
