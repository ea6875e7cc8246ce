"""Parts of a model that stay as they are."""

from typing import Any

import optax


def frozen(optimizer: optax.GradientTransformation, *parts: str) -> optax.GradientTransformation:
    """The optimizer, which leaves the parameters of some parts of the model as they are.

    Args:
      optimizer: of all others.
      parts: names at the top of `params`, such as `session` of a `SessionRanker`.

    Raises:
      ValueError: of `init`, if the model has no such part.

    >>> import jax.numpy as jnp
    >>> params = {"session": {"w": jnp.ones(1)}, "head": {"w": jnp.ones(1)}}
    >>> optimizer = frozen(optax.sgd(0.5), "session")
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> updates["session"]["w"].tolist(), updates["head"]["w"].tolist()
    ([0.0], [-0.5])
    """

    def labels(params: Any) -> Any:
        if unknown := sorted(set(parts) - set(params)):
            raise ValueError(
                f"no part {unknown[0]!r} to freeze: the parameters have {', '.join(sorted(params))}"
            )
        return {name: "frozen" if name in parts else "trained" for name in params}

    return optax.multi_transform({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)
