"""Models in closed form: random settings of their fits, each tried once."""

import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from protocols.tuned.nouns import Data, Kind, Part, Settings, Task, built, fields
from protocols.tuned.ranges import ARGUMENTS, Axis, drawn, of_fields, said
from protocols.tuned.tried import Tried
from rezoo.models import ItemKNN, SessionPopularity
from rezoo.models.baselines import popularity
from rezoo.models.factorization import item_knn
from rezoo.models.factorization.alternation import Weights
from rezoo.storage import durable
from rezoo.types import Variables

FITS: dict[Kind, Callable[..., Variables]] = {SessionPopularity: popularity.fit}
"""Those that are not `fit` of the model's own file."""
CHOICES: dict[Kind, dict[str, tuple[Any, ...]]] = {
    ItemKNN: {"weighting": (item_knn.equal, item_knn.tf_idf)},
}
"""Settings that are no numbers."""


def fit_of(kind: Kind) -> Callable[..., Variables] | None:
    """What fits a model without epochs, if it is one of these."""
    return FITS.get(kind, getattr(sys.modules[kind.__module__], "fit", None))


def arguments(kind: Kind) -> dict[str, Any]:
    """The arguments of a fit that have defaults; those of the weights of iALS by their own names."""
    fit = fit_of(kind)
    assert fit is not None
    found = {name: one.default for name, one in inspect.signature(fit).parameters.items()}
    found = {name: default for name, default in found.items() if default is not inspect.Parameter.empty}
    return found | Weights()._asdict() if "weights" in found else found


def axes_of(part: Part) -> dict[str, Axis]:
    """What is searched: arguments of the fit, fields of the model, and what is no number."""
    own = {
        name: ARGUMENTS[name](default)
        for name, default in arguments(part.kind).items()
        if name in ARGUMENTS and default is not None and name not in part.facts
    }
    return of_fields(fields(part.kind), part.facts) | own | CHOICES.get(part.kind, {})


def default_settings(part: Part) -> dict[str, Any]:
    """Of a model that nobody tuned."""
    given = {**fields(part.kind), **arguments(part.kind)}
    return {name: given[name] for name in axes_of(part)}


def fitted(part: Part, settings: Settings, seed: int) -> tuple[nn.Module, Variables]:
    """A model and its variables."""
    fit = fit_of(part.kind)
    assert fit is not None
    most = {name: part.facts["num_items"] - 1 for name in ("neighbours", "candidates")}
    most["factors"] = min(part.facts.get("num_users", 0), part.facts["num_items"]) - 2
    settings = {name: min(value, most[name]) if name in most else value for name, value in settings.items()}
    given = {**part.facts, **settings, "key": jax.random.key(seed)}
    given["weights"] = Weights(**{name: given[name] for name in Weights._fields if name in given})
    variables = fit(**{name: given[name] for name in inspect.signature(fit).parameters if name in given})
    return built(part.kind, {**part.facts, **counted(variables)}, settings), variables


def counted(variables: Variables) -> dict[str, int]:
    """The fields of a model that its fit decides."""
    own = variables["params"]
    pairs = own.get("weight", own.get("follower"))
    return {} if pairs is None else {"num_pairs": len(pairs)}


def search(task: Task, data: Data, part: Part, points: int, folder: Path) -> list[Tried]:
    """The default settings and random ones; goes on where it was stopped."""
    rng, axes = np.random.default_rng(0), axes_of(part)
    tried = [default_settings(part)]
    tried += [{name: drawn(axis, rng) for name, axis in axes.items()} for _ in range(points if axes else 0)]
    file = folder / "scores.json"
    scores = json.loads(file.read_text("utf-8")) if file.exists() else []
    for settings in tried[len(scores) :]:
        scores.append(worth(task, data, part, settings))
        print(f"  validation {data.metrics[0]} {task.sign * scores[-1]:.4f}  {said(settings)}", flush=True)
        with durable.file(file) as partial:
            partial.write_text(json.dumps(scores), "utf-8")
    return [Tried(settings, score) for settings, score in zip(tried, scores, strict=True)]


def worth(task: Task, data: Data, part: Part, settings: Settings) -> float:
    """The score of some settings; -inf for those that the fit refuses, such as too large a penalty."""
    try:
        return task.sign * measured(part, settings, 0)[data.metrics[0]]
    except ValueError as error:
        print(f"  refused: {error}", flush=True)
        return -math.inf


def measured(part: Part, settings: Settings, seed: int) -> Mapping[str, float]:
    """The metrics of one fit."""
    model, variables = fitted(part, settings, seed)
    found = part.measure(model, jax.tree.map(jnp.asarray, variables))
    return {name: float(value) for name, value in found.items()}


def is_random(kind: Kind) -> bool:
    """Whether seeds differ."""
    fit = fit_of(kind)
    return fit is not None and "key" in inspect.signature(fit).parameters


def last(data: Data, part: Part, tried: Tried, seeds: int) -> dict[str, list[float]]:
    """Every seed's metrics on the part that is looked at once."""
    runs = [measured(part, tried.settings, seed) for seed in range(seeds if is_random(part.kind) else 1)]
    return {name: [run[name] for run in runs] for name in data.metrics}
