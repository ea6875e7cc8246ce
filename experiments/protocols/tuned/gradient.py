"""Models that are trained by gradient: a search over shapes, in each one over the rate and the penalties."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from protocols.tuned.nouns import Course, Data, Part, Settings, Task, built, fields, unfolded
from protocols.tuned.ranges import Axis, Span, drawn, of_fields, said
from protocols.tuned.tried import Tried
from rezoo import objectives, training
from rezoo.devices.backend import pick
from rezoo.studies import halving, sweep
from rezoo.types import TrainState

Values = Mapping[str, Any]
"""The rate and the penalties, which are numbers: points that are trained side by side."""


class Budget(NamedTuple):
    """How much is tried."""

    shapes: int
    """The default one and random ones."""
    points: int
    """Random rates and penalties for each of them, beside the default ones for the default shape."""
    epochs: int


def shapes_of(part: Part) -> dict[str, Axis]:
    """What changes shapes or programs: fields of the model, and how it is trained."""
    return {**of_fields(fields(part.kind), part.facts), **part.choices}


def default_shape(part: Part) -> dict[str, Any]:
    """The settings of a model that nobody tuned."""
    own = fields(part.kind)
    return {name: own[name] if name in own else part.choices[name][0] for name in shapes_of(part)}


def course_of(part: Part, shape: Settings) -> Course:
    """The course of one shape."""
    how = {name: shape[name] for name in part.choices}
    return part.course(built(part.kind, part.facts, shape), how)


def values_of(task: Task, course: Course) -> dict[str, tuple[Span, float]]:
    """Ranges and defaults of the rate, and of the penalties that the course has."""
    vectors, numbers, sown = looked_up(course)
    there = {"rate": True, "decay": course.decayed is not None, "penalty": sown}
    there |= {"l2": bool(vectors), "l2_bias": bool(numbers)}
    return {name: value for name, value in task.values.items() if there[name]}


def looked_up(course: Course) -> tuple[list[str], list[str], bool]:
    """Names of the tables whose rows are penalised, of vectors and of numbers; whether a penalty is sown."""
    row, key = training.blank_row(course.rows), jax.random.key(0)
    constants = dict(course.constants)

    def sown() -> Any:
        state = training.init_state(key, course.model, optax.sgd(0.0), row, constants=constants)
        return course.objective(state.variables, state.key, row)[1].sown

    found = jax.eval_shape(sown)
    widths: dict[str, int] = {}
    rows: dict[Any, Any] = flatten_dict(found.get("rows", {}))
    for path, calls in rows.items():
        widths[path[0]] = max(widths.get(path[0], 0), *(call.shape[-1] for call in calls))
    if course.decayed is not None:
        widths = {}
    vectors = [name for name, width in widths.items() if width > 1]
    return vectors, [name for name in widths if name not in vectors], bool(found.get("penalty"))


def trainer(course: Course, epochs: int) -> tuple[Callable[..., TrainState], Callable[..., TrainState]]:
    """(`(key, **values) -> state`, one epoch `(state, **values) -> state`); the rate falls to 0 over all."""
    steps = epochs * course.steps
    vectors, numbers, _ = looked_up(course)
    given = dict(course.constants)

    def optimizer(rate: Any, decay: Any = 0.0) -> optax.GradientTransformation:
        adam = optax.adam(optax.linear_schedule(rate, 0.0, steps))
        if course.decayed is None:
            return adam
        return optax.chain(optax.add_decayed_weights(decay, course.decayed), adam)  # pyright: ignore[reportArgumentType]

    def objective(l2: Any = 0.0, l2_bias: Any = 0.0, penalty: Any = None) -> Any:
        weights: dict[str, Any] = {**dict.fromkeys(vectors, l2), **dict.fromkeys(numbers, l2_bias)}
        whole = objectives.l2(course.objective, weights) if weights else course.objective
        whole = whole if penalty is None else objectives.penalised(whole, penalty)
        return lambda variables, key, batch: whole({**unfolded(given), **variables}, key, batch)

    def init(key: jax.Array, rate: Any, decay: Any = 0.0, **penalties: Any) -> TrainState:
        made = optimizer(rate, decay)
        state = training.init_state(key, course.model, made, course.rows, constants=given)
        own = {name: value for name, value in state.constants.items() if name not in given}
        return state._replace(constants=own)

    def epoch(state: TrainState, rate: Any, decay: Any = 0.0, **penalties: Any) -> TrainState:
        return course.epoch(training.make_step(objective(**penalties), optimizer(rate, decay)), state)

    return init, epoch


def measured(course: Course, state: TrainState) -> dict[str, jax.Array]:
    """The metrics; not numbers if training met one that is not finite."""
    found = course.measure({**unfolded(dict(course.constants)), **state.variables})
    return {name: jnp.where(state.halted, jnp.nan, value) for name, value in found.items()}


def grid_of(task: Task, part: Part) -> dict[str, Axis]:
    """All that is searched."""
    values = values_of(task, course_of(part, default_shape(part)))
    return {**shapes_of(part), **{name: span for name, (span, _) in values.items()}}


def search(task: Task, data: Data, part: Part, budget: Budget, folder: Path) -> list[Tried]:
    """The default settings, then the best point of every shape; goes on where it was stopped."""
    rng, axes = np.random.default_rng(0), shapes_of(part)
    shapes = [default_shape(part)]
    for _ in range(20 * budget.shapes):  # a draw may be there already
        shape = {name: drawn(axis, rng) for name, axis in axes.items()}
        if len(shapes) < budget.shapes and shape not in shapes:
            shapes.append(shape)
    found = []
    for number, shape in enumerate([shapes[0], *shapes]):
        course = course_of(part, shape)
        grid = points(values_of(task, course), budget.points if number else 0, number)
        found.append(best_of(task, data, course, shape, grid, budget.epochs, folder / f"shape-{number}"))
        print(f"  validation {data.metrics[0]} {task.sign * found[-1].score:.4f}  {said(found[-1].settings)}")
    return found


def points(ranges: Mapping[str, tuple[Span, float]], count: int, number: int) -> dict[str, jax.Array]:
    """Random rates and penalties, other ones for each number; the default ones if the count is 0."""
    if not count:
        return {name: jnp.array([default]) for name, (_, default) in ranges.items()}
    spans = {name: sweep.log_uniform(span.low, span.high) for name, (span, _) in ranges.items()}
    return sweep.draw(jax.random.fold_in(jax.random.key(0), number), count, **spans)


def best_of(
    task: Task,
    data: Data,
    course: Course,
    shape: Settings,
    grid: Mapping[str, jax.Array],
    epochs: int,
    folder: Path,
) -> Tried:
    """The best point of a shape, by successive halving, and the epoch after which it was best."""
    init, epoch = trainer(course, epochs)

    def more(state: TrainState, **values: jax.Array) -> tuple[TrainState, jax.Array]:
        state = epoch(state, **values)
        return state, task.sign * measured(course, state)[data.metrics[0]]

    number = len(grid["rate"])
    # A rate that decays over all epochs pays off late, so the first look is after an eighth of them.
    shares = (1 / 8, 1 / 4, 1 / 2, 1) if number > 1 else (1,)
    rungs = sorted({math.ceil(epochs * share) for share in shares})
    at_once = pick(cpu=1, accelerator=None)
    try:
        found = halving.search(init, more, sweep.keys(1), grid, rungs=rungs, at_once=at_once, folder=folder)
    except FloatingPointError:
        return Tried(dict(shape), -math.inf, number, epochs, number * rungs[0])
    values = {name: float(column[0]) for name, column in found.best.items()}
    by_epoch = found.history[found.survivors[0], 0]
    best = int(np.nanargmax(by_epoch))
    return Tried({**shape, **values}, float(by_epoch[best]), number, best + 1, int(found.units.sum()))


def last(
    data: Data, part: Part, tried: Tried, budget: Budget, seeds: int, folder: Path
) -> dict[str, list[float]]:
    """Every seed's metrics on the part that is looked at once, after as many epochs as were best before."""
    own = shapes_of(part)
    course = course_of(part, {name: tried.settings[name] for name in own})
    values = {name: jnp.float32(value) for name, value in tried.settings.items() if name not in own}
    init, epoch = trainer(course, budget.epochs)

    def train(key: jax.Array) -> dict[str, jax.Array]:
        state, _ = jax.lax.scan(
            lambda state, _: (epoch(state, **values), None), init(key, **values), length=tried.epochs
        )
        found = measured(course, state)
        return {name: found[name] for name in data.metrics}

    at_once = pick(cpu=1, accelerator=None)
    found = sweep.study(train, sweep.keys(seeds), at_once=at_once, folder=folder)
    return {name: np.asarray(column).tolist() for name, column in found.items()}
