"""A study of 32 members as one program, beside 32 runs, beside Optuna, and by successive halving.

    taskset -c 0,1 python experiments/bench_sweep.py --record --data-dir FOLDER  # holds ml-1m.zip

Members are random points (rate, λ) of MF with BPR on ML-1M, 64 wide, 8 epochs, one seed; each is
judged by the share of held-out positives above a random item (a tenth of the log). All ways train the
same code on the same points, in this order:

- study, side by side:   `sweep.study(train, …)`
- study, one by one:     the same with `at_once=1`, which suits a CPU's cache
- single runs:           32 times `jax.jit`, the rate a constant, as 32 starts of a script
- Optuna:                32 trials over the same points, each with its own `jax.jit`
- Optuna compiled once: the same with the rate as an argument
- halving:               `halving.search`, rungs of 1, 2, 4 and 8 epochs, all members to one

Reported apart: wall time from the call to the result with compilation, seconds of it in XLA's compiler,
training programs traced, and for halving the score of the best it found beside the best of all. Optuna's
rows need `pip install -e '.[tune]'` and are left out without it.

On two CPU cores, 11 minutes in all: the study takes 101 s side by side and 97 s one by one, with one program
(2.9 s of compilation); 32 single runs 165 s, of which 60 s in the compiler, Optuna 141 s, or 93 s compiled
once; halving 41 s for the same best point, with 80 of the 256 epochs. On CPU cores running side by side
gains nothing (it is meant for accelerators), and seeds as a `vmap` of their own inside took 545 s.
"""

import time
from collections.abc import Callable
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
from protocols.bench_data import positives, read
from protocols.contest import BenchFlags

from rezoo import losses, objectives, sampling, training
from rezoo.devices.backend import pick
from rezoo.errors import needed
from rezoo.models import MF
from rezoo.studies import halving, sweep
from rezoo.types import Batch, TrainState

MEMBERS, BATCH = 32, 16_384
Point = dict[str, jax.Array]


class Work:
    """The same training for every way; counts how often it is traced."""

    def __init__(self, flags: common.Flags):
        log = read(BenchFlags(smoke=flags.smoke, data_dir=flags.data_dir))
        self.epochs, dim = (2, 8) if flags.smoke else (8, 64)
        members = 3 if flags.smoke else MEMBERS
        self.traces = self.trained = 0
        self.num_items = int(log.item.max()) + 1
        held_out = jnp.asarray(np.random.default_rng(0).random(len(log.user)) < 0.1)
        whole = positives(log)
        self.train: Batch = jax.tree.map(lambda column: column[~held_out], whole)
        self.valid: Batch = jax.tree.map(lambda column: column[held_out], whole)
        self.model = MF(int(log.user.max()) + 1, self.num_items, dim)
        self.negative = sampling.uniform(self.num_items)(
            jax.random.key(1), self.valid.query, self.valid.item, 1
        )[:, 0]
        axes = {"rate": sweep.log_uniform(1e-4, 1e-1), "l2": sweep.log_uniform(1e-5, 1e-1)}
        self.grid = sweep.draw(jax.random.key(0), members, **axes)

    def init(self, key: jax.Array, rate: Any, l2: Any) -> TrainState:
        return training.init_state(key, self.model, optax.adam(rate), self.train)

    def more(self, state: TrainState, rate: Any, l2: Any) -> tuple[TrainState, jax.Array]:
        """One epoch, and the share of held-out positives above a random item."""
        self.traces += 1
        sampler = sampling.uniform(self.num_items)
        objective = objectives.l2(objectives.sampled(self.model, losses.bpr, sampler, 1), l2)
        step = training.make_step(objective, optax.adam(rate))
        state, _ = training.epoch(step, state, self.train, BATCH)
        slate = jnp.stack([self.valid.item, self.negative], axis=1)
        score = jnp.asarray(self.model.apply(state.variables, self.valid.query, slate))
        return state, jnp.where(state.halted, jnp.nan, (score[:, 0] > score[:, 1]).mean())

    def whole(self, key: jax.Array, rate: Any, l2: Any) -> jax.Array:
        """A member from start to end: its last score."""

        def unit(state: TrainState, _: None) -> tuple[TrainState, jax.Array]:
            return self.more(state, rate, l2)

        return jax.lax.scan(unit, self.init(key, rate, l2), length=self.epochs)[1][-1]


def points(work: Work) -> list[dict[str, float]]:
    """The grid, point by point."""
    return [
        {name: float(column[row]) for name, column in work.grid.items()}
        for row in range(len(work.grid["rate"]))
    ]


def side_by_side(work: Work) -> np.ndarray:
    return np.asarray(sweep.study(work.whole, sweep.keys(1), work.grid))[:, 0]


def one_by_one(work: Work) -> np.ndarray:
    return np.asarray(sweep.study(work.whole, sweep.keys(1), work.grid, at_once=1))[:, 0]


def single_runs(work: Work) -> np.ndarray:
    return np.array(
        [float(jax.jit(lambda key, at=at: work.whole(key, **at))(jax.random.key(0))) for at in points(work)]
    )


def by_optuna(work: Work, compiled_once: bool) -> np.ndarray:
    """Trials over the same points, so that the work is the same."""
    optuna = needed("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    once = jax.jit(work.whole)

    def score(trial: Any) -> float:
        at = {
            "rate": trial.suggest_float("rate", 1e-5, 1.0, log=True),
            "l2": trial.suggest_float("l2", 1e-6, 1.0, log=True),
        }
        key = jax.random.key(0)
        value = once(key, **at) if compiled_once else jax.jit(lambda key: work.whole(key, **at))(key)
        return float(jnp.nan_to_num(value))

    study = optuna.create_study(direction="maximize")
    for at in points(work):
        study.enqueue_trial(at)
    study.optimize(score, n_trials=len(work.grid["rate"]))
    return np.array([trial.value for trial in study.trials])


def by_halving(work: Work) -> np.ndarray:
    rungs = [1, work.epochs] if work.epochs < 8 else [1, 2, 4, 8]
    at_once = pick(cpu=1, accelerator=None)
    found = halving.search(work.init, work.more, sweep.keys(1), work.grid, rungs=rungs, at_once=at_once)
    work.trained = int(found.units.sum())
    return found.score[found.survivors, 0]


WAYS: dict[str, Callable[[Work], np.ndarray]] = {
    "study, side by side": side_by_side,
    "study, one by one": one_by_one,
    "single runs": single_runs,
    "Optuna": lambda work: by_optuna(work, compiled_once=False),
    "Optuna compiled once": lambda work: by_optuna(work, compiled_once=True),
    "halving": by_halving,
}


def main(flags: common.Flags, results: common.Results) -> None:
    """Each way once; the whole takes minutes."""
    compiling = [0.0]

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiling[0] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    work = Work(flags)
    data = "ml-1m" if flags.data_dir and not flags.smoke else "random pairs"
    members = len(work.grid["rate"])
    for name, way in WAYS.items():
        protocol = f"{members} members, {work.epochs} epochs, {name}"
        if results.values("MF", data, protocol, "seconds"):
            continue
        compiling[0], work.traces = 0.0, 0
        start = time.perf_counter()
        try:
            score = way(work)
        except ImportError:
            print(f"{name} is left out, as Optuna is not installed: pip install -e '.[tune]'")
            continue
        seconds = time.perf_counter() - start
        epochs = work.trained if name == "halving" else members * work.epochs
        with results.together():
            results.add("MF", data, protocol, "best score", float(np.nanmax(score)), seconds=0.0)
            results.add("MF", data, protocol, "seconds in the compiler", compiling[0], seconds=0.0)
            results.add("MF", data, protocol, "training programs traced", work.traces, seconds=0.0)
            results.add("MF", data, protocol, "epochs trained", epochs, seconds=0.0)
            results.add("MF", data, protocol, "seconds", seconds, seconds=seconds)
    ratios(results, data, f"{members} members, {work.epochs} epochs")
    results.finish()


def ratios(results: common.Results, data: str, protocol: str) -> None:
    """How many times the better study's wall time each other way took."""

    def seconds(name: str) -> float:
        return (results.values("MF", data, f"{protocol}, {name}", "seconds") or [float("nan")])[0]

    best = min(("study, side by side", "study, one by one"), key=seconds)
    for name in WAYS:
        key = ("MF", data, f"{protocol}, {name}", f"times {best}")
        if name != best and np.isfinite(seconds(name)) and not results.values(*key):
            results.add(*key, seconds(name) / seconds(best), seconds=0.0)


if __name__ == "__main__":
    main(*common.start(__file__, __doc__, data=("ml-1m*",)))
