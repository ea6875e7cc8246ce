"""Models of sequences trained on all but the last two items, the epoch chosen by the last but one."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from protocols.leave_one_out import Data, everything
from rezoo import evaluation, losses, metrics, objectives, training
from rezoo.data import batches, packing, sessions
from rezoo.data.sessions import Sessions
from rezoo.training import loop
from rezoo.types import Batch, Objective, TrainState

VALIDATED = 6100
"""Users at most, drawn once, by whom an epoch is judged."""
Ranks = Callable[..., jax.Array]
"""`(model, variables, query, target, exclude=items) -> ranks`, as `evaluation.ranks`."""


def softmax(fit: "Fit", model: nn.Module, data: Data) -> tuple[Batch, Objective]:
    """The item after every event, among all items or among sampled ones."""
    if fit.negatives is None:
        return following(data), objectives.next_item_softmax(model)
    share = jnp.sqrt(jnp.asarray(data.count, jnp.float32))
    negatives = min(fit.negatives, data.num_items)
    loss = losses.softmax_cross_entropy
    return following(data), objectives.next_item_sampled(model, loss, share, negatives)


def following(data: Data) -> Batch:
    """Every event and the item after it."""
    return batches.next_items(data.train.newest(data.length), data.length, packed=True)


def whole(train: Sessions, length: int, *, packed: bool) -> Batch:
    """Whole histories, of which `objectives.cloze` hides events, one or several in a row."""
    if packed:
        rows = packing.pack(train, length)
        query = batches.queries(history=rows.items, features={"segment": rows.segment})
    else:
        query = batches.queries(history=sessions.pad(train, length))
    return Batch(query, query.history, jnp.ones(query.history.shape), query.history > 0)


class Fit(NamedTuple):
    """How a model is trained."""

    make: Callable[[int, int], nn.Module]
    rate: float
    num_epochs: int
    events: int = 600
    """Of a step."""
    negatives: int | None = 2048
    """Items sampled for a step's softmax; None = all."""
    patience: int = 5
    """Epochs without a better validation after which it stops."""
    task: "Callable[[Fit, nn.Module, Data], tuple[Batch, Objective]]" = softmax
    """`(fit, model, data) -> (rows, objective)`: what is learnt."""
    constants: Mapping[str, Any] = {}
    """As of `training.init_state`."""
    ranks: Ranks = evaluation.ranks
    """How targets are ranked, by whom an epoch is judged."""
    validated: int = VALIDATED
    """Users at most by whom it is."""


def start(fit: Fit, data: Data, seed: int) -> tuple[nn.Module, loop.Epoch, TrainState]:
    """A model, an epoch of it over `data.train`, and the state to begin with."""
    model = fit.make(data.num_items, data.length)
    rows, objective = fit.task(fit, model, data)
    size = max(1, fit.events // data.length)
    steps = fit.num_epochs * training.num_steps(len(rows.item), size)
    rate = optax.warmup_cosine_decay_schedule(0.0, fit.rate, steps // 20, steps, 0.02 * fit.rate)
    optimizer = optax.adam(rate)
    step = training.make_step(objective, optimizer)
    epoch = jax.jit(lambda state, rows: training.epoch(step, state, rows, size), donate_argnums=0)
    state = training.init_state(jax.random.key(seed), model, optimizer, rows, constants=fit.constants)
    return model, lambda state: epoch(state, rows), state


def train(fit: Fit, data: Data, seed: int, folder: Path) -> tuple[nn.Module, loop.Run]:
    """The model and its run, which stops when the validation has not improved for `fit.patience` epochs."""
    model, epoch, state = start(fit, data, seed)
    users = np.sort(np.random.default_rng(0).permutation(data.train.num_sessions)[: fit.validated])
    some = data.train.take(users)
    query, target = (
        batches.queries(history=sessions.pad(some, data.length)),
        jnp.asarray(data.valid[users])[:, None],
    )
    seen = everything(some)
    ranks = jax.jit(lambda v: fit.ranks(model, v, query, target, exclude=seen))

    def watch(variables: Any) -> dict[str, Any]:
        rank = ranks(variables)
        measured = {
            "recall@10": metrics.recall(rank, k=10).mean(),
            "ndcg@10": metrics.ndcg(rank, k=10).mean(),
        }
        print({key: round(float(value), 4) for key, value in measured.items()}, time.ctime(), flush=True)
        return measured

    return model, loop.run(
        epoch,
        state,
        fit.num_epochs,
        evaluate=watch,
        monitor=lambda m: m["ndcg@10"],
        patience=fit.patience,
        folder=folder,
    )


def refit(fit: Fit, data: Data, seed: int, folder: Path) -> tuple[nn.Module, loop.Run]:
    """The model and its run over `data.train`, of `fit.num_epochs` epochs, none of which is judged."""
    model, epoch, state = start(fit, data, seed)
    return model, loop.run(epoch, state, fit.num_epochs, folder=folder)
