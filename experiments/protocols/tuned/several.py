"""Several labels of a row: the sum of log losses trains, the mean AUC on the validation part chooses."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from protocols import clicks, several_tasks
from protocols.tuned.nouns import (
    Course,
    Data,
    Kind,
    Part,
    Settings,
    Task,
    fields,
    of_rows,
    of_three,
    sizes_of_batches,
)
from protocols.tuned.ranges import Span
from rezoo import evaluation, losses, metrics, objectives
from rezoo.datasets import census, movielens, shop_builder
from rezoo.errors import DataError
from rezoo.models import AITM
from rezoo.types import Batch, Target, Variables

SHOP = ("click", "purchase")


class Rows(NamedTuple):
    """Three parts."""

    dataset: str
    protocol: str
    tasks: tuple[str, ...]
    """In their order, where they have one."""
    train: Batch
    valid: Batch
    test: Batch
    sizes: Any
    constants: Any = None


def refuses(kind: Kind) -> str:
    return "" if hasattr(kind, "tasks") else "it has a single score"


def part(kind: Kind, train: Batch, asked: Batch, given: Rows, batch: int) -> Part:
    facts = {"sizes": given.sizes, "task_names": given.tasks}

    def measure(model: nn.Module, variables: Variables) -> dict[str, Any]:
        score = evaluation.predict_tasks(model, variables, asked)
        each = {
            task: metrics.auc(score[task], asked.tasks[task].label, where=asked.tasks[task].where)
            for task in given.tasks
        }
        return {"auc": sum(each.values()) / len(each)} | {f"auc {task}": auc for task, auc in each.items()}

    def course(model: nn.Module, how: Settings) -> Course:
        if "task_names" not in fields(kind) and given.tasks != SHOP:
            raise DataError(f"{kind.__name__} is for {' and '.join(SHOP)}, which this data set does not have")
        loss = dict.fromkeys(given.tasks, losses.logistic)
        objective = objectives.multi_task(model, loss)
        if isinstance(model, AITM):
            objective = objectives.in_order(model, loss, given.tasks)
        return of_rows(model, train, how["batch_size"], objective, measure, given.constants)

    return Part(kind, facts, measure, course, {"batch_size": sizes_of_batches(batch)})


def of_parts(given: Rows, batch: int, epochs: int) -> Data:
    """Three parts."""
    make = partial(part, given=given, batch=batch)
    protocol = f"{given.protocol}; settings by validation, then fitted to both"
    told = "auc", *(f"auc {task}" for task in given.tasks)
    return Data(given.dataset, protocol, told, epochs, of_three(make, given.train, given.valid, given.test))


def people(group: str, folder: Path | None) -> Data:
    tasks = several_tasks.GROUPS[group]
    rows = several_tasks.prepare(census.load(folder), tasks, several_tasks.SPECS)
    protocol = several_tasks.PROTOCOL.format(group=group)
    return of_parts(Rows("census-income-kdd", protocol, tasks, *rows), 1024, 4)


def impressions(folder: Path | None) -> Data:
    made = shop_builder.load(data_dir=movielens.CACHE.expanduser())
    rows = (*several_tasks.impressions(made), made.table_rows, {"catalogue": made.catalogue})
    return of_parts(Rows("shop", "click → purchase of what is shown, held-out fifth", SHOP, *rows), 1024, 15)


def made_up() -> Data:
    """Clicks, of which those of the first half of the items become purchases."""
    given = clicks.synthetic()

    def labelled(rows: Batch) -> Batch:
        bought = rows.label * (rows.item < 10)
        targets = (Target(label, rows.where) for label in (rows.label, bought))
        return rows._replace(tasks=dict(zip(SHOP, targets, strict=True)))

    train, valid, test = map(labelled, given[:3])
    return of_parts(Rows("synthetic", given.protocol, SHOP, train, valid, test, given.sizes), 256, 4)


TASK = Task(
    "several tasks",
    1,
    {
        "rate": (Span(3e-4, 3e-2), 2e-3),
        "l2": (Span(1e-6, 1e-1), 1e-4),
        "l2_bias": (Span(1e-6, 1e-1), 1e-4),
    },
    refuses,
    {
        "census-income-kdd": partial(people, "income + never married"),
        "census-college": partial(people, "college + never married"),
        "shop-conversions": impressions,
    },
    made_up,
)
