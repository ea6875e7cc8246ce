"""Any model of the zoo on any data set that the project reads: settings are found, the test looked at once.

    python experiments/tuning.py --model GMF --dataset ml-100k-taken --record --data-dir FOLDER

A data set belongs to a task, which says how it is divided, what trains and which measure chooses: ratings,
rankings of what a user will take, clicks, next items, several tasks. A model or a data set that is not there,
or a task that does not fit the model, is answered by a list of those that do.

A part of the training part is kept to choose by. Models that are trained by epochs are tried in several
shapes (widths, layers, dropout, batch size; the default one first, then random ones), and in each of them
random rates and penalties are halved as in `movielens_tuning.py`: all train for an eighth of the epochs, the
better half goes on, and so forth. Models in closed form are fitted with random arguments. Ranges go by the
name of a setting (`protocols/tuned/ranges.py`), so that a new model needs none of its own. The best settings,
and the default ones of the model, are then trained on the whole training part, every seed, for as many epochs
as were best in the search, and the test part is looked at once. A search that was killed goes on when started
again. A row tells its settings, the ranges, how much was tried, and the figure on the validation part.

Test part, three seeds where they differ; budgets are small (a row tells its own; GRU4Rec had 8 epochs), one
to three minutes of a CPU core each, compilation for the most part:

    model    data set            metric   default settings   tuned
    EASE     ml-100k-taken       ndcg@10  .4441              .4475
    RP3beta  ml-100k-taken       ndcg@10  .3934              .4146
    MF       ml-100k-taken       ndcg@10  .4059 ± .0000      .4363 ± .0025
    FM       ml-100k-stars       rmse     .9156 ± .0006      .9156 ± .0006
    DNN      criteo-sample-10k   auc      .7738 ± .0014      .7660 ± .0017
    GRU4Rec  ml-100k-next        ndcg@10  .0404 ± .0019      .0892 ± .0056

Of FM no random settings were better on the validation part than the default ones, which then are the tuned
ones, too.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
from protocols import tuned
from protocols.tuned import closed, gradient, ranges
from protocols.tuned.gradient import Budget
from protocols.tuned.nouns import Data, Kind, Task
from protocols.tuned.tried import Tried

from rezoo.errors import DataError

FILES = (
    *(
        "ml-100k*",
        "ml-1m*",
        "gowalla*",
        "citeulike-a*",
        "frappe*",
        "criteo-sample-10k*",
        "train_examples.txt",
    ),
    *("census-income*", "s3rec*", "amazon-beauty-bert4rec", "beauty.txt*", "diginetica*", "yoochoose1_64*"),
)


@dataclass(frozen=True)
class Flags(common.Flags):
    """What is tuned, and how much is tried."""

    model: str = "BiasedMF"
    """A class of `rezoo.models`."""
    dataset: str = "ml-100k-stars"
    """A data set; all names are in the answer to a wrong one."""
    shapes: int = 4
    """Shapes that are tried, the default one first; models in closed form have none."""
    points: int = 8
    """Random rates and penalties for each shape; of a model in closed form, random settings."""
    epochs: int | None = None
    """Of each run; those that the data set has in `protocols/tuned` if not given."""


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=FILES)
    common.check_counts(flags, "shapes", "points", "epochs")
    kind, task = tuned.kind_of(flags.model), tuned.task_of(flags.dataset)
    tuned.check(kind, task)
    data = task.made_up() if flags.smoke else task.datasets[flags.dataset](flags.data_dir)
    budget = Budget(flags.shapes, flags.points, data.epochs if flags.epochs is None else flags.epochs)
    budget = budget._replace(shapes=2, points=3) if flags.smoke else budget
    if not results.values(f"{flags.model}, tuned", data.dataset, data.protocol, data.metrics[0]):
        folder = results.out / f"{flags.dataset}-{flags.model}"
        tune(results, kind, task, data, budget, flags.seeds, folder)
    results.finish(keep=True)


def tune(
    results: common.Results, kind: Kind, task: Task, data: Data, budget: Budget, seeds: int, folder: Path
) -> None:
    """The search, and the one look at the test part."""
    first, second = data.parts(kind)
    start = time.monotonic()
    if closed.fit_of(kind) is None:
        grid, tried = gradient.grid_of(task, first), gradient.search(task, data, first, budget, folder)
        spent: dict[str, Any] = {**budget._asdict(), "epochs in all": sum(one.trained for one in tried)}
    else:
        grid, tried = closed.axes_of(first), closed.search(task, data, first, budget.points, folder)
        spent = {"points": len(tried) - 1}
    best = max(tried, key=lambda one: one.score)
    if not math.isfinite(best.score):
        raise DataError(f"model={kind.__name__!r}: none of the settings that were tried could be fitted")
    searched = time.monotonic() - start

    def look(one: Tried, name: str) -> tuple[dict[str, list[float]], float]:
        begin = time.monotonic()
        if closed.fit_of(kind) is None:
            values = gradient.last(data, second, one, budget, seeds, folder / name)
        else:
            values = closed.last(data, second, one, seeds)
        return values, time.monotonic() - begin

    rows = {"tuned": (best, *look(best, "tuned"), searched, sum(one.points for one in tried))}
    if math.isfinite(tried[0].score):
        rows["default settings"] = tried[0], *look(tried[0], "default"), 0.0, 1
    with results.together():
        for name, (one, values, seconds, search, number) in rows.items():
            notes = {"settings": ranges.said(one.settings), "validation": task.sign * one.score}
            notes |= {"tried": number, "grid": ranges.said(grid), "budget": spent}
            notes |= {"best_epoch": one.epochs} if one.epochs else {}
            key = f"{kind.__name__}, {name}", data.dataset, data.protocol
            for metric in data.metrics:
                results.add(*key, metric, values[metric], seconds=search + seconds, **notes)


if __name__ == "__main__":
    main()
