"""The next click of a session: recall@20 and mrr@20 over the whole catalogue.

    python experiments/session_next_click.py --record --data-dir FOLDER  # holds yoochoose1_64 and diginetica

The data are those of SR-GNN's preprocessing, with every prefix of the test sessions. Items of the
test that never occur in training are left out of histories; a label that is one is a miss. The last
2 per cent of the training sessions, which are in the order of time, choose the epoch; the test is
looked at once. Training begins with a softmax over 2,048 sampled items and ends with the whole one.

Published figures (recall@20 / mrr@20): NARM .497/.162 on diginetica and .683/.286 on yoochoose1_64,
STAMP .456/.143 and .687/.297, GRU4Rec .465/.155 and .660/.270 (where papers differ, the highest), SRGNN
.507/.176 and .706/.309. NISER (https://arxiv.org/abs/1909.04276) makes inner products cosines: here "SRGNN,
cosine" and "NARM, cosine".

recall@20 / mrr@20 and minutes of one CPU core with a busy neighbour; 412 of yoochoose's 55,898 test
labels never occur in training, none of diginetica's 60,858; 842 and 48 histories are longer than 30
events and cut to the newest. Three seeds of what is trained, whose standard errors are .0009 and less:

                      yoochoose1_64          diginetica
    Popularity        .073 / .017            .009 / .002
    SessionPopularity .308 / .184            .211 / .137
    CoOccurrence      .649 / .297            .340 / .127
    SKNN              .635 / .255            .493 / .173
    VSKNN             .667 / .270            .505 / .181
    Caser             .679 / .301    4       .413 / .132    14
    NextItNet         .692 / .305    3       .453 / .144    11
    STAMP             .704 / .309    5       .505 / .176    12
    SRGNN             .704 / .310   17       .512 / .184    19
    SRGNN, cosine     .712 / .314    6
    HSTU              .709 / .304    2       .514 / .176     7
    LRURec            .714 / .303    2       .528 / .185    16
    eSASRec           .716 / .305    3       .515 / .177    16
    SASRec            .718 / .305    3       .525 / .179    13
    GRU4Rec           .712 / .307    4       .521 / .181    13
    NARM              .713 / .305    5       .530 / .184    13
    NARM, cosine      .717 / .311    5
    Blend             .719 / .314   18       .544 / .188    62

Blend is NARM, SASRec, GRU4Rec, VSKNN and CoOccurrence as one, and its minutes are those of all of them. Its
weights are those under which 2,000 of the prefixes that choose the epochs are most likely, among the hundred
best items of each part. On diginetica NARM and the logarithm of VSKNN's score weigh most, SASRec least.

HSTU, eSASRec and LRURec have the settings of SASRec and NARM, as far as they have the same, and one block;
none was tuned. On sessions of a few clicks, without times, the biases and gates of the first two do not pay;
on diginetica the whole softmax of HSTU's last epoch takes a fortieth of its recall on the validation part, so
that the epoch before is kept.

NARM, GRU4Rec, STAMP and SASRec were trained on an NVIDIA H200, all at once, where a fit takes 23 to 45
seconds. At first runs ended after two epochs without improvement; that cut off two fits on yoochoose, one of
SASRec and one of "NARM, cosine", before the rate had fallen and the whole softmax had come.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from protocols import blended
from protocols.next_items import by_length
from protocols.prefixes import LENGTH, Data, load

from rezoo import evaluation, losses, metrics, objectives, training
from rezoo.data import batches, sessions
from rezoo.models import (
    HSTU,
    NARM,
    SKNN,
    SRGNN,
    STAMP,
    VSKNN,
    Caser,
    CoOccurrence,
    GRU4Rec,
    LRURec,
    NextItNet,
    Popularity,
    SASRec,
    SessionPopularity,
    eSASRec,
)
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.models.session import neighbours
from rezoo.nn.similarity import cosine
from rezoo.storage import fingerprint
from rezoo.training import loop
from rezoo.types import Batch, Objective, TrainState

PROTOCOL = "SR-GNN's split, every prefix, whole catalogue; epoch by the last 2% of the training sessions"
K = 20


@dataclass(frozen=True)
class Flags(common.Flags):
    """Which data sets and models."""

    dataset: tuple[str, ...] = ("yoochoose1_64", "diginetica")
    """Names of sets in --data-dir: any NAME.npz of the five arrays that
    `rezoo.datasets.session_sets.read_npz` reads, also in a folder NAME, or a folder NAME of SR-GNN's
    all_train_seq.txt and test.txt."""
    models: tuple[str, ...] = ()
    """Names of the table; all if none is given."""
    seeds: int = 1
    """Runs of each trained model."""


class Fit(NamedTuple):
    """How a model is trained."""

    make: Callable[[int], nn.Module]
    rate: float
    num_epochs: int
    sampled_epochs: int
    """Epochs that begin with a softmax over sampled items, before those over all items."""


class Published(NamedTuple):
    """The figures of a model's paper or of a later one that ran it on these files."""

    recall: float
    mrr: float


PUBLISHED = {
    "yoochoose1_64": {
        "NARM": Published(0.683, 0.286),
        "STAMP": Published(0.687, 0.297),
        "GRU4Rec": Published(0.660, 0.270),
        "SRGNN": Published(0.7057, 0.3094),
    },
    "diginetica": {
        "NARM": Published(0.497, 0.162),
        "STAMP": Published(0.456, 0.143),
        "GRU4Rec": Published(0.465, 0.155),
        "SRGNN": Published(0.5073, 0.1759),
    },
}


def fits(smoke: bool) -> dict[str, Fit]:
    """The trained models, as wide as in the papers."""
    dim = 8 if smoke else 100
    epochs, sampled = (2, 1) if smoke else (8, 7)
    blocks: dict[str, Any] = {"num_blocks": 1, "num_heads": 2, "max_length": LENGTH, "dropout": 0.3}
    return {
        "NARM": Fit(
            lambda n: NARM(n, dim, hidden=dim, dropout=0.25, state_dropout=0.5), 4e-3, epochs, sampled
        ),
        "STAMP": Fit(lambda n: STAMP(n, dim, dropout=0.25), 4e-3, epochs, sampled),
        "GRU4Rec": Fit(lambda n: GRU4Rec(n, dim, tied=True, dropout=0.25), 4e-3, epochs, sampled),
        "SRGNN": Fit(lambda n: SRGNN(n, dim, dropout=0.25), 4e-3, epochs, sampled),
        "SRGNN, cosine": Fit(
            lambda n: SRGNN(n, dim, dropout=0.25, similarity=cosine(16.0)), 4e-3, epochs, sampled
        ),
        "NARM, cosine": Fit(
            lambda n: NARM(n, dim, hidden=dim, dropout=0.25, state_dropout=0.25, similarity=cosine(16.0)),
            4e-3,
            epochs,
            sampled,
        ),
        "SASRec": Fit(lambda n: SASRec(n, dim, **blocks), 2e-3, epochs, sampled),
        "HSTU": Fit(lambda n: HSTU(n, dim, **blocks), 2e-3, epochs, sampled),
        "eSASRec": Fit(lambda n: eSASRec(n, dim, **blocks), 2e-3, epochs, sampled),
        "LRURec": Fit(lambda n: LRURec(n, dim, num_blocks=1, dropout=0.25), 4e-3, epochs, sampled),
        "NextItNet": Fit(lambda n: NextItNet(n, dim, dilations=(1, 4), dropout=0.25), 4e-3, epochs, sampled),
        "Caser": Fit(lambda n: Caser(n, dim, dropout=0.25), 4e-3, epochs, sampled),
    }


def train(name: str, fit: Fit, data: Data, seed: int, folder: Any, targets: int) -> tuple[Any, loop.Run]:
    """The model and its run; the epoch that is best on the validation part is kept."""
    model = fit.make(data.num_items)
    rows = batches.next_items(data.train, LENGTH, packed=True)
    size = max(1, round(targets * len(rows.item) / int(rows.where.sum())))
    steps = fit.num_epochs * training.num_steps(len(rows.item), size)
    optimizer = optax.adam(optax.linear_schedule(fit.rate, 0.02 * fit.rate, steps))
    share = jnp.asarray(data.count, jnp.float32) ** 0.5
    sampled = objectives.next_item_sampled(
        model, losses.softmax_cross_entropy, share, min(2048, data.num_items)
    )

    def jitted(objective: Objective) -> Callable[[TrainState, Batch], Any]:
        step = training.make_step(objective, optimizer)
        return jax.jit(lambda state, rows: training.epoch(step, state, rows, size), donate_argnums=0)

    first, then = jitted(sampled), jitted(objectives.next_item_softmax(model))

    def epoch(state: TrainState) -> Any:
        done = int(state.step) * fit.num_epochs // steps
        run = first if done < fit.sampled_epochs else then
        return run(state, rows)

    history, target = sessions.prefixes(data.valid, LENGTH)
    ranked = jax.jit(lambda v, q, t: evaluation.evaluate(model, v, q, t, k=(K,)))

    def evaluate(variables: Any) -> dict[str, Any]:
        measured = ranked(variables, batches.queries(history=history), jnp.asarray(target)[:, None])
        print(
            name,
            {key: round(float(measured[key]), 4) for key in ("recall@20", "mrr@20")},
            time.ctime(),
            flush=True,
        )
        return {key: measured[key] for key in ("recall@20", "mrr@20")}

    state = training.init_state(jax.random.key(seed), model, optimizer, rows)
    programs = [fingerprint.program(one, state, rows) for one in (first, then)]
    return model, loop.run(
        epoch,
        state,
        fit.num_epochs,
        identity=fingerprint.of(programs, rows, fit.sampled_epochs),
        evaluate=evaluate,
        monitor=lambda m: m["recall@20"] + m["mrr@20"],
        folder=folder,
    )


def measure(model: Any, variables: Any, data: Data) -> dict[str, float]:
    """Accuracy, a label unknown to training being a miss, and what the lists are like."""
    query, target = batches.queries(history=data.asked), jnp.asarray(data.target)[:, None]
    rank = jax.jit(partial(evaluation.ranks, model))(variables, query, target)
    rank = jnp.where(target > 0, rank, jnp.inf)
    ids, _ = jax.jit(lambda v, q: evaluation.recommend(model, v, q, K))(variables, query)
    recalled = metrics.recall(rank, k=K)
    return {
        "recall@20": float(recalled.mean()),
        "mrr@20": float(metrics.mrr(rank, k=K).mean()),
        "precision@20": float(metrics.precision(rank, k=K).mean()),
        "coverage@20": float(metrics.coverage(ids, data.num_items)),
        "gini@20": float(metrics.gini(ids, data.num_items)),
        "mean_popularity@20": float(metrics.mean_popularity(ids, jnp.asarray(data.count, jnp.float32))),
    } | by_length(recalled, (data.asked > 0).sum(1), (2, 5, 10))


BASELINES = ("Popularity", "SessionPopularity", "SKNN", "VSKNN", "CoOccurrence")
SMOKE = ("NARM", "VSKNN", "CoOccurrence", "Blend")
BLENDED = ("NARM", "SASRec", "GRU4Rec", "VSKNN", "CoOccurrence")
"""What `Blend` is made of; the networks have the runs of their own rows."""


def baselines(data: Data) -> Iterator[tuple[str, Any, Any]]:
    """`BASELINES`, which only count."""
    rows = sessions.pad(data.train, LENGTH)
    counts = popularity.fit(rows, data.num_items)
    yield "Popularity", Popularity(data.num_items), counts
    yield "SessionPopularity", SessionPopularity(data.num_items), counts
    past = neighbours.fit(data.train, data.num_items)
    for name, kind in {"SKNN": SKNN, "VSKNN": VSKNN}.items():
        yield name, kind(data.num_items, data.train.num_sessions + 1), past
    fitted = cooccurrence.fit(rows, data.num_items)
    yield "CoOccurrence", CoOccurrence(data.num_items, len(fitted["params"]["follower"])), fitted


def report(
    results: common.Results, name: str, dataset: str, values: dict[str, float], seconds: float, **notes: Any
):
    """A row for each metric."""
    published = PUBLISHED.get(dataset, {}).get(name)
    figures: dict[str, float] = dict(zip(("recall@20", "mrr@20"), published or (), strict=False))
    with results.together():
        for metric, value in values.items():
            results.add(
                name,
                dataset,
                PROTOCOL,
                metric,
                value,
                seconds=seconds,
                published=figures.get(metric),
                **notes,
            )
    print(f"{dataset}: {name} " + ", ".join(f"{k} {v:.4f}" for k, v in values.items()), flush=True)


def measure_all(dataset: str, flags: Flags, results: common.Results) -> None:
    """The rows of a data set that are wanted and not there yet."""
    data, trained = load(dataset, flags.data_dir), fits(flags.smoke)
    wanted = flags.models or (SMOKE if flags.smoke else (*trained, *BASELINES, "Blend"))
    missing = {"labels_unknown_to_training": int((data.target == 0).sum()), "labels": len(data.target)}
    missing |= {"histories_cut": data.cut}

    def fitted(name: str, seed: int) -> tuple[Any, loop.Run]:
        folder = results.out / f"{dataset}-{name.replace(', ', '-')}-{seed}"
        return train(name, trained[name], data, seed, folder, 64 if flags.smoke else 512)

    def seeds_left(name: str, seeds: int = flags.seeds) -> range:
        done = len(results.values(name, dataset, PROTOCOL, "mean_popularity@20"))
        return range(done, seeds if name in wanted else 0)

    def add(name: str, model: Any, variables: Any, seconds: float | None = None, **notes: Any) -> None:
        start = time.monotonic()
        values = measure(model, variables, data)
        seconds = time.monotonic() - start if seconds is None else seconds
        report(results, name, dataset, values, seconds, **missing, **notes)

    for name in trained:
        for seed in seeds_left(name):
            model, run = fitted(name, seed)
            prefixes = int((data.train.lengths - 1).sum()) * len(run.history["loss"])
            speed = {"epochs": int(run.best_epoch), "prefixes_per_s": round(prefixes / run.seconds)}
            add(name, model, run.best, run.seconds, **speed)
    counted = tuple(baselines(data))
    for name, model, variables in counted:
        for _ in seeds_left(name, 1):
            add(name, model, variables)
    for seed in seeds_left("Blend"):
        names = [name for name in BLENDED if name in trained and (name in SMOKE or not flags.smoke)]
        runs = {name: fitted(name, seed) for name in names}
        counts = {name: (model, variables) for name, model, variables in counted if name in BLENDED}
        history, target = sessions.prefixes(data.valid, LENGTH)
        model, variables, seconds, weights = blended.fit(
            runs, counts, data.num_items, batches.queries(history=history), target
        )
        add("Blend", model, variables, seconds, weights=weights)


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("yoochoose1_64*", "diginetica*"))
    common.check_names("models", flags.models, [*fits(flags.smoke), *BASELINES, "Blend"], all_by_none=True)
    for dataset in ("smoke",) if flags.smoke else flags.dataset:
        measure_all(dataset, flags, results)
    results.finish()


if __name__ == "__main__":
    main()
