"""Pairs and slates: labels that are given, or negatives that are drawn."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rezoo.arrays import at_least_1, products, same_shape
from rezoo.devices.meshes import alike, everywhere, lookup
from rezoo.nn.embedding import once
from rezoo.nn.inner import inner
from rezoo.objectives.forward import Weights, forward, item_vectors, mean, of_one, weight_of
from rezoo.sampling import Positives, are_positive
from rezoo.types import Aux, Batch, Loss, Objective, Query, Sampler, Variables


def pointwise(model: nn.Module, loss: Loss, *, weights: Weights | None = None) -> Objective:
    """Scores against labels: ratings, clicks, or a slate with graded relevance.

    Args:
      model: any `Scorer`.
      loss: of elements or of lists.
      weights: how much each row, or each element of a pointwise loss, counts; see `mean`.

    >>> from rezoo import losses
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> batch = pairs([0, 0], [1, 2], [5.0, 2.0])
    >>> variables = {"params": {"count": jnp.array([0.0, 2.0, 1.0])}}  # scores 2 and 1
    >>> value, aux = pointwise(Popularity(3), losses.squared)(variables, jax.random.key(0), batch)
    >>> float(value)  # the mean of 3² and 1²
    5.0
    """

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, batch.item, where=batch.where)
        same_shape(score=score, label=batch.label, where=batch.where)
        value = mean(loss(score, batch.label, where=batch.where), batch.where, weight_of(weights, batch))
        return value, Aux({"loss": value}, sown)

    return objective


def sampled(
    model: nn.Module,
    loss: Loss,
    sampler: Sampler,
    num_negatives: int,
    *,
    log_q: Float[Array, " N"] | None = None,
    weights: Weights | None = None,
) -> Objective:
    """Each positive beside `num_negatives` sampled items, as one list with labels 1, 0, 0, …

    With `losses.bpr` this is BPR (Rendle 2009), with `losses.logistic` NCF's objective (He 2017),
    with `losses.sampled_softmax` and its `log_q` a sampled softmax.

    Takes batches of pairs, `item: [B]`; their labels are taken to be 1. A drawn 0, such as a sampler gives
    where every item is a positive, does not count.

    Args:
      model: any `Scorer`.
      loss: of lists; takes `log_q` if it is given here.
      sampler: draws the negatives.
      num_negatives: for each positive.
      log_q: log of the sampler's probability of each item, such as `sampling.log_popularity`. The
        loss is then called with the log of how many times each item was to be expected: ln (n Q),
        and 0 for the positive; and a negative that is the positive itself (an accidental hit) does
        not count.
      weights: how much each positive with its negatives counts; see `mean`.

    Raises:
      ValueError: if `num_negatives` is below 1.

    >>> from rezoo import losses, sampling
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> batch = pairs([0, 0], [1, 2])
    >>> variables = {"params": {"count": jnp.zeros(9)}}  # all scores alike
    >>> objective = sampled(Popularity(9), losses.bpr, sampling.fixed(jnp.array([[5, 6]])), 2)
    >>> print(jax.jit(objective)(variables, jax.random.key(0), batch)[0].round(4))  # ln 2
    0.6931
    """
    at_least_1(num_negatives=num_negatives)

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        sample_key, model_key = jax.random.split(key)
        negative = sampler(sample_key, batch.query, batch.item, num_negatives)
        slate = jnp.concatenate(alike([batch.item[:, None], negative]), axis=1)
        label = jnp.zeros(slate.shape, jnp.float32).at[:, 0].set(1.0)
        drawn = jnp.arange(slate.shape[1])[None] > 0
        where = batch.where[:, None] & (~drawn | (slate > 0))
        of_list = of_one(loss)
        if log_q is not None:
            where = where & (~drawn | (slate != batch.item[:, None]))
            log_q_of = lookup(log_q, slate) + math.log(num_negatives)
            of_list = partial(of_list, log_q=jnp.where(drawn, log_q_of, 0.0))
        weight = weight_of(weights, batch)
        whole = pointwise(model, of_list, weights=None if weight is None else lambda _: weight)
        return whole(variables, model_key, Batch(batch.query, slate, label, where))

    return objective


def shared(
    model: nn.Module,
    loss: Loss,
    sampler: Sampler,
    num_negatives: int,
    *,
    positives: Positives | None = None,
    log_q: Float[Array, " N"] | None = None,
    weights: Weights | None = None,
) -> Objective:
    """The items of each row beside `num_negatives` items that are drawn once for the whole batch.

    As one list with the labels of the row's items and 0 for those drawn; a drawn one that is among the row's
    own, or 0, does not count. Scores of the drawn items are one matrix product, so there can be thousands.

    Takes a `Retriever` and batches of pairs, `[B]`, or of users with some items each, `[B T]`, as those of
    `batches.by_user`, whose items are looked up once for all of their negatives.

    Args:
      model: a `Retriever`.
      loss: of lists; takes `log_q` if it is given here.
      sampler: draws the negatives, for the unknown user.
      num_negatives: of the batch.
      positives: `sampling.positives_by_user(user, item, num_users)`; those of the row's user do not count
        among the drawn either. Without it a batch of pairs is trained against what its users took.
      log_q: as for `sampled`.
      weights: how much each row's list counts; see `mean`.

    Raises:
      ValueError: if `num_negatives` is below 1.

    >>> from rezoo import losses, sampling
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> batch = Batch(queries(rows=1), jnp.array([[1, 3]]), jnp.ones((1, 2)), jnp.ones((1, 2), bool))
    >>> variables = {"params": {"count": jnp.zeros(9)}}  # all scores alike
    >>> negatives = sampling.fixed(jnp.array([[1, 6]]))
    >>> objective = shared(Popularity(9), losses.softmax_cross_entropy, negatives, 2)
    >>> print(jax.jit(objective)(variables, jax.random.key(0), batch)[0].round(4))  # 2 ln 3: 1, 3 and 6
    2.1972
    """
    at_least_1(num_negatives=num_negatives)

    def scores(module: Any, query: Query, item: Array, drawn: Array) -> tuple[Array, Array]:
        state = module.encode(query)
        own = inner(state, item_vectors(module, item))
        return own, products("bd,nd->bn", state, everywhere(once(partial(item_vectors, module), drawn)))

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        sample_key, model_key = jax.random.split(key)
        item, label, where = (x.reshape(len(x), -1) for x in (batch.item, batch.label, batch.where))
        nobody = Query(jnp.zeros(1, jnp.int32), jnp.zeros((1, 0), jnp.int32), {})
        drawn = sampler(sample_key, nobody, nobody.user, num_negatives)[0]
        inputs = batch.query, item, drawn
        (own, other), sown = forward(model, variables, model_key, *inputs, method=scores)
        hit = ((drawn[None, :, None] == item[:, None]) & where[:, None]).any(-1) | (drawn == 0)[None]
        if positives is not None:
            hit |= are_positive(positives, batch.query.user, drawn)
        counts = jnp.concatenate(alike([where, ~hit & where.any(-1, keepdims=True)]), axis=1)
        labels = jnp.concatenate(alike([label, jnp.zeros_like(other)]), axis=1)
        of_list = loss
        if log_q is not None:
            expected = jnp.broadcast_to(log_q[drawn][None] + math.log(num_negatives), other.shape)
            of_list = partial(loss, log_q=jnp.concatenate(alike([jnp.zeros_like(own), expected]), axis=1))
        value = of_list(jnp.concatenate(alike([own, other]), axis=1), labels, where=counts)
        value = mean(value, counts, weight_of(weights, batch))
        return value, Aux({"loss": value}, sown)

    return objective


def in_batch(
    model: nn.Module,
    loss: Loss,
    *,
    log_q: Float[Array, " N"] | None = None,
    weights: Weights | None = None,
) -> Objective:
    """Each positive among the positives of the whole batch: in-batch softmax and its like.

    Of the other rows' items, those that are the row's own positive do not count (accidental hits).
    An item is a negative as often as it is a positive of others, so that popular items are held
    down; `losses.sampled_softmax` with `log_q` takes that back (Yi 2019,
    https://doi.org/10.1145/3298689.3346996).

    Takes batches of pairs, `item: [B]`, and a `Retriever`: one product of queries and items. Where it has
    `vectors`, no other items' vectors are looked up or computed.

    Args:
      model: a `Retriever`.
      loss: of lists, such as `losses.softmax_cross_entropy`; takes `log_q` if it is given here.
      log_q: log of each item's share of the rows: `sampling.log_popularity(count, 1.0)`.
      weights: how much each row's list counts; see `mean`.

    >>> from rezoo import losses
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> batch = pairs([0, 0], [1, 2])
    >>> variables = {"params": {"count": jnp.zeros(9)}}  # all scores alike, two items in the batch
    >>> objective = in_batch(Popularity(9), losses.softmax_cross_entropy)
    >>> print(jax.jit(objective)(variables, jax.random.key(0), batch)[0].round(4))  # ln 2
    0.6931
    """

    def scores(module: Any, query: Query, item: Array) -> Array:
        return products("bd,cd->bc", module.encode(query), everywhere(item_vectors(module, item)))

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, batch.item, method=scores)
        own = jnp.eye(len(batch.item), dtype=bool)
        items, counted = everywhere((batch.item, batch.where))
        other = batch.item[:, None] != items[None]
        where = batch.where[:, None] & counted[None] & (own | other)
        of_list = of_one(loss)
        if log_q is not None:
            others = jnp.log(jnp.maximum(batch.where.sum() - 1, 1))
            of_list = partial(of_list, log_q=jnp.where(own, 0.0, lookup(log_q, items)[None] + others))
        value = of_list(score, own.astype(score.dtype), where=where)
        value = mean(value, where, weight_of(weights, batch))
        return value, Aux({"loss": value}, sown)

    return objective
