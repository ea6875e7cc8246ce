"""What a comparison of recipes found: a table, a picture, a verdict in words."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rezoo.errors import DataError, needed
from rezoo.studies import significance

ANYTHING, NEW = "anything", "new to the customer"
"""The jobs: find what customers buy later, and what of it they have not bought before."""
CHANCE = 0.05
"""p above which a difference may be chance."""


class Comparison(NamedTuple):
    """What was found about each recipe; `print` shows it."""

    k: int
    """Of NDCG@k."""
    ndcg: Mapping[str, Mapping[str, np.ndarray]]
    """By job and recipe: `[seeds U]`, of each customer for whom there is something to find."""
    seconds: Mapping[str, float]
    """Of a fit, by recipe."""
    models: Mapping[str, str]
    """The name of each recipe's model."""

    def best(self, job: str = ANYTHING) -> str:
        """The recipe with the highest NDCG.

        Raises:
          DataError: if there is no such job.
        """
        return next(iter(self._by_user(job)))

    def table(self) -> dict[str, list[Any]]:
        """A row for each job and recipe, the best first.

        The columns are `job`, `recipe`, `ndcg`, `error` (its standard error over customers), `behind` (the
        best's lead), `p` (of that lead: Student's paired t-test over customers) and `seconds` (of a fit).
        """
        rows = []
        for job in self.ndcg:
            by_user = self._by_user(job)
            best = by_user[self.best(job)]
            for name, values in by_user.items():
                p = significance.paired_t(best, values).p if values is not best and len(best) > 1 else 1.0
                behind = float((best - values).mean())
                rows.append((job, name, *_mean(values), behind, p, self.seconds[name]))
        names = ("job", "recipe", "ndcg", "error", "behind", "p", "seconds")
        return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}

    def verdict(self, job: str = ANYTHING) -> str:
        """Which recipe is best for the job, in words.

        Raises:
          DataError: if there is no such job.
        """
        by_user = self._by_user(job)
        best, *others = by_user
        value, users = by_user[best].mean(), f"over {len(by_user[best]):,} customers"
        if not others:
            return f"{best}: NDCG@{self.k} {value:.4f}, {users}"
        if len(by_user[best]) < 2:
            return f"{best} is best: NDCG@{self.k} {value:.4f}, but of one customer, which says little"
        lead = significance.paired_t(by_user[best], by_user[others[0]])
        _, error = _mean(by_user[best] - by_user[others[0]])
        if not np.any(by_user[best] - by_user[others[0]]):
            return f"{best} and {others[0]} are the best, and alike: NDCG@{self.k} {value:.4f}, {users}"
        chance = "which may be chance" if lead.p > CHANCE else "which is not chance"
        return (
            f"{best} is best: NDCG@{self.k} {value:.4f}, {lead.difference:.4f} ± {error:.4f} more than "
            f"{others[0]} {users}, {chance} (p {_p(lead.p)})"
        )

    def picture(self) -> Any:
        """A matplotlib figure: a bar with its standard error for each recipe, a panel for each job.

        Raises:
          ImportError: if matplotlib is not installed (`pip install 'rezoo[notebooks]'`).
        """
        shown = list(self.ndcg)
        figure = needed("matplotlib.figure").Figure(
            figsize=(4 * len(shown) + 1.5, 1.2 + 0.4 * len(self.seconds)), layout="constrained", dpi=150
        )
        order = list(self._by_user(shown[0]))
        for axis, job in zip(
            figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], shown, strict=True
        ):
            means = [_mean(self.ndcg[job][name].mean(axis=0)) for name in order]
            bars = axis.barh(
                order, [mean for mean, _ in means], xerr=[error for _, error in means], color="tab:blue"
            )
            bars[order.index(self.best(job))].set_color("tab:orange")
            axis.bar_label(bars, [f"{mean:.3f}" for mean, _ in means], padding=4)
            axis.set(title=job, xlabel=f"NDCG@{self.k} ± standard error over customers")
            axis.margins(x=0.18)
            axis.spines[["top", "right"]].set_visible(False)
        figure.axes[0].invert_yaxis()
        return figure

    def __str__(self) -> str:
        table, lines, before = self.table(), [], None
        width = max(map(len, [*self.ndcg, *table["recipe"]]))
        for job, name, value, error, behind, p, seconds in zip(*table.values(), strict=True):
            if job != before:
                lines.append(f"{job:<{width}}  {f'NDCG@{self.k}':<17}{'behind':<8}{'p':<9}fit")
            before = job
            lead = f"{behind:<8.4f}{_p(p):<9}" if behind else " " * 17
            error = "" if np.isnan(error) else f" ± {error:.4f}"
            lines.append(f"{name:<{width}}  {f'{value:.4f}{error}':<17}{lead}{in_words(seconds)}")
        return "\n".join([*lines, *(f"{job}: {self.verdict(job)}" for job in self.ndcg)])

    def _by_user(self, job: str) -> dict[str, np.ndarray]:
        """By recipe, the best first, each customer's mean over the seeds: `[U]`."""
        if job not in self.ndcg:
            raise DataError(f"job={job!r}: these are compared by {', '.join(map(repr, self.ndcg))}")
        means = {name: values.mean(axis=0) for name, values in self.ndcg[job].items()}
        return dict(sorted(means.items(), key=lambda one: -one[1].mean()))


def in_words(seconds: float) -> str:
    """About how long that is.

    >>> in_words(4.2), in_words(100.0), in_words(600.0)
    ('4.2 seconds', '100 seconds', '10 minutes')
    """
    if seconds < 10:
        return f"{seconds:.1f} seconds"
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error; of one value the error is not known."""
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
