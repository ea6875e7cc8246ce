"""Which app is used in which context: models of feature interactions on Frappe.

    python experiments/frappe_ctr.py --data-dir FOLDER        # holds frappe.zip

Validation and test are the official files. The official training file is not to be had: its
positives are, and its negatives were drawn again by the rule of the official ones. Embeddings are 10
wide, batches 2,048, networks 300-300; Adam's rate falls to 0 along a cosine. For every model the same few
values of λ, half the weight of all squared embeddings, are tried with one seed and the best by AUC on
the validation part is kept; every seed's epoch with the best such AUC is tested once. "Published" is
BARS'. A penalty of whole tables pulls rare rows down to nothing; DeepFM's AUC on the validation part was
.9810 with it and .9798 with one that counts a row as often as it is looked up.
"""

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
from rezoo.data import frappe
from rezoo.loop import Run, run
from rezoo.models import AFM, DNN, FM, NFM, AutoInt, DCNv2, DeepFM, WideDeep
from rezoo.types import Batch, Query, TrainState

TABLES = ("factors", "deep", "linear", "wide")
"""Names of what the models look up by column: embeddings and weights."""


class Data(NamedTuple):
    """Three parts, and what models must know of them."""

    train: Batch
    valid: Batch
    test: Batch
    sizes: dict[str, int]
    constants: dict[str, Any]
    dataset: str
    protocol: str


class Entry(NamedTuple):
    """A model of the table."""

    name: str
    model: nn.Module
    published: Mapping[str, float] = {}


class Budget(NamedTuple):
    """What every model is given alike."""

    l2: tuple[float, ...]
    rate: float
    batch_size: int
    num_epochs: int


REAL = Budget((3e-4, 3e-3), 3e-3, 2048, 14)
"""Of Frappe and, as it is the same zoo, of ML-1M."""


def trainer(model: nn.Module, data: Data, budget: Budget) -> Callable[[int, float], Run]:
    """`(seed, l2) -> run`, compiled once for all seeds and values."""
    rows = len(data.train.item)
    steps = budget.num_epochs * -(-rows // min(budget.batch_size, rows))
    objective = objectives.pointwise(model, losses.logistic)

    def optimizer(l2: float | jax.Array) -> optax.GradientTransformation:
        adam = optax.adam(optax.cosine_decay_schedule(budget.rate, steps))
        return optax.chain(optax.add_decayed_weights(l2, tables), adam)  # pyright: ignore[reportArgumentType]

    @jax.jit
    def epoch(state: TrainState, train: Batch, l2: jax.Array):
        return training.epoch(training.make_step(objective, optimizer(l2)), state, train, budget.batch_size)

    evaluate = jax.jit(lambda variables, part: evaluation.evaluate_clicks(model, variables, part))
    init = jax.jit(
        lambda key: training.init_state(key, model, optimizer(0.0), data.train, constants=data.constants)
    )

    def fit(seed: int, l2: float) -> Run:
        return run(
            lambda state: epoch(state, data.train, jnp.float32(l2)),
            init(jax.random.key(seed)),
            budget.num_epochs,
            evaluate=lambda variables: evaluate(variables, data.valid),
            monitor=lambda m: m["auc"],
        )

    return fit


def tables(params: Any) -> Any:
    """Which parameters are looked up by column."""
    return jax.tree.map_with_path(lambda path, _: any(part.key in TABLES for part in path), params)


def compare(entries: list[Entry], data: Data, budget: Budget, seeds: int, results: common.Results) -> None:
    """Tune, train and test every model; rows that are there are left as they are."""
    row = {"dataset": data.dataset, "protocol": data.protocol}
    for name, model, published in entries:
        done = len(results.values(name, metric="logloss", **row))
        if done >= seeds:
            continue
        start = time.monotonic()
        fit = trainer(model, data, budget)
        l2, first = choose(name, fit, budget, results)
        test = jax.jit(lambda variables, model=model: evaluation.evaluate_clicks(model, variables, data.test))
        for seed in range(done, seeds):
            fitted = first if first and seed == 0 else fit(seed, l2)
            found = test(fitted.best)
            seconds = time.monotonic() - start
            for metric in ("auc", "logloss"):
                results.add(
                    name, metric=metric, **row, values=float(found[metric]), seconds=seconds,
                    published=published.get(metric), l2=l2,
                )  # fmt: skip
            text = "  ".join(f"{metric} {float(found[metric]):.4f}" for metric in ("auc", "logloss"))
            print(
                f"{name} seed {seed}: {text}, λ {l2}, epoch {fitted.best_epoch}, {seconds:.0f} s", flush=True
            )
            start = time.monotonic()


def choose(
    name: str, fit: Callable[[int, float], Run], budget: Budget, results: common.Results
) -> tuple[float, Run | None]:
    """The λ with the best AUC on the validation part, of seed 0, and that run.

    The λ is remembered in the working folder, the run is not.
    """
    file = results.out / f"{name}.l2"
    if file.exists():
        return float(file.read_text()), None
    runs = {l2: fit(0, l2) for l2 in budget.l2}
    best = {l2: float(np.max(run.history["auc"])) for l2, run in runs.items()}
    for l2, auc in best.items():
        print(f"{name}, λ {l2}: valid auc {auc:.4f} in {len(runs[l2].history['auc'])} epochs", flush=True)
    l2 = max(best, key=lambda value: best[value])
    file.write_text(str(l2))
    return l2, runs[l2]


def pairs(columns: Mapping[str, np.ndarray], label: np.ndarray) -> Batch:
    """One row per pair; what is neither user nor item is a feature of the query."""
    on_device = {name: jnp.asarray(column) for name, column in columns.items()}
    features = {name: column for name, column in on_device.items() if name not in ("user", "item")}
    query = Query(on_device["user"], jnp.zeros((len(label), 0), jnp.int32), features)
    return Batch(query, on_device["item"], jnp.asarray(label), jnp.ones(len(label), bool))


def official(folder: Any) -> Data:
    """Frappe's three parts."""
    loaded = frappe.load(folder)
    train, valid, test = (pairs(*part) for part in (loaded.train, loaded.valid, loaded.test))
    note = ", train negatives re-sampled" if loaded.resampled else ""
    return Data(train, valid, test, loaded.sizes, {}, "frappe", f"official valid and test{note}")


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
        Entry("FM", FM(sizes, dim), {"auc": 0.967}),
        Entry("NFM", NFM(sizes, dim, **net), {"auc": 0.980}),
        Entry("DeepFM", DeepFM(sizes, dim, **net), {"auc": 0.984}),
        Entry("WideDeep", WideDeep(sizes, dim=dim, **net), {"auc": 0.984, "logloss": 0.150}),
        Entry("DCNv2", DCNv2(sizes, dim, 3, **net), {"auc": 0.9845, "logloss": 0.150}),
        Entry("AFM", AFM(sizes, dim, 16), {"auc": 0.970, "logloss": 0.226}),
        Entry("AutoInt", AutoInt(sizes, dim, 2, 2, 16, **net)),
        Entry("DNN", DNN(sizes, dim, **net)),
    ]


def main() -> None:
    flags, results = common.start(__file__, __doc__)
    if flags.smoke:
        data = synthetic()
        compare(zoo(data.sizes, 4, (8,), 0.1)[1:3], data, Budget((1e-4,), 0.02, 256, 3), 1, results)
    else:
        data = official(flags.data_dir)
        compare(zoo(data.sizes, 10, (300, 300), 0.3), data, REAL, flags.seeds, results)
    results.finish()


if __name__ == "__main__":
    main()
