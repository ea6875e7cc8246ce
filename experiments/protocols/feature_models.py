"""FeatureMF and FeatureNeuMF trained on what is warm, and tuned on a validation part."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from protocols.cold import Known, Scores, Setting, asking, figure_of_merit, scoring
from rezoo import losses, objectives, sampling, training
from rezoo.data.packing import padded
from rezoo.models import FeatureMF, FeatureNeuMF
from rezoo.types import Batch


class Plan(NamedTuple):
    """The settings of a model on a data set; those that are tuned have several values."""

    dim: int
    epochs: int
    batch_size: int
    """Users of FeatureMF, which is trained on whole rows; pairs of FeatureNeuMF."""
    rate: float
    l2: tuple[float, ...]
    drops: tuple[float, ...]


class Trainer(NamedTuple):
    """Trains one of the two feature models on a division."""

    name: str
    world: Known
    plan: Plan

    def model(self, drop: Any = 0.0) -> Any:
        """The model, for the warm."""
        parts, dim = self.world.parts, self.plan.dim
        shared = parts.num_users, parts.num_items, self.world.user_features, self.world.item_features
        if self.name == "FeatureMF":
            return FeatureMF(*shared, dim, id_dropout=drop)
        return FeatureNeuMF(*shared, dim, widths=(2 * dim, dim, dim // 2), id_dropout=drop)

    def fitter(self) -> Callable[..., Scores]:
        """`(key, l2, drop) -> scores`, compiled once.

        FeatureMF, a retriever, is trained by the softmax over all warm items, each user's row
        counting alike; FeatureNeuMF, which scores pairs, by BPR on pairs.
        """
        parts, plan, whole = self.world.parts, self.plan, self.name == "FeatureMF"
        data = rows(self.world) if whole else pairs(self.world)
        catalogue = jax.tree.map(jnp.asarray, dict(self.world.catalogue))
        warm = {name: column[: parts.num_items] for name, column in catalogue.items()}
        rate = optax.linear_schedule(
            plan.rate, 0.0, plan.epochs * training.num_steps(len(data.item), plan.batch_size)
        )
        seen = sampling.positives_by_user(parts.user, parts.item, parts.num_users)
        sampler = sampling.reject_positives(sampling.uniform(parts.num_items), seen, parts.num_items)

        @jax.jit
        def fit(key: jax.Array, l2: jax.Array, drop: jax.Array) -> Any:
            model, optimizer = self.model(drop), optax.adam(rate)
            if whole:
                objective = objectives.every_item(model, losses.softmax_cross_entropy)
                optimizer = optax.chain(optax.add_decayed_weights(l2), optimizer)
            else:
                objective = objectives.l2(objectives.sampled(model, losses.bpr, sampler, 1), l2)
            step = training.make_step(objective, optimizer)
            state = training.init_state(key, model, optimizer, data, constants={"catalogue": warm})
            done, _ = training.fit(step, state, data, num_epochs=plan.epochs, batch_size=plan.batch_size)
            return {**done.variables, "catalogue": catalogue}

        scores = scoring(self.world, self.model())
        return lambda key, l2, drop: scores(fit(key, l2, drop))


def pairs(world: Known) -> Batch:
    """A training pair per row."""
    user, item = world.parts.user, jnp.asarray(world.parts.item)
    return Batch(asking(world, user), item, jnp.ones(item.shape), jnp.ones(item.shape, bool))


def rows(world: Known) -> Batch:
    """A user per row, whose items' labels sum to 1."""
    users = np.unique(world.parts.user)
    item, where = padded(users, world.parts.user, world.parts.item)
    label = jnp.asarray(where / where.sum(1, keepdims=True), jnp.float32)
    return Batch(asking(world, users), jnp.asarray(item, jnp.int32), label, jnp.asarray(where))


def tuned(trainer: Trainer, asked: dict[str, Setting]) -> tuple[float, float]:
    """The penalty and the share of dropped ids that are best on the validation part."""
    points = [(l2, drop) for l2 in trainer.plan.l2 for drop in trainer.plan.drops]
    if len(points) == 1:
        return points[0]
    fit, found = trainer.fitter(), {}
    for point in points:
        found[point] = figure_of_merit(fit(jax.random.key(0), *point), asked)
        print(f"validation: {trainer.name} l2 {point[0]} dropped {point[1]}: {found[point]:.4f}", flush=True)
    return max(found, key=lambda point: found[point])
