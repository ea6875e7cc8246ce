"""What every model must do. A new model is one more line in CASES.

Models in closed form bring the variables that their `fit` made, and are asked all but the training.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import apply, eight_devices, mostly_slow, noisy, score_all
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rezoo import evaluation, losses, objectives, sampling, training
from rezoo.data.sessions import Sessions
from rezoo.devices import sharding
from rezoo.models import (
    AFM,
    AITM,
    BSPM,
    BST,
    CFGAN,
    DIEN,
    DIN,
    DLRM,
    DNN,
    EASE,
    ESMM,
    FISM,
    FM,
    GFCF,
    GMF,
    HSTU,
    IALS,
    MF,
    MLP,
    NARM,
    NFM,
    PLE,
    SKNN,
    SLIM,
    SRGNN,
    STAMP,
    TIFUKNN,
    TIGER,
    UPCF,
    VSKNN,
    AutoInt,
    BERT4Rec,
    BiasedMF,
    Blend,
    Caser,
    CoOccurrence,
    DCNv2,
    DeepFM,
    FeatureKNN,
    FeatureMF,
    FeatureNeuMF,
    FiBiNET,
    FinalMLP,
    FuXi,
    GRU4Rec,
    IAutoRec,
    ItemKNN,
    LightGCN,
    LocalEASE,
    LRURec,
    MaskNet,
    MMoE,
    MultDAE,
    MultVAE,
    NeuMF,
    NextItNet,
    Popularity,
    RepeatExplore,
    RP3beta,
    SASRec,
    SessionPopularity,
    SessionRanker,
    SharedBottom,
    SimpleX,
    SVDpp,
    TopFreq,
    TwoTower,
    UAutoRec,
    WideDeep,
    XDeepFM,
    YouTubeDNN,
    YouTubeRanker,
    eSASRec,
)
from rezoo.models.baselines import cooccurrence, feature_knn, popularity, tifu_knn, top_freq, upcf
from rezoo.models.factorization import (
    bspm,
    ease,
    gfcf,
    ials,
    item_knn,
    item_lists,
    lightgcn,
    local_ease,
    rp3beta,
    simplex,
    slim,
)
from rezoo.models.ranking import blend, din, dlrm, fibinet, masknet, session_ranker
from rezoo.models.ranking.dcn import stacked
from rezoo.models.session import narm, neighbours, stamp
from rezoo.nn.interaction import GatedCross, LowRankCross
from rezoo.nn.recurrent import LSTM, hard_sigmoid
from rezoo.nn.similarity import cosine
from rezoo.objectives.forward import forward, item_vectors
from rezoo.serving import model_json
from rezoo.training import row_sparse
from rezoo.types import Batch, Query, Target

USERS, ITEMS, L = 7, 11, 5
CATALOGUE = {
    "category": jnp.arange(ITEMS, dtype=jnp.int32) % 4,
    "price": jnp.linspace(0.0, 1.0, ITEMS),
}
CODES = jnp.array(
    [[0, 0, 0], *([a, b, c] for a in (1, 2, 3) for b in (1, 2) for c in (1, 2))][:ITEMS], jnp.int32
)
RATERS = {
    "rater": (jnp.arange(2 * ITEMS, dtype=jnp.int32).reshape(ITEMS, 2) % USERS).at[0].set(0),
    "rating": jnp.linspace(1.0, 5.0, 2 * ITEMS).reshape(ITEMS, 2).at[0].set(0.0),
}
SGD = optax.sgd(0.1)
PLATFORMS = ("cpu", "cuda", "tpu")
TASKS = ("purchase", "click")
USER_FEATURES = {"age": 4, "genres": 5, "hour": None}
ITEM_FEATURES = {"category": 4, "price": None}
FEATURES: dict[str, Any] = {"user_features": USER_FEATURES, "item_features": ITEM_FEATURES}
SIZES = {"user": USERS, "item": ITEMS, "age": 4, "genres": 5, "category": 4}


LOG = np.array(
    [[1, 2, 3, 4, 5], [2, 3, 0, 0, 0], [5, 2, 3, 1, 0], [6, 7, 8, 9, 10], [1, 6, 6, 0, 0], [4, 0, 0, 0, 0]]
)


WHOLE = ("every_item", "cloze")
"""Objectives that take whole histories and use the table as a whole."""


class Case(NamedTuple):
    model: nn.Module
    objective: str = "pointwise"
    constants: Any = {}
    fitted: Any = None
    """The variables of a model in closed form, by its `fit` to LOG."""


CASES = {
    "MF": Case(MF(USERS, ITEMS, 4), "pairwise"),
    "BiasedMF": Case(BiasedMF(USERS, ITEMS, 4, mean=3.0)),
    "FISM": Case(FISM(ITEMS, 4), "pairwise"),
    "SimpleX": Case(SimpleX(USERS, ITEMS, 4, weights=simplex.UserAttention, dropout=0.3), "pairwise"),
    "LightGCN": Case(
        LightGCN(USERS, ITEMS, 4, num_layers=2),
        "pairwise",
        {"graph": lightgcn.graph(np.repeat(np.arange(1, USERS), L), LOG.ravel(), USERS, ITEMS)},
    ),
    "SVDpp": Case(SVDpp(USERS, ITEMS, 4, mean=3.0)),
    "GMF": Case(GMF(USERS, ITEMS, 4), "pairwise"),
    "MLP": Case(MLP(USERS, ITEMS, (8, 4), dropout=0.3), "pairwise"),
    "NeuMF": Case(NeuMF(USERS, ITEMS, 4, widths=(8, 4), dropout=0.3), "pairwise"),
    "FeatureMF": Case(
        FeatureMF(USERS, ITEMS, USER_FEATURES, ITEM_FEATURES, 4),
        "pairwise",
        {"catalogue": CATALOGUE},
    ),
    "FeatureNeuMF": Case(
        FeatureNeuMF(USERS, ITEMS, USER_FEATURES, ITEM_FEATURES, 4, widths=(8, 4), dropout=0.3),
        "pairwise",
        {"catalogue": CATALOGUE},
    ),
    "WideDeep": Case(
        WideDeep(SIZES, crosses=(("age", "category"),), buckets=13, dim=4, widths=(8,), dropout=0.3),
        constants={"catalogue": CATALOGUE},
    ),
    "FM": Case(FM(SIZES, 4, mean=0.1), constants={"catalogue": CATALOGUE}),
    "NFM": Case(NFM(SIZES, 4, widths=(8,), dropout=0.1), constants={"catalogue": CATALOGUE}),
    "DeepFM": Case(DeepFM(SIZES, 4, widths=(8,), dropout=0.3), constants={"catalogue": CATALOGUE}),
    "DeepFM-batch-norm": Case(
        DeepFM(SIZES, 4, widths=(8,), batch_norm=True), constants={"catalogue": CATALOGUE}
    ),
    "AFM": Case(AFM(SIZES, 4, attention_width=3, dropout=0.1), constants={"catalogue": CATALOGUE}),
    "DNN": Case(DNN(SIZES, 4, widths=(8,), dropout=0.3), constants={"catalogue": CATALOGUE}),
    "DCNv2": Case(
        DCNv2(SIZES, 4, num_crosses=2, widths=(8,), dropout=0.3), constants={"catalogue": CATALOGUE}
    ),
    "DCNv2-low-rank-stacked": Case(
        DCNv2(
            SIZES,
            4,
            num_crosses=2,
            widths=(8,),
            cross=functools.partial(LowRankCross, rank=3, experts=2),
            structure=stacked,
        ),
        constants={"catalogue": CATALOGUE},
    ),
    "DLRM": Case(DLRM(SIZES, 4, widths=(8,), bottom=(6,), dropout=0.3), constants={"catalogue": CATALOGUE}),
    "XDeepFM": Case(
        XDeepFM(SIZES, 4, widths=(8,), maps=(3, 2), dropout=0.3), constants={"catalogue": CATALOGUE}
    ),
    "FinalMLP": Case(
        FinalMLP(
            SIZES,
            4,
            widths=(8,),
            second_widths=(6,),
            gates=(("user", "hour"), ("item", "price")),
            gate_widths=(5,),
            dropout=0.3,
        ),
        constants={"catalogue": CATALOGUE},
    ),
    "MaskNet": Case(
        MaskNet(SIZES, 4, widths=(8,), blocks=(6, 5), dropout=0.3), constants={"catalogue": CATALOGUE}
    ),
    "FiBiNET": Case(FiBiNET(SIZES, 4, widths=(8,), dropout=0.3), constants={"catalogue": CATALOGUE}),
    "AutoInt": Case(
        AutoInt(SIZES, 4, num_layers=2, heads=2, head_width=3), constants={"catalogue": CATALOGUE}
    ),
    "AutoInt-plus": Case(
        AutoInt(SIZES, 4, num_layers=1, heads=2, head_width=3, widths=(8,), dropout=0.3, batch_norm=True),
        constants={"catalogue": CATALOGUE},
    ),
    "UAutoRec": Case(UAutoRec(ITEMS, 4, mean=3.0)),
    "IAutoRec": Case(IAutoRec(USERS, 4, mean=3.0), constants={"catalogue": RATERS}),
    "MultDAE": Case(MultDAE(ITEMS, 6, dropout=0.3), "every_item"),
    "MultVAE": Case(MultVAE(ITEMS, hidden=6, latent=3, dropout=0.3), "every_item"),
    "CFGAN": Case(CFGAN(ITEMS, generator_widths=(6, 5), discriminator_widths=(4,)), "pairwise"),
    "SharedBottom": Case(
        SharedBottom(SIZES, TASKS, 4, widths=(8,), tower=(4,), dropout=0.3),
        "multi_task",
        {"catalogue": CATALOGUE},
    ),
    "MMoE": Case(
        MMoE(SIZES, TASKS, 4, experts=3, widths=(8,), tower=(4,), dropout=0.3),
        "multi_task",
        {"catalogue": CATALOGUE},
    ),
    "PLE": Case(
        PLE(
            SIZES,
            TASKS,
            4,
            levels=2,
            num_task_experts=2,
            num_shared_experts=1,
            widths=(8,),
            tower=(4,),
            dropout=0.3,
        ),
        "multi_task",
        {"catalogue": CATALOGUE},
    ),
    "ESMM": Case(ESMM(SIZES, 4, widths=(8,), dropout=0.3), "multi_task", {"catalogue": CATALOGUE}),
    "AITM": Case(
        AITM(SIZES, ("click", "purchase"), 4, widths=(8,), dropout=0.3),
        "multi_task",
        {"catalogue": CATALOGUE},
    ),
    "DIN": Case(DIN(SIZES, 4, widths=(8, 6), dropout=0.3), constants={"catalogue": CATALOGUE}),
    "DIN-mean": Case(DIN(SIZES, 4, widths=(8,), weights=din.Mean), constants={"catalogue": CATALOGUE}),
    "BST": Case(BST(SIZES, 4, widths=(8,), max_length=3, dropout=0.3), constants={"catalogue": CATALOGUE}),
    "DIEN": Case(DIEN(SIZES, 4, widths=(8,), dropout=0.3), constants={"catalogue": CATALOGUE}),
    "SessionRanker": Case(
        SessionRanker(SIZES, functools.partial(GRU4Rec, ITEMS, 4, **FEATURES), 4),
        constants={"catalogue": CATALOGUE},
    ),
    "SessionRanker-factors": Case(
        SessionRanker(
            SIZES,
            functools.partial(SASRec, ITEMS, 4, num_blocks=1, max_length=L, dropout=0.3),
            4,
            head=session_ranker.Factors,
            mean=0.5,
        ),
        constants={"catalogue": CATALOGUE},
    ),
    "RepeatExplore": Case(
        RepeatExplore(ITEMS, functools.partial(GRU4Rec, ITEMS, 4, **FEATURES), 4, places=3),
        "pairwise",
        {"catalogue": CATALOGUE},
    ),
    "YouTubeDNN": Case(YouTubeDNN(ITEMS, SIZES, 4, widths=(8,), dropout=0.3), "pairwise"),
    "YouTubeRanker": Case(
        YouTubeRanker(SIZES, 4, widths=(8,), dropout=0.3), constants={"catalogue": CATALOGUE}
    ),
    "TwoTower": Case(TwoTower(SIZES, 4, widths=(8, 6), dropout=0.3), "pairwise", {"catalogue": CATALOGUE}),
    "GRU4Rec": Case(GRU4Rec(ITEMS, 4, dropout=0.3), "next_item"),
    "GRU4Rec-2-LSTM-tied": Case(GRU4Rec(ITEMS, 4, num_layers=2, cell=LSTM, tied=True), "next_item"),
    "NARM": Case(NARM(ITEMS, 4, hidden=5, dropout=0.3), "next_item_softmax"),
    "NARM-cosine": Case(NARM(ITEMS, 4, hidden=5, similarity=cosine(8.0)), "next_item_softmax"),
    "STAMP": Case(STAMP(ITEMS, 4, dropout=0.3), "next_item_softmax"),
    "SRGNN": Case(SRGNN(ITEMS, 4, dropout=0.3, **FEATURES), "next_item_softmax", {"catalogue": CATALOGUE}),
    "SASRec": Case(SASRec(ITEMS, 4, num_heads=2, max_length=L, dropout=0.3), "next_item_softmax"),
    "eSASRec": Case(
        eSASRec(ITEMS, 4, num_blocks=1, num_heads=2, max_length=L, dropout=0.3), "next_item_softmax"
    ),
    "HSTU": Case(
        HSTU(ITEMS, 4, num_blocks=1, num_heads=2, max_length=L, dropout=0.3, **FEATURES),
        "next_item_softmax",
        {"catalogue": CATALOGUE},
    ),
    "FuXi": Case(
        FuXi(ITEMS, 4, num_blocks=1, num_heads=2, max_length=L, dropout=0.3, **FEATURES),
        "next_item_softmax",
        {"catalogue": CATALOGUE},
    ),
    "BERT4Rec": Case(
        BERT4Rec(ITEMS, 8, num_blocks=1, max_length=L, dropout=0.1, **FEATURES),
        "cloze",
        {"catalogue": CATALOGUE},
    ),
    "TIGER": Case(
        TIGER((3, 2, 2), 4, num_blocks=1, max_length=L, dropout=0.1),
        "next_item_likelihood",
        {"catalogue": {"code": CODES}},
    ),
    "LRURec": Case(
        LRURec(ITEMS, 4, num_blocks=1, dropout=0.3, **FEATURES), "next_item_softmax", {"catalogue": CATALOGUE}
    ),
    "Caser": Case(
        Caser(ITEMS, 4, num_users=USERS, window=3, horizontal=2, vertical=2, dropout=0.3), "next_item_softmax"
    ),
    "NextItNet": Case(NextItNet(ITEMS, 4, dilations=(1, 2), kernel=2, dropout=0.3), "next_item_softmax"),
    "GRU4Rec-features": Case(
        GRU4Rec(ITEMS, 4, num_layers=2, cell=LSTM, dropout=0.3, **FEATURES),
        "next_item_softmax",
        {"catalogue": CATALOGUE},
    ),
    "NARM-features": Case(
        NARM(ITEMS, 4, hidden=5, **FEATURES), "next_item_softmax", {"catalogue": CATALOGUE}
    ),
    "STAMP-features": Case(STAMP(ITEMS, 4, **FEATURES), "next_item_softmax", {"catalogue": CATALOGUE}),
    "SASRec-features": Case(
        SASRec(ITEMS, 4, num_heads=2, max_length=L, **FEATURES),
        "next_item_softmax",
        {"catalogue": CATALOGUE},
    ),
    "Caser-features": Case(
        Caser(ITEMS, 4, num_users=0, window=3, horizontal=2, vertical=2, **FEATURES),
        "next_item_softmax",
        {"catalogue": CATALOGUE},
    ),
    "NextItNet-features": Case(
        NextItNet(ITEMS, 4, dilations=(1, 2), kernel=2, **FEATURES),
        "next_item_softmax",
        {"catalogue": CATALOGUE},
    ),
}
VISITS = Sessions(LOG[LOG > 0], np.append(0, np.cumsum((LOG > 0).sum(1))), np.arange(6))
FOLLOWED = cooccurrence.fit(LOG, ITEMS, window=2)
BOUGHT = np.repeat(np.arange(1, USERS), L), LOG.ravel(), np.tile(np.arange(L) // 2, USERS - 1)
PAIRS = len({(u, i) for u, i in zip(*BOUGHT[:2], strict=True) if i})
WALKS = rp3beta.fit(LOG, ITEMS, neighbours=5)
SHARPENED = bspm.fit(LOG, ITEMS, factors=3)
FILTERED = gfcf.fit(LOG, ITEMS, factors=3)
SPARSE = slim.fit(LOG, ITEMS, l1=0.1, l2=0.5)
READER = functools.partial(GRU4Rec, ITEMS, 4, item_features=ITEM_FEATURES)
LOCAL = local_ease.fit(LOG, ITEMS, l2=2.0, candidates=5)


def blended():
    """A network and neighbours, each with its weight."""
    query = Query(np.zeros(6, np.int32), LOG.astype(np.int32), {})
    rows = Batch(query, query.history, np.ones(LOG.shape, np.float32), LOG > 0)
    init = functools.partial(training.init_state, jax.random.key(0), READER(), SGD)
    read = jax.jit(functools.partial(init, constants={"catalogue": CATALOGUE}))(rows).variables
    past = neighbours.fit(VISITS, ITEMS, recent=3, longest=4)
    weights = {"weight_reads": 0.8, "weight_past": 0.5, "log_floor_past": -1.0}
    return blend.joined({"reads": read, "past": past}, **weights)


CASES |= {
    "Popularity": Case(Popularity(ITEMS), fitted=popularity.fit(LOG, ITEMS)),
    "CoOccurrence": Case(CoOccurrence(ITEMS, len(FOLLOWED["params"]["follower"]), memory=2), fitted=FOLLOWED),
    "TopFreq": Case(
        TopFreq(USERS, ITEMS, pairs=PAIRS),
        fitted=top_freq.fit(*BOUGHT[:2], USERS, ITEMS),
    ),
    "TIFUKNN": Case(TIFUKNN(USERS, ITEMS, PAIRS, 4), fitted=tifu_knn.fit(*BOUGHT, USERS, ITEMS, k=3)),
    "UPCF": Case(UPCF(USERS, ITEMS, PAIRS, 4), fitted=upcf.fit(*BOUGHT, USERS, ITEMS, k=3)),
    "SessionPopularity": Case(SessionPopularity(ITEMS), fitted=popularity.fit(LOG, ITEMS)),
    "SKNN": Case(
        SKNN(ITEMS, 7, recent=3, longest=4), fitted=neighbours.fit(VISITS, ITEMS, recent=3, longest=4)
    ),
    "VSKNN": Case(
        VSKNN(ITEMS, 7, recent=3, longest=4), fitted=neighbours.fit(VISITS, ITEMS, recent=3, longest=4)
    ),
    "FeatureKNN": Case(
        FeatureKNN(USERS, ITEMS),
        fitted=feature_knn.fit(
            np.repeat(np.arange(1, USERS), L),
            LOG.ravel(),
            np.random.default_rng(0).random((USERS, 3)),
            np.random.default_rng(1).random((ITEMS, 4)),
            k=2,
        ),
    ),
    "Blend": Case(
        Blend(
            ITEMS,
            {"reads": READER, "past": functools.partial(SKNN, ITEMS, 7, recent=3, longest=4)},
            counts=["past"],
        ),
        fitted=blended(),
    ),
    "EASE": Case(EASE(ITEMS), fitted=ease.fit(LOG, ITEMS, l2=2.0)),
    "ItemKNN": Case(ItemKNN(ITEMS), fitted=item_knn.fit(LOG, ITEMS, neighbours=3)),
    "RP3beta": Case(RP3beta(ITEMS, item_lists.num_pairs(WALKS)), fitted=WALKS),
    "BSPM": Case(BSPM(ITEMS, 3), fitted=SHARPENED),
    "GFCF": Case(GFCF(ITEMS, item_lists.num_pairs(FILTERED), 3), fitted=FILTERED),
    "SLIM": Case(SLIM(ITEMS, item_lists.num_pairs(SPARSE)), fitted=SPARSE),
    "LocalEASE": Case(LocalEASE(ITEMS, item_lists.num_pairs(LOCAL)), fitted=LOCAL),
    "IALS": Case(
        IALS(USERS, ITEMS, 4),
        fitted=ials.fit(jax.random.key(0), np.repeat(np.arange(1, USERS), L), LOG.ravel(), USERS, ITEMS, 4),
    ),
}
TRAINED = {name: case for name, case in CASES.items() if case.fitted is None}
LIKE_OTHERS = {
    "AFM",
    "AITM",
    "AutoInt-plus",
    "BERT4Rec",
    "BST",
    "Caser-features",
    "DIEN",
    "DeepFM-batch-norm",
    "FeatureNeuMF",
    "FiBiNET",
    "FinalMLP",
    "FuXi",
    "LRURec",
    "MaskNet",
    "NARM-cosine",
    "NextItNet-features",
    "PLE",
    "SASRec-features",
    "SRGNN",
    "STAMP-features",
    "SessionRanker",
    "SharedBottom",
    "XDeepFM",
    "YouTubeRanker",
    "eSASRec",
}
"""Tested by `-m slow` alone: what they are made of is in every run, in models such as DNN, DIN, MMoE, SASRec,
HSTU and GRU4Rec."""


def all_of(cases: Iterable[str]) -> pytest.MarkDecorator:
    """Of module scope, so that pytest runs all tests of a model one after the other: they share what is
    compiled."""
    return pytest.mark.parametrize("name", mostly_slow(cases, CASES.keys() - LIKE_OTHERS), scope="module")


every_model = all_of(TRAINED)


def queries(rows: int, seed: int = 0) -> Query:
    return jax.device_put(numpy_queries(rows, seed))


def numpy_queries(rows: int, seed: int) -> Query:
    """Random users with histories of 0 … L events, padded on the right."""
    rng = np.random.default_rng(seed)
    history = rng.integers(1, ITEMS, (rows, L))
    history[np.arange(L) >= rng.integers(0, L + 1, rows)[:, None]] = 0
    features = {
        "age": rng.integers(0, 4, rows).astype(np.int32),
        "genres": rng.integers(0, 5, (rows, 3)).astype(np.int32),
        "hour": rng.random(rows).astype(np.float32),
    }
    user = rng.integers(0, USERS, rows).astype(np.int32)
    return Query(user, history.astype(np.int32), features)


def batch_for(case: Case, rows: int = 16, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    query = numpy_queries(rows, seed)
    if case.objective.startswith("next_item"):
        following = np.roll(query.history, -1, axis=1)
        following[:, -1] = 0
        return jax.device_put(Batch(query, following, (following > 0).astype(np.float32), following > 0))
    if case.objective in WHOLE:
        real = query.history > 0
        return jax.device_put(Batch(query, query.history, real.astype(np.float32), real))
    item = rng.integers(1, ITEMS, rows).astype(np.int32)
    label = rng.integers(0, 2, rows).astype(np.float32)
    known = rng.random(rows) < 0.7
    second, all_rows = Target(rng.integers(0, 2, rows).astype(np.float32), known), np.ones(rows, bool)
    tasks = {"purchase": Target(label, all_rows), "click": second} if case.objective == "multi_task" else {}
    return jax.device_put(Batch(query, item, label, all_rows, tasks))


def nothing(tree):
    """0 in the place of every number."""
    return jax.device_put(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), tree))


def objective_for(case: Case):
    return {
        "pointwise": lambda: objectives.pointwise(case.model, losses.logistic),
        "pairwise": lambda: objectives.sampled(case.model, losses.bpr, sampling.uniform(ITEMS), 2),
        "every_item": lambda: objectives.penalised(
            objectives.every_item(case.model, losses.softmax_cross_entropy), 0.1
        ),
        "cloze": lambda: objectives.cloze(case.model, 0.4, last=0.3),
        "multi_task": lambda: objectives.multi_task(case.model, dict.fromkeys(TASKS, losses.logistic)),
        "next_item_softmax": lambda: objectives.next_item_softmax(case.model, chunk=4),
        "next_item_likelihood": lambda: objectives.next_item_likelihood(case.model),
        "next_item": lambda: objectives.next_item(case.model, losses.softmax_cross_entropy),
    }[case.objective]()


def first_state(name: str):
    case = CASES[name]
    return training.init_state(jax.random.key(0), case.model, SGD, batch_for(case), constants=case.constants)


@functools.cache
def _initial(name: str):
    # Compiled by itself, as it is kept and so may not belong to a program that is being traced.
    return jax.jit(functools.partial(first_state, name)).lower().compile()()


def initial(name: str, optimizer: optax.GradientTransformation = SGD):
    """The state before the first step; each model's is compiled and made once."""
    state = _initial(name)
    return state._replace(opt_state=optimizer.init(state.params))


@functools.cache
def stepper(name: str):
    return jax.jit(training.make_step(objective_for(CASES[name]), SGD))


@functools.cache
def variables_of(name: str):
    """What was fitted, or noisy variables."""
    if CASES[name].fitted is not None:
        return CASES[name].fitted
    state = initial(name)
    return {"params": noisy(state.params, 0.3), **state.constants}


every_scorer = all_of(CASES)
ALWAYS = {"MF", "FeatureMF", "NFM", "MultVAE", "DIN", "MMoE", "GRU4Rec", "SASRec", "EASE"}
"""Programs that one test alone needs are compiled for these in every run, for the others by `-m slow`."""
FEW = {"FeatureMF", "MultVAE", "SASRec"}
"""Likewise, where the programs are large."""


KINDS = {
    *("MF", "FISM", "LightGCN", "SVDpp", "NeuMF", "FeatureMF", "TwoTower"),
    *("DCNv2", "DeepFM-batch-norm", "DIN", "MMoE", "UAutoRec", "IAutoRec", "MultVAE", "CFGAN"),
    *("GRU4Rec", "NARM-features", "SASRec", "BERT4Rec", "LRURec", "Caser", "SRGNN", "TIGER"),
    *("Popularity", "CoOccurrence", "TIFUKNN", "VSKNN", "EASE", "RP3beta", "IALS"),
}
"""One of each kind. Of the others, what JAX transforms by itself is only traced: that is where a model fails
which cannot be transformed."""


def mostly_long(cases: Iterable[str], always: set[str] = ALWAYS) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", mostly_slow(cases, always), scope="module")


MAY_BE_0 = {"num_blocks", "num_crosses", "num_digit_blocks", "num_pairs", "num_shared_experts", "num_steps"}
MAY_BE_0 |= {"levels", "num_task_experts", "pairs", "AutoInt.num_layers", "LightGCN.num_layers"}
MAY_BE_0 |= {"Caser.num_users", "FM.dim"}
"""Sizes of all models, or of one."""


@every_scorer
def test_a_size_that_cannot_be_is_refused_where_it_is_given(name, untyped):
    model = CASES[name].model
    for field in dataclasses.fields(model):
        value, kind = getattr(model, field.name), type(model).__name__
        for number in (0, -1, 2.5, "8"):
            if type(value) is int:
                given = number
            elif isinstance(value, tuple) and value and type(value[0]) is int:
                given = (number, *value[1:])
            elif isinstance(value, Mapping) and value and all(type(one) is int for one in value.values()):
                given = dict(value) | {next(iter(value)): number}
            else:
                break
            if number != 0 or not {field.name, f"{kind}.{field.name}"} & MAY_BE_0:
                with pytest.raises(ValueError, match=rf"^{kind}: {field.name}.* = .*: give "):
                    dataclasses.replace(model, **{field.name: given})


@every_scorer
def test_it_is_rebuilt_from_what_is_saved_of_it(name):
    described = json.dumps(model_json.describe(CASES[name].model))
    assert json.dumps(model_json.describe(model_json.rebuild(json.loads(described), ITEMS))) == described


@every_scorer
def test_pairs_slates_and_the_whole_catalogue_agree(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    whole = score_all(model, variables, query)
    assert whole.shape == (6, ITEMS)
    slate = jax.device_put(np.tile(np.arange(ITEMS, dtype=np.int32), (6, 1)))
    np.testing.assert_allclose(apply(model, variables, query, slate), whole, rtol=1e-4, atol=1e-5)
    item = np.array([1, 4, 2, 0, 10, 3], np.int32)
    pairs = apply(model, variables, query, item)
    np.testing.assert_allclose(pairs, np.asarray(whole)[np.arange(6), item], rtol=1e-4, atol=1e-5)
    assert np.ptp(np.asarray(whole)) > 0


@every_scorer
def test_encode_and_table_give_the_score(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    if not hasattr(model, "encode"):
        pytest.skip("not a retriever")
    table = apply(model, variables, method="table")
    inner = apply(model, variables, query, method="encode") @ table.T
    slate = jax.device_put(np.tile(np.arange(ITEMS, dtype=np.int32), (6, 1)))
    np.testing.assert_allclose(inner, apply(model, variables, query, slate), rtol=1e-4, atol=1e-5)
    if hasattr(model, "prefixes"):
        assert hasattr(model, "vectors"), "a session model is trained by row through `vectors`"
    if hasattr(model, "vectors"):
        vectors = apply(model, variables, slate, method="vectors")
        np.testing.assert_allclose(vectors, table[slate], rtol=1e-5, atol=1e-6)


@every_scorer
def test_a_penalty_finds_the_same_tables_by_encode_and_by_a_call(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    if not hasattr(model, "encode"):
        pytest.skip("not a retriever")

    def by_encode(module, query, item):
        return module.encode(query), item_vectors(module, item)

    item, tables = np.arange(1, 7, dtype=np.int32), []
    for method in (None, by_encode):
        train = functools.partial(forward, model, method=method)
        _, written = jax.eval_shape(train, variables, jax.random.key(0), query, item)
        rows = jax.tree_util.tree_leaves_with_path(written.get("rows", {}))
        tables.append({jax.tree_util.keystr(path[:-1]) for path, _ in rows})
    of_own_item = {"['taken']['rows']['rows']"}  # of FISM, which leaves it out of the history
    assert tables[0] - of_own_item <= tables[1]  # the call may multiply a small table whole


@every_scorer
def test_each_prefix_is_the_encoding_of_the_history_so_far(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    if not hasattr(model, "prefixes"):
        pytest.skip("not a session model")
    prefixes = np.asarray(apply(model, variables, query, method="prefixes"))
    for t in range(L):
        history = np.where(np.arange(L) <= t, query.history, 0)
        encoded = apply(model, variables, query._replace(history=jnp.asarray(history)), method="encode")
        real = np.asarray(query.history)[:, t] > 0
        np.testing.assert_allclose(prefixes[real, t], np.asarray(encoded)[real], rtol=1e-4, atol=1e-5)


@every_scorer
def test_the_unknown_gets_a_finite_score(name):
    model, variables = CASES[name].model, variables_of(name)
    nobody, items = nothing(queries(6)), np.arange(6, dtype=np.int32)
    score = np.asarray(apply(model, variables, nobody, items))
    assert np.isfinite(score).all()
    beyond = apply(model, variables, nobody._replace(user=nobody.user + USERS + 5), items)
    np.testing.assert_allclose(beyond, score, rtol=1e-5)
    below = nobody._replace(user=nobody.user - 2, history=nobody.history - 2)
    np.testing.assert_allclose(apply(model, variables, below, items), score, rtol=1e-5)
    for no_item in (ITEMS + 3, -2):
        new = apply(model, variables, nobody, np.full(6, no_item, np.int32))
        np.testing.assert_allclose(new, np.full(6, score[0]), rtol=1e-5)


IN_OTHER_WORDS = {"DLRM": "the columns of numbers", "TIGER": "TIGER reads the column `code`"}
"""How an error begins that does not quote the column."""


@every_scorer
def test_a_column_that_it_reads_is_asked_for_by_name(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    item, catalogue = np.arange(1, 7, dtype=np.int32), variables.get("catalogue", {})
    score = apply(model, variables, query, item)

    def lacks(column: str):
        features, columns = (
            {other: values for other, values in given.items() if other != column}
            for given in (query.features, catalogue)
        )
        rest = {**variables, "catalogue": columns} if catalogue else variables
        return apply(model, rest, query._replace(features=features), item)

    for column in (*query.features, *catalogue):
        try:
            np.testing.assert_array_equal(lacks(column), score, err_msg=column)
        except ValueError as error:
            named = repr(column) in str(error)
            assert named or (name in IN_OTHER_WORDS and str(error).startswith(IN_OTHER_WORDS[name]))


@every_scorer
def test_scoring_is_repeatable_and_training_draws_dropout(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    item = np.arange(1, 7, dtype=np.int32)
    np.testing.assert_array_equal(apply(model, variables, query, item), apply(model, variables, query, item))
    if getattr(model, "dropout", 0.0) > 0:
        dropped = apply(model, variables, query, item, rngs={"dropout": jax.random.key(0)})
        assert not np.allclose(dropped, apply(model, variables, query, item))


@mostly_long(TRAINED)
def test_training_lowers_the_loss(name):
    case = CASES[name]
    optimizer = optax.adam(0.05)
    step = training.make_step(objective_for(case), optimizer)
    train = jax.jit(lambda state: training.fit(step, state, batch_for(case), num_epochs=40, batch_size=8))
    state, history = train(initial(name, optimizer))
    assert np.mean(history["loss"][-5:]) < 0.9 * float(history["loss"][0])
    assert not bool(state.halted)


@mostly_long(TRAINED, FEW)
def test_products_of_bfloat16_give_float32s_gradient_but_for_their_rounding(name):
    state, batch, objective = initial(name), batch_for(CASES[name]), objective_for(CASES[name])
    params = noisy(state.params, 0.1)

    def value(objective, params):
        return objective({"params": params, **state.constants}, jax.random.key(1), batch)[0]

    both = [
        jax.jit(jax.value_and_grad(functools.partial(value, one)))
        for one in (objective, objectives.mixed(objective))
    ]
    chex.assert_trees_all_equal_dtypes(*(jax.eval_shape(one, params) for one in both))
    if name not in KINDS:
        return
    found = [one(params) for one in both]
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=0.02)
    whole, low = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(one[1])]) for one in found)
    assert whole @ low > 0.9 * np.linalg.norm(whole) * np.linalg.norm(low)


@every_model
def test_rows_that_do_not_count_change_nothing(name):
    case = CASES[name]
    batch = batch_for(case)
    rows = np.arange(16) >= 10

    def along(x):
        return rows.reshape(-1, *[1] * (x.ndim - 1))

    masked = batch._replace(where=np.asarray(batch.where) & ~along(batch.item))
    swapped = jax.tree.map(lambda a, b: np.where(along(a), b, a), batch, batch_for(case, seed=5))
    swapped = swapped._replace(where=masked.where)
    one, _ = stepper(name)(initial(name), masked)
    two, _ = stepper(name)(initial(name), swapped)
    chex.assert_trees_all_close(one.params, two.params, rtol=1e-5, atol=1e-7)


@every_model
def test_a_batch_of_padding_alone_moves_nothing(name):
    case = CASES[name]
    batch = nothing(batch_for(case))
    state = initial(name)
    new, metrics = stepper(name)(state, batch)
    assert float(metrics["loss"]) == 0.0 and not bool(new.halted)
    chex.assert_trees_all_equal(new.params, state.params)


@mostly_long(TRAINED, FEW)
def test_a_vmapped_study_equals_single_runs(name):
    case = CASES[name]

    def train(seed, rate):
        optimizer = optax.adam(rate)
        step = training.make_step(objective_for(case), optimizer)
        state = initial(name, optimizer)._replace(key=jax.random.key(seed))
        return training.epoch(step, state, batch_for(case), 4)

    seeds, rates = jnp.array([3, 4]), jnp.array([0.01, 0.03])
    study = jax.jit(jax.vmap(jax.vmap(train, (0, None)), (None, 0)))
    if name not in KINDS:
        states, means = jax.eval_shape(study, seeds, rates)
        assert means["loss"].shape == states.step.shape == (2, 2)
        return
    states, means = study(seeds, rates)
    state, mean = jax.jit(train)(seeds[1], rates[0])
    # Batch statistics of four rows blow up rounding.
    rounding = 2e-3 if "batch_stats" in state.constants else 1e-4
    np.testing.assert_allclose(means["loss"][0, 1], mean["loss"], rtol=rounding)
    assert len({float(loss) for loss in means["loss"].ravel()}) == 4
    assert (states.step == 4).all()


BOTH_ROUTES = {"FeatureMF"}


def by_row(case: Case):
    """The objective of a model whose tables are trained by row."""
    if case.objective in ("next_item", "next_item_softmax"):
        popularity = jnp.ones(ITEMS)
        objective = objectives.next_item_sampled(case.model, losses.softmax_cross_entropy, popularity, 4)
        return objective
    return objective_for(case)


@eight_devices
@mostly_long(TRAINED, {"FeatureMF"})
def test_tables_spread_over_eight_devices_are_trained_as_on_one(name):
    if CASES[name].objective in WHOLE:
        pytest.skip("its tables are used as a whole")
    case, mesh = CASES[name], jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    objective = by_row(case)
    optimizers, batch = (SGD, row_sparse.adagrad(0.1)), batch_for(case)
    init = functools.partial(row_sparse.init_state, jax.random.key(0), case.model, *optimizers, batch)
    make = functools.partial(init, constants=case.constants)
    # What is only traced needs no numbers, which would be compiled.
    state = jax.jit(make)() if name in KINDS else jax.eval_shape(make)
    specs = row_sparse.rules(state)
    place = functools.partial(sharding.sharded, specs=specs, mesh=mesh)
    placed = place(state) if name in KINDS else jax.eval_shape(place, state)
    spread = sharding.spread(batch, mesh)
    alone = jax.jit(row_sparse.make_step(objective, *optimizers))
    for route in [sharding.all_to_all()] + [sharding.gather_ids()] * (name in BOTH_ROUTES):
        together = jax.jit(
            row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(mesh, routes=[route]))
        )
        if name not in KINDS:
            made = jax.eval_shape(together, placed, spread)
            chex.assert_trees_all_equal_shapes_and_dtypes(made[0], jax.eval_shape(lambda: placed))
            continue
        one, many = state, placed
        for _ in range(2):
            one, expected = alone(one, batch)
            many, metrics = together(many, spread)
            np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-5)
            assert int(metrics["overflow"]) == 0
        many = sharding.whole(many, specs, state)
        chex.assert_trees_all_close(many.params, one.params, rtol=1e-4, atol=1e-5)
        kept = [
            jax.tree.map(lambda rows: rows.optimizer, x.opt_state.rows, is_leaf=is_rows) for x in (many, one)
        ]
        chex.assert_trees_all_close(*kept, rtol=1e-4, atol=1e-5)


def is_rows(x):
    return isinstance(x, row_sparse.RowState)


def answers(name: str):
    """The functions of a model that read a batch of queries, as one program."""
    model = CASES[name].model

    def all_of_them(variables, query):
        listed = evaluation.recommend(model, variables, query, 4, exclude=query.history[:, :2])
        states = model.apply(variables, query, method="encode") if hasattr(model, "encode") else ()
        return listed, states, model.apply(variables, query, query.history[:, :2])

    return jax.jit(all_of_them)


@eight_devices
@mostly_long(CASES, FEW | {"EASE"})
def test_an_explicit_mesh_gives_the_single_devices_answers(name):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    variables = jax.device_put(variables_of(name), NamedSharding(mesh, PartitionSpec()))
    query = jax.device_put(queries(8), NamedSharding(mesh, PartitionSpec("data")))
    with jax.set_mesh(mesh):  # what is made inside has the mesh in its type too
        jax.eval_shape(answers(name), variables, query)
    if name not in KINDS:
        jax.eval_shape(answers(name), variables, query)
        return
    alone, together = answers(name)(variables_of(name), queries(8)), answers(name)(variables, query)
    ids, *numbers = jax.tree.leaves(jax.device_get(together))
    expected_ids, *expected = jax.tree.leaves(jax.device_get(alone))
    for a, b in zip(numbers, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    # Items whose scores differ by rounding may change places, the last one with what is not in the list.
    apart = np.diff(np.nan_to_num(expected[0], neginf=-1e9), axis=1) < -1e-4
    settled = apart & np.pad(apart[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    np.testing.assert_array_equal(ids[:, :-1][settled], expected_ids[:, :-1][settled])


VARIANTS = {
    "DCNv2-gated": Case(
        DCNv2(SIZES, 4, num_crosses=2, widths=(8,), cross=GatedCross), constants={"catalogue": CATALOGUE}
    ),
    "DLRM-end-to-end": Case(
        DLRM(SIZES, 4, widths=(8,), interaction=dlrm.end_to_end), constants={"catalogue": CATALOGUE}
    ),
    "FiBiNET-by-field": Case(
        FiBiNET(SIZES, 4, widths=(8,), matrices=fibinet.ByField), constants={"catalogue": CATALOGUE}
    ),
    "FiBiNET-by-pair": Case(
        FiBiNET(SIZES, 4, widths=(8,), matrices=fibinet.ByPair), constants={"catalogue": CATALOGUE}
    ),
    "MaskNet-serial": Case(
        MaskNet(SIZES, 4, widths=(), blocks=(6, 5), structure=masknet.serial, normalise=False),
        constants={"catalogue": CATALOGUE},
    ),
    "DIN-code": Case(
        DIN(SIZES, 4, widths=(8,), weights=functools.partial(din.CodeActivation, (6, 4)), meet=din.beside),
        constants={"catalogue": CATALOGUE},
    ),
    "NARM-code": Case(
        NARM(ITEMS, 4, hidden=5, normalise=narm.softmax, gate=hard_sigmoid), "next_item_softmax"
    ),
    "STAMP-code": Case(STAMP(ITEMS, 4, memory=stamp.plus_mean, max_norm=1.0), "next_item_softmax"),
    "YouTubeDNN-paper": Case(
        YouTubeDNN(ITEMS, SIZES, 4, widths=(8,), user_activation=nn.relu, bias=False), "pairwise"
    ),
}
"""What the authors' code has otherwise than the paper, or the paper otherwise than the default."""


@eight_devices
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_stands_on_an_explicit_mesh_and_in_an_export_and_keeps_float32(name):
    case = VARIANTS[name]
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    batch, init = batch_for(case), functools.partial(training.init_state, jax.random.key(0), case.model, SGD)
    step = training.make_step(objective_for(case), SGD)
    with jax.enable_x64(True):
        state = jax.eval_shape(lambda: init(batch, constants=case.constants))
        everywhere = functools.partial(jax.ShapeDtypeStruct, sharding=NamedSharding(mesh, PartitionSpec()))
        placed = jax.tree.map(lambda x: everywhere(x.shape, x.dtype), state)
        sharded = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
        new, _ = jax.eval_shape(step, placed, sharded)
        assert dtypes(new) == dtypes(state)
    rows, items, events = jax.export.symbolic_shape("rows, items, events")
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype), batch.query)
    shapes = shapes._replace(history=jax.ShapeDtypeStruct((rows, events), jnp.int32))
    slate = jax.ShapeDtypeStruct((rows, items), jnp.int32)
    assert jax.eval_shape(case.model.apply, state.variables, shapes, slate).shape == (rows, items)


def on_a_mesh(name, axes):
    """State, batch and context of a step over eight devices."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axes,))
    state = jax.device_put(initial(name), NamedSharding(mesh, PartitionSpec()))
    batch = jax.device_put(batch_for(CASES[name]), NamedSharding(mesh, PartitionSpec("data")))
    return state, batch, jax.set_mesh(mesh) if axes == AxisType.Explicit else contextlib.nullcontext()


@eight_devices
@mostly_long([name for name in TRAINED if name not in KINDS])
def test_a_step_is_traced_on_an_explicit_mesh(name):
    state, batch, mesh = on_a_mesh(name, AxisType.Explicit)
    with mesh:
        new, _ = jax.eval_shape(training.make_step(objective_for(CASES[name]), SGD), state, batch)
    assert jax.tree.map(jnp.shape, new.params) == jax.tree.map(jnp.shape, state.params)


@eight_devices
@pytest.mark.parametrize("axes", [AxisType.Auto, AxisType.Explicit], ids=lambda axes: axes.name)
@mostly_long([name for name in TRAINED if name in KINDS], FEW)
def test_a_mesh_of_devices_gives_the_single_devices_step(name, axes):
    state, batch, mesh = on_a_mesh(name, axes)
    alone, _ = stepper(name)(initial(name), batch_for(CASES[name]))
    with mesh:
        together, _ = stepper(name)(state, batch)
    chex.assert_trees_all_close(together.params, alone.params, rtol=1e-4, atol=1e-6)


@mostly_long(TRAINED)
def test_training_lowers_for_every_platform(name):
    case = CASES[name]
    optimizer = optax.adam(0.01)
    state = initial(name, optimizer)
    step = training.make_step(objective_for(case), optimizer)

    def plain(state, batch):
        state, metrics = step(state._replace(key=jax.random.wrap_key_data(state.key)), batch)
        return state.params, metrics

    plain_state = state._replace(key=jax.random.key_data(state.key))
    exported = jax.export.export(jax.jit(plain), platforms=PLATFORMS)(plain_state, batch_for(case))
    assert exported.platforms == PLATFORMS


@mostly_long(CASES)
def test_one_export_scores_batches_slates_and_histories_of_any_length(name):
    model, query = CASES[name].model, queries(6)
    query = query._replace(history=query.history.at[:, 3:].set(0))
    rows, items, events = jax.export.symbolic_shape("rows, items, events")
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype), query)
    shapes = shapes._replace(history=jax.ShapeDtypeStruct((rows, events), jnp.int32))
    slate = jax.device_put(np.tile(np.arange(ITEMS, dtype=np.int32), (6, 1)))
    exported = jax.export.export(jax.jit(model.apply), platforms=PLATFORMS)(
        variables_of(name), shapes, jax.ShapeDtypeStruct((rows, items), jnp.int32)
    )
    assert exported.platforms == PLATFORMS
    if name not in KINDS:
        return
    score = jax.jit(exported.call)
    expected = score_all(model, variables_of(name), query)
    np.testing.assert_allclose(score(variables_of(name), query, slate), expected, rtol=1e-4, atol=1e-5)
    few = jax.tree.map(lambda x: x[:4], query._replace(history=query.history[:, :3]))
    few = score(variables_of(name), few, slate[:4, 2:5])
    np.testing.assert_allclose(few, expected[:4, 2:5], rtol=1e-4, atol=1e-5)


@every_scorer
def test_numbers_stay_float32_under_x64(name):
    case = CASES[name]

    def scores(variables, query):
        table = case.model.apply(variables, method="table") if hasattr(case.model, "table") else ()
        return case.model.apply(variables, query, query.history), table

    with jax.enable_x64(True):
        variables = case.fitted
        if variables is None:
            state = jax.eval_shape(functools.partial(first_state, name))
            variables = state.variables
            new, metrics = jax.eval_shape(
                training.make_step(objective_for(case), SGD), state, batch_for(case)
            )
            assert dtypes(new) == dtypes(state)
            assert {x.dtype for x in jax.tree.leaves((state.params, metrics))} == {jnp.dtype("float32")}
        told = jax.eval_shape(scores, variables, queries(6))
    assert {x.dtype for x in jax.tree.leaves(told)} == {jnp.dtype("float32")}


def dtypes(tree):
    return jax.tree.map(lambda x: x.dtype, tree)


@every_scorer
def test_variables_may_be_numpys(name):
    model, variables = CASES[name].model, jax.device_get(variables_of(name))
    shape = jax.eval_shape(lambda query: model.apply(variables, query, query.history), queries(6))
    assert shape.shape == (6, L)
    if hasattr(model, "table"):
        assert jax.eval_shape(lambda: model.apply(variables, method="table")).shape[0] == ITEMS


@mostly_long(CASES)
def test_a_list_longer_than_the_catalogue_ends_with_nothing(name):
    case, query = CASES[name], queries(6)
    recommend = jax.jit(functools.partial(evaluation.recommend, case.model, k=ITEMS + 5))
    ids, score = recommend(variables_of(name), query, exclude=query.history)
    assert not np.isnan(score).any()
    for row, (listed, seen) in enumerate(zip(np.asarray(ids), np.asarray(query.history), strict=True)):
        left = sorted(set(range(1, ITEMS)) - set(seen.tolist()))
        assert sorted(listed[listed > 0].tolist()) == left and (listed[len(left) :] == 0).all(), row


WITH_CATALOGUE = [name for name, case in CASES.items() if "catalogue" in case.constants]
TWO_PRODUCTS = {
    "category": jnp.array([1, 2], jnp.int32),
    "price": jnp.array([0.2, 0.9]),
    "rater": jnp.array([[2, 0], [3, 5]], jnp.int32),
    "rating": jnp.array([[1.0, 0.0], [4.0, 2.0]]),
    "code": jnp.array([[3, 2, 1], [3, 2, 2]], jnp.int32),
}


def with_two_products(variables):
    """Variables whose catalogue has two more products than the model was made for."""
    columns = variables["catalogue"].items()
    return {**variables, "catalogue": {name: np.r_[rows, TWO_PRODUCTS[name]] for name, rows in columns}}


@all_of(WITH_CATALOGUE)
def test_a_longer_catalogue_scores_new_products_from_their_data(name):
    model, variables, query = CASES[name].model, variables_of(name), queries(6)
    longer = with_two_products(variables)
    whole = np.asarray(score_all(model, longer, query))
    assert whole.shape == (6, ITEMS + 2) and np.isfinite(whole).all()
    assert (np.abs(whole[:, -2] - whole[:, -1]) > 1e-4).any()
    old = score_all(model, variables, query)
    np.testing.assert_allclose(whole[:, :ITEMS], old, rtol=1e-5, atol=1e-6)
    new = np.array([ITEMS, ITEMS + 1] * 3, np.int32)
    of_new = whole[np.arange(6), new]
    np.testing.assert_allclose(apply(model, longer, query, new), of_new, rtol=1e-5, atol=1e-6)


@mostly_long(WITH_CATALOGUE)
def test_a_longer_catalogue_is_listed_and_ranked(name):
    model, longer, query = CASES[name].model, with_two_products(variables_of(name)), queries(6)
    whole = np.asarray(score_all(model, longer, query))
    ids, _ = jax.jit(functools.partial(evaluation.recommend, model, k=ITEMS + 1))(longer, query)
    assert (np.sort(ids, axis=1) == np.arange(1, ITEMS + 2)).all()
    ranks = jax.jit(functools.partial(evaluation.ranks, model))
    rank = np.asarray(ranks(longer, query, jnp.full((6, 1), ITEMS + 1)))[:, 0]
    better, last = whole[:, 1:-1], whole[:, -1:]
    assert (rank >= 1 + (better > last + 1e-5).sum(1)).all()
    assert (rank <= 1 + (better > last - 1e-5).sum(1)).all()  # the rest are ties but for rounding
