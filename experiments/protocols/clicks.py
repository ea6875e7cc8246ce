"""Models of feature interactions on clicks: tuned, trained and tested with one budget."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import evaluation, losses, objectives, training
from rezoo.data import batches
from rezoo.models import (
    AFM,
    DLRM,
    DNN,
    FM,
    NFM,
    AutoInt,
    DCNv2,
    DeepFM,
    FiBiNET,
    FinalMLP,
    MaskNet,
    WideDeep,
    XDeepFM,
)
from rezoo.storage import durable
from rezoo.training.loop import Run, run
from rezoo.types import Batch, TrainState, Variables

TABLES = ("factors", "deep", "linear", "wide", "items", "profile")
"""Names of what the models look up by column: embeddings and weights."""


class Data(NamedTuple):
    """Three parts, and the sizes of their columns."""

    train: Batch
    valid: Batch
    test: Batch
    sizes: dict[str, int]
    constants: dict[str, Any]
    dataset: str
    protocol: str


class Setting(NamedTuple):
    """The settings that are chosen for each model."""

    rate: float
    l2: float


class Budget(NamedTuple):
    """The settings that all models share."""

    settings: tuple[Setting, ...]
    batch_size: int
    num_epochs: int
    patience: int | None = None
    """None: the rate falls to 0 along a cosine. Else it is divided by ten after each epoch without a better
    AUC on the validation part, and training ends after so many of them in a row."""


class Entry(NamedTuple):
    """A model of the table."""

    name: str
    model: nn.Module
    published: Mapping[str, float] = {}
    budget: Budget | None = None
    """Its own, in place of that of all models."""


def trainer(model: nn.Module, data: Data, budget: Budget) -> Callable[[int, Setting], Run]:
    """`(seed, setting) -> run`, compiled once for all of them."""
    rows = len(data.train.item)
    steps = budget.num_epochs * training.num_steps(rows, budget.batch_size)
    objective = objectives.pointwise(model, losses.logistic)
    plateau = optax.contrib.reduce_on_plateau(0.1, patience=1, rtol=0.0, atol=1e-6)
    cosine = optax.cosine_decay_schedule(1.0, steps)

    def optimizer(at: Setting, scale: Any = 1.0) -> optax.GradientTransformation:
        adam = optax.adam(lambda step: at.rate * (cosine(step) if budget.patience is None else scale))
        return optax.chain(optax.add_decayed_weights(at.l2, tables), adam)  # pyright: ignore[reportArgumentType]

    @jax.jit
    def epoch(state: TrainState, train: Batch, at: Setting, scale: jax.Array):
        step = training.make_step(objective, optimizer(at, scale))
        return training.epoch(step, state, train, budget.batch_size)

    evaluate = jax.jit(lambda variables, part: evaluation.evaluate_clicks(model, variables, part))
    first = optimizer(budget.settings[0])
    init = jax.jit(lambda key: training.init_state(key, model, first, data.train, constants=data.constants))

    def fit(seed: int, at: Setting) -> Run:
        at = jax.tree.map(jnp.float32, at)
        watched: Any = plateau.init(jnp.float32(0))

        def measured(variables: Variables) -> dict[str, Any]:
            nonlocal watched
            found = evaluate(variables, data.valid)
            watched = plateau.update({}, watched, value=1 - found["auc"])[1]
            return found

        return run(
            lambda state: epoch(state, data.train, at, watched.scale),
            init(jax.random.key(seed)),
            budget.num_epochs,
            evaluate=measured,
            monitor=lambda m: m["auc"],
            patience=budget.patience,
        )

    return fit


def tables(params: Any) -> Any:
    """Which parameters are looked up by column."""
    return jax.tree.map_with_path(lambda path, _: any(part.key in TABLES for part in path), params)


def compare(entries: list[Entry], data: Data, budget: Budget, seeds: int, results: common.Results) -> None:
    """Tune, train and test every model; rows that are there are left as they are."""
    row = {"dataset": data.dataset, "protocol": data.protocol}
    for name, model, published, own in entries:
        done = len(results.values(name, metric="logloss", **row))
        if done >= seeds:
            continue
        start = time.monotonic()
        fit = trainer(model, data, own or budget)
        at, first = choose(name, fit, own or budget, results)
        test = jax.jit(lambda variables, model=model: evaluation.evaluate_clicks(model, variables, data.test))
        for seed in range(done, seeds):
            fitted = first if first and seed == 0 else fit(seed, at)
            found = test(fitted.best)
            seconds = time.monotonic() - start
            with results.together():
                for metric in ("auc", "logloss"):
                    results.add(
                        name, metric=metric, **row, values=float(found[metric]), seconds=seconds,
                        published=published.get(metric), **at._asdict(),
                    )  # fmt: skip
            text = "  ".join(f"{metric} {float(found[metric]):.4f}" for metric in ("auc", "logloss"))
            print(f"{name} seed {seed}: {text}, {at}, epoch {fitted.best_epoch}, {seconds:.0f} s", flush=True)
            start = time.monotonic()


def choose(
    name: str, fit: Callable[[int, Setting], Run], budget: Budget, results: common.Results
) -> tuple[Setting, Run | None]:
    """The setting that is best on the validation part with seed 0, and that run.

    The setting is remembered in the working folder, the run is not.
    """
    file = results.out / f"{name}.setting.json"
    if file.exists():
        return Setting(*json.loads(file.read_text())), None
    runs = {at: fit(0, at) for at in budget.settings}
    best = {at: float(np.max(done.history["auc"])) for at, done in runs.items()}
    for at, auc in best.items():
        print(f"{name}, {at}: valid auc {auc:.4f}, epoch {runs[at].best_epoch}", flush=True)
    at = max(best, key=lambda at: best[at])
    with durable.file(file) as partial:
        partial.write_text(json.dumps(at))
    return at, runs[at]


def pairs(columns: Mapping[str, np.ndarray], label: np.ndarray) -> Batch:
    """One row per pair; what is neither user nor item is a feature of the query."""
    features = {name: column for name, column in columns.items() if name not in ("user", "item")}
    return batches.pairs(columns["user"], columns["item"], label, features=features)


def synthetic(rows: int = 3000) -> Data:
    """Clicks that two columns decide together, for a run without data."""
    rng = np.random.default_rng(0)
    sizes = {"user": 30, "item": 20, "daytime": 5, "weather": 4}
    columns = {name: rng.integers(1, size, rows).astype(np.int32) for name, size in sizes.items()}
    taste = rng.normal(size=(20, 5))
    label = (taste[columns["item"], columns["daytime"]] + 0.3 * rng.normal(size=rows) > 0).astype(np.float32)

    def part(start: int, stop: int) -> Batch:
        return pairs({name: column[start:stop] for name, column in columns.items()}, label[start:stop])

    third = rows // 3
    train, valid, test = part(0, third), part(third, 2 * third), part(2 * third, rows)
    return Data(train, valid, test, sizes, {}, "synthetic", "thirds")


def zoo(sizes: dict[str, int], dim: int, widths: tuple[int, ...], dropout: float) -> list[Entry]:
    """Every model at one width of embeddings and one network."""
    net: dict[str, Any] = {"widths": widths, "dropout": dropout, "batch_norm": True}
    return [
        Entry("LR", FM(sizes, 0)),
        Entry("FM", FM(sizes, dim)),
        Entry("NFM", NFM(sizes, dim, **net)),
        Entry("DeepFM", DeepFM(sizes, dim, **net)),
        Entry("WideDeep", WideDeep(sizes, dim=dim, **net)),
        Entry("DCNv2", DCNv2(sizes, dim, num_crosses=3, **net)),
        Entry("DLRM", DLRM(sizes, dim, **net)),
        Entry("XDeepFM", XDeepFM(sizes, dim, maps=(64,), **net)),
        Entry("FinalMLP", FinalMLP(sizes, dim, second_widths=widths, gate_widths=widths[:1], **net)),
        Entry("MaskNet", MaskNet(sizes, dim, widths=widths, dropout=dropout)),
        Entry("FiBiNET", FiBiNET(sizes, dim, **net)),
        Entry("AFM", AFM(sizes, dim, attention_width=16)),
        Entry("AutoInt", AutoInt(sizes, dim, num_layers=2, heads=2, head_width=16, **net)),
        Entry("DNN", DNN(sizes, dim, **net)),
    ]
