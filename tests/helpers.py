"""What several test files use.

`init`, `apply` and `score_all` are compiled: op by op, every operation of a model would be compiled alone.
"""

import functools
from collections.abc import Callable, Container, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo import evaluation, training

eight_devices = pytest.mark.skipif(len(jax.devices()) < 8, reason="there are fewer than eight devices")

_COMPILED: dict = {}


def _compiled(model: nn.Module, name: str, function: Callable, **options: Any) -> Callable:
    which: Any = model
    try:
        hash(model)
    except TypeError:  # a model with a field that is a dict has no hash
        which = id(model)
    key = which, name, *options.values()
    if key not in _COMPILED:
        _COMPILED[key] = model, jax.jit(functools.partial(function, **options))
    return _COMPILED[key][1]


def forget() -> None:
    """Drop what was compiled."""
    _COMPILED.clear()


def init(model: nn.Module, *inputs: Any, method: str | None = None, seed: int = 0) -> Any:
    return _compiled(model, "init", model.init, method=method)(jax.random.key(seed), *inputs)


def made(model: nn.Module, constants: Any, *inputs: Any) -> Any:
    """The first parameters of a model that reads constants."""

    def make(key: Any, constants: Any, *inputs: Any) -> Any:
        return model.apply(constants, *inputs, rngs={"params": key}, mutable=["params"])[1]["params"]

    return _compiled(model, "made", make)(jax.random.key(0), constants, *inputs)


def init_state(key: jax.Array, model: nn.Module, optimizer: Any, batch: Any, **options: Any) -> Any:
    """`training.init_state` as one program."""
    return jax.jit(lambda: training.init_state(key, model, optimizer, batch, **options))()


def apply(model: nn.Module, variables: Any, *inputs: Any, method: str | None = None, **options: Any) -> Any:
    return _compiled(model, "apply", model.apply, method=method)(variables, *inputs, **options)


def score_all(model: nn.Module, variables: Any, *inputs: Any) -> Any:
    return _compiled(model, "score_all", functools.partial(evaluation.score_all, model))(variables, *inputs)


def mostly_slow(values: Iterable[Any], always: Container[Any]) -> list[Any]:
    """Parameters of a test: those in `always` are in every run, the others are for `-m slow`."""
    return [pytest.param(one, marks=() if one in always else pytest.mark.slow) for one in values]


def noisy(params: Any, scale: float, seed: int = 1) -> Any:
    """Parameters without zeros in them, so that biases and tables all speak."""
    rng = np.random.default_rng(seed)  # NumPy's, as JAX's would be compiled for every shape
    return jax.tree.map(
        lambda leaf: jax.device_put(
            (np.asarray(leaf) + scale * rng.normal(size=leaf.shape)).astype(leaf.dtype)
        ),
        params,
    )


def same(a: Any, b: Any) -> bool:
    """Whether two trees hold the same numbers, NaN being the same as NaN."""

    def plain(leaf: Any) -> np.ndarray:
        leaf = jnp.asarray(leaf)
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        for x, y in ((plain(x), plain(y)) for x, y in pairs)
    )
