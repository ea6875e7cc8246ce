"""Against the whole catalogue: every item of a user, or the next one after each event."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh
from jaxtyping import Array, Float

from rezoo import losses
from rezoo.arrays import at_least_1, cumulative, draw, products
from rezoo.devices.sharding import AXIS
from rezoo.nn.bag import scattered
from rezoo.nn.embedding import has_row, once
from rezoo.nn.features import catalogue_rows
from rezoo.objectives import spread
from rezoo.objectives.forward import Weights, forward, item_vectors, mean, of_model, of_one, weight_of
from rezoo.types import Aux, Batch, Loss, Objective, Query, Variables


def next_item(model: nn.Module, loss: Loss, *, weights: Weights | None = None) -> Objective:
    """The next item at each step of the history, against the whole catalogue, in one pass.

    Takes batches with `item: [B L]`, where `item[b, t]` follows `history[b, t]`. `model` is a
    `SessionModel`; the loss is listwise, over all N items but the padding item 0. `weights` give how much
    each row `[B]`, or each step `[B L]`, counts; see `mean`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import GRU4Rec
    >>> model = GRU4Rec(num_items=5, dim=2)
    >>> query = queries(history=[[1, 2]])
    >>> batch = Batch(query, jnp.array([[2, 3]]), jnp.ones((1, 2)), jnp.ones((1, 2), bool))
    >>> variables = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), query, batch.item[:, 0]))
    >>> objective = next_item(model, losses.softmax_cross_entropy)
    >>> print(jax.jit(objective)(variables, jax.random.key(1), batch)[0].round(4))  # four items alike: ln 4
    1.3863
    """
    of_model(model, "prefixes", "next_item")

    def scores(module: Any, query: Query) -> Array:
        return products("bld,nd->bln", module.prefixes(query), module.table())

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, method=scores)
        num_items = score.shape[-1]
        label = jax.nn.one_hot(batch.item, num_items, dtype=score.dtype)
        where = (batch.where & has_row(batch.item, num_items))[..., None]
        where &= (jnp.arange(num_items) > 0)[None, None]
        value = mean(of_one(loss)(score, label, where=where), where, weight_of(weights, batch))
        return value, Aux({"loss": value}, sown)

    return objective


def next_item_softmax(
    model: nn.Module,
    *,
    chunk: int | None = None,
    weights: Weights | None = None,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> Objective:
    """`next_item` with the softmax cross entropy, without an array of batch × catalogue.

    The same value and gradient in a fraction of the memory and of the time; see
    `losses.catalogue_softmax`, also for `chunk`, and `next_item` for `weights`. Give it packed rows
    (`data.packing`): padding costs as much as clicks here.

    With `mesh` the items are spread over its devices, along `axis`: each sums e^score over its own, and
    neither tables nor their gradients are sent. All of their rows have a gradient, so they are trained by an
    optax optimizer, whose state is spread as they are:

        state = training.init_state(key, model, optimizer, batch)
        params = sharding.sharded(state.params, sharding.rules(state.variables)["params"], mesh)
        state = state._replace(params=params, opt_state=optimizer.init(params))
        step = jax.jit(training.make_step(next_item_softmax(model, mesh=mesh), optimizer), donate_argnums=0)

    Raises:
      ValueError: with `mesh`, if it has no such axis; of the objective, if the tables are not spread over its
        devices, or the model has no `vectors`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import GRU4Rec
    >>> model = GRU4Rec(num_items=5, dim=2)
    >>> query = queries(history=[[1, 2]])
    >>> batch = Batch(query, jnp.array([[2, 3]]), jnp.ones((1, 2)), jnp.ones((1, 2), bool))
    >>> variables = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), query, batch.item[:, 0]))
    >>> print(jax.jit(next_item_softmax(model))(variables, jax.random.key(1), batch)[0].round(4))  # ln 4
    1.3863
    """
    of_model(model, "prefixes", "next_item_softmax")
    if mesh is not None:
        return spread.next_item_softmax(model, mesh, axis, chunk=chunk, weights=weights)

    def states(module: Any, query: Query) -> tuple[Array, Array]:
        return module.prefixes(query), module.table()

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        (state, table), sown = forward(model, variables, key, batch.query, method=states)
        where = batch.where & has_row(batch.item, len(table))
        state = jnp.where(where[..., None], state, 0.0)
        loss = losses.catalogue_softmax(state, table, batch.item, chunk=chunk)
        value = mean(loss, where, weight_of(weights, batch))
        return value, Aux({"loss": value}, sown)

    return objective


def next_item_likelihood(model: nn.Module, *, weights: Weights | None = None) -> Objective:
    """-ln P of the next item at each step of the history, by a model that tells P itself, in one pass.

    Takes the batches of `next_item`, and its `weights`. `model` has `likelihoods(query, item)`, `[B L]`, such
    as `TIGER`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import TIGER
    >>> model, query = TIGER((3,), dim=2), queries(history=[[1, 2]])
    >>> batch = Batch(query, jnp.array([[2, 3]]), jnp.ones((1, 2)), jnp.ones((1, 2), bool))
    >>> catalogue = {"catalogue": {"code": jnp.arange(4)[:, None]}}
    >>> def first(key):
    ...     inputs = catalogue, query, query.user
    ...     return model.apply(*inputs, rngs={"params": key}, mutable=["params"])[1]
    >>> variables = jax.tree.map(jnp.zeros_like, jax.jit(first)(jax.random.key(0))) | catalogue
    >>> value, _ = jax.jit(next_item_likelihood(model))(variables, jax.random.key(1), batch)
    >>> print(value.round(4))  # one digit of four, the unknown's included: ln 4
    1.3863
    """
    of_model(model, "likelihoods", "next_item_likelihood")

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        inputs = batch.query, batch.item
        log_p, sown = forward(model, variables, key, *inputs, method="likelihoods")
        rows = catalogue_rows(variables, np.iinfo(np.int32).max)
        where = batch.where & has_row(batch.item, rows)
        value = mean(-jnp.where(where, log_p, 0.0), where, weight_of(weights, batch))
        return value, Aux({"loss": value}, sown)

    return objective


def next_item_sampled(
    model: nn.Module,
    loss: Loss,
    popularity: Array | np.ndarray,
    num_negatives: int,
    *,
    corrected: bool = True,
    in_batch: Array | np.ndarray | None = None,
    weights: Weights | None = None,
) -> Objective:
    """`next_item` against items drawn once a step and shared by all of its positions.

    Negatives are drawn, with replacement, in proportion to `popularity`. Each one's score is lowered
    by the logarithm of how often it is expected among them, ln (n q_i), so that with
    `losses.softmax_cross_entropy` the sum over the sample estimates the sum over the catalogue (Bengio
    and Senécal 2008, https://doi.org/10.1109/TNN.2007.912312). A negative that is the position's own
    target does not count. Where the model has `vectors`, the targets' and the negatives' rows alone are
    looked up, so that `row_sparse` can train it over any number of items.

    Args:
      model: a `SessionModel`.
      loss: listwise.
      popularity: `[N]`, any unit; q is its share, item 0 left out.
      num_negatives: n.
      corrected: whether scores are lowered; ranking losses, such as GRU4Rec's `losses.bpr_max` and
        `losses.top1_max`, want them as they are.
      in_batch: `[N]`, how often each item is a target, any unit: the T targets of the batch then are
        negatives of each other beside those drawn, and a score is lowered by ln (n q_i + T p_i), p the item's
        share here (mixed negative sampling, Yang 2020, https://doi.org/10.1145/3366424.3386195).
      weights: as for `next_item`.

    Raises:
      ValueError: if the model has no `prefixes`, `num_negatives` is below 1, or a frequency is not one of
        every item.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import GRU4Rec
    >>> model = GRU4Rec(num_items=5, dim=2)
    >>> query = queries(history=[[1, 2]])
    >>> batch = Batch(query, jnp.array([[2, 3]]), jnp.ones((1, 2)), jnp.ones((1, 2), bool))
    >>> variables = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), query, batch.item[:, 0]))
    >>> objective = next_item_sampled(model, losses.bpr, jnp.array([0.0, 1, 1, 1, 1]), 3, corrected=False)
    >>> print(jax.jit(objective)(variables, jax.random.key(1), batch)[0].round(4))  # ln 2: all scores alike
    0.6931
    """
    at_least_1(num_negatives=num_negatives)
    of_model(model, "prefixes", "next_item_sampled")
    weight = _frequency(model, "popularity", popularity)
    sums, log_share = cumulative(weight), _log_share(weight)
    log_targets = None if in_batch is None else _log_share(_frequency(model, "in_batch", in_batch))

    def vectors(module: Any, query: Query, target: Array, drawn: Array) -> tuple[Array, ...]:
        of_items = partial(item_vectors, module)
        return module.prefixes(query), of_items(target), once(of_items, drawn)

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        draw_key, model_key = jax.random.split(key)
        drawn = draw(draw_key, sums, (num_negatives,)).clip(1, len(weight) - 1)
        inputs = batch.query, batch.item, drawn
        (state, of_target, of_drawn), sown = forward(model, variables, model_key, *inputs, method=vectors)
        target, where = batch.item.ravel(), (batch.where & has_row(batch.item, len(weight))).ravel()
        own = products("bld,bld->bl", state, of_target).ravel()
        negative, of_negative, real = drawn, of_drawn, jnp.ones(num_negatives, bool)
        if log_targets is not None:
            negative, real = jnp.concatenate([drawn, target]), jnp.concatenate([real, where])
            of_negative = jnp.concatenate([of_drawn, of_target.reshape(-1, of_target.shape[-1])])
        other = products("td,nd->tn", state.reshape(-1, state.shape[-1]), of_negative)
        if corrected:
            log_count = math.log(num_negatives) + log_share[negative]
            if log_targets is not None:
                log_count = jnp.logaddexp(log_count, jnp.log(where.sum()) + log_targets[negative])
            other = other - log_count[None]
        score = jnp.concatenate([own[:, None], other], axis=1)
        others = real[None] & (negative[None] != target[:, None])
        counts = where[:, None] & jnp.pad(others, ((0, 0), (1, 0)), constant_values=True)
        label = jnp.zeros_like(score).at[:, 0].set(1.0)
        each = weight_of(weights, batch)
        if each is not None:
            each = jnp.broadcast_to(each if each.ndim > 1 else each[:, None], batch.item.shape).ravel()
        value = mean(of_one(loss)(score, label, where=counts), counts, each)
        return value, Aux({"loss": value}, sown)

    return objective


def _frequency(model: nn.Module, name: str, given: Array | np.ndarray) -> Float[Array, " N"]:
    """How often each item comes, in any unit, of item 0 never."""
    num_items = getattr(model, "num_items", None)
    weight = given if isinstance(given, Tracer) else np.asarray(given, np.float32)  # known inside jit, too
    if weight.ndim != 1 or len(weight) != (num_items or len(weight)):
        raise ValueError(
            f"{name} has the shape {list(weight.shape)}: give a number for each of {num_items or 'N'} items"
        )
    if isinstance(weight, np.ndarray) and not ((weight >= 0).all() and 0 < weight[1:].sum() < math.inf):
        raise ValueError(
            f"{name} must be numbers of at least 0, of which not all are 0, after that of item 0"
        )
    return jnp.asarray(weight, jnp.float32).at[0].set(0.0)


def _log_share(weight: Array) -> Array:
    return jnp.log(jnp.maximum(weight / weight.sum(), 1e-12))


def every_item(model: nn.Module, loss: Loss, *, weights: Weights | None = None) -> Objective:
    """The whole catalogue as one list for each row: `item` `[B T]` with its labels, all others with 0.

    With `losses.softmax_cross_entropy` this is the multinomial log-likelihood (Liang 2018,
    https://arxiv.org/abs/1802.05814, equation 2): a sum over the row's items, a mean over the rows.
    `model` is a `Retriever`. Item 0 is in no list; an item that comes twice has both its labels. `weights`
    give how much each row `[B]` counts; see `mean`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> query = queries(rows=1)
    >>> batch = Batch(query, jnp.array([[1, 3]]), jnp.ones((1, 2)), jnp.ones((1, 2), bool))
    >>> variables = {"params": {"count": jnp.zeros(5)}}  # four items, all scores alike
    >>> objective = every_item(Popularity(5), losses.softmax_cross_entropy)
    >>> print(jax.jit(objective)(variables, jax.random.key(0), batch)[0].round(4))  # two items, each ln 4
    2.7726
    """

    def scores(module: Any, query: Query) -> Array:
        return products("bd,nd->bn", module.encode(query), module.table())

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, method=scores)
        size, num_items = score.shape
        item, given, where = (x.reshape(size, -1) for x in (batch.item, batch.label, batch.where))
        label = scattered(item, jnp.where(where, given, 0.0), num_items)
        counted = where.any(axis=1)
        value = loss(score, label, where=counted[:, None] & (jnp.arange(num_items) > 0)[None])
        of = counted if value.ndim == 1 else jnp.broadcast_to(counted[:, None], label.shape)
        value = mean(value, of, weight_of(weights, batch))
        return value, Aux({"loss": value}, sown)

    return objective
