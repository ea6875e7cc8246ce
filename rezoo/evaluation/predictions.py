"""How good the scores of given items are: stars, clicks."""

import flax.linen as nn
import jax.numpy as jnp
from jax.sharding import Mesh

from rezoo import metrics
from rezoo.devices.meshes import everywhere
from rezoo.devices.sharding import AXIS
from rezoo.evaluation.scoring import predict
from rezoo.types import Batch, Scalars, Variables


def evaluate_ratings(
    model: nn.Module,
    variables: Variables,
    batch: Batch,
    *,
    clip: tuple[float, float] | None = None,
    block: int = 4096,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> Scalars:
    """`rmse` and `mae` over a batch, of predictions clipped to `clip` (low, high) if it is given.

    Both are NaN if a score or a label that counts is, or if clipping would hide that a score is infinite.
    `block`, `mesh` and `axis` are those of `predict`.

    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 7, 2])}}
    >>> batch = pairs([1, 1], [1, 2], [5.0, 4.0])
    >>> float(evaluate_ratings(Popularity(3), variables, batch, clip=(1.0, 5.0))["mae"])  # errors 0 and 2
    1.0
    """
    score = predict(model, variables, batch, block=block, mesh=mesh, axis=axis)
    if clip is not None:
        score = jnp.where(jnp.isinf(score), jnp.nan, jnp.clip(score, *clip))
    return {
        "rmse": metrics.rmse(score, batch.label, where=batch.where),
        "mae": metrics.mae(score, batch.label, where=batch.where),
    }


def evaluate_clicks(
    model: nn.Module,
    variables: Variables,
    batch: Batch,
    *,
    block: int = 4096,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> Scalars:
    """`auc` and `logloss` of logits over a batch with labels 0 and 1.

    A NaN score that counts makes `logloss` NaN, and its pairs are lost for `auc`. `block`, `mesh` and
    `axis` are those of `predict`.

    Raises:
      ValueError: outside of `jit`, if a label that counts is below 0 or above 1.

    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, -3])}}
    >>> batch = pairs([1, 1], [1, 2], [1.0, 0.0])
    >>> float(evaluate_clicks(Popularity(3), variables, batch)["auc"])
    1.0
    """
    score = predict(model, variables, batch, block=block, mesh=mesh, axis=axis)
    score, label, where = everywhere((score, batch.label, batch.where))
    return {
        "auc": metrics.auc(score, label, where=where),
        "logloss": metrics.log_loss(score, label, where=where),
    }
