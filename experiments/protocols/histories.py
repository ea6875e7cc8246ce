"""Models fitted to histories, for users known by their history alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import losses, objectives, training
from rezoo.data import batches
from rezoo.data.files import text_lines
from rezoo.data.interactions import Interactions, from_columns
from rezoo.datasets import folders
from rezoo.models import EASE, MultVAE, Popularity
from rezoo.models.baselines import popularity
from rezoo.models.factorization import ease
from rezoo.types import Batch, Query, Step, TrainState, Variables

PROTOCOL = "per user a random fifth for the test (seed 0), every rating a positive; full ranking"
METRICS = ("precision@5", "ndcg@10", "recall@10")


class Held(NamedTuple):
    """Held-out users."""

    known: jax.Array
    """`[U L]`: the items that the model may know."""
    target: jax.Array
    """`[U T]`: the items to be found."""


class Data(NamedTuple):
    """One data set in its three parts, ids of the training part."""

    history: np.ndarray
    """`[U L]`: the training users' items, 0 = padding."""
    num_items: int
    valid: Held
    test: Held


class Sizes(NamedTuple):
    """The settings for a data set."""

    hidden: int
    latent: int
    num_epochs: int
    batch_size: int
    factors: int = 64
    """Of iALS."""


Fitted = Callable[[jax.Array], tuple[Any, Variables, Query]]
"""The model, its variables and the query for users known by their history `[U L]`."""


def network(model: Any, step: Step, optimizer: Any, data: Data, at: Sizes, seed: int) -> Fitted:
    """An autoencoder trained on the histories."""
    history = jnp.asarray(data.history)
    real = history > 0
    rows = Batch(asked(history), history, real.astype(jnp.float32), real)
    state = training.init_state(jax.random.key(seed), model, optimizer, rows)

    @jax.jit
    def run(state: TrainState, rows: Batch) -> TrainState:
        return training.fit(step, state, rows, num_epochs=at.num_epochs, batch_size=at.batch_size)[0]

    variables = run(state, rows).variables
    return lambda known: (model, variables, asked(known))


def multinomial(
    model: Any, beta: Callable[[jax.Array], jax.Array] | None, data: Data, at: Sizes, seed: int, rate: float
) -> Fitted:
    """By Liang's likelihood; `beta` weighs the penalty by the share of steps done; the rate falls to 0."""
    steps = at.num_epochs * training.num_steps(len(data.history), at.batch_size)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    likelihood = objectives.every_item(model, losses.softmax_cross_entropy)

    def step(state: TrainState, batch: Batch) -> Any:
        objective = likelihood if beta is None else objectives.penalised(likelihood, beta(state.step / steps))
        return training.make_step(objective, optimizer)(state, batch)

    return network(model, step, optimizer, data, at, seed)


def mult_vae(
    data: Data,
    at: Sizes,
    seed: int,
    beta_max: float,
    rate: float = 3e-3,
    batch_size: int | None = None,
    **layers: Any,
) -> Fitted:
    """β grows to `beta_max` in the first half of the steps."""
    shape: dict[str, Any] = {"hidden": at.hidden, "latent": at.latent} | layers
    model = MultVAE(data.num_items, **shape)
    at = at._replace(batch_size=batch_size or at.batch_size)
    return multinomial(model, lambda done: jnp.minimum(2 * done, 1.0) * beta_max, data, at, seed, rate)


def of_ease(data: Data, at: Sizes, seed: int, l2: float) -> Fitted:
    variables = ease.fit(data.history, data.num_items, l2=l2)
    return lambda known: (EASE(data.num_items), variables, asked(known))


def of_popularity(data: Data, at: Sizes, seed: int) -> Fitted:
    variables = popularity.fit(data.history, data.num_items)
    return lambda known: (Popularity(data.num_items), variables, asked(known))


def asked(known: jax.Array) -> Query:
    """Users known by their history alone."""
    return batches.queries(history=known)


def citeulike(data_dir: Path | None) -> Interactions:
    """citeulike-a, whose `users.dat` has a line for each user: how many articles, and which."""
    name, source = "citeulike-a", "https://github.com/js05212/citeulike-a"
    file = folders.find(f"{name}.zip", manual_dir=data_dir, below=name, source=source)
    lines = text_lines(f"{file}!users.dat")
    taken = [np.unique(np.array(line.split()[1:], np.int64)) for line in lines]
    user = np.repeat(np.arange(len(taken)), [len(items) for items in taken])
    return from_columns({"user": user, "item": np.concatenate(taken)}, source=name)
