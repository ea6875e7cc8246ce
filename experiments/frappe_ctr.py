"""Which app is used in which context: models of feature interactions on Frappe.

    python experiments/frappe_ctr.py --record --data-dir FOLDER  # holds frappe.zip

Validation and test are the official files. The official training file is not to be had: its
positives are, and its negatives were drawn again by the rule of the official ones. Embeddings are 10
wide, batches 4,096, networks 300-300 with a dropout of .3; Adam's rate falls to 0 along a cosine over 20
epochs. For every model the same four pairs of a rate and of λ, half the weight of all squared embeddings,
are tried with one seed and the best by AUC on the validation part is kept; every seed's epoch with the best
such AUC is tested once. WideDeep has no crosses, AutoInt a network beside it (AutoInt+).

"Published" is BARS', https://github.com/reczoo/BARS (frappe_x1). A penalty of whole tables pulls rare rows
down to nothing, which is better here than one that counts a row as often as it is looked up: networks like
λ = 0.01 to 0.04, shallow models 1e-5 and a high rate.

NFM has one layer, as in its paper: with two it has .978 of the test part and validates at .981 instead of
.983. DCNv2 wants more dropout: of .2, .3 and .4 the last is best on the validation part by AUC less log loss;
its test part was seen with each of them (.9845 / .153, .9842 / .152, and the table's).

AUC / log loss, five seeds (published in brackets), and seconds of a seed on one busy CPU core with tuning:

    LR        .9357 / .312   (.9356 / .308)      5
    FM        .9728 / .183   (.9671 / .206)     14
    NFM       .9808 / .157   (.9804 / .206)     24
    DeepFM    .9850 / .148   (.9842 / .148)     61
    WideDeep  .9849 / .148   (.9841 / .149)     52
    DCNv2     .9840 / .151   (.9845 / .149)     74
    AFM       .9709 / .207   (.9697 / .226)     68
    AutoInt   .9844 / .143   (.9848 / .149)    258
    DNN       .9850 / .148   (.9833 / .162)     52
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import evaluation, losses, objectives, training
from rezoo.data import batches
from rezoo.datasets import frappe
from rezoo.models import AFM, DNN, FM, NFM, AutoInt, DCNv2, DeepFM, WideDeep
from rezoo.storage import durable
from rezoo.training.loop import Run, run
from rezoo.types import Batch, TrainState

TABLES = ("factors", "deep", "linear", "wide", "items", "profile")
"""Names of what the models look up by column: embeddings and weights."""


@dataclass(frozen=True)
class Flags(common.Flags):
    """Flags of this experiment."""

    models: tuple[str, ...] = ()
    """Names of the table; all if none is given."""


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


class Setting(NamedTuple):
    """What is chosen for each model."""

    rate: float
    l2: float


class Budget(NamedTuple):
    """What every model is given alike."""

    settings: tuple[Setting, ...]
    batch_size: int
    num_epochs: int


REAL = Budget((Setting(0.01, 1e-5), Setting(0.01, 1e-3), Setting(0.01, 1e-2), Setting(0.003, 4e-2)), 4096, 20)
OWN: dict[str, dict[str, Any]] = {"NFM": {"widths": (300,)}, "DCNv2": {"dropout": 0.4}}
"""What is another one than the others' for a model on Frappe."""


def trainer(model: nn.Module, data: Data, budget: Budget) -> Callable[[int, Setting], Run]:
    """`(seed, setting) -> run`, compiled once for all of them."""
    rows = len(data.train.item)
    steps = budget.num_epochs * training.num_steps(rows, budget.batch_size)
    objective = objectives.pointwise(model, losses.logistic)

    def optimizer(at: Setting) -> optax.GradientTransformation:
        decay = optax.cosine_decay_schedule(1.0, steps)
        adam = optax.adam(lambda step: at.rate * decay(step))
        return optax.chain(optax.add_decayed_weights(at.l2, tables), adam)  # pyright: ignore[reportArgumentType]

    @jax.jit
    def epoch(state: TrainState, train: Batch, at: Setting):
        return training.epoch(training.make_step(objective, optimizer(at)), state, train, budget.batch_size)

    evaluate = jax.jit(lambda variables, part: evaluation.evaluate_clicks(model, variables, part))
    first = optimizer(budget.settings[0])
    init = jax.jit(lambda key: training.init_state(key, model, first, data.train, constants=data.constants))

    def fit(seed: int, at: Setting) -> Run:
        at = jax.tree.map(jnp.float32, at)
        return run(
            lambda state: epoch(state, data.train, at),
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
        at, first = choose(name, fit, budget, results)
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


def bars(auc: float, logloss: float) -> dict[str, float]:
    """What BARS has for a model."""
    return {"auc": auc, "logloss": logloss}


def zoo(sizes: dict[str, int], dim: int, widths: tuple[int, ...], dropout: float) -> list[Entry]:
    """Every model at one width of embeddings and one network."""
    net: dict[str, Any] = {"widths": widths, "dropout": dropout, "batch_norm": True}
    return [
        Entry("LR", FM(sizes, 0), bars(0.9356, 0.3076)),
        Entry("FM", FM(sizes, dim), bars(0.9671, 0.2065)),
        Entry("NFM", NFM(sizes, dim, **net), bars(0.9804, 0.2058)),
        Entry("DeepFM", DeepFM(sizes, dim, **net), bars(0.9842, 0.1482)),
        Entry("WideDeep", WideDeep(sizes, dim=dim, **net), bars(0.9841, 0.1490)),
        Entry("DCNv2", DCNv2(sizes, dim, 3, **net), bars(0.9845, 0.1491)),
        Entry("AFM", AFM(sizes, dim, 16), bars(0.9697, 0.2264)),
        Entry("AutoInt", AutoInt(sizes, dim, 2, 2, 16, **net), bars(0.9848, 0.1490)),
        Entry("DNN", DNN(sizes, dim, **net), bars(0.9833, 0.1622)),
    ]


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("frappe*",))
    if flags.smoke:
        data = synthetic()
        compare(zoo(data.sizes, 4, (8,), 0.1)[1:3], data, Budget((Setting(0.02, 1e-4),), 256, 3), 1, results)
    else:
        data = official(flags.data_dir)
        entries = [
            entry._replace(model=entry.model.clone(**OWN.get(entry.name, {})))
            for entry in zoo(data.sizes, 10, (300, 300), 0.3)
            if not flags.models or entry.name in flags.models
        ]
        compare(entries, data, REAL, flags.seeds, results)
    results.finish()


if __name__ == "__main__":
    main()
