"""Rows with several labels: the census, and what a shop showed, which is clicked and bought."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rezoo.data import batches, features
from rezoo.data.leak import refuse_labels
from rezoo.datasets import census, shop_builder
from rezoo.types import Batch, Target

GROUPS = {
    "income + never married": ("income", "never_married"),
    "college + never married": ("college", "never_married"),
}
PROTOCOL = "{group}, test file halved"
SPECS = {name: features.Categorical() for name in census.COLUMNS if name not in census.NUMBERS}
SPECS |= {name: features.Numeric() for name in ("age", "weeks_worked", "num_emp")}
SPECS |= {
    name: features.Numeric(log=True)
    for name in ("wage_per_hour", "capital_gains", "capital_losses", "stock_dividends")
}


class Data(NamedTuple):
    """One group's rows."""

    train: Batch
    valid: Batch
    test: Batch
    sizes: Mapping[str, int]
    """Rows of each categorical column's table."""


def prepare(table: census.Census, tasks: Sequence[str], specs: Mapping[str, features.Spec]) -> Data:
    """Features fitted on the training file, labels of the tasks, and the halves of the test file."""
    left_out = {"income_50k", *(census.SOURCES[task] for task in tasks)}
    fitted = features.fit({name: spec for name, spec in specs.items() if name not in left_out}, table.train)

    def batch(columns: census.Columns) -> Batch:
        made = fitted.transform(columns)
        labels = {task: label for task, label in census.labels(columns).items() if task in tasks}
        refuse_labels(made, labels, census.SOURCES)
        query = batches.queries(features=made)
        every = jnp.ones(query.user.shape, bool)
        targets = {task: Target(jnp.asarray(label), every) for task, label in labels.items()}
        return Batch(query, query.user, targets[tasks[0]].label, every, targets)

    order = np.random.default_rng(0).permutation(len(table.test["age"]))
    halves = [np.sort(half) for half in np.array_split(order, 2)]
    valid, test = ({name: column[half] for name, column in table.test.items()} for half in halves)
    return Data(batch(table.train), batch(valid), batch(test), fitted.sizes)


def made_up(rows: int = 1500) -> census.Census:
    """A synthetic census: two latent factors determine every column."""

    def part(seed: int) -> census.Columns:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(rows, 2))
        table = {name: (rng.random(rows) * 5).astype(np.float32) for name in census.NUMBERS}
        for name in sorted(set(census.COLUMNS) - set(census.NUMBERS)):
            table[name] = np.digitize(x @ rng.normal(size=2) + rng.normal(size=rows), [-1, 0, 1]).astype(str)
        table["income_50k"] = np.where(x[:, 0] + 0.5 * rng.normal(size=rows) > 1, "50000+.", "- 50000.")
        table["marital_stat"] = np.where(x[:, 1] > 0, "Never married", "Divorced")
        table["education"] = np.where(x.sum(1) > 0, census.COLLEGE[0], "Children")
        return table

    return census.Census(part(0), part(1))


def impressions(made: shop_builder.Shop) -> tuple[Batch, Batch, Batch]:
    """A shop's impressions, a tenth of the first part for validation; whom training does not know is id 0."""
    known, asked = made.impressions

    def batch(columns: dict[str, np.ndarray]) -> Batch:
        user = np.where(np.isin(columns["user"], known["user"]), columns["user"], 0)
        query = made.impression_batch(columns).query._replace(user=jnp.asarray(user, jnp.int32))
        click, purchase = (jnp.asarray(columns[name], jnp.float32) for name in ("click", "purchase"))
        every = jnp.ones(len(user), bool)
        tasks = {"click": Target(click, every), "purchase": Target(purchase, every)}
        tasks["conversion"] = Target(purchase, click > 0)
        return Batch(query, jnp.asarray(columns["item"]), purchase, every, tasks)

    held = np.random.default_rng(0).random(len(known["user"])) < 0.1
    train, valid = ({name: column[rows] for name, column in known.items()} for rows in (~held, held))
    return batch(train), batch(valid), batch(asked)
