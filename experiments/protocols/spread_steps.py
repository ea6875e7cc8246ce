"""Steps of MF with tables over all devices of this process: compiled for tables that are not made, or run."""

from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rezoo import losses, objectives
from rezoo.data import batches
from rezoo.devices import sharding
from rezoo.models import MF
from rezoo.training import row_sparse
from rezoo.types import Batch, Step, TrainState

ALL_TO_ALL = sharding.all_to_all()


class Problem(NamedTuple):
    """A step, and what it takes."""

    step: Step
    state: TrainState
    """Shapes."""
    batch: Batch


def mesh() -> jax.sharding.Mesh:
    """All devices in a row."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def popular(rows: int, shape: Any) -> np.ndarray:
    """Ids whose popularity falls as a shop's."""
    return (np.random.default_rng(0).zipf(1.2, shape) % (rows - 1) + 1).astype(np.int32)


def pairs(users: int, items: int, number: int) -> Batch:
    """Who saw what, and clicked or not."""
    label = np.arange(number) % 2
    return batches.pairs(popular(users, number), popular(items, number), label)


def factorization(users: int, items: int, width: int) -> tuple[Any, Any, tuple[Any, Any]]:
    """MF, its objective, and its optimizers."""
    model = MF(users, items, width)
    optimizers = optax.sgd(0.1), row_sparse.row_wise_adagrad(0.1)
    return model, objectives.pointwise(model, losses.logistic), optimizers


def problem(users: int, items: int, width: int, each: int, route: sharding.Route = ALL_TO_ALL) -> Problem:
    """A step of `each` pairs a device, for tables of these rows."""
    model, objective, optimizers = factorization(users, items, width)
    step = row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(mesh(), routes=[route]))
    batch = sharding.spread(pairs(users, items, each * jax.device_count()), mesh())
    logical = jax.eval_shape(lambda: row_sparse.init_state(jax.random.key(0), model, *optimizers, batch))
    return Problem(step, spread_shapes(logical, row_sparse.rules(logical)), batch)


def compiled(given: Problem) -> Any:
    """The step as a program."""
    return jax.jit(given.step, donate_argnums=0).lower(given.state, given.batch).compile()


def spread_shapes(logical: Any, specs: Any) -> Any:
    """Shapes of arrays on all devices, of those on one."""
    devices = jax.device_count()

    def shape(spec: PartitionSpec, leaf: Any) -> Any:
        size = leaf.shape
        size = (devices, -(-size[0] // devices), *size[1:]) if len(spec) else size
        return jax.ShapeDtypeStruct(size, leaf.dtype, sharding=NamedSharding(mesh(), spec))

    return jax.tree.map(shape, specs, logical, is_leaf=lambda x: isinstance(x, PartitionSpec))
