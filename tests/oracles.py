"""Layers in NumPy, by their equations, for one sequence `[L D]`: what the models are compared with."""

import jax
import numpy as np


def in_double(params):
    """Parameters as NumPy's doubles."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


def dense(w, x):
    return x @ w["kernel"] + w.get("bias", 0.0)


def normed(x, w=None):
    centred = x - x.mean(-1, keepdims=True)
    y = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-6)
    return y if w is None else y * w["scale"] + w["bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attended(w, y, heads, seen):
    """Softmax attention of each head; event t looks at the events `seen(t)`."""
    q, k, v = (np.split(dense(w[name], y), heads, axis=1) for name in ("query", "key", "value"))
    out = [np.zeros_like(v[0]) for _ in range(heads)]
    for h in range(heads):
        for t in range(len(y)):
            at = seen(t)
            share = np.exp(k[h][at] @ q[h][t] / np.sqrt(q[h].shape[1]))
            out[h][t] = share / share.sum() @ v[h][at]
    return np.concatenate(out, axis=1)
