"""Studies: one training function over seeds and value hyper-parameters, as one compiled program."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Summary(NamedTuple):
    """A metric over the members of a study."""

    mean: np.ndarray
    standard_error: np.ndarray
    """Of the mean; NaN where fewer than two members count."""
    values: np.ndarray
    """Every member's, seeds on the last axis; NaN for a member that diverged."""
    count: np.ndarray
    """Members that count: those whose value is finite."""


def keys(seeds: int | Sequence[int]) -> jax.Array:
    """One key for each seed: 0 … seeds - 1, or those given."""
    numbers = jnp.arange(seeds) if isinstance(seeds, int) else jnp.asarray(seeds)
    return jax.vmap(jax.random.key)(numbers)


def study(
    train: Callable[..., Any],
    seeds: jax.Array,
    grid: Mapping[str, jax.Array] | None = None,
    *,
    at_once: int | None = None,
) -> Any:
    """`train(key, **point)` for every point of the grid and every seed, in one program.

    Value hyper-parameters (rates, penalties, temperatures) may be in the grid; what changes shapes
    (widths, layers, batch size) is a loop around studies. Seeds are the inner `vmap`, so what
    depends on the point alone is computed once per point.

    Args:
      train: pure; builds its optimizer and objective inside.
      seeds: keys, `[S]`.
      grid: columns of one length G, a hyper-parameter each; every row is a point.
      at_once: so many members (a point with a seed) side by side, then the next ones, still in one
        program; all of them if not given. Side by side is what fills an accelerator. On a CPU, where
        one member's tables fit into the cache and all members' do not, 1 is faster; and it takes
        the memory of `at_once` members.

    Returns:
      What `train` returns, with leading axes `[G S]`, or `[S]` without a grid.

    Raises:
      ValueError: if the grid's columns differ in length, or `at_once` is less than 1.
    """
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once must be 1 or more, but is {at_once}")
    grid = grid or {}
    lengths = {name: len(column) for name, column in grid.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the grid's columns must have one length, but they have {lengths}")

    columns = {name: jnp.asarray(column) for name, column in grid.items()}
    if at_once is None:
        seeded = jax.vmap(lambda key, values: train(key, **values), (0, None))
        run = jax.vmap(seeded, (None, 0)) if grid else seeded
        return jax.jit(run)(seeds, columns)

    shape = (*list(lengths.values())[:1], len(seeds))
    place = np.indices(shape).reshape(len(shape), -1)
    members = seeds[place[-1]], {name: column[place[0]] for name, column in columns.items()}

    def one(member: tuple[jax.Array, dict[str, jax.Array]]) -> Any:
        return train(member[0], **member[1])

    results = jax.jit(lambda members: jax.lax.map(one, members, batch_size=at_once))(members)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), results)


def product(**axes: Sequence[float]) -> dict[str, jax.Array]:
    """Every combination of the axes' values, as a grid for `study`.

    >>> {name: column.tolist() for name, column in product(rate=[1.0, 2.0], l2=[0.0, 5.0]).items()}
    {'rate': [1.0, 1.0, 2.0, 2.0], 'l2': [0.0, 5.0, 0.0, 5.0]}
    """
    mesh = jnp.meshgrid(*(jnp.asarray(values) for values in axes.values()), indexing="ij")
    return {name: column.ravel() for name, column in zip(axes, mesh, strict=True)}


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
