"""Successive halving: a search over value hyper-parameters that stops training the worse points early.

Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
optimization", https://arxiv.org/abs/1502.07943, figure 3. It sees scores of the validation part only
and ends in a point of the grid. What the point is worth is measured by one more `sweep.study`, of that
point alone, trained on training and validation part together and measured on the test part.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.arrays import at_least_1
from rezoo.storage import fingerprint
from rezoo.studies import resuming
from rezoo.studies.memory import run_members
from rezoo.studies.resuming import Record
from rezoo.studies.sweep import best, checked, ranking

Init = Callable[..., Any]
"""`(key, **point) -> state`: a member before its first unit."""

More = Callable[..., tuple[Any, jax.Array]]
"""`(state, **point) -> (state, score)`: a unit of training, such as an epoch, and its validation score."""


class Halving(NamedTuple):
    """What successive halving leaves. G points, S seeds, T units, K points in the last rung."""

    best: dict[str, jax.Array]
    """The winner, as a grid of one row: what `sweep.study` takes."""
    history: np.ndarray
    """`[G S T]`: every member's score after every unit; NaN after its last one."""
    score: np.ndarray
    """`[G S]`: every member's last score; not finite if it diverged."""
    units: np.ndarray
    """`[G]`: units that each point was trained for."""
    survivors: np.ndarray
    """`[K]`: rows of the grid that were trained to the end, best first."""
    state: Any
    """The survivors' states, `[K S …]`, best first."""
    seconds: float
    """Compilation included; of this process."""


def search(
    init: Init,
    more: More,
    seeds: jax.Array,
    grid: Mapping[str, jax.Array],
    *,
    rungs: Sequence[int],
    eta: float = 2.0,
    at_once: int | None = None,
    memory: float | None = None,
    folder: str | Path | None = None,
) -> Halving:
    """Train all points, keep the best 1/η of them, train these on, and so forth.

    Every rung is one program: its members are trained side by side and stay on the device, the
    better ones are gathered there into a smaller batch, and the next rung is a program for that
    batch alone. A point that was dropped is not trained further.

    A point is judged by its seeds' mean after the last unit of the rung; one of them that is not
    finite loses it the rung.

    Args:
      init: pure.
      more: pure; the state keeps its structure. With `training.epoch` as the unit,

            def more(state, rate):
                step = training.make_step(objective, optax.adam(rate))
                state, _ = training.epoch(step, state, data, batch_size)
                return state, -validation_error(state.variables)

      seeds: keys, `[S]`.
      grid: columns of one length G.
      rungs: units that a member has been trained for at the end of each rung, such as (1, 2, 4, 8).
      eta: of the K points of a rung the best ⌈K / η⌉ go on.
      at_once: as in `sweep.study`.
      memory: as in `sweep.study`.
      folder: keep the survivors here after each rung. A search killed at any moment and started
        again ends bit for bit where it would have ended; another one (other data, program, seeds,
        points, rungs or η) starts over in a folder of its own, and a line of the log says so.

    Raises:
      ValueError: if `rungs` do not increase, or η is not above 1.
      FloatingPointError: if every point diverged.
      MemoryError: if one member alone does not fit into memory.
      OSError, rezoo.storage.durable.BusyError: if `folder` cannot be written to, or another process runs this
        search in it.
    """
    started = time.monotonic()
    columns = checked(grid)
    sizes = _sizes(columns, rungs, eta)
    limits: dict[str, Any] = {"at_once": at_once, "memory": memory}
    record = Record(
        np.arange(sizes[0]),
        np.zeros(sizes[0], np.int32),
        np.full((sizes[0], len(seeds), rungs[-1]), np.nan, np.float32),
    )

    def start(key: jax.Array, values: dict[str, jax.Array]) -> Any:
        return init(key, **values)

    def values(points: np.ndarray) -> dict[str, jax.Array]:
        return {name: jnp.repeat(column[points], len(seeds)) for name, column in columns.items()}

    everyone = jnp.tile(seeds, sizes[0]), values(record.alive)
    like = jax.eval_shape(jax.vmap(start), *everyone)
    numbers = *map(int, rungs), float(eta), at_once or 0
    with fingerprint.own(folder, partial(_parts, start, more, everyone, like, numbers)) as place:
        done, record, state = resuming.resume(place, record, like, len(seeds), sizes)
        if not done:
            state = run_members(start, *everyone, **limits)
        for rung in range(done, len(rungs)):
            alive, units, history = record
            before = rungs[rung - 1] if rung else 0
            body = _unit_after_unit(more, rungs[rung] - before)
            state, score = run_members(body, state, values(alive), donate=True, **limits)
            history[alive, :, before : rungs[rung]] = np.asarray(score).reshape(len(alive), len(seeds), -1)
            units[alive] = rungs[rung]
            keep = ranking(history[alive, :, rungs[rung] - 1])[: sizes[rung + 1]]
            rows = (keep[:, None] * len(seeds) + np.arange(len(seeds))).ravel()
            state = jax.tree.map(lambda leaf, rows=rows: leaf[rows], state)
            record = record._replace(alive=alive[keep])
            resuming.save(place, rung + 1, record, state)

    alive, units, history = record
    score = np.take_along_axis(history, (units - 1)[:, None, None], axis=2)[..., 0]
    winner = best({name: column[alive] for name, column in columns.items()}, score[alive])
    state = jax.tree.map(lambda leaf: leaf.reshape(len(alive), len(seeds), *leaf.shape[1:]), state)
    return Halving(winner, history, score, units, alive, state, time.monotonic() - started)


def rungs(points: int, units: int, eta: float = 2.0) -> list[int]:
    """Rungs that end at `units`, each η times the one before, as many as leave one of `points`.

    A rung then costs about as much as one point that is trained to the end, or less.

    Raises:
      ValueError: if there is no point or no unit, or η is not above 1.

    >>> rungs(32, 48), rungs(27, 27, eta=3.0)
    ([2, 3, 6, 12, 24, 48], [1, 3, 9, 27])
    """
    at_least_1(points=points, units=units)
    if not eta > 1:
        raise ValueError(f"eta = {eta}: give how many times as long each rung is, more than 1")
    halvings = math.ceil(round(math.log(points) / math.log(eta), 9))
    steps = {max(1, math.ceil(round(units / eta**n, 9))) for n in range(halvings + 1)}
    return sorted(steps)


def _unit_after_unit(more: More, units: int) -> Callable[..., Any]:
    def run(state: Any, values: dict[str, jax.Array]) -> tuple[Any, jax.Array]:
        return jax.lax.scan(lambda state, _: more(state, **values), state, length=units)

    return run


def _parts(start: Any, more: More, everyone: Any, states: Any, numbers: Any) -> dict[str, str]:
    """The fingerprint of a search."""
    key, point = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), everyone)
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), states)
    first = fingerprint.program(start, key, point)
    unit = fingerprint.program(lambda state, point: more(state, **point), state, point)
    return {name: fingerprint.of(first[name], unit[name]) for name in first} | {
        "members": fingerprint.of(everyone),
        "rungs": fingerprint.of(numbers),
        "versions": fingerprint.versions(),
    }


def _sizes(columns: Mapping[str, jax.Array], rungs: Sequence[int], eta: float) -> list[int]:
    """Points at the start of each rung, and at the end."""
    if not columns:
        raise ValueError("halving chooses among the points of a grid, but the grid has no column")
    if not rungs or rungs[0] < 1 or any(b <= a for a, b in pairwise(rungs)):
        raise ValueError(f"rungs are numbers of units, each more than the one before, but are {rungs}")
    if not eta > 1:
        raise ValueError(f"eta must be above 1, but is {eta}")
    sizes = [len(next(iter(columns.values())))]
    for _ in rungs[1:]:
        sizes.append(math.ceil(round(sizes[-1] / eta, 9)))
    return [*sizes, sizes[-1]]
