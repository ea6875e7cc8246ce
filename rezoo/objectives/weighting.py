"""How several tasks' losses become one, and how far their gradients pull apart.

A weighting is given to `objectives.multi_task`. Parameters are shared where the losses of two tasks or
more have a gradient, whatever the model calls them: in ESMM `purchase` moves the click tower too.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from rezoo.objectives.tasks import task_gradients
from rezoo.types import Batch, Loss, Scalars, TrainState, Variables, Weighting


def with_log_variances(
    state: TrainState, optimizer: optax.GradientTransformation, tasks: Collection[str]
) -> TrainState:
    """The state before the first step, with what `uncertainty` learns: ln σ² = 0 for each task.

    >>> state = TrainState({}, {}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    >>> with_log_variances(state, optax.sgd(0.1), ["click"]).params["log_variance"]["click"].tolist()
    0.0
    """
    params = {**state.params, "log_variance": {task: jnp.zeros((), jnp.float32) for task in tasks}}
    return state._replace(params=params, opt_state=optimizer.init(params))


def uncertainty(values: Scalars, batch: Batch, variables: Variables, gradients: Any) -> Array:
    """Σ_k L_k / σ_k² + ln σ_k, the σ being learnt (Kendall 2018, https://arxiv.org/abs/1705.07115, eq. 10).

    The paper halves the first term for regression; here that is left to the loss. A task without a
    label in the batch adds nothing, so that its σ stays too.

    Raises:
      ValueError: if the state was not made by `with_log_variances`.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.types import Target
    >>> query = queries([1])
    >>> label = Target(jnp.ones(1), jnp.ones(1, bool))
    >>> batch = Batch(query, jnp.array([2]), jnp.ones(1), jnp.ones(1, bool), {"click": label})
    >>> variables = {"params": {"log_variance": {"click": jnp.log(4.0)}}}
    >>> print(uncertainty({"click": jnp.float32(8)}, batch, variables, None).round(4))  # 8 / 4 + ln 2
    2.6931
    """
    learnt = variables["params"].get("log_variance", {})
    if missing := set(values) - set(learnt):
        raise ValueError(f"no variance for {sorted(missing)}: make the state by weighting.with_log_variances")

    def one(task: str, value: Array) -> Array:
        some = (batch.where & batch.tasks[task].where).any()
        return jnp.where(some, jnp.exp(-learnt[task]) * value + learnt[task] / 2, 0.0)

    return sum((one(task, value) for task, value in values.items()), start=jnp.zeros((), jnp.float32))


def gradient_norm(alpha: float | Array = 0.0, initial: Mapping[str, float] | None = None) -> Weighting:
    """Weights that give each task a gradient of the same size at the shared parameters.

    GradNorm (Chen 2018, https://arxiv.org/abs/1711.02257, equations 1-2) moves its weights by steps
    towards w_k |∇L_k| = mean_j |∇L_j| · r_k^α, where r_k is L_k over its `initial` value, relative
    to the tasks' mean. Here w_k is that solution at each step, scaled so that the weights of the
    tasks that have labels sum to their number; nothing of it is kept between steps. Each task takes
    a backward pass more.

    Args:
      alpha: how much more those tasks get that have learnt less.
      initial: each task's loss before training, above 0; 1 by default.

    Raises:
      ValueError: if an initial loss is not above 0, or, of the weighting, is of no task.

    >>> from rezoo.data.batches import pairs
    >>> values = {"a": jnp.float32(1), "b": jnp.float32(5)}
    >>> gradients = lambda: {"a": {"w": jnp.array([3.0])}, "b": {"w": jnp.array([1.0])}}
    >>> batch = pairs([0], [1])
    >>> float(gradient_norm()(values, batch, {}, gradients))  # ½ × 1 + 3/2 × 5: both gradients have norm 3/2
    8.0
    """
    for task, value in (initial or {}).items():
        if not value > 0:
            raise ValueError(f"the initial loss of {task!r} is {value}: give one above 0")

    def weigh(
        values: Scalars, batch: Batch, variables: Variables, gradients: Callable[[], dict[str, Any]]
    ) -> Array:
        loss = jnp.stack(list(values.values()))
        norm = jnp.stack([optax.tree.norm(gradient) for gradient in shared(gradients()).values()])
        some = norm > 0
        if strange := set(initial or {}) - set(values):
            raise ValueError(f"initial has {sorted(strange)}, the tasks are {list(values)}")
        start = jnp.array([(initial or {}).get(task, 1.0) for task in values], jnp.float32)
        rate = jnp.where(some, loss / start, 0.0)
        rate = rate / jnp.maximum(rate.sum() / jnp.maximum(some.sum(), 1), 1e-12)
        weight = jnp.where(some, jnp.where(some, rate, 1.0) ** alpha / jnp.where(some, norm, 1.0), 0.0)
        weight = weight * some.sum() / jnp.where(some.any(), weight.sum(), 1.0)
        return jnp.vdot(jax.lax.stop_gradient(weight), loss)

    return weigh


def pcgrad(
    values: Scalars, batch: Batch, variables: Variables, gradients: Callable[[], dict[str, Any]]
) -> Array:
    """Σ_k L_k, with gradients at the shared parameters that do not work against each other.

    PCGrad (Yu 2020, https://arxiv.org/abs/2001.06782, algorithm 1): each task's gradient loses what is
    against another task's, one after the other, and the sum of what is left is the gradient of this value:

        g_k ← g_k - min(⟨g_k, g_j⟩, 0) / |g_j|² · g_j    for every other task j, g_j as it was

    Parameters of one task alone keep their gradient. Each task takes a backward pass more. Tables that are
    trained row by row (`training.row_sparse`) do not see the correction: train them densely.

    Differs from the paper: the other tasks are taken in their order, not in a random one, which makes a
    difference from three tasks on.

    >>> from rezoo.data.batches import pairs
    >>> of = {"a": {"w": jnp.array([1.0, 0.0])}, "b": {"w": jnp.array([-1.0, 1.0])}}
    >>> values = {"a": jnp.float32(1), "b": jnp.float32(5)}
    >>> value = lambda w: pcgrad(values, pairs([0], [1]), {"params": {"w": w}}, lambda: of)
    >>> slope = jax.grad(value)(jnp.zeros(2))  # the correction: ½ (-1, 1) for a, (1, 0) for b
    >>> float(value(jnp.zeros(2))), slope.tolist()
    (6.0, [0.5, 0.5])
    """
    flat = {task: _flat(gradient) for task, gradient in shared(gradients()).items()}

    def projected(task: str) -> Array:
        g = flat[task]
        for other in (h for name, h in flat.items() if name != task):
            against = jnp.minimum(jnp.vdot(g, other), 0.0)
            g = g - against / jnp.maximum(jnp.vdot(other, other), jnp.finfo(g.dtype).tiny) * other
        return g

    change = sum((projected(task) - g for task, g in flat.items()), start=jnp.float32(0))
    # A term of the value 0, whose gradient is the correction.
    moved = jnp.vdot(jax.lax.stop_gradient(change), _flat(variables["params"]))
    total = sum(values.values(), start=jnp.float32(0))
    return total + moved - jax.lax.stop_gradient(moved)


def conflict(
    model: nn.Module, losses: Mapping[str, Loss], variables: Variables, key: jax.Array, batch: Batch
) -> Scalars:
    """Cosine of each two tasks' gradients at the shared parameters, as `{"cosine a b": …}`.

    Below 0, a step for one task is a step against the other (Yu 2020,
    https://arxiv.org/abs/2001.06782, definition 1). 0 where a task has no gradient.

    >>> from rezoo import losses
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import SharedBottom
    >>> from rezoo.types import Target
    >>> model = SharedBottom({"user": 3, "item": 3}, ["click", "buy"], dim=2, widths=[2], tower=[2])
    >>> query = queries([1])
    >>> label = Target(jnp.ones(1), jnp.ones(1, bool))
    >>> batch = Batch(query, jnp.array([2]), jnp.ones(1), jnp.ones(1, bool), {"click": label, "buy": label})
    >>> ones = jax.tree.map(jnp.ones_like, model.init(jax.random.key(0), query, batch.item))
    >>> same = {"click": losses.squared, "buy": losses.squared}  # two tasks that want the same
    >>> print(conflict(model, same, ones, jax.random.key(1), batch)["cosine click buy"].round(4))
    1.0
    """
    gradients = shared(task_gradients(model, losses, variables, key, batch))
    flat = {task: _flat(gradient) for task, gradient in gradients.items()}
    names = list(flat)
    return {f"cosine {a} {b}": _cosine(flat[a], flat[b]) for i, a in enumerate(names) for b in names[i + 1 :]}


def shared(gradients: Mapping[str, Any]) -> dict[str, Any]:
    """Each task's gradient, with 0 in the place of the arrays at which no other task has one.

    If one task alone has a gradient at all, as where the others have no label in the batch, it keeps all.

    >>> income = {"bottom": jnp.array([1.0, 0.0]), "income_tower": jnp.array([2.0])}
    >>> married = {"bottom": jnp.array([0.0, 3.0]), "income_tower": jnp.array([0.0])}
    >>> both = shared({"income": income, "married": married})
    >>> both["income"]["bottom"].tolist(), both["income"]["income_tower"].tolist()
    ([1.0, 0.0], [0.0])
    """
    felt = [jax.tree.map(lambda leaf: (leaf != 0).any(), gradient) for gradient in gradients.values()]
    some = sum(jnp.stack(jax.tree.leaves(one)).any().astype(jnp.int32) for one in felt)
    count = jax.tree.map(lambda *tasks: jnp.stack(tasks).sum(), *felt)

    def kept(leaf: Array, count: Array) -> Array:
        return jnp.where(count >= jnp.minimum(some, 2), leaf, 0.0)

    return {task: jax.tree.map(kept, gradient, count) for task, gradient in gradients.items()}


def _flat(tree: Any) -> Float[Array, " P"]:
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


def _cosine(a: Float[Array, " P"], b: Float[Array, " P"]) -> Float[Array, ""]:
    size = jnp.linalg.norm(a) * jnp.linalg.norm(b)
    return jnp.where(size > 0, jnp.vdot(a, b) / jnp.where(size > 0, size, 1.0), 0.0)
