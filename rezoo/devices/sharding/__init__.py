"""Tables that no single device holds: their rows are spread over a mesh, along the axis of the batch.

    mesh = jax.make_mesh((8,), ("data",))
    step = jax.jit(row_sparse.make_step(objective, optax.adam(1e-3), rows, row_sparse.spread_over(mesh)))
    state = row_sparse.init_state(key, model, optax.adam(1e-3), rows, batch)
    state = sharding.sharded(state, row_sparse.rules(state), mesh)
    state, metrics = step(state, sharding.spread(batch, mesh))
    ids, scores = evaluation.recommend(model, state.variables, query, 10, mesh=mesh)

Models, objectives and optimizers are those of one device. A device holds the rows whose id, divided by the
number of devices, leaves its own number: frequent ids are so spread evenly, however ids are ordered. A step
gets the rows that its batch looks up from the devices that hold them, and sends them their gradients; what
is sent does not depend on the number of rows. Lists, ranks and the full softmax take the same `mesh=`: there
each device scores the items whose rows it holds. `rules` says which array lies where; `sharded` and `whole`
turn arrays from one form into the other, so a model is saved as it is on one device. `save` and `restore`
write and read checkpoints with which any number of devices, of one process or several, can go on;
`training.loop.run` does so by `row_sparse.checkpoints_over`.
"""

from rezoo.devices.sharding.layout import AXIS, axis_of, describe, rules, sharded, spread, whole
from rezoo.devices.sharding.lookup import (
    Fetched,
    Route,
    all_to_all,
    cheapest,
    evenly,
    gather_ids,
    joined,
    split,
    together,
)
from rezoo.devices.sharding.saved import restore, save

__all__ = [
    "AXIS",
    "Fetched",
    "Route",
    "all_to_all",
    "axis_of",
    "cheapest",
    "describe",
    "evenly",
    "gather_ids",
    "joined",
    "restore",
    "rules",
    "save",
    "sharded",
    "split",
    "spread",
    "together",
    "whole",
]
