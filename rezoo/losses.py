"""Losses as functions of arrays.

`(score, label, *, where=None)`: the last axis is the list, leading axes are batch, `where` masks.
A pointwise loss has the shape of the scores and is 0 where masked. A listwise loss has a value per
list, which is 0 if no element of the list counts. Nothing is reduced over the batch here.

`catalogue_softmax` takes states and an item table in the place of scores, so that the scores of a
whole catalogue need never exist.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

Scores = Float[Array, " *B"]
Mask = Bool[Array, " *B"]


def squared(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """(s - y)², pointwise.

    >>> squared(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])).tolist()
    [4.0, 0.0]
    """
    return _masked(jnp.square(score - label), where)


def absolute(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """|s - y|, pointwise."""
    return _masked(jnp.abs(score - label), where)


def huber(score: Scores, label: Scores, *, where: Mask | None = None, delta: float = 1.0) -> Scores:
    """Huber 1964: ½ e² for |e| ≤ δ, else δ (|e| - ½ δ), pointwise; https://doi.org/10.1214/aoms/1177703732."""
    error = jnp.abs(score - label)
    inner = jnp.minimum(error, delta)
    return _masked(0.5 * jnp.square(inner) + delta * (error - inner), where)


def logistic(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """-y ln σ(s) - (1 - y) ln σ(-s), pointwise, for labels in [0, 1].

    >>> print(logistic(jnp.array([0.0, 1e4]), jnp.array([1.0, 1.0])).round(4))
    [0.6931 0.    ]
    """
    return _masked(jax.nn.softplus(score) - label * score, where)


def softmax_cross_entropy(score: Scores, label: Scores, *, where: Mask | None = None) -> Float[Array, " ..."]:
    """-Σ_i y_i ln softmax(s)_i over each list; with one relevant item, the log-likelihood of it.

    ListNet's top-one loss (Cao 2007, https://doi.org/10.1145/1273496.1273513) for labels that sum to 1.
    """
    where = jnp.ones(score.shape, bool) if where is None else where
    score = jnp.where(where, score, -jnp.inf)
    some = where.any(axis=-1, keepdims=True)
    log_softmax = jax.nn.log_softmax(jnp.where(some, score, 0.0), axis=-1)
    return -jnp.where(where, label * jnp.where(where, log_softmax, 0.0), 0.0).sum(axis=-1)


def bpr(score: Scores, label: Scores, *, where: Mask | None = None) -> Float[Array, " ..."]:
    """Mean of -ln σ(s_i - s_j) over each list's pairs with y_i > y_j.

    Rendle 2009, Bayesian Personalized Ranking, https://arxiv.org/abs/1205.2618, section 4.1.

    >>> bpr(jnp.array([[2.0, 2.0], [0.0, 50.0]]), jnp.array([[1.0, 0.0], [1.0, 0.0]])).tolist()[1]
    50.0
    """
    where = jnp.ones(score.shape, bool) if where is None else where
    pair = (label[..., :, None] > label[..., None, :]) & where[..., :, None] & where[..., None, :]
    value = jax.nn.softplus(score[..., None, :] - score[..., :, None])
    return jnp.where(pair, value, 0.0).sum((-2, -1)) / jnp.maximum(pair.sum((-2, -1)), 1)


def bpr_max(
    score: Scores, label: Scores, *, where: Mask | None = None, penalty: float = 1.0
) -> Float[Array, " ..."]:
    """-ln Σ_j w_j σ(s_i - s_j) + λ Σ_j w_j s_j², w the softmax of the negatives' scores.

    Hidasi and Karatzoglou 2018, https://arxiv.org/abs/1706.03847, section 3.3. Takes lists with one
    positive, the greatest label (of several, their mean score); smaller labels are its negatives.
    """
    best, log_weight, some = _against_negatives(score, label, where)
    log_win = jax.nn.log_sigmoid(best - score)
    win = jax.nn.logsumexp(jnp.where(some, log_win + log_weight, 0.0), axis=-1)
    value = penalty * (jnp.exp(log_weight) * jnp.square(score)).sum(axis=-1) - win
    return jnp.where(some.squeeze(-1), value, 0.0)


def top1_max(score: Scores, label: Scores, *, where: Mask | None = None) -> Float[Array, " ..."]:
    """Σ_j w_j (σ(s_j - s_i) + σ(s_j²)), w the softmax of the negatives' scores; lists as in `bpr_max`.

    Hidasi and Karatzoglou 2018, https://arxiv.org/abs/1706.03847, section 3.2.
    """
    best, log_weight, some = _against_negatives(score, label, where)
    value = jax.nn.sigmoid(score - best) + jax.nn.sigmoid(jnp.square(score))
    return jnp.where(some, jnp.exp(log_weight) * value, 0.0).sum(axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _catalogue_softmax(
    state: Float[Array, " T D"], table: Float[Array, " N D"], target: Int[Array, " T"], chunk: int
) -> Float[Array, " T"]:
    return _catalogue_forward(state, table, target, chunk)[0]


def catalogue_softmax(
    state: Float[Array, " *B D"], table: Float[Array, " N D"], target: Int[Array, " *B"], *, chunk: int = 512
) -> Float[Array, " *B"]:
    """Cross entropy in little memory: ln Σ_i exp <s, v_i> - <s, v_target> over items i ≥ 1.

    The scores are made `chunk` items at a time, once for the value with a running log-sum-exp
    (Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867) and once more for the gradient,
    so that no array has both the batch and the catalogue as axes. A chunk that stays in the cache
    makes this faster than the plain loss, too. A bias is one more column of the table, beside a
    column of ones of the states.

    Args:
      state: the queries.
      table: a row per item; row 0 belongs to no item.
      target: the items that came, ≥ 1; for 0 the value means nothing and is to be masked.
      chunk: items at a time; a few thousand suit an accelerator better.
    """
    value: Array = _catalogue_softmax(state.reshape(-1, state.shape[-1]), table, target.ravel(), chunk)
    return value.reshape(target.shape)


def _chunk_of(
    state: Array, table: Array, number: Array, size: int
) -> tuple[Array, Float[Array, " c D"], Float[Array, " T c"]]:
    """(first item, rows, scores) of a chunk; -inf for item 0 and for those of the chunk before.

    The last chunk reaches back into the one before it, so that all have one size.
    """
    start = jnp.minimum(number * size, table.shape[0] - size)
    rows = lax.dynamic_slice_in_dim(table, start, size)
    new = start + jnp.arange(size) >= jnp.maximum(number * size, 1)
    return start, rows, jnp.where(new[None], state @ rows.T, -jnp.inf)


def _catalogue_forward(state: Array, table: Array, target: Array, chunk: int) -> tuple[Array, tuple]:
    size = min(chunk, table.shape[0])

    def add(number: Array, running: tuple[Array, Array]) -> tuple[Array, Array]:
        top, total = running
        score = _chunk_of(state, table, number, size)[2]
        higher = jnp.maximum(top, score.max(axis=1))
        return higher, total * jnp.exp(top - higher) + jnp.exp(score - higher[:, None]).sum(axis=1)

    start = jnp.full_like(state[:, 0], jnp.finfo(state.dtype).min), jnp.zeros_like(state[:, 0])
    top, total = lax.fori_loop(0, -(-table.shape[0] // size), add, start)
    log_sum = top + jnp.log(total)
    return log_sum - (state * table[target]).sum(axis=-1), (state, table, target, log_sum)


def _catalogue_backward(chunk: int, saved: tuple, slope: Array) -> tuple[Array, Array, None]:
    state, table, target, log_sum = saved
    size = min(chunk, table.shape[0])
    # On a CPU a product whose left side is read by columns takes twice the time: hence the barriers.
    columns = lax.optimization_barrier(state.T)

    def add(number: Array, gradients: tuple[Array, Array]) -> tuple[Array, Array]:
        of_state, of_table = gradients
        start, rows, score = _chunk_of(state, table, number, size)
        share = slope[:, None] * jnp.exp(score - log_sum[:, None])
        more = lax.optimization_barrier(columns @ share).T + lax.dynamic_slice_in_dim(of_table, start, size)
        return of_state + share @ rows, lax.dynamic_update_slice_in_dim(of_table, more, start, 0)

    of_state = -slope[:, None] * table[target]
    of_table = jnp.zeros_like(table).at[target].add(-slope[:, None] * state)
    return *lax.fori_loop(0, -(-table.shape[0] // size), add, (of_state, of_table)), None


_catalogue_softmax.defvjp(_catalogue_forward, _catalogue_backward)


def _against_negatives(
    score: Array, label: Array, where: Array | None
) -> tuple[Float[Array, " *B 1"], Float[Array, " *B C"], Bool[Array, " *B 1"]]:
    """The score of each list's positive, the log-softmax over its negatives, and if it has any."""
    where = jnp.ones(score.shape, bool) if where is None else where
    top = jnp.where(where, label, -jnp.inf).max(axis=-1, keepdims=True)
    positive, negative = where & (label == top), where & (label < top)
    some = negative.any(axis=-1, keepdims=True)
    log_weight = jax.nn.log_softmax(jnp.where(negative, score, jnp.where(some, -jnp.inf, 0.0)), axis=-1)
    count = jnp.maximum(positive.sum(axis=-1, keepdims=True), 1)
    return jnp.where(positive, score, 0.0).sum(axis=-1, keepdims=True) / count, log_weight, some


def _masked(value: Scores, where: Mask | None) -> Scores:
    return value if where is None else jnp.where(where, value, 0.0)
