"""A head for what comes again, over a session model: the next click of Yoochoose 1/64.

    python experiments/repeat_explore.py --record --data-dir FOLDER  # holds yoochoose1_64

The data are those of session_next_click: SR-GNN's preprocessing, every prefix of the test sessions, the whole
catalogue; a label that training never saw is a miss. RepeatExplore (RepeatNet's idea, Ren 2019,
https://arxiv.org/abs/1812.02646) is held against its own encoder, a GRU4Rec of width 50.

The first stage trains the encoder on all training sessions but the last two per cent, in one pass over all
prefixes: seven epochs against 2,048 sampled items, one against all. The second goes on from there with two
epochs of the prefixes of the newest quarter of these sessions (all would take too long), each a list of the
target, the other items of the session and 255 sampled ones: of the encoder alone, of the head over the frozen
encoder, and of both. All three have the same rows, steps and rate. Nothing was searched or stopped early. The
test was looked at twice: first over an encoder of width 32 and five epochs, which was weak and gained more.

recall@20 / mrr@20 of one seed, 12 minutes on half a core; 14,717 of the 55,898 labels stand in the session:

                                     all             in the session   not in it
    SessionPopularity                .308 / .184     .998 / .673      .061 / .010
    GRU4Rec                          .692 / .291     .912 / .587      .613 / .185
    GRU4Rec, second stage            .690 / .288     .905 / .567      .613 / .189
    RepeatExplore, frozen GRU4Rec    .694 / .303     .920 / .593      .614 / .199
    RepeatExplore                    .693 / .301     .911 / .544      .615 / .214

The head wins in mrr; in recall it wins so little that one seed does not settle it. Over the frozen encoder
it wins with both groups of labels. Trained with its encoder, it ranks new items higher at the cost of
those that come again. The GRU4Rec of session_next_click, which is wider, has a better recall than all these.
"""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from protocols.prefixes import LENGTH, Data, load

from rezoo import evaluation, losses, metrics, objectives, sampling, training
from rezoo.data import batches, sessions
from rezoo.models import GRU4Rec, RepeatExplore, SessionPopularity
from rezoo.models.baselines import popularity
from rezoo.types import Aux, Batch, Objective, Variables

K = 20
NEGATIVES = 255
PROTOCOL = "SR-GNN's split, every prefix, whole catalogue; stage two on the newest quarter of the sessions"


@dataclass(frozen=True)
class Flags(common.Flags):
    """How many runs."""

    seeds: int = 1
    """Runs of each trained model."""
    part: float = 0.25
    """Share of the training sessions, the newest, that the second stage learns from."""


def lists(data: Data, part: float) -> Batch:
    """Rows of `sessions.prefixes`: the target, then the other items of the session, each once."""
    newest = np.arange(int((1 - part) * data.train.num_sessions), data.train.num_sessions)
    history, target = sessions.prefixes(data.train.take(newest), LENGTH)
    again = (history[:, :, None] == history[:, None, :]) & np.tri(LENGTH, k=-1, dtype=bool)
    other = np.where(again.any(-1) | (history == target[:, None]), 0, history)
    item = np.concatenate([target[:, None], other], axis=1)
    label = np.zeros(item.shape, np.float32)
    label[:, 0] = 1.0
    return Batch(
        batches.queries(history=history), jnp.asarray(item), jnp.asarray(label), jnp.asarray(item > 0)
    )


def among_own_and_sampled(model: nn.Module, count: np.ndarray, num_negatives: int) -> Objective:
    """Each row's list beside sampled items: the softmax over the catalogue, estimated.

    Items of the list count as they are. Those sampled stand for all others: each is corrected by the log of
    how often it was to be expected, and does not count where it is in the session or the target.
    """
    sampler, log_q = sampling.popularity(count, 0.5), sampling.log_popularity(count, 0.5)

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        sample_key, model_key = jax.random.split(key)
        drawn = sampler(sample_key, batch.query, batch.item[:, 0], num_negatives)
        others = batch.where[:, :1] & ~(drawn[:, :, None] == batch.item[:, None, :]).any(-1)
        expected = jnp.log(num_negatives) + log_q[drawn]
        loss = partial(
            losses.sampled_softmax,
            log_q=jnp.concatenate([jnp.zeros(batch.item.shape), expected], axis=1),
        )
        rows = Batch(
            batch.query,
            jnp.concatenate([batch.item, drawn], axis=1),
            jnp.concatenate([batch.label, jnp.zeros(drawn.shape)], axis=1),
            jnp.concatenate([batch.where, others], axis=1),
        )
        return objectives.pointwise(model, loss)(variables, model_key, rows)

    return objective


def first_stage(model: GRU4Rec, data: Data, seed: int, smoke: bool) -> Any:
    """The encoder's parameters after one-pass training, first against sampled items, last against all."""
    rows = batches.next_items(data.train, LENGTH, packed=True)
    size = max(1, round((64 if smoke else 512) * len(rows.item) / int(rows.where.sum())))
    epochs = (1, 1) if smoke else (7, 1)
    steps = sum(epochs) * training.num_steps(len(rows.item), size)
    optimizer = optax.adam(optax.linear_schedule(4e-3, 8e-5, steps))
    share = jnp.asarray(data.count, jnp.float32) ** 0.5
    both = (
        objectives.next_item_sampled(model, losses.softmax_cross_entropy, share, min(2048, data.num_items)),
        objectives.next_item_softmax(model),
    )
    state = training.init_state(jax.random.key(seed), model, optimizer, rows)
    for objective, number in zip(both, epochs, strict=True):
        step = training.make_step(objective, optimizer)
        epoch = jax.jit(partial(training.epoch, step, batch_size=size), donate_argnums=0)
        for _ in range(number):
            state, _ = epoch(state, rows)
    return state.params


def second_stage(
    model: nn.Module, params: Any, frozen: bool, data: Data, rows: Batch, seed: int, smoke: bool
) -> Any:
    """The model's parameters after two epochs of the lists, from those of the encoder."""
    size, epochs = 256, 2
    steps = epochs * training.num_steps(len(rows.item), size)
    optimizer = optax.adam(optax.linear_schedule(1e-3, 2e-5, steps))
    optimizer = training.frozen(optimizer, "session") if frozen else optimizer
    state = training.init_state(jax.random.key(100 + seed), model, optimizer, rows)
    started = {**state.params, "session": params} if "session" in state.params else params
    objective = among_own_and_sampled(model, data.count, min(NEGATIVES, data.num_items))
    step = training.make_step(objective, optimizer)
    epoch = jax.jit(partial(training.epoch, step, batch_size=size), donate_argnums=0)
    state = jax.tree.map(jnp.copy, state._replace(params=started))  # the encoder's are used again
    for number in range(epochs):
        state, means = epoch(state, rows)
        print(f"  epoch {number + 1}: loss {float(means['loss']):.4f}, {time.ctime()}", flush=True)
    return state.params


def measure(model: nn.Module, variables: Variables, data: Data) -> dict[str, float]:
    """Accuracy, a label unknown to training being a miss: of all labels, of those that the session has
    clicked before, and of the others.
    """
    target = jnp.asarray(data.target)[:, None]
    rank = evaluation.ranks(model, variables, batches.queries(history=data.asked), target)
    rank = jnp.where(target > 0, rank, jnp.inf)
    again = ((data.asked == data.target[:, None]) & (data.target > 0)[:, None]).any(1)
    groups = {"": np.ones_like(again), ", label in the session": again, ", label not in the session": ~again}
    return {
        f"{name}{group}": float(metric(rank[where], k=K).mean())
        for group, where in groups.items()
        if not group or where.any()
        for name, metric in (("recall@20", metrics.recall), ("mrr@20", metrics.mrr))
    }


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("yoochoose1_64*",))
    dataset = "smoke" if flags.smoke else "yoochoose1_64"
    data = load(dataset, flags.data_dir)
    rows, dim = lists(data, flags.part), 8 if flags.smoke else 50
    notes = {"prefixes": len(rows.item), "labels": len(data.target)}
    notes["labels_in_the_session"] = int((data.asked == data.target[:, None])[data.target > 0].any(1).sum())
    encoder = partial(GRU4Rec, data.num_items, dim, tied=True, dropout=0.25)
    head = RepeatExplore(data.num_items, encoder, dim)
    variants = {
        "GRU4Rec, second stage": (encoder(), False),
        "RepeatExplore, frozen GRU4Rec": (head, True),
        "RepeatExplore": (head, False),
    }

    def note(name: str, model: nn.Module, variables: Variables, begun: float) -> None:
        jax.block_until_ready(variables)
        seconds = time.monotonic() - begun
        with results.together():
            for metric, value in (measured := measure(model, variables, data)).items():
                results.add(name, dataset, PROTOCOL, metric, value, seconds=seconds, **notes)
        print(f"{name} {measured} {seconds:.0f} s, {time.ctime()}", flush=True)

    counts = popularity.fit(sessions.pad(data.train, LENGTH), data.num_items)
    if not results.values("SessionPopularity", dataset, PROTOCOL, "recall@20"):
        note("SessionPopularity", SessionPopularity(data.num_items), counts, time.monotonic())
    done = len(results.values("RepeatExplore", dataset, PROTOCOL, "recall@20"))
    for seed in range(done, 1 if flags.smoke else flags.seeds):
        begun = time.monotonic()
        params = first_stage(encoder(), data, seed, flags.smoke)
        note("GRU4Rec", encoder(), {"params": params}, begun)
        for name, (model, frozen) in variants.items():
            begun = time.monotonic()
            learnt = second_stage(model, params, frozen, data, rows, seed, flags.smoke)
            note(name, model, {"params": learnt}, begun)
    results.finish()


if __name__ == "__main__":
    main()
