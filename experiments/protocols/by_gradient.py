"""Models of a log that are trained by gradient: factors by BPR and by cosines, and over the graph."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import optax

from protocols.train_test import Entry, Fitted
from rezoo import losses, objectives, sampling, training
from rezoo.data import batches
from rezoo.data.interactions import Interactions
from rezoo.data.sessions import Sessions
from rezoo.models import MF, LightGCN, MultVAE, SimpleX, YouTubeDNN
from rezoo.models.factorization import lightgcn
from rezoo.nn.similarity import cosine
from rezoo.training import bucketed
from rezoo.types import Batch, Loss, Objective, Variables

GROWTH = 2.0
"""Of the buckets of users, as each one is compiled."""
LENGTH = 256
"""Events of a row, in which there are several sessions; of longer ones the last are taken."""


class Budget(NamedTuple):
    """How long to train, and by which steps of Adam."""

    epochs: int
    rate: float
    """At first; it falls to 0 along a cosine."""
    batch: int
    """Interactions of a step."""


def of_bpr(log: Interactions, seed: int, l2: float, negatives: int = 1, **budget: Any) -> Fitted:
    """Beside each positive the one with the largest score of some items that the user did not take."""
    model = MF(log.num_users, log.num_items)
    return model, by_pairs(model, log, seed, _bpr(model, log, l2, negatives), Budget(**budget))


def of_lightgcn(
    log: Interactions, seed: int, l2: float, num_layers: int, negatives: int, **budget: Any
) -> Fitted:
    """BPR, as in the paper, but of each positive and the hardest of some negatives."""
    model = LightGCN(log.num_users, log.num_items, num_layers=num_layers)
    return over_graph(model, log, seed, _bpr(model, log, l2, negatives), Budget(**budget))


def of_lightgcn_ccl(
    log: Interactions,
    seed: int,
    margin: float,
    weight: float,
    num_layers: int = 2,
    negatives: int = 1024,
    **budget: Any,
) -> Fitted:
    """The cosine contrastive loss."""
    model = LightGCN(log.num_users, log.num_items, num_layers=num_layers, similarity=cosine(1.0))
    loss = partial(losses.ccl, margin=margin, weight=weight)
    objective = contrastive(model, log, loss, negatives, positives=_taken(log))
    return over_graph(model, log, seed, objective, Budget(**budget))


def over_graph(model: LightGCN, log: Interactions, seed: int, objective: Objective, budget: Budget) -> Fitted:
    """The model over the graph of all interactions, with the vectors that it makes of it."""
    graph = jax.device_put(lightgcn.graph(log.user, log.item, log.num_users, log.num_items))
    return model, lightgcn.propagated(model, by_pairs(model, log, seed, objective, budget, {"graph": graph}))


def of_ccl(
    log: Interactions, seed: int, margin: float, weight: float, negatives: int = 1024, **budget: Any
) -> Fitted:
    """The cosine contrastive loss of SimpleX, without its histories."""
    loss = partial(losses.ccl, margin=margin, weight=weight)
    return by_cosines(log, seed, loss, negatives, Budget(**budget))


def of_softmax(
    log: Interactions, seed: int, temperature: float, negatives: int = 1024, **budget: Any
) -> Fitted:
    """The softmax over a positive and the negatives, of cosines divided by a temperature."""

    def loss(score: jax.Array, label: jax.Array, *, where: jax.Array) -> jax.Array:
        return losses.softmax_cross_entropy(score / temperature, label, where=where)

    return by_cosines(log, seed, loss, negatives, Budget(**budget))


def by_cosines(log: Interactions, seed: int, loss: Loss, negatives: int, budget: Budget) -> Fitted:
    """Factors whose scores are cosines.

    A row is an interaction: a row of a user's whole history would move the user's vector once an epoch.
    """
    model = SimpleX(log.num_users, log.num_items, gamma=1.0)
    objective = contrastive(model, log, loss, negatives, positives=_taken(log))
    return model, by_pairs(model, log, seed, objective, budget)


def of_simplex(
    log: Interactions,
    seed: int,
    gamma: float,
    margin: float,
    weight: float,
    negatives: int = 2048,
    **budget: Any,
) -> Fitted:
    """The cosine contrastive loss, with the users' histories."""
    model = SimpleX(log.num_users, log.num_items, gamma=gamma)
    objective = by_interactions(model, log, margin, weight, negatives)
    return model, by_users(model, log, seed, objective, Budget(**budget))


def of_mult_vae(log: Interactions, seed: int, beta: float, latent: int, **budget: Any) -> Fitted:
    """I → latent → I by Liang's likelihood, of rows that are users; the KL has the weight `beta`."""
    model = MultVAE(log.num_items, None, latent)
    objective = objectives.penalised(objectives.every_item(model, losses.softmax_cross_entropy), beta)
    return model, by_users(model, log, seed, objective, Budget(**budget))


def of_youtube_dnn(
    log: Interactions, seed: int, orders: int = 8, negatives: int = 1024, **how: Any
) -> Fitted:
    """Each item of a user among those before it, in orders that are drawn, as a log may have none."""
    budget, model = Budget(**how), YouTubeDNN(log.num_items, widths=())
    share = np.sqrt(np.bincount(log.item, minlength=log.num_items))
    objective = objectives.next_item_sampled(model, losses.softmax_cross_entropy, share, negatives)
    rows = batches.next_items(in_random_orders(log, seed, orders), LENGTH, packed=True)
    passes = budget._replace(epochs=budget.epochs // orders, batch=budget.batch // LENGTH)
    return model, by_rows(model, rows, seed, objective, passes)


def in_random_orders(log: Interactions, seed: int, orders: int) -> Sessions:
    """Each user's items as `orders` sessions, of another order each."""
    session = (log.user[None] + log.num_users * np.arange(orders)[:, None]).ravel()
    place = np.lexsort((np.random.default_rng(seed).random(len(session)), session))
    starts = np.flatnonzero(np.diff(session[place], prepend=-1))
    return Sessions(np.tile(log.item, orders)[place], np.append(starts, len(session)))


def by_pairs(
    model: nn.Module,
    log: Interactions,
    seed: int,
    objective: Objective,
    budget: Budget,
    constants: Any = None,
) -> Variables:
    """A row for each interaction, without a history."""
    return by_rows(model, batches.pairs(log.user, log.item), seed, objective, budget, constants)


def by_rows(
    model: nn.Module, rows: Batch, seed: int, objective: Objective, budget: Budget, constants: Any = None
) -> Variables:
    """By steps of `budget.batch` of the rows."""
    steps = budget.epochs * training.num_steps(len(rows.item), budget.batch)
    optimizer = optax.adam(optax.cosine_decay_schedule(budget.rate, steps))
    step = training.make_step(objective, optimizer)

    @jax.jit
    def run(key: jax.Array, data: Batch, constants: Any) -> Variables:
        state = training.init_state(key, model, optimizer, data, constants=constants)
        state, _ = training.fit(step, state, data, num_epochs=budget.epochs, batch_size=budget.batch)
        return state.variables

    return run(jax.random.key(seed), rows, constants)


def by_users(
    model: nn.Module, log: Interactions, seed: int, objective: Objective, budget: Budget
) -> Variables:
    """A row for each user with their items, which are their history too."""
    optimizer = optax.adam(budget.rate)
    step, size = training.make_step(objective, optimizer), budget.batch

    @jax.jit
    def run(key: jax.Array, buckets: tuple[Batch, ...]) -> Variables:
        state = training.init_state(key, model, optimizer, buckets[0])
        state, _ = bucketed.fit(step, state, buckets, num_epochs=budget.epochs, ratings_per_batch=size)
        return state.variables

    rows = log.user, log.item, np.ones(log.num_rows)
    return run(jax.random.key(seed), batches.by_user(rows, growth=GROWTH))


def contrastive(model: nn.Module, log: Interactions, loss: Loss, negatives: int, **options: Any) -> Objective:
    """A loss of positives beside negatives that are drawn uniformly, once for all rows of a step."""
    return objectives.shared(model, loss, sampling.uniform(log.num_items), negatives, **options)


def by_interactions(
    model: nn.Module, log: Interactions, margin: float, weight: float, negatives: int
) -> Objective:
    """The cosine contrastive loss of rows that are users, who count by their interactions."""
    loss = partial(losses.ccl, margin=margin, weight=weight)
    return contrastive(model, log, loss, negatives, weights=lambda batch: batch.label.sum(1))


def _bpr(model: nn.Module, log: Interactions, l2: float, negatives: int = 1) -> Objective:
    return objectives.l2(pairwise(model, log, negatives), l2)


def pairwise(model: nn.Module, log: Interactions, negatives: int) -> Objective:
    """BPR of each positive and the negative with the largest score of those that are drawn."""
    sampler = sampling.reject_positives(sampling.uniform(log.num_items), _taken(log), log.num_items)
    return objectives.sampled(model, losses.hardest(losses.bpr), sampler, negatives)


def _taken(log: Interactions) -> sampling.Positives:
    return sampling.positives_by_user(log.user, log.item, log.num_users)


COSINES = {"epochs": 24, "rate": 5e-3, "batch": 4096}
ENTRIES = {
    "MF-BPR": Entry(
        of_bpr,
        [{"l2": l2, "epochs": 40, "rate": 5e-3, "batch": 8192} for l2 in (3e-4, 1e-3, 3e-3)],
        (0.1627, 0.1378),
        random=True,
    ),
    "MF-DNS": Entry(
        of_bpr,
        [
            {"l2": 1e-2, "negatives": 16, "epochs": epochs, "rate": 5e-3, "batch": 8192}
            for epochs in (40, 120)
        ],
        (0.1627, 0.1378),
        random=True,
    ),
    "MF-CCL": Entry(
        of_ccl,
        [{"margin": 0.9, "weight": 150.0, **COSINES, "epochs": 72}],
        (0.1837, 0.1493),
        random=True,
    ),
    "MF-softmax": Entry(of_softmax, [{"temperature": 0.1, **COSINES}], random=True),
    "SimpleX": Entry(
        of_simplex,
        [
            {"gamma": 0.5, "margin": margin, "weight": 150.0, "epochs": 40, "rate": 1e-2, "batch": 8192}
            for margin in (0.7, 0.9)
        ],
        (0.1872, 0.1557),
        random=True,
    ),
    "MultVAE": Entry(
        of_mult_vae,
        [{"beta": 0.05, "latent": 200, "epochs": 45, "rate": 2e-3, "batch": 16384}],
        (0.1640, 0.1335),
        random=True,
    ),
    "YouTubeDNN": Entry(
        of_youtube_dnn, [{"epochs": 40, "rate": 1e-2, "batch": 8192}], (0.1754, 0.1473), random=True
    ),
    "LightGCN": Entry(
        of_lightgcn,
        [
            {"l2": l2, "num_layers": 3, "negatives": 16, "epochs": epochs, "rate": 3e-2, "batch": 32768}
            for l2, epochs in ((3e-4, 40), (5e-4, 50))
        ],
        (0.1820, 0.1547),
        random=True,
    ),
    "LightGCN-CCL": Entry(
        of_lightgcn_ccl,
        [
            {"margin": margin, "weight": 150.0, "epochs": 30, "rate": 1e-2, "batch": 8192}
            for margin in (0.8, 0.9)
        ],
        random=True,
    ),
}
"""What `train_test.run` takes; published figures are BARS'."""
