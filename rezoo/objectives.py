"""What training minimises: a model, a loss and a sampler put together.

An objective is `(variables, key, batch) -> (scalar, Aux)`. It knows nothing of optimizers, and
the functions here know nothing of any one model: model × loss × sampler × data all combine.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rezoo import losses
from rezoo.types import Aux, Batch, Loss, Objective, Query, Sampler, Variables

WRITABLE = ("batch_stats", "rows", "row_ids")
"""Collections that a model may write while it trains."""


def pointwise(model: nn.Module, loss: Loss) -> Objective:
    """Scores against labels: ratings, clicks, or a slate with graded relevance."""

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, batch.item)
        value = mean(loss(score, batch.label, where=batch.where), batch.where)
        return value, Aux({"loss": value}, sown)

    return objective


def sampled(model: nn.Module, loss: Loss, sampler: Sampler, num_negatives: int) -> Objective:
    """Each positive beside `num_negatives` sampled items, as one list with labels 1, 0, 0, …

    With `losses.bpr` this is BPR (Rendle 2009), with `losses.logistic` NCF's objective (He 2017),
    with `losses.softmax_cross_entropy` a sampled softmax.

    Takes batches of pairs, `item: [B]`; their labels are taken to be 1.
    """

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        sample_key, model_key = jax.random.split(key)
        negative = sampler(sample_key, batch.query, batch.item, num_negatives)
        slate = jnp.concatenate([batch.item[:, None], negative], axis=1)
        label = jnp.zeros(slate.shape).at[:, 0].set(1.0)
        where = jnp.broadcast_to(batch.where[:, None], slate.shape)
        return pointwise(model, loss)(variables, model_key, Batch(batch.query, slate, label, where))

    return objective


def next_item(model: nn.Module, loss: Loss) -> Objective:
    """The next item at each step of the history, against the whole catalogue, in one pass.

    Takes batches with `item: [B L]`, where `item[b, t]` follows `history[b, t]`. `model` is a
    `SessionModel`; the loss is listwise, over all N items but the padding item 0.
    """

    def scores(module: Any, query: Query) -> Array:
        return jnp.einsum("bld,nd->bln", module.prefixes(query), module.table())

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, method=scores)
        num_items = score.shape[-1]
        label = jax.nn.one_hot(batch.item, num_items)
        where = batch.where[..., None] & (jnp.arange(num_items) > 0)[None, None]
        value = mean(loss(score, label, where=where), batch.where)
        return value, Aux({"loss": value}, sown)

    return objective


def next_item_softmax(model: nn.Module, *, chunk: int = 512) -> Objective:
    """`next_item` with the softmax cross entropy, without an array of batch × catalogue.

    The same value and gradient in a fraction of the memory and of the time; see
    `losses.catalogue_softmax`, also for `chunk`. Give it packed rows (`data.packing`): padding
    costs as much as clicks here.
    """

    def states(module: Any, query: Query) -> tuple[Array, Array]:
        return module.prefixes(query), module.table()

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        (state, table), sown = forward(model, variables, key, batch.query, method=states)
        loss = losses.catalogue_softmax(state, table, batch.item, chunk=chunk)
        value = jnp.where(batch.where, loss, 0.0).sum() / jnp.maximum(batch.where.sum(), 1)
        return value, Aux({"loss": value}, sown)

    return objective


def next_item_sampled(model: nn.Module, loss: Loss, popularity: Array, num_negatives: int) -> Objective:
    """`next_item` against items drawn once a step and shared by all of its positions.

    Negatives are drawn, with replacement, in proportion to `popularity`. Each one's score is lowered
    by the logarithm of how often it is expected among them, ln (n q_i), so that with
    `losses.softmax_cross_entropy` the sum over the sample estimates the sum over the catalogue (Bengio
    and Senécal 2008, https://doi.org/10.1109/TNN.2007.912312). A negative that is the position's own
    target does not count. To `losses.bpr_max` and `losses.top1_max` a uniform `popularity` takes from
    all negatives alike.

    Args:
      model: a `SessionModel`.
      loss: listwise.
      popularity: `[N]`, any unit; q is its share, item 0 left out.
      num_negatives: n.
    """
    weight = popularity.at[0].set(0.0)
    log_share = jnp.log(jnp.maximum(weight / weight.sum(), 1e-12))
    cumulative = jnp.cumsum(weight)

    def states(module: Any, query: Query) -> tuple[Array, Array]:
        return module.prefixes(query), module.table()

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        draw_key, model_key = jax.random.split(key)
        (state, table), sown = forward(model, variables, model_key, batch.query, method=states)
        draw = jax.random.uniform(draw_key, (num_negatives,), maxval=cumulative[-1])
        drawn = jnp.searchsorted(cumulative, draw, side="right").clip(1, len(weight) - 1)
        expected = jnp.log(num_negatives) + log_share
        target, where = batch.item.ravel(), batch.where.ravel()
        state = state.reshape(-1, state.shape[-1])
        own = (state * table[target]).sum(-1)
        other = state @ table[drawn].T - expected[drawn][None]
        score = jnp.concatenate([own[:, None], other], axis=1)
        counts = where[:, None] & jnp.pad(
            drawn[None] != target[:, None], ((0, 0), (1, 0)), constant_values=True
        )
        label = jnp.zeros_like(score).at[:, 0].set(1.0)
        value = mean(loss(score, label, where=counts), where[:, None])
        return value, Aux({"loss": value}, sown)

    return objective


def l2(objective: Objective, weight: float | Array | Mapping[str, float | Array]) -> Objective:
    """`objective` plus `weight` × the squared rows that the batch looked up, per observation.

    This is the regularisation of the matrix factorization papers: λ (|p_u|² + |q_i|² + …) for each
    observed (u, i), so that popular rows are held as often as they are used. It makes no difference
    whether a user's ratings come as pairs or in one row: a user looked up once for a row of n
    ratings counts n times. The rows of a history count once per query.

    Args:
      objective: any objective whose model looks its embeddings up with `nn.embedding.Embed`.
      weight: λ, or a λ for each table by the name of its module; tables left out have none.
    """

    def regularised(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        value, aux = objective(variables, key, batch)
        size = jnp.maximum(batch.where.sum(), 1)
        penalty = sum(
            _weight_of(path, weight) * jnp.vdot(_served(rows, batch.where), jnp.square(rows).sum(-1)) / size
            for path, rows in jax.tree.leaves_with_path(aux.sown.get("rows", {}))
        )
        return value + penalty, aux

    return regularised


def forward(model: nn.Module, variables: Variables, key: jax.Array, *inputs: Any, method: Any = None) -> Any:
    """The model in training: with a key for dropout, and what it wrote beside its output."""
    return model.apply(variables, *inputs, rngs={"dropout": key}, mutable=WRITABLE, method=method)


def mean(value: Float[Array, " *B"], where: Bool[Array, " B *C"]) -> Float[Array, ""]:
    """Mean of a loss over what counts: elements if it is pointwise, lists if it is listwise."""
    count = where if value.shape == where.shape else where.any(axis=-1)
    return value.sum() / jnp.maximum(count.sum(), 1)


def _weight_of(path: tuple[Any, ...], weight: Any) -> Any:
    if not isinstance(weight, Mapping):
        return weight
    names = [getattr(entry, "key", None) for entry in path]
    return sum(value for name, value in weight.items() if name in names)


def _served(rows: Float[Array, " B *S D"], where: Bool[Array, " B *C"]) -> Float[Array, " B *S"]:
    """How many observations each looked-up row serves: those of its batch row, or the one beside it."""
    lookups = rows.shape[:-1]
    if lookups == where.shape:
        return where.astype(rows.dtype)
    count = where.reshape(len(where), -1).sum(axis=1)
    count = count if len(lookups) == 1 else jnp.minimum(count, 1)
    return jnp.broadcast_to(count.reshape(-1, *[1] * (len(lookups) - 1)), lookups).astype(rows.dtype)
