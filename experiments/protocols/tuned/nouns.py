"""What is tuned: a task, a data set that belongs to it, its parts, and how a model is trained on one.

A task is how data are divided, which objective trains and which measure chooses. A part of a data set has the
arguments that the data decide (`facts`, by name) and makes a course for a model, which so needs no line here.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from protocols.tuned.ranges import Span
from rezoo import evaluation, training
from rezoo.errors import DataError
from rezoo.training import bucketed
from rezoo.types import Batch, Objective, Query, Step, TrainState, Variables

Kind = type[nn.Module]
Settings = Mapping[str, Any]
Measure = Callable[[nn.Module, Variables], dict[str, Any]]
"""`(model, variables) -> metrics` of what is asked."""


class Course(NamedTuple):
    """How a model of one shape is trained on a part, and measured by what is asked there."""

    model: nn.Module
    rows: Batch
    """Some of the rows, for their shapes."""
    objective: Objective
    """Without penalties."""
    epoch: Callable[[Step, TrainState], TrainState]
    steps: int
    """Of an epoch."""
    measure: Callable[[Variables], dict[str, Any]]
    constants: Mapping[str, Any] = {}
    decayed: Callable[[Any], Any] | None = None
    """Which parameters weight decay is on; None: the rows that are looked up are penalised instead."""


class Part(NamedTuple):
    """What a model is fitted to and what it is then asked."""

    kind: Kind
    """Of the model that is trained; another than was asked for where it is trained in that one's place."""
    facts: Mapping[str, Any]
    """Arguments that the data decide, of constructors and of fits in closed form."""
    measure: Measure
    course: Callable[[nn.Module, Settings], Course]
    """`(model, how it is trained) -> course`."""
    choices: Mapping[str, tuple[Any, ...]] = {}
    """How it may be trained, such as the size of batches; the first of each is the default."""


Parts = Callable[[Kind], tuple[Part, Part]]
"""What a search sees, and what is looked at once, after it."""


class Data(NamedTuple):
    """A data set."""

    dataset: str
    """As result files call it."""
    protocol: str
    metrics: tuple[str, ...]
    """What is told; the first one chooses."""
    epochs: int
    parts: Parts


class Task(NamedTuple):
    """What models are asked."""

    name: str
    sign: int
    """1 if more of the first metric is better, else -1."""
    values: Mapping[str, tuple[Span, float]]
    """Ranges and defaults of the rate and of the penalties."""
    refuses: Callable[[Kind], str]
    """Why a model is not asked this; nothing if it is."""
    datasets: Mapping[str, Callable[[Path | None], Data]]
    """Their readers, by the name in the command."""
    made_up: Callable[[], Data]
    """Small data for a run without any."""


def fields(kind: Kind) -> dict[str, Any]:
    """The arguments of a model's constructor and their defaults; `MISSING` where there is none."""
    return {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(kind)  # pyright: ignore[reportArgumentType]
        if field.name not in ("parent", "name")
    }


def built(kind: Kind, facts: Settings, settings: Settings) -> nn.Module:
    """The model of a part, with the settings that are its own.

    Raises:
      DataError: if the data set lacks something that it is made of.
    """
    own = {name: value for name, value in {**facts, **settings}.items() if name in fields(kind)}
    lacking = [n for n, default in fields(kind).items() if default is dataclasses.MISSING and n not in own]
    if lacking:
        raise DataError(f"{kind.__name__} is made of {', '.join(lacking)}, which this data set does not have")
    return kind(**own)


def reads_history(model: nn.Module, row: Batch, constants: Mapping[str, Any]) -> bool:
    """Whether a model reads the history of who asks, by tracing it."""
    row = training.blank_row(row)

    def made(history: jax.Array) -> Any:
        query = row.query._replace(history=history)
        rngs = {"params": jax.random.key(0)}
        return model.apply(dict(constants), query, row.item, rngs=rngs, mutable=["params", "batch_stats"])

    jaxpr = jax.make_jaxpr(made)(jnp.zeros((1, 1), jnp.int32)).jaxpr
    return any(one is jaxpr.invars[0] for equation in jaxpr.eqns for one in equation.invars)


def everywhere(params: Any) -> Any:
    """Weight decay on all parameters."""
    return jax.tree.map(lambda _: True, params)


def of_rows(
    model: nn.Module,
    data: Batch,
    size: int,
    objective: Objective,
    measure: Measure,
    constants: Mapping[str, Any] | None = None,
    decayed: Callable[[Any], Any] | None = None,
) -> Course:
    """A course of rows in random order, `size` at a time."""

    def epoch(step: Step, state: TrainState) -> TrainState:
        return training.epoch(step, state, data, size)[0]

    steps = training.num_steps(len(data.item), size)
    return Course(model, data, objective, epoch, steps, partial(measure, model), constants or {}, decayed)


def of_buckets(
    model: nn.Module,
    data: Sequence[Batch],
    size: int,
    objective: Objective,
    measure: Measure,
    constants: Mapping[str, Any] | None = None,
    decayed: Callable[[Any], Any] | None = None,
) -> Course:
    """A course of users in buckets by length, with about `size` items at a time."""

    def epoch(step: Step, state: TrainState) -> TrainState:
        return bucketed.epoch(step, state, data, size)[0]

    course = of_rows(model, data[0], size, objective, measure, constants, decayed)
    return course._replace(epoch=epoch, steps=bucketed.num_steps(data, size))


def unfolded(tree: Any) -> Any:
    """Arrays that a program holds, which the compiler then does not compute with ahead, slowly."""
    return jax.lax.optimization_barrier(tree)


def found_in_lists(
    model: nn.Module, variables: Variables, query: Query, target: Any, exclude: Any, metrics: Sequence[str]
) -> dict[str, jax.Array]:
    """The metrics, such as `ndcg@10`, of ranking the whole catalogue but `exclude`."""
    lengths = sorted({int(name.partition("@")[2]) for name in metrics})
    query, target, exclude = unfolded((query, target, exclude))
    found = evaluation.evaluate(model, variables, query, target, exclude=exclude, k=lengths)
    return {name: found[name] for name in metrics}


def both(make: Callable[..., Part], search: Sequence[Any], last: Sequence[Any]) -> Parts:
    """`make(kind, …)` of what a search sees, and of what is looked at once."""
    return lambda kind: (make(kind, *search), make(kind, *last))


def of_three(make: Callable[..., Part], train: Batch, valid: Batch, test: Batch) -> Parts:
    """A search by the validation part, which is then trained on too."""
    whole = jax.tree.map(lambda *columns: jnp.concatenate(columns), train, valid)
    return both(make, (train, valid), (whole, test))


def sizes_of_batches(size: int) -> tuple[int, int, int]:
    """A size, half and twice of it; the first is the default."""
    return size, size // 2, size * 2
