"""How long a comparison will take, from two epochs of each recipe."""

import inspect
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple

import jax
from rich.progress import Progress, TaskID

from rezoo.data.interactions import Interactions
from rezoo.serving.bundle import Saved

Recipe = Callable[..., Saved]


class Cost(NamedTuple):
    """Seconds that a recipe takes."""

    fit: float
    """To the whole log."""
    ask: float
    """For the list of a customer."""
    is_random: bool
    """Whether another key gives another model."""


def is_random(recipe: Recipe) -> bool:
    """Whether a recipe has an argument `num_epochs`, as those with randomness have.

    >>> is_random(lambda log, key: ...), is_random(lambda log, key, num_epochs=3: ...)
    (False, True)
    """
    return "num_epochs" in inspect.signature(recipe).parameters


def shows_progress(recipe: Recipe) -> bool:
    """Whether a recipe hands further arguments to `training.loop.run`.

    >>> shows_progress(lambda log, key, **run: ...)
    True
    """
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(recipe).parameters.values())


def cost(
    recipe: Recipe, log: Interactions, key: jax.Array, ask: Callable[[Saved], Callable[[], int]]
) -> Cost:
    """What one recipe will take for a log.

    Of a recipe that is trained two epochs are run, of which the second has nothing to compile; another is
    fitted once.

    Args:
      recipe: which.
      log: what it is to learn from.
      key: of the fit.
      ask: makes of a model what makes the lists of some customers, and returns how many these are.
    """
    begin, watch = monotonic(), _Watch(disable=True)
    epochs = inspect.signature(recipe).parameters.get("num_epochs")
    if epochs is None:
        model = recipe(log, key)
        jax.block_until_ready(model.variables)
        fit = monotonic() - begin
    else:
        model = recipe(log, key, num_epochs=2, **({"progress": watch} if shows_progress(recipe) else {}))
        jax.block_until_ready(model.variables)
        fit, times = monotonic() - begin, watch.times
        if len(times) == 3:
            fit += (epochs.default - 2) * (times[2] - times[1])
        else:
            fit *= epochs.default / 2
    asked = ask(model)
    asked()  # compiles
    begin = monotonic()
    users = asked()
    return Cost(fit, (monotonic() - begin) / users, is_random(recipe))


def seconds(costs: Mapping[str, Cost], seeds: int, users: int, final: int = 0) -> float:
    """What a comparison takes: each model's fits and lists, and those for `final` customers in the end."""
    total = 0.0
    for one in costs.values():
        fits = seeds if one.is_random else 1
        total += fits * (one.fit + 2 * users * one.ask) + (1.25 * one.fit + final * one.ask if final else 0)
    return total


class _Watch(Progress):
    """Notes when epochs end."""

    def __init__(self, **how: Any):
        super().__init__(**how)
        self.times: list[float] = []

    def update(self, task_id: TaskID, **changed: Any) -> None:
        self.times.append(monotonic())
