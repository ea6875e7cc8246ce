"""Likelihoods of a choice from a list: softmax, and the choice of one element after the other."""

import jax.numpy as jnp

from rezoo.arrays import same_shape
from rezoo.losses.masks import Mask, PerList, Scores, inputs, log_softmax, logsumexp


def softmax_cross_entropy(score: Scores, label: Scores, *, where: Mask | None = None) -> PerList:
    """-Σ_i y_i ln softmax(s)_i over each list; with one relevant item, the log-likelihood of it.

    McFadden 1974, "Conditional logit analysis of qualitative choice behavior". Graded labels are
    weights; `listnet` is for grades that should become probabilities.

    >>> print(softmax_cross_entropy(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0])).round(4))
    0.6931
    """
    score, label, where = inputs(score, label, where)
    return -(label * log_softmax(score, where)).sum(axis=-1)


def listnet(score: Scores, label: Scores, *, where: Mask | None = None) -> PerList:
    """-Σ_i softmax(y)_i ln softmax(s)_i: both as probabilities of coming first.

    Cao 2007, Learning to rank: from pairwise to listwise, https://doi.org/10.1145/1273496.1273513,
    top-one version. Its smallest value is the entropy of softmax(y), not 0, but for lists of one.

    >>> print(listnet(jnp.array([1.0, 1.0]), jnp.array([2.0, 2.0])).round(4))  # ln 2: both even
    0.6931
    """
    score, label, where = inputs(score, label, where)
    share = jnp.exp(log_softmax(label, where))
    return softmax_cross_entropy(score, share, where=where)


def sampled_softmax(score: Scores, label: Scores, *, log_q: Scores, where: Mask | None = None) -> PerList:
    """`softmax_cross_entropy` of s_i - ln Q(i): that over the whole catalogue, as the sample grows.

    Bengio and Senécal 2008, https://doi.org/10.1109/TNN.2007.912312; in-batch, Yi 2019,
    https://doi.org/10.1145/3298689.3346996. Often the positive is corrected as if it had been drawn
    too; but it is in the list for certain, so `objectives.sampled` and `objectives.in_batch`, which
    hand `log_q` on, give it Q = 1.

    Args:
      score: of the positive and of the sampled elements.
      label: 1 and 0.
      log_q: log of how many times each element was to be expected in the list.
      where: mask; False for a sampled element that is the positive.

    >>> score, label = jnp.array([1.0, 3.0]), jnp.array([1.0, 0.0])
    >>> print(sampled_softmax(score, label, log_q=jnp.array([0.0, 2.0])).round(4))  # scores 1 and 1
    0.6931
    """
    same_shape(score=score, log_q=log_q)
    return softmax_cross_entropy(score - log_q, label, where=where)


def list_mle(score: Scores, label: Scores, *, where: Mask | None = None) -> PerList:
    """-Σ_i ln (exp s_i / Σ_j [y_j ≤ y_i] exp s_j): the label's order, one choice after the other.

    Xia 2008, Listwise approach to learning to rank, https://doi.org/10.1145/1390156.1390306. Of
    elements with the same label none comes first: each is chosen from all that are not above it
    (Breslow's rule), and those with the lowest label of the list, where nothing is left to choose,
    do not count. For labels that all differ this is the paper's loss; with one positive, softmax.

    >>> score, label = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.0, 1.0, 0.0])
    >>> float(list_mle(score, label)) == float(softmax_cross_entropy(score, label))
    True
    """
    score, label, where = inputs(score, label, where)
    lowest = jnp.where(where, label, jnp.inf).min(axis=-1, keepdims=True, initial=jnp.inf)
    chosen = where & (label > lowest)
    rest = (label[..., None, :] <= label[..., :, None]) & where[..., None, :] & chosen[..., :, None]
    log_total = logsumexp(jnp.broadcast_to(score[..., None, :], rest.shape), rest)
    return jnp.where(chosen, log_total - score, 0.0).sum(axis=-1)
