"""Studies: one training function over seeds and value hyper-parameters, as one compiled program."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.studies.memory import run_members


class Summary(NamedTuple):
    """A metric over the members of a study."""

    mean: np.ndarray
    standard_error: np.ndarray
    """Of the mean; NaN where fewer than two members count."""
    values: np.ndarray
    """Every member's, seeds on the last axis; NaN for a member that diverged."""
    count: np.ndarray
    """Members that count: those whose value is finite."""


def keys(seeds: int | np.integer | Sequence[int]) -> jax.Array:
    """One key for each seed: 0 … seeds - 1, or those given.

    Raises:
      ValueError: if there is no seed, or one comes twice: its runs would be the same.
    """
    numbers = jnp.arange(seeds) if np.ndim(seeds) == 0 else jnp.asarray(seeds)
    if not len(numbers):
        raise ValueError("there is no seed: give their number, or the seeds")
    if len(np.unique(np.asarray(numbers))) < len(numbers):
        raise ValueError(f"seeds are {np.asarray(numbers).tolist()}: give each of them once")
    return jax.vmap(jax.random.key)(numbers)


def study(
    train: Callable[..., Any],
    seeds: jax.Array,
    grid: Mapping[str, jax.Array] | None = None,
    *,
    at_once: int | None = None,
    memory: float | None = None,
    folder: str | Path | None = None,
) -> Any:
    """`train(key, **point)` for every point of the grid and every seed, compiled once.

    Value hyper-parameters (rates, penalties, temperatures) may be in the grid; what changes shapes
    (widths, layers, batch size) is a loop around studies. Members, every point with every seed, are
    one axis of a single `vmap`: a `vmap` in a `vmap` takes a CPU five times as long where tables are
    looked up.

    What chooses hyper-parameters by what `train` returns must train and measure on the training and
    the validation part. The test part is for another `train`, of the one point that `best` gives.

    Args:
      train: pure; builds its optimizer and objective inside.
      seeds: keys, `[S]`.
      grid: columns of one length G, a hyper-parameter each; every row is a point.
      at_once: so many members (a point with a seed) side by side, then the next ones, by the same
        program; all of them if not given. Side by side is what fills an accelerator. On a CPU,
        where one member's tables fit into the cache and all members' do not, 1 is faster; and it
        takes the memory of `at_once` members.
      memory: bytes to plan with; what is free if not given. Members that do not fit side by side
        run in parts that do, and a line of the log says so.
      folder: keep the results here, after every `at_once` members. A study killed at any moment and
        started again ends bit for bit where it would have ended; another one (other data, program,
        seeds or grid) starts over in a folder of its own, and a line of the log says so.

    Returns:
      What `train` returns, with leading axes `[G S]`, or `[S]` without a grid.

    Raises:
      ValueError: if the grid's columns differ in length, or `at_once` is less than 1.
      MemoryError: if one member alone does not fit into memory.
      OSError, rezoo.storage.durable.BusyError: if `folder` cannot be written to, or another process runs this
        study in it.
    """
    columns = checked(grid or {})
    shape = (*(len(column) for column in list(columns.values())[:1]), len(seeds))
    place = np.indices(shape).reshape(len(shape), -1)
    members = {name: column[place[0]] for name, column in columns.items()}

    def one(key: jax.Array, values: dict[str, jax.Array]) -> Any:
        return train(key, **values)

    results = run_members(one, seeds[place[-1]], members, at_once=at_once, memory=memory, folder=folder)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), results)


def product(**axes: Sequence[float]) -> dict[str, jax.Array]:
    """Every combination of the axes' values, as a grid for `study`.

    >>> {name: column.tolist() for name, column in product(rate=[1.0, 2.0], l2=[0.0, 5.0]).items()}
    {'rate': [1.0, 1.0, 2.0, 2.0], 'l2': [0.0, 5.0, 0.0, 5.0]}
    """
    mesh = jnp.meshgrid(*(jnp.asarray(values) for values in axes.values()), indexing="ij")
    return {name: column.ravel() for name, column in zip(axes, mesh, strict=True)}


def draw(key: jax.Array, count: int, **axes: Callable[[jax.Array, int], jax.Array]) -> dict[str, jax.Array]:
    """A grid of `count` random points: `draw(key, 32, rate=log_uniform(1e-4, 1e-1), l2=uniform(0, 1))`.

    Bergstra and Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html: where few of the
    hyper-parameters matter, random points try more values of these than a `product` does. An axis
    draws from a key of its own name, so further axes leave its values as they were.
    """
    return {name: axis(jax.random.fold_in(key, crc32(name.encode())), count) for name, axis in axes.items()}


def uniform(low: float, high: float) -> Callable[[jax.Array, int], jax.Array]:
    """An axis for `draw`: uniform in [low, high)."""
    _check_range(low, high)
    return lambda key, count: jax.random.uniform(key, (count,), minval=low, maxval=high)


def log_uniform(low: float, high: float) -> Callable[[jax.Array, int], jax.Array]:
    """An axis for `draw`: its logarithm is uniform in [ln low, ln high)."""
    _check_range(low, high)
    if low <= 0:
        raise ValueError(f"a log-uniform axis starts above 0, but low is {low}")
    exponent = uniform(float(np.log(low)), float(np.log(high)))
    return lambda key, count: jnp.exp(exponent(key, count))


def best(grid: Mapping[str, jax.Array], score: Any) -> dict[str, jax.Array]:
    """The point with the highest mean score, as a grid of one row: what a last `study` takes.

    Args:
      grid: columns `[G]`.
      score: `[G S]`, higher is better (`-rmse`), measured on the validation part. A point one of
        whose seeds is not finite loses.

    Raises:
      ValueError: if the score has not a row for each point of the grid.
      FloatingPointError: if no point has only finite scores.
    """
    order = ranking(score)
    if {len(column) for column in grid.values()} != {len(order)}:
        raise ValueError(f"the score is {list(np.shape(score))}: give it a row for each point of the grid")
    if not np.isfinite(np.asarray(score)[order[0]]).all():
        raise FloatingPointError("every point diverged: lower the rates that the grid offers")
    return {name: jnp.asarray(column)[order[:1]] for name, column in grid.items()}


def ranking(score: Any) -> np.ndarray:
    """Rows of `score` `[G S]` by their mean, best first; not finite is worst, the first of equals leads."""
    score = np.asarray(score, np.float64)
    if score.ndim != 2 or not score.size:
        raise ValueError(f"the score is {list(score.shape)}: give it [points, seeds]")
    finite = np.isfinite(score).all(-1)
    mean = np.where(finite, np.where(finite[:, None], score, 0.0).mean(-1), -np.inf)
    return np.argsort(-mean, kind="stable")


def summarise(values: Any) -> Summary:
    """Mean and standard error over the last axis; members that are not finite do not count."""
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    count = finite.sum(-1)
    kept = np.where(finite, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = kept.sum(-1) / count
        deviation = np.where(finite, values - np.expand_dims(mean, -1), 0.0)
        error = np.sqrt((deviation**2).sum(-1) / (count - 1) / count)
    error = np.where(count > 1, error, np.nan)
    return Summary(mean, error, np.where(finite, values, np.nan), count)


def checked(grid: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The grid's columns as arrays; a ValueError if they differ in length."""
    shapes = {name: np.shape(column) for name, column in grid.items()}
    lengths = {shape[0] if shape else 0 for shape in shapes.values()}
    if 0 in lengths or len(lengths) > 1:
        raise ValueError(f"the grid's columns must have one length, 1 or more, but their shapes are {shapes}")
    return {name: jnp.asarray(column) for name, column in grid.items()}


def _check_range(low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"an axis goes from low to a greater high, but low is {low} and high is {high}")
