"""Two networks against each other: CFGAN (Chae 2018, https://doi.org/10.1145/3269206.3271743).

Each is an objective of its own; `rezoo.training.alternating` takes their steps in turn.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rezoo.nn.bag import multi_hot
from rezoo.objectives.forward import forward, mean
from rezoo.types import Aux, Batch, Objective, Query, Variables

Mask = Callable[[jax.Array, Float[Array, " B N"]], Float[Array, " B N"]]
"""`(key, purchases) -> 1 where an item that was not bought is taken, else 0`."""


def zero_mask(share: float | Array) -> Mask:
    """Each item that was not bought is taken with probability `share`, drawn in each step.

    >>> bought = jnp.array([[0.0, 1.0, 0.0]])  # item 0 is padding
    >>> zero_mask(1.0)(jax.random.key(0), bought).tolist()
    [[0.0, 0.0, 1.0]]
    """

    def draw(key: jax.Array, bought: Float[Array, " B N"]) -> Float[Array, " B N"]:
        taken = jax.random.bits(key, bought.shape, jnp.uint8) < jnp.round(share * 256)
        return taken * (1 - bought) * (jnp.arange(bought.shape[1]) > 0)[None]

    return draw


def discriminator(model: nn.Module, partial: Mask) -> Objective:
    """-ln D(r | c) - ln (1 - D(r̂ ∘ (e + k) | c)), CFGAN's equation for D, with k from `partial`.

    e is 1 where the user bought; `zero_mask(0)` gives k = 0, which is CFGAN without partial masking.
    Takes batches whose rows have a history; `where` tells which rows count. `model` has
    `purchases(query)` and `judge(query, r)`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import CFGAN
    >>> model = CFGAN(num_items=4, generator_widths=[2], discriminator_widths=[2])
    >>> query = queries(history=[[1, 3]])
    >>> batch = Batch(query, jnp.array([1]), jnp.ones(1), jnp.ones(1, bool))
    >>> zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), query, batch.item))
    >>> objective = discriminator(model, zero_mask(0.5))
    >>> print(jax.jit(objective)(zeros, jax.random.key(1), batch)[0].round(4))  # 2 ln 2: not told apart
    1.3863
    """

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        mask_key, model_key = jax.random.split(key)
        real = multi_hot(batch.query.history, model.num_items)
        fake = model.apply(variables, batch.query, method="purchases") * (real + partial(mask_key, real))

        def judge(module: Any, query: Query) -> tuple[Array, Array]:
            return module.judge(query, real), module.judge(query, jax.lax.stop_gradient(fake))

        (of_real, of_fake), sown = forward(model, variables, model_key, batch.query, method=judge)
        counted = batch.where.reshape(len(of_real), -1).any(axis=1)
        value = jnp.where(counted, jax.nn.softplus(-of_real) + jax.nn.softplus(of_fake), 0.0)
        value = mean(value, counted)
        return value, Aux({"discriminator_loss": value}, sown)

    return objective


def generator(model: nn.Module, partial: Mask, zeros: Mask, alpha: float | Array) -> Objective:
    """-ln D(r̂ ∘ (e + k) | c) + α Σ_{j ∈ zeros} r̂_j², k from `partial` (CFGAN's PM), zeros its ZR.

    ZR is `partial = zero_mask(0)`, PM is α = 0, ZP has both. Instead of the paper's ln (1 - D) it
    minimises -ln D, which has a gradient also where D is sure (Goodfellow 2014,
    https://arxiv.org/abs/1406.2661, section 3). α weighs the mean over the drawn zeros of a row
    times the number of items bought, so it means the same for any catalogue.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import CFGAN
    >>> model = CFGAN(num_items=4, generator_widths=[2], discriminator_widths=[2])
    >>> query = queries(history=[[1, 3]])
    >>> batch = Batch(query, jnp.array([1]), jnp.ones(1), jnp.ones(1, bool))
    >>> zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), query, batch.item))
    >>> objective = generator(model, zero_mask(0.5), zero_mask(1.0), alpha=2.0)
    >>> print(jax.jit(objective)(zeros, jax.random.key(1), batch)[0].round(4))  # ln 2 + 2 × 2 items × ½²
    1.6931
    """

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        mask_key, zero_key, model_key = jax.random.split(key, 3)
        real = multi_hot(batch.query.history, model.num_items)
        taken, unbought = partial(mask_key, real), zeros(zero_key, real)

        def both(module: Any, query: Query) -> tuple[Array, Array]:
            r = module.purchases(query)
            return r, module.judge(query, r * (real + taken))

        (r, logit), sown = forward(model, variables, model_key, batch.query, method=both)
        counted = batch.where.reshape(len(logit), -1).any(axis=1)
        square = (jnp.square(r) * unbought).sum(axis=1) / jnp.maximum(unbought.sum(axis=1), 1)
        value = jax.nn.softplus(-logit) + alpha * real.sum(axis=1) * square
        value = mean(jnp.where(counted, value, 0.0), counted)
        return value, Aux({"generator_loss": value}, sown)

    return objective
