"""What is better one way on a CPU and another way on an accelerator."""

from typing import TypeVar

import jax

T = TypeVar("T")


def pick(*, cpu: T, accelerator: T) -> T:
    """What suits JAX's default backend.

    A CPU wants what stays in its cache; an accelerator few and large kernels, as each has to be launched.
    The values may differ in time and in how sums are rounded, not in what is computed.
    """
    return cpu if jax.default_backend() == "cpu" else accelerator
