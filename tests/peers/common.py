"""What the comparisons share. A test imports its peer itself, so that collecting the tests needs none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import init, noisy

from rezoo.types import Query

MARKS = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # peers warn of what is not ours

USERS, ITEMS = 7, 12
HISTORY = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0], [5, 0, 0, 0, 0], [8, 9, 7, 10, 11]], np.int32)
LENGTH = (HISTORY > 0).sum(1)
USER = np.array([1, 6, 3, 2], np.int32)
ITEM = np.array([2, 7, 7, 11], np.int32)


def asked(**features):
    """A query of the four rows above."""
    return Query(jnp.array(USER), jnp.array(HISTORY), {k: jnp.array(v) for k, v in features.items()})


def speaking(model, query=None, item=None, scale=0.5, **inputs):
    """Variables without zeros, so that every weight has a say; `params` as NumPy too."""
    query = asked() if query is None else query
    variables = dict(init(model, query, jnp.array(ITEM) if item is None else item, **inputs))
    variables["params"] = noisy(variables["params"], scale)
    return variables, jax.tree.map(np.array, variables["params"])


def put(parameter, value):
    """Copy an array into a peer's parameter, whose shape it must have."""
    import torch

    value = torch.as_tensor(np.array(value, np.float32))
    assert parameter.shape == value.shape, (parameter.shape, value.shape)
    with torch.no_grad():
        parameter.copy_(value)


def put_dense(linear, dense):
    """Copy a Flax layer into a peer's linear one; a bias that one of them lacks must not matter."""
    put(linear.weight, dense["kernel"].T)
    if linear.bias is not None:
        put(linear.bias, dense.get("bias", np.zeros(len(linear.bias), np.float32)))
    else:
        assert not np.any(dense.get("bias", 0.0))


def put_layers(linears, mlp):
    """Copy the layers of `nn.mlp.MLP`, in their order."""
    linears = list(linears)
    assert len(linears) == len(mlp)
    for number, linear in enumerate(linears):
        put_dense(linear, mlp[f"Dense_{number}"])


def without_bias(params, *path):
    """Set a bias to 0 that the peer lacks."""
    for name in path[:-1]:
        params = params[name]
    params[path[-1]]["bias"] = np.zeros_like(params[path[-1]]["bias"])


def agree(ours, theirs, tolerance=1e-5):
    """Whether two arrays are the same within `tolerance`, of 1 or of the larger number; says how nearly."""
    ours = np.asarray(ours, np.float64)
    theirs = np.asarray(theirs.detach() if hasattr(theirs, "detach") else theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(ours).max() > 1e-2 and np.ptp(ours) > 1e-3, "scores that are all alike compare nothing"
    print(f"greatest difference {np.abs(ours - theirs).max():.1e}, of numbers up to {np.abs(ours).max():.2g}")
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def moved(rule, table, steps):
    """A table after steps of a row optimizer, `(ids, their rows' gradients)` each."""
    state = rule.init(table)
    for step, (ids, slope) in enumerate(steps, start=1):
        at = jnp.array(ids)
        old = jax.tree.map(lambda leaf, at=at: leaf[at], state)
        move, new = rule.update(jnp.array(slope), old, jnp.int32(step))
        table = table.at[at].add(move)
        state = jax.tree.map(lambda leaf, new, at=at: leaf.at[at].set(new), state, new)
    return table
