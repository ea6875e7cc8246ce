"""Networks trained against each other: a step for each part of a model, in turn.

Everything is a `Step` of `rezoo.types`, so `training.epoch` and `training.fit` scan over it, the two
networks alternating inside one `lax.scan`:

    optimizer = parts({"generator": optax.adam(1e-4), "discriminator": optax.adam(1e-4)})
    state = training.init_state(key, model, optimizer, data)
    step = in_turn(
        only("discriminator", discriminator(model, zero_mask(0.7)), optax.adam(1e-4)),
        only("generator", generator(model, zero_mask(0.7), zero_mask(0.7), 0.1), optax.adam(1e-4)),
    )
"""

from collections.abc import Mapping
from typing import Any, cast

import jax
import optax
from jaxtyping import Array

from rezoo.training.step import make_step
from rezoo.types import Aux, Batch, Objective, Scalars, Step, TrainState, Variables


def parts(optimizers: Mapping[str, optax.GradientTransformation]) -> optax.GradientTransformation:
    """An optimizer for each submodule, whose states are kept apart; for `init_state` and `only`.

    Raises:
      ValueError: of `init`, if the model has other submodules.

    >>> import jax.numpy as jnp
    >>> optimizer = parts({"generator": optax.sgd(0.1), "discriminator": optax.adam(0.1)})
    >>> sorted(optimizer.init({"generator": {"w": jnp.zeros(2)}, "discriminator": {"w": jnp.zeros(2)}}))
    ['discriminator', 'generator']
    """

    def init(params: Any) -> dict[str, Any]:
        if set(params) != set(optimizers):
            raise ValueError(
                f"there are optimizers for {', '.join(sorted(optimizers))}, and the model's parts are "
                f"{', '.join(sorted(params))}: give one for each, optax.set_to_zero() where none learns"
            )
        return {name: optimizer.init(params[name]) for name, optimizer in optimizers.items()}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        raise ValueError("the parts of this model are trained in turn: take `only` and `in_turn`")

    return optax.GradientTransformation(init, cast(Any, update))


def only(name: str, objective: Objective, optimizer: optax.GradientTransformation) -> Step:
    """One update of the submodule `name`; the others stay as they are, and so do their optimizers.

    Raises:
      ValueError: of the step, if the model has no such submodule.

    >>> import jax.numpy as jnp
    >>> from rezoo.data.batches import pairs
    >>> objective = lambda variables, key, batch: (variables["params"]["a"]["w"] ** 2, Aux({}, {}))
    >>> optimizer, params = optax.sgd(0.25), {"a": {"w": jnp.array(1.0)}, "b": {"w": jnp.array(1.0)}}
    >>> start = parts({"a": optimizer, "b": optimizer}).init(params)
    >>> state = TrainState(params, {}, start, jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    >>> batch = pairs([0], [1])
    >>> state, metrics = only("a", objective, optimizer)(state, batch)
    >>> {name: float(part["w"]) for name, part in state.params.items()}
    {'a': 0.5, 'b': 1.0}
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        def of_part(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
            whole = {**state.params, name: variables["params"]}
            return objective({**variables, "params": whole}, key, batch)

        if name not in state.params:
            raise ValueError(
                f"there is no part {name!r} to train: there are {', '.join(sorted(state.params))}"
            )
        part = state._replace(params=state.params[name], opt_state=state.opt_state[name])
        part, metrics = make_step(of_part, optimizer)(part, batch)
        params = {**state.params, name: part.params}
        return part._replace(params=params, opt_state={**state.opt_state, name: part.opt_state}), metrics

    return step


def in_turn(*steps: Step) -> Step:
    """All steps on the same batch, one after the other, as one step.

    Raises:
      ValueError: if there is none.

    >>> import jax.numpy as jnp
    >>> from rezoo.data.batches import pairs
    >>> count = lambda name: lambda state, batch: (state._replace(step=state.step + 1), {name: state.step})
    >>> state = TrainState({}, {}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    >>> batch = pairs([0], [1])
    >>> state, metrics = in_turn(count("first"), count("second"))(state, batch)
    >>> int(state.step), int(metrics["first"]), int(metrics["second"])
    (2, 0, 1)
    """
    if not steps:
        raise ValueError("there is no step to take: give one or more")

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        metrics: Scalars = {}
        for one in steps:
            state, told = one(state, batch)
            metrics |= told
        return state, metrics

    return step
