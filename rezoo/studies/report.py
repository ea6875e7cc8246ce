"""What a study found, as a table and as pictures.

Scores are `[G S]` and higher is better, as `sweep.best` takes them. Pictures are matplotlib figures
(`pip install 'rezoo[notebooks]'`), to be kept by `figure.savefig("curves.png")`. They need no colour:
lines differ in dashes and points in size.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from rezoo.errors import needed
from rezoo.studies.sweep import ranking, summarise

DASHES = ("-", "--", ":", "-.")


def table(
    grid: Mapping[str, Any],
    score: Any,
    *,
    metric: str = "score",
    sign: int = 1,
    units: Any = None,
    top: int | None = None,
) -> Table:
    """The points of a study, best first, with mean and standard error over seeds.

    Args:
      grid: columns `[G]`.
      score: `[G S]`.
      metric: the name to print; `sign` -1 prints an error that was searched as `-rmse` as itself.
      sign: what the score is multiplied by before it is printed.
      units: what each point was trained for, `[G]`, if that differs; see `halving.Halving`.
      top: so many points; all if not given.
    """
    summary = summarise(sign * np.asarray(score, np.float64))
    made = Table(title=f"{len(summary.mean)} points")
    names = ["", *grid, *(["units"] if units is not None else []), f"{metric} ± s.e.", "seeds"]
    for name in names:
        made.add_column(name, justify="right")
    for place, row in enumerate(ranking(score)[:top], start=1):
        error = summary.standard_error[row]
        value = f"{summary.mean[row]:.4f}" if summary.count[row] else "diverged"
        cells = [str(place), *(f"{float(column[row]):.3g}" for column in grid.values())]
        cells += [str(int(units[row]))] if units is not None else []
        made.add_row(
            *cells, value + (f" ± {error:.4f}" if np.isfinite(error) else ""), str(summary.count[row])
        )
    return made


def curves(history: Mapping[str, Any], *, metric: str = "score", unit: str = "epoch", sign: int = 1) -> Any:
    """Learning curves: the mean over seeds by unit of training, in a band of ± one standard error.

    Args:
      history: `[S T]` by label; NaN where a member had ended.
      metric: name of the vertical axis.
      unit: name of the horizontal axis, counted from 1.
      sign: what the history is multiplied by before it is drawn.
    """
    figure, axes = _figure(1, width=6.5)
    (axis,) = axes
    for number, (label, values) in enumerate(history.items()):
        values = sign * np.asarray(values, np.float64)
        values = values[:, np.isfinite(values).any(0)]
        time = np.arange(1, values.shape[1] + 1)
        summary = summarise(values.T)
        error = np.nan_to_num(summary.standard_error)
        grey = str(0.15 + 0.5 * number / max(len(history) - 1, 1))
        axis.plot(time, summary.mean, DASHES[number % len(DASHES)], color=grey, label=label)
        axis.fill_between(time, summary.mean - error, summary.mean + error, color=grey, alpha=0.25, lw=0)
    axis.set_xlabel(unit)
    axis.set_ylabel(metric)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=9)
    return figure


def slices(
    grid: Mapping[str, Any],
    score: Any,
    *,
    metric: str = "score",
    sign: int = 1,
    units: Any = None,
) -> Any:
    """The score over each hyper-parameter in turn: where it matters, and whether the range was wide enough.

    The best point is a star; points that diverged are crosses at the edge. A hyper-parameter whose
    values span more than a factor of 30 has a logarithmic axis.

    Args:
      grid: columns `[G]`.
      score: `[G S]`.
      metric: name of the vertical axis.
      sign: what the score is multiplied by before it is drawn.
      units: what each point was trained for, `[G]`: longer is larger and darker.
    """
    score = np.asarray(score, np.float64)
    order = ranking(score)
    finite = np.isfinite(score).all(-1)
    mean = np.where(finite, sign * np.where(finite[:, None], score, 0).mean(-1), np.nan)
    share = np.ones(len(mean)) if units is None else np.asarray(units) / np.max(units)
    figure, axes = _figure(len(grid), width=3.2 * len(grid) + 1)
    for axis, (name, column) in zip(axes, grid.items(), strict=True):
        column = np.asarray(column, np.float64)
        shade = [str(0.75 * (1 - s)) for s in share[finite]]
        axis.scatter(
            column[finite], mean[finite], s=12 + 40 * share[finite], c=shade, edgecolors="0.3", lw=0.5
        )
        if finite.any():
            best = order[0]
            axis.scatter(column[best], mean[best], s=220, marker="*", c="white", edgecolors="black", zorder=3)
        if not finite.all():
            edge = axis.get_ylim()[1 if sign < 0 else 0]
            axis.scatter(column[~finite], np.full((~finite).sum(), edge), marker="x", c="0.3", s=25)
        if column.min() > 0 and column.max() > 30 * column.min():
            axis.set_xscale("log")
        axis.set_xlabel(name)
    axes[0].set_ylabel(metric)
    if units is not None:
        figure.suptitle("star: the best; larger and darker: trained for longer", fontsize=9)
    return figure


def comparison(rows: Mapping[str, Any], *, metric: str = "score") -> Table:
    """Paired comparisons by name, such as "MF over Biases", each a `significance.Comparison`."""
    made = Table(title=f"paired differences of {metric}")
    for name in ("", "difference", "95 % interval", "p", "pairs"):
        made.add_column(name, justify="left" if not name else "right")
    for name, row in rows.items():
        p = f"{row.p:.3f}" if row.p >= 0.001 else "< 0.001"
        interval = f"{row.low:+.4f} … {row.high:+.4f}"
        made.add_row(name, f"{row.difference:+.4f}", interval, p, f"{row.n:,}")
    return made


def _figure(count: int, *, width: float) -> tuple[Any, Any]:
    """A figure with `count` axes side by side, which no window manager knows of."""
    figure = needed("matplotlib.figure").Figure(figsize=(width, 3.4), layout="constrained", dpi=150)
    needed("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3, lw=0.5)
    return figure, axes
