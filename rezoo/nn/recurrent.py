"""Recurrent layers over padded histories: the state after every event, in one pass.

A cell's projection of its inputs does not depend on the state, so it is one matrix product for
all events; only what needs the state is left inside the scan. Where `first` is given and true, the
event is a session's first and its state before is zero, so that a row may hold several sessions, or
has the output `begin`, which is given for every event or once for all.
"""

from collections.abc import Callable
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rezoo.devices.backend import pick
from rezoo.devices.meshes import along, matmul

KERNEL = nn.initializers.glorot_uniform()
RECURRENT = nn.initializers.orthogonal()
UNROLL = 10
"""Events in a turn of the loop, on an accelerator."""


def hard_sigmoid(x: Float[Array, " *S"]) -> Float[Array, " *S"]:
    """Theano's: x / 5 + ½, between 0 and 1. Flax's own has the slope 1/6.

    >>> hard_sigmoid(jnp.array([-3.0, 0.0, 1.0, 3.0])).round(4).tolist()
    [0.0, 0.5, 0.699999988079071, 1.0]
    """
    return jnp.clip(0.2 * x + 0.5, 0.0, 1.0)


Gate = Annotated[Callable[[Array], Array], nn.sigmoid, hard_sigmoid]
"""σ of a recurrent cell."""


class GRU(nn.Module):
    """Gated recurrent unit as Hidasi 2016 has it, https://arxiv.org/abs/1511.06939, equations 1-4.

    z = σ(W_z x + U_z h + b_z),  r = σ(W_r x + U_r h + b_r)
    h' = (1 - z) ∘ h + z ∘ tanh(W x + U (r ∘ h) + b)

    Here z lets the new state in. Cho 2014, https://arxiv.org/abs/1406.1078, section 2.3, has z ∘ h +
    (1 - z) ∘ …, so its z is this one's 1 - z, which is that of weights with the other sign. PyTorch and
    cuDNN have Cho's z, and r ∘ (U h + b_U) where here stands U (r ∘ h): their weights mean another function.
    """

    features: int
    gate: Gate = nn.sigmoid
    """σ: `nn.sigmoid` or `hard_sigmoid`."""

    def initial(self, size: Any, begin: Float[Array, " B D"] | None = None) -> Array:
        """The state before the first event, `[B D]`: zeros, or `begin`."""
        return jnp.zeros((size, self.features), jnp.float32) if begin is None else begin

    def output(self, carry: Array) -> Float[Array, " B D"]:
        """What a state shows: all of it."""
        return carry

    @nn.compact
    def __call__(
        self,
        x: Float[Array, " B L E"],
        carry: Array,
        first: Bool[Array, " B L"] | None = None,
        begin: Float[Array, " B S D"] | None = None,
    ) -> tuple[Array, Float[Array, " B L D"]]:
        """The last state and the output after each event."""
        d = self.features
        projected = nn.Dense(3 * d, kernel_init=KERNEL, name="input")(x)
        gates = self.param("gates", RECURRENT, (d, 2 * d), jnp.float32)
        candidate = self.param("candidate", RECURRENT, (d, d), jnp.float32)

        def event(h: Array, at: tuple[Array, Array | None, Array | None]) -> tuple[Array, Array]:
            x_gates, reset, begin = at
            h = _kept(h, reset, begin)
            zr = self.gate(x_gates[:, : 2 * d] + matmul(h.astype(x.dtype), gates))
            z, r = jnp.split(zr, 2, axis=-1)
            h = (1 - z) * h + z * jnp.tanh(x_gates[:, 2 * d :] + matmul((r * h).astype(x.dtype), candidate))
            return h, h

        events = projected.swapaxes(0, 1), _by_event(first), _by_event(_repeated(begin, x))
        carry = jax.tree.map(lambda state: along(state, x), carry)
        carry, states = jax.lax.scan(event, carry, events, unroll=pick(cpu=1, accelerator=UNROLL))
        return carry, states.swapaxes(0, 1).astype(x.dtype)


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers 2000).

    i, o = σ(W x + U h + b),  f = σ(W x + U h + b + 1),  g = tanh(W x + U h + b)
    c' = f ∘ c + i ∘ g,  h' = o ∘ tanh(c')

    Each gate has its own W, U and b. The 1 in f is a constant beside b, so that a new cell remembers
    (Jozefowicz 2015, https://proceedings.mlr.press/v37/jozefowicz15.html); it belongs to the bias of
    weights that go to a cell without it, such as PyTorch's.
    """

    features: int

    def initial(self, size: Any, begin: Float[Array, " B D"] | None = None) -> tuple[Array, Array]:
        """The state (h, c) before the first event, each `[B D]`: zeros, or `begin` for h."""
        zeros = jnp.zeros((size, self.features), jnp.float32)
        return zeros if begin is None else begin, zeros

    def output(self, carry: tuple[Array, Array]) -> Float[Array, " B D"]:
        """What a state shows: h."""
        return carry[0]

    @nn.compact
    def __call__(
        self,
        x: Float[Array, " B L E"],
        carry: tuple[Array, Array],
        first: Bool[Array, " B L"] | None = None,
        begin: Float[Array, " B S D"] | None = None,
    ) -> tuple[tuple[Array, Array], Array]:
        """The last state and the output after each event."""
        d = self.features
        projected = nn.Dense(4 * d, kernel_init=KERNEL, name="input")(x)
        recurrent = self.param("recurrent", RECURRENT, (d, 4 * d), jnp.float32)

        def event(carry: tuple[Array, Array], at: tuple[Array, Array | None, Array | None]):
            x, reset, begin = at
            h, c = _kept(carry[0], reset, begin), _kept(carry[1], reset, None)
            i, f, o, g = jnp.split(x + matmul(h.astype(x.dtype), recurrent), 4, axis=-1)
            c = nn.sigmoid(f + 1.0) * c + nn.sigmoid(i) * jnp.tanh(g)
            h = nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        events = projected.swapaxes(0, 1), _by_event(first), _by_event(_repeated(begin, x))
        carry = jax.tree.map(lambda state: along(state, x), carry)
        carry, states = jax.lax.scan(event, carry, events, unroll=pick(cpu=1, accelerator=UNROLL))
        return carry, states.swapaxes(0, 1).astype(x.dtype)


Cell = Annotated[Callable[..., nn.Module], GRU, LSTM]
"""Makes a recurrent layer of so many features; a model is saved with one of these."""


def _by_event(x: Array | None) -> Array | None:
    return None if x is None else x.swapaxes(0, 1)


def _repeated(begin: Array | None, x: Float[Array, " B L E"]) -> Array | None:
    """`begin` for every event."""
    return None if begin is None else jnp.broadcast_to(begin, (*x.shape[:2], begin.shape[2]))


def _kept(state: Float[Array, " B D"], reset: Bool[Array, " B"] | None, begin: Array | None) -> Array:
    """The state, or `begin` (zeros, if there is none) where a session begins."""
    return state if reset is None else jnp.where(reset[:, None], 0.0 if begin is None else begin, state)
