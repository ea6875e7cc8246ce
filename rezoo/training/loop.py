"""The host's loop around a jitted epoch: progress, early stopping, checkpoints, resuming."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rezoo.arrays import across, at_least_1, whole_at_least_0
from rezoo.devices import processes
from rezoo.errors import DataError
from rezoo.storage import checkpoint, fingerprint
from rezoo.training.progress import Lines
from rezoo.types import Scalars, TrainState, Variables

Epoch = Callable[[TrainState], tuple[TrainState, Scalars]]
"""A jitted epoch on data that it holds; under `vmap`, everything has a leading axis of members."""


class Diverged(FloatingPointError):
    """A run met a number that is not finite; says at which step and in which parameters."""


class Checkpoints(NamedTuple):
    """How the states of a run are kept."""

    save: Callable[[str | Path, int, Any, Mapping[str, Any]], None]
    """(folder, epoch, tree, notes)."""
    restore: Callable[[str | Path, Any], tuple[Any, dict[str, Any]] | None]
    """(folder, arrays or shapes like the tree) -> the newest tree and its notes."""


HERE = Checkpoints(checkpoint.save, checkpoint.restore)


class Run(NamedTuple):
    """What a run leaves."""

    state: TrainState
    """The state after the last epoch."""
    best: Variables
    """The variables of each member's best epoch by `monitor`; the last ones without it."""
    history: dict[str, np.ndarray]
    """Every metric by epoch: `[epochs]`, or `[epochs, members]` of a vmapped run."""
    best_epoch: np.ndarray
    """Counted from 1; 0 if no epoch improved on nothing."""
    seconds: float
    """Spent in epochs and evaluations, compilation included, resumed parts too."""


def run(
    epoch: Epoch,
    state: TrainState | Callable[[], TrainState],
    num_epochs: int,
    *,
    evaluate: Callable[[Variables], Scalars] | None = None,
    monitor: Callable[[Mapping[str, Any]], Any] | None = None,
    patience: int | None = None,
    folder: str | Path | None = None,
    identity: str | None = None,
    save_every: float = 30.0,
    progress: Progress | None = None,
    description: str = "training",
    rows: int | None = None,
    checkpoints: Checkpoints = HERE,
) -> Run:
    """Train for `num_epochs` epochs, or until no member has improved for `patience` of them.

    Of several processes (`rezoo.devices.processes`), all call it, with a folder that they share.

    Args:
      epoch: `jax.jit(lambda state: training.epoch(step, state, data, batch_size))`, or that under
        `jax.vmap`; with `donate_argnums=0` it trains in place.
      state: where to start; its buffers may be donated to `epoch`. Or what makes it, of a state that should
        be there once only: it is called if there is no checkpoint, and `identity` stands for the start, too.
      num_epochs: epochs in all, those before a resumption included.
      evaluate: scalars of the variables after each epoch, jitted but for what it does on the host.
      monitor: the number to maximise, from one epoch's metrics: `lambda m: -m["rmse"]`.
      patience: stop after so many epochs in a row without a better `monitor`.
      folder: keep checkpoints here, in a folder of this run's fingerprint (its data, program, start,
        evaluation and the versions of packages), and go on from the newest one. A run killed at any
        moment and started again ends bit for bit where it would have ended; another run starts over,
        beside it, and a line of the log says so.
      identity: text that stands for data and program in the fingerprint, such as
        `rezoo.storage.fingerprint.of(data, rate)`, where `epoch` is a loop that cannot be traced or that
        must not be called for a look at its program, such as one that reads a stream.
      save_every: seconds between checkpoints; the end is always saved.
      progress: a rich `Progress` to draw a line in; see `progress_bar`.
      description: the name of that line.
      rows: rows of one epoch, to show a speed.
      checkpoints: how they are kept; of tables that are spread over devices,
        `row_sparse.checkpoints_over(mesh, …)`, so that any number of devices can go on.

    Raises:
      Diverged: if the loss or a parameter is not finite. Of a vmapped run, only if every member's
        is; a member that diverges is left as it was, and its `state.halted` is True.
      DataError: if `folder` holds more epochs of this run than `num_epochs`, or only checkpoints that
        are damaged.
      TypeError: if `folder` is given and the fingerprint needs an `identity`.
      ValueError: likewise, for a function in the place of `state`; if `num_epochs` is below 0, `patience`
        below 1 or without a monitor, or the monitor of every member is NaN.
      rezoo.storage.durable.BusyError: if another process trains this run in `folder`.
      OSError: if `folder` cannot be written to; what it held is kept.

    >>> import jax.numpy as jnp
    >>> state = TrainState({"w": jnp.array(8.0)}, {}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    >>> half = lambda state: state._replace(params={"w": state.params["w"] / 2})
    >>> result = run(lambda state: (half(state), {"loss": state.params["w"]}), state, 3)
    >>> result.history["loss"].tolist()
    [8.0, 4.0, 2.0]
    """
    whole_at_least_0(num_epochs=num_epochs)
    at_least_1(patience=patience)
    if patience is not None and monitor is None:
        raise ValueError("patience= waits for a better monitor=: give that too, such as lambda m: -m['rmse']")
    if folder and callable(state) and identity is None:
        raise ValueError(
            "state= is a function, which has no fingerprint: give identity=, which stands for it"
        )
    begin, like = (state, jax.eval_shape(state)) if callable(state) else (lambda: state, state)
    notes: dict[str, Any] = {"history": [], "seconds": 0.0}
    score = np.full(np.shape(like.step), -np.inf)
    best_epoch = np.zeros(np.shape(like.step), np.int64)
    parts = partial(_parts, epoch, like, evaluate, monitor, patience, identity)
    with fingerprint.own(folder, parts) as folder:
        if folder and (found := checkpoints.restore(folder, (like, like.variables if monitor else {}))):
            (reached, best), notes = found
            score, best_epoch = np.asarray(notes["score"], float), np.asarray(notes["best_epoch"])
        else:
            reached = begin()
            best = jax.tree.map(jnp.copy, reached.variables) if monitor else {}
        saved = len(notes["history"])
        if saved > num_epochs:
            raise DataError(
                f"{folder} holds {saved} epochs of this run, more than {num_epochs}: give another folder"
            )
        task = progress.add_task(description, total=num_epochs, note="") if progress else None
        saved_at = time.monotonic()

        for done in range(saved, num_epochs + 1):
            if progress and task is not None:
                progress.update(task, completed=done, note=_note(notes, rows))
            last = done == num_epochs or (
                patience is not None and monitor is not None and done - best_epoch.max() >= patience
            )
            is_time = time.monotonic() - saved_at > save_every
            if folder and done > saved and (last or processes.as_first(is_time)):
                notes |= {"score": score.tolist(), "best_epoch": best_epoch.tolist()}
                checkpoints.save(folder, done, (reached, best), notes)
                saved_at = time.monotonic()
            if last:
                break
            start = time.monotonic()
            reached, metrics = epoch(reached)
            metrics = jax.device_get(metrics | (evaluate(reached.variables) if evaluate else {}))
            if np.all(reached.halted):
                raise Diverged(diagnosis(reached, done + 1, metrics))
            if monitor:
                new = np.where(reached.halted, -np.inf, monitor(metrics))
                if np.all(np.isnan(new) | reached.halted):
                    raise ValueError(f"the monitor is NaN after epoch {done + 1}: no epoch is better by it")
                better = new > score
                score, best_epoch = np.where(better, new, score), np.where(better, done + 1, best_epoch)
                best = _keep(better, reached.variables, best)
            notes["history"].append({name: np.asarray(value).tolist() for name, value in metrics.items()})
            notes["seconds"] += time.monotonic() - start

    history = {name: np.array([m[name] for m in notes["history"]]) for name in (notes["history"] or [{}])[0]}
    return Run(reached, best if monitor else reached.variables, history, best_epoch, notes["seconds"])


def diagnosis(state: TrainState, epoch: int | None = None, metrics: Mapping[str, Any] | None = None) -> str:
    """Which step ended a halted run, and which parameters are not finite where.

    Where `metrics` have an `overflow`, rows of a table that is spread over devices found no place.

    >>> import jax.numpy as jnp
    >>> params = {"user": {"embedding": jnp.array([[1.0], [jnp.nan]])}}
    >>> state = TrainState(params, {}, (), jax.random.key(0), jnp.int32(7), jnp.bool_(True))
    >>> diagnosis(state).split(". ")[0]
    'training met NaN or infinity in step 7'
    """
    places = []
    for path, leaf in jax.tree.leaves_with_path(state.params):
        if not _is_here(leaf):  # of a table that is spread over the devices of several processes
            continue
        bad = ~np.isfinite(np.asarray(leaf))
        if bad.any():
            rows = np.unique(np.nonzero(bad)[0])[:5].tolist() if bad.ndim else []
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            places.append(f"{name}: {bad.sum()} of {bad.size} values, first in rows {rows}")
    where = f" of epoch {epoch}" if epoch else ""
    step = np.asarray(state.step).max()
    if metrics and (lost := np.max(metrics.get("overflow", 0))):
        return (
            f"{lost:,.3g} of the ids that a step{where} looks up found no place on their way to the devices "
            "that hold their rows, or there: give row_sparse.spread_over "
            "routes=[sharding.all_to_all(spare=…)] with more to spare, or [sharding.gather_ids()]"
        )
    return (
        f"training met NaN or infinity in step {step}{where}. "
        + (f"Parameters concerned: {'; '.join(places)}. " if places else "Only the loss is concerned. ")
        + "Look for labels that are not finite, or lower the learning rate."
    )


def _is_here(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated


def progress_bar() -> Progress:
    """The bar that `run` draws in; use it as a context manager around any number of runs.

    Where there is no terminal to draw in, it is a line of text every ten seconds.
    """
    console = get_console()
    return (Progress if console.is_terminal or console.is_jupyter else Lines)(
        TextColumn("{task.description:>28}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


@jax.jit
def _keep(better: jax.Array, new: Variables, old: Variables) -> Variables:
    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(across(better, a), a, b)

    return jax.tree.map(choose, dict(new), dict(old))


def _parts(
    epoch: Epoch, like: TrainState, evaluate: Any, monitor: Any, patience: int | None, identity: str | None
) -> dict[str, str]:
    """The fingerprint of a run, but for the number of its epochs; of a start of shapes, without them."""
    parts = fingerprint.program(epoch, like) if identity is None else {"identity": fingerprint.of(identity)}
    try:
        looked = fingerprint.program(evaluate, like.variables) if evaluate else {}
    except TypeError:  # it works on the host
        looked = {"code": fingerprint.code(evaluate)}
    watched = [fingerprint.code(monitor), repr(patience)] if monitor else []
    return parts | {
        "evaluation": fingerprint.of(looked, watched),
        "start": "" if isinstance(like.step, jax.ShapeDtypeStruct) else fingerprint.of(like),
        "versions": fingerprint.versions(),
    }


def _note(notes: Mapping[str, Any], rows: int | None) -> str:
    if not notes["history"]:
        return ""
    parts = [f"{name} {np.nanmean(value):.4f}" for name, value in notes["history"][-1].items()]
    if rows and notes["seconds"]:
        members = np.size(next(iter(notes["history"][-1].values())))
        speed = rows * members * len(notes["history"]) / notes["seconds"]
        parts.append(f"{speed / 1e3:,.0f} thousand rows/s")
    return "  ".join(parts)
