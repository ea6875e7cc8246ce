"""Three rows with columns of every kind, and their vectors read by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from helpers import noisy

from rezoo.data.batches import queries

SIZES = {"user": 4, "item": 6, "genres": 5, "hour": 3}
CATALOGUE = {
    "genres": jnp.array([[0, 0], [1, 2], [3, 0], [4, 1], [0, 0], [2, 3]], jnp.int32),
    "price": jnp.linspace(-1.0, 1.0, 6),
}
FIELDS = ["genres", "hour", "item", "price", "user"]
ITEM = jnp.array([1, 2, 4], jnp.int32)
ASKED = queries([1, 3, 0], features={"hour": jnp.array([1, 2, 0], jnp.int32)})


def start(model, catalogue=CATALOGUE):
    """Variables in which no number is 0."""
    make = jax.jit(
        functools.partial(model.apply, rngs={"params": jax.random.key(0)}, mutable=["params", "batch_stats"])
    )
    _, made = make({"catalogue": catalogue}, ASKED, ITEM)
    zeros = jax.tree.map(np.zeros_like, made["params"])
    return {**made, "params": noisy(zeros, 0.7), "catalogue": catalogue}


def field(params, name, row):
    """The vector of one column of row `row`, read by hand."""
    if name == "price":
        return np.asarray(params["price_scale"]) * float(CATALOGUE["price"][ITEM[row]])
    table = np.asarray(params[name]["embedding"])
    if name == "genres":
        real = [g for g in np.asarray(CATALOGUE["genres"][ITEM[row]]) if g > 0]
        return table[real].mean(0) if real else np.zeros(table.shape[1])
    ids = {"user": ASKED.user, "item": ITEM, "hour": ASKED.features["hour"]}[name]
    return table[ids[row]]


def parts(variables, row):
    """(w_0 + Σ w, the vectors of the fields) of a row."""
    params = variables["params"]
    linear = params["linear"]["bias"] + sum(field(params["linear"]["weights"], n, row)[0] for n in FIELDS)
    return float(linear), [field(params["factors"], name, row) for name in FIELDS]
