"""Wrong shapes are errors for users too, whose programs run without the type checks that tests have."""

import inspect
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rezoo import evaluation, losses, metrics, objectives, training
from rezoo.arrays import distinct_pairs, same_shape
from rezoo.data.batches import pairs
from rezoo.models import MF


@pytest.fixture(autouse=True)
def as_in_a_users_program(untyped):
    with jax.numpy_rank_promotion("allow"):
        yield


SCORE, WHERE, IDS = jnp.ones((3, 4)), jnp.ones((3, 4), bool), jnp.ones((3, 4), jnp.int32)
LABELLED = {"score": SCORE, "label": SCORE, "where": WHERE}
RANKED = {"rank": SCORE, "where": WHERE}
OF_ITEMS = jnp.ones(9)
WEIGHED = [metrics.debiased_recall, metrics.debiased_ndcg]
GAINED = [metrics.dcg, metrics.ndcg]
LOSSES = [getattr(losses, name) for name in losses.__all__]
LOSSES = [loss for loss in LOSSES if {"label", "where"} <= set(inspect.signature(loss).parameters)]
LOSSES = [loss for loss in LOSSES if loss not in (losses.gbce, losses.sampled_softmax)]
RANKINGS = [
    metrics.hr,
    metrics.recall,
    metrics.r_precision,
    metrics.precision,
    metrics.mrr,
    metrics.average_precision,
    metrics.average_precision_of_all,
]
CALLS = {
    **{loss: LABELLED for loss in LOSSES},
    partial(losses.gbce, rate=0.1): LABELLED,
    losses.sampled_softmax: LABELLED | {"log_q": SCORE},
    losses.soft_ranks: {"score": SCORE, "where": WHERE},
    losses.smooth(metrics.ndcg): LABELLED,
    losses.bound(metrics.ndcg): LABELLED,
    losses.catalogue_softmax: {"state": jnp.ones((3, 4, 2)), "target": IDS, "table": jnp.ones((9, 2))},
    **{metric: RANKED for metric in RANKINGS},
    **{metric: RANKED | {"gain": SCORE} for metric in GAINED},
    **{metric: RANKED | {"propensity": SCORE} for metric in WEIGHED},
    metrics.ranks: {"score": SCORE, "where": WHERE},
    metrics.target_ranks: {"score": SCORE, "target": IDS, "where": WHERE, "counted": WHERE},
    metrics.distinct: {"target": IDS, "where": WHERE},
    metrics.rmse: LABELLED,
    metrics.mae: LABELLED,
    metrics.log_loss: {"logit": SCORE, "label": SCORE, "where": WHERE},
    metrics.auc: LABELLED,
    metrics.gauc: {"score": SCORE[0], "label": SCORE[0], "user": IDS[0]},
    metrics.mean_over_users: {"value": SCORE[0], "where": WHERE[0]},
    metrics.long_tail: {"count": OF_ITEMS},
    metrics.tail_share: {"ids": IDS, "tail": OF_ITEMS > 0},
    metrics.serendipity: {"ids": IDS, "target": IDS, "expected": IDS},
    metrics.mean_popularity: {"ids": IDS, "popularity": OF_ITEMS},
    metrics.novelty: {"ids": IDS, "share": OF_ITEMS},
}
OTHERS = {
    "exponential_gain",
    "coverage",
    "gini",
    "shannon_entropy",
    "propensities",
    "ideal_dcg",
    "within",
    "hardest",
}
OTHERS |= {"intra_list_diversity", "smooth", "bound", "pairwise_logistic", "Cutoff", "Ranks", "Values"}
FREE = {
    ("target_ranks", "score"),
    ("serendipity", "ids"),
    ("serendipity", "target"),
    ("serendipity", "expected"),
}
"""Arrays whose last axis may have any length."""


def name_of(function):
    function = getattr(function, "func", function)
    return function.__name__ if function.__name__ != "loss" else function.__qualname__


def options(function):
    more = {"k": 2, "num_users": 2}
    return {name: value for name, value in more.items() if name in inspect.signature(function).parameters}


def wrong_shapes(function, arrays):
    """Every array in turn, in each of the shapes that would be broadcast."""
    for name, array in arrays.items():
        if array.ndim == 1:
            yield arrays | {name: array[:, None]}
        elif (array.shape[0], array.ndim) == (3, 2) and not {"popularity", "share", "tail"} & set(arrays):
            yield arrays | {name: array[:1]}
            yield arrays | {name: array[0]}
            yield arrays | {name: array.T}
            if (name_of(function), name) not in FREE:
                yield arrays | {name: array[:, :1]}


def test_every_loss_and_metric_is_called_here():
    everything = {*losses.__all__, *metrics.__all__}
    assert everything - OTHERS <= {name_of(function) for function in CALLS}


TRANSFORMED = {"plain": lambda f: f, "jit": jax.jit, "vmap": jax.vmap}


@pytest.mark.parametrize("how", TRANSFORMED)
@pytest.mark.parametrize("function", CALLS, ids=name_of)
def test_arrays_that_would_be_broadcast_are_refused(function, how):
    for arrays in wrong_shapes(function, CALLS[function]):
        call = TRANSFORMED[how](lambda arrays: function(**arrays, **options(function)))
        given = jax.tree.map(lambda x: x[None], arrays) if how == "vmap" else arrays
        with pytest.raises(ValueError, match=r" \[.*\].*: give|; give "):
            call(given)


@pytest.mark.parametrize("function", CALLS, ids=name_of)
def test_what_is_right_is_taken(function):
    jax.eval_shape(lambda arrays: function(**arrays, **options(function)), CALLS[function])


@pytest.mark.parametrize("function", [*CALLS, losses.smooth, losses.bound, metrics.ideal_dcg], ids=name_of)
def test_counts_below_1_are_refused(function):
    counts = {"k", "positives", "chunk"} & set(inspect.signature(function).parameters)
    arrays = CALLS.get(function, {"gain": SCORE} if function is metrics.ideal_dcg else {"metric": metrics.hr})
    for count in counts:
        for number in (0, -1, 1.5, True):
            with pytest.raises(ValueError, match=f"{count} = {number}: give 1 or more"):
                function(**arrays, **options(function) | {count: number})


def test_checks_of_shapes_can_be_turned_off():
    chex.disable_asserts()
    try:
        same_shape(score=jnp.zeros(3), label=jnp.zeros(1))
    finally:
        chex.enable_asserts()


MODEL = MF(num_users=5, num_items=9, dim=2)
BATCH = pairs([1, 2, 3], [4, 5, 6], features={"age": jnp.ones(3)})
ONE_USER = BATCH._replace(query=BATCH.query._replace(user=BATCH.query.user[:1]))
FEW_LABELS = BATCH._replace(label=BATCH.label[:2])


def test_a_step_and_an_epoch_refuse_rows_that_do_not_match():
    optimizer = optax.sgd(0.1)
    objective = objectives.pointwise(MODEL, losses.squared)
    state = training.init_state(jax.random.key(0), MODEL, optimizer, BATCH)
    step = training.make_step(objective, optimizer)
    for call in (
        lambda batch: objective(state.variables, jax.random.key(0), batch),
        lambda batch: step(state, batch),
        lambda batch: training.epoch(step, state, batch, 2),
        jax.jit(lambda batch: training.epoch(step, state, batch, 2)),
    ):
        with pytest.raises(ValueError, match=r"query\.user \[1\]"):
            call(ONE_USER)
        with pytest.raises(ValueError, match=r"label \[2\]"):
            call(FEW_LABELS)


@pytest.mark.parametrize(
    "call",
    [
        lambda v, query: evaluation.score_all(MODEL, v, query),
        lambda v, query: evaluation.predict(MODEL, v, BATCH._replace(query=query)),
        lambda v, query: evaluation.evaluate_ratings(MODEL, v, BATCH._replace(query=query)),
        lambda v, query: evaluation.recommend(MODEL, v, query, 2),
        lambda v, query: evaluation.ranks(MODEL, v, query, BATCH.item[:1, None]),
        lambda v, query: evaluation.evaluate(MODEL, v, query, BATCH.item[:1, None]),
        lambda v, query: evaluation.evaluate_sampled(MODEL, v, query, BATCH.item[:1], BATCH.item[:1, None]),
    ],
)
def test_evaluation_refuses_columns_of_a_query_that_do_not_match(call):
    variables = MODEL.init(jax.random.key(0), BATCH.query, BATCH.item)
    with pytest.raises(ValueError, match=r"query\.user \[1\].*query\.features\['age'\] \[3\]"):
        call(variables, ONE_USER.query)


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_distinct_pairs_are_numpys(rows):
    pairs = np.random.default_rng(0).integers(0, 40, (2, rows)).astype(np.int32)
    np.testing.assert_array_equal(distinct_pairs(*pairs), np.unique(pairs, axis=1))
