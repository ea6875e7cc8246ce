"""Tables that no single device holds: their rows are spread over a mesh, along the axis of the batch.

    mesh = jax.make_mesh((8,), ("data",))
    state = sharding.init_state(key, model, optax.adam(1e-3), row_sparse.adagrad(0.1), batch, mesh=mesh)
    step = jax.jit(sharding.make_step(objective, optax.adam(1e-3), row_sparse.adagrad(0.1), mesh=mesh))
    state, metrics = step(state, sharding.spread(batch, mesh))

Models, objectives and optimizers are those of one device. A device holds the rows whose id, divided by the
number of devices, leaves its own number: frequent ids are so spread evenly, however ids are ordered. A step
gets the rows that its batch looks up from the devices that hold them, and sends them their gradients; what
is sent does not depend on the number of rows. `rules` says which array lies where; `sharded` and `whole`
turn variables from one form into the other, so a model is saved as it is on one device.
"""

from rezoo.sharding.layout import describe, init_state, rules, sharded, spread, state_rules, whole
from rezoo.sharding.lookup import Route, all_to_all, gather_ids
from rezoo.sharding.step import make_step

__all__ = [
    "Route",
    "all_to_all",
    "describe",
    "gather_ids",
    "init_state",
    "make_step",
    "rules",
    "sharded",
    "spread",
    "state_rules",
    "whole",
]
