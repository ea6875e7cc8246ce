"""How good a ranking is, of the whole catalogue or of a sample."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from rezoo import metrics
from rezoo.arrays import ids_of, same_rows
from rezoo.devices.backend import pick
from rezoo.devices.meshes import everywhere, in_blocks, lookup
from rezoo.devices.sharding import AXIS
from rezoo.evaluation import checks, spread
from rezoo.evaluation.scoring import compiled, predicted, rows_of_catalogue, score_all
from rezoo.metrics.counting import ahead, rank_of
from rezoo.types import Query, Scalars, Variables

Measure = Callable[..., jax.Array]
"""`(rank, *, where, k) -> a value for each user`, as those of `rezoo.metrics`."""

MEASURES: Mapping[str, Measure] = {
    "hr": metrics.hr,
    "recall": metrics.recall,
    "precision": metrics.precision,
    "ndcg": metrics.ndcg,
    "mrr": metrics.mrr,
    "map": metrics.average_precision,
}


class Ranked(NamedTuple):
    """What became of the targets."""

    rank: Float[Array, " U T"]
    excluded: Bool[Array, " U T"]
    """Targets that are to be excluded at the same time."""
    nan: Int[Array, " U"]
    """Scores that are NaN, of those that compete."""


def evaluate(
    model: nn.Module,
    variables: Variables,
    query: Query,
    target: Int[Array | np.ndarray, " U T"],
    *,
    exclude: Int[Array | np.ndarray, " U S"] | None = None,
    k: Sequence[int] = (10,),
    measures: Mapping[str, Measure] = MEASURES,
    propensity: Float[Array, " N"] | None = None,
    block: int | None = None,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> Scalars:
    """Full-catalogue ranking metrics: `hr@k`, `recall@k`, `precision@k`, `ndcg@k`, `mrr@k`, `map@k`.

    What is wrong with the input or the model never makes a metric better, and is counted in the answer:

    - `unknown_targets`: ids below 0 or beyond the catalogue; each is a miss.
    - `repeated_targets`: an item that stands more than once in a row counts once.
    - `excluded_targets`: targets that are to be excluded at the same time; they count as if they were not.
    - `nan_scores`: an item whose score is NaN is worse than all others, and a miss as a target.

    Outside of `jit`, a warning also says so of unknown targets and items to exclude, with the row of the
    first, and of NaN.

    Args:
      model: any `Scorer`.
      variables: its variables.
      query: one row per user.
      target: the held-out items of each user, 0 = padding.
      exclude: items that cannot be recommended (seen in training), 0 = padding; a target is never
        excluded.
      k: lengths of the list.
      measures: what is measured, by name: any functions of ranks, such as
        `{**evaluation.MEASURES, "r_precision": metrics.r_precision}`.
      propensity: of each item, from `metrics.propensities`; adds `debiased_recall@k` and `debiased_ndcg@k`.
      block: users scored at once; if not given, so many that their scores stay in the cache.
      mesh: the devices that the tables are spread over, as for `recommend`.
      axis: of the mesh, along which they are.

    Returns:
      Means over the users with a target, with `users`, `users_without_target` and the counts above.

    Raises:
      ValueError: if a k is below 1, or an array has not a row for each query; with `mesh`, as `recommend`.
      DataError: if an id is not a whole number within int32.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 2, 1])}}
    >>> query = queries([1, 2])
    >>> target, seen = jnp.array([[1], [3]]), jnp.array([[0], [1]])
    >>> result = evaluate(Popularity(4), variables, query, target, exclude=seen, k=[1, 2])
    >>> float(result["hr@1"]), float(result["hr@2"])  # ranks 1 and, without item 1, 2
    (0.5, 1.0)
    """
    checks.lengths(k)
    target, exclude = ids_of(target=target, exclude=exclude)
    size = rows_of_catalogue(model, variables, mesh)
    if propensity is not None:
        checks.propensity(propensity, size)
        weigh = {"debiased_recall": metrics.debiased_recall, "debiased_ndcg": metrics.debiased_ndcg}
        each = lookup(propensity, everywhere(jnp.where((target > 0) & (target < size), target, 0)))
        measures = {**measures, **{name: partial(m, propensity=each) for name, m in weigh.items()}}
    checks.warn_of_unknown("target", target, size, checks.MISS, negative=True)
    checks.warn_of_unknown("exclude", exclude, size, checks.EXCLUDES, negative=False)
    block = block or block_of(size)
    ranked = _ranked(model, variables, query, target, exclude, block=block, mesh=mesh, axis=axis)
    return _summary(ranked, target, size, k, measures)


def ranks(
    model: nn.Module,
    variables: Variables,
    query: Query,
    target: Int[Array | np.ndarray, " U T"],
    *,
    exclude: Int[Array | np.ndarray, " U S"] | None = None,
    num_items: int | Int[Array, ""] | None = None,
    block: int | None = None,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> Float[Array, " U T"]:
    """The rank of each target in the whole catalogue, for metrics of one's own; as in `evaluate`.

    It is inf for padding, for a target that is unknown or scored NaN, and for one that stands a second
    time in its row: `where=metrics.distinct(target, target != 0)` makes a metric count it once. `num_items`
    is for tables with rows to spare: only ids below it are in the catalogue. `mesh` and `axis` are those of
    `recommend`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 2, 1])}}
    >>> query = queries([1, 2])
    >>> ranks(Popularity(4), variables, query, jnp.array([[1, 0], [2, 3]])).tolist()
    [[1.0, inf], [2.0, 3.0]]
    """
    target, exclude = ids_of(target=target, exclude=exclude)
    size = rows_of_catalogue(model, variables, mesh)
    checks.warn_of_unknown("target", target, size, checks.MISS, negative=True)
    checks.warn_of_unknown("exclude", exclude, size, checks.EXCLUDES, negative=False)
    checks.warn_of_repeated(target)
    block = block or block_of(size)
    ranked = _ranked(model, variables, query, target, exclude, num_items, block=block, mesh=mesh, axis=axis)
    checks.warn_of_nan(ranked.nan, "worse than all others")
    return ranked.rank


def evaluate_sampled(
    model: nn.Module,
    variables: Variables,
    query: Query,
    target: Int[Array | np.ndarray, " U"],
    negatives: Int[Array | np.ndarray, " U M"],
    *,
    k: Sequence[int] = (10,),
    measures: Mapping[str, Measure] = MEASURES,
    block: int = 1024,
    mesh: Mesh | None = None,
    axis: str = AXIS,
) -> Scalars:
    """The sampled protocol: the target among M given negatives, as in NCF (He 2017: M = 99).

    Its numbers are not comparable with those of `evaluate` (Krichene and Rendle 2020,
    https://doi.org/10.1145/3394486.3403226), whose counts and checks it shares. Negatives that are 0 are
    padding, and one that is the target itself does not compete; `excluded_targets` counts these. A target
    with which none competes is a miss. `mesh` and `axis` are those of `predict`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 2, 1])}}
    >>> query = queries([1])
    >>> result = evaluate_sampled(Popularity(4), variables, query, jnp.array([2]), jnp.array([[1, 3]]), k=[2])
    >>> float(result["hr@2"]), float(result["mrr@2"])
    (1.0, 0.5)
    """
    checks.lengths(k)
    target, negatives = ids_of(target=target, negatives=negatives)
    same_rows(query=query)
    checks.rows(1, query=query.user, target=target)
    checks.rows(2, query=query.user, negatives=negatives)
    try:
        size = rows_of_catalogue(model, variables, mesh)
    except ValueError:  # a model that hides its catalogue: no id is known to be beyond it
        size = jnp.iinfo(jnp.int32).max
    checks.warn_of_unknown("target", target, size, checks.MISS, negative=True)
    checks.warn_of_unknown("negatives", negatives, size, "each is scored as an unknown item", negative=False)
    ranked = _ranked_among(
        model, variables, query, target, negatives, size=size, block=block, mesh=mesh, axis=axis
    )
    return _summary(ranked, target[:, None], size, k, measures)


@compiled("size", "block", "mesh", "axis")
def _ranked_among(
    model: nn.Module,
    variables: Variables,
    query: Query,
    target: Array,
    negatives: Array,
    *,
    size: int,
    block: int,
    mesh: Mesh | None,
    axis: str,
) -> Ranked:
    slate = jnp.concatenate([target[:, None], negatives], axis=1)
    options = {"block": block, "method": None, "mesh": mesh, "axis": axis}
    score = predicted(model, variables, (query, slate), **options)
    same = negatives == target[:, None]
    competes = jnp.pad((negatives > 0) & ~same, ((0, 0), (1, 0)), constant_values=True)
    known = ((target > 0) & (target < size) & competes[:, 1:].any(axis=1))[:, None]
    rank = metrics.target_ranks(score, jnp.zeros_like(target)[:, None], where=competes, counted=known)
    nan = (jnp.isnan(score) & competes).sum(axis=1)
    return Ranked(rank, (same.any(axis=1) & (target > 0))[:, None], nan)


def block_of(size: int) -> int:
    """Users whose scores of `size` items are in memory at once.

    On a CPU they stay in the cache between the passes over them; an accelerator wants more work at once.

    >>> block_of(1_000), block_of(40_000)
    (256, 52)
    """
    return pick(cpu=min(max(2**21 // size, 8), 256), accelerator=256)


def _ranked(
    model: nn.Module,
    variables: Variables,
    query: Query,
    target: Array | np.ndarray,
    exclude: Array | np.ndarray | None,
    num_items: Any = None,
    **options: Any,
) -> Ranked:
    if exclude is None:
        exclude = jnp.zeros((len(query.user), 0), jnp.int32)
    same_rows(query=query)
    checks.rows(2, query=query.user, target=target, exclude=exclude)
    return _ranked_in_all(model, variables, query, target, exclude, num_items, **options)


@compiled("block", "mesh", "axis")
def _ranked_in_all(
    model: nn.Module,
    variables: Variables,
    query: Query,
    target: Array,
    exclude: Array,
    num_items: Any,
    *,
    block: int,
    mesh: Mesh | None,
    axis: str,
) -> Ranked:
    if mesh is not None:
        rows = query, target, exclude
        return Ranked(*spread.ranked(model, variables, rows, num_items, mesh=mesh, axis=axis, block=block))

    def of_block(rows: tuple[Query, Array, Array]) -> Ranked:
        query, target, exclude = rows
        score = score_all(model, variables, query)
        size = score.shape[1]
        end = size if num_items is None else num_items
        known = (target > 0) & (target < end)
        # What does not compete gets -inf, which is below all that compete: in place, without a mask.
        score = jnp.maximum(score, jnp.finfo(score.dtype).min)
        if num_items is not None:
            score = jnp.where((jnp.arange(size) < end)[None], score, -jnp.inf)
        own = jnp.take_along_axis(score, jnp.where(known, target, 0), axis=1)
        score = jax.vmap(_left_out)(score, exclude)
        held = known & jnp.isneginf(jnp.take_along_axis(score, jnp.where(known, target, 0), axis=1))
        score = jax.vmap(_put)(score, jnp.where(known, target, size), own)
        asked, nan = known & metrics.distinct(target, known), jnp.isnan(score).sum(axis=1)
        count = ahead(*everywhere((score, own, asked)))
        return Ranked(rank_of(count, own, asked), held, nan)

    return in_blocks(of_block, (query, target, exclude), block)


def _left_out(score: Float[Array, " N"], exclude: Int[Array, " S"]) -> Float[Array, " N"]:
    return score.at[0].set(-jnp.inf).at[jnp.maximum(exclude, 0)].set(-jnp.inf, mode="drop")


def _put(score: Float[Array, " N"], place: Int[Array, " T"], value: Float[Array, " T"]) -> Float[Array, " N"]:
    return score.at[place].set(value, mode="drop")


def _summary(
    ranked: Ranked, ids: Array | np.ndarray, size: int, k: Sequence[int], measures: Mapping[str, Measure]
) -> Scalars:
    ranked, target = everywhere((ranked, jnp.asarray(ids)))
    asked = target != 0
    where = metrics.distinct(target, asked)
    counted = where.any(axis=1)
    result: Scalars = {}
    for length in k:
        for name, measure in measures.items():
            value = measure(ranked.rank, where=where, k=length)
            result[f"{name}@{length}"], _ = metrics.mean_over_users(value, counted)
    checks.warn_of_nan(ranked.nan, "worse than all others")
    return result | {
        "users": counted.sum(),
        "users_without_target": (~counted).sum(),
        "unknown_targets": (where & ((target < 0) | (target >= size))).sum(),
        "repeated_targets": (asked & ~where).sum(),
        "excluded_targets": (where & ranked.excluded).sum(),
        "nan_scores": ranked.nan.sum(),
    }
