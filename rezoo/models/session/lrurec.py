"""LRURec: linear recurrences, trained on all events at once and served at the same cost for every click.

Yue, Wang, He, Zeng, McAuley, Wang: Linear Recurrent Units for Sequential Recommendation, WSDM 2024,
https://arxiv.org/abs/2310.02367, section 4, with the recurrence of Orvieto 2023,
https://arxiv.org/abs/2303.06349, of complex h, twice as wide as x:

    h_t = λ ∘ h_{t-1} + √(1 - |λ|²) ∘ (B x_t + b),  λ = exp(-e^ν + i e^θ)
    y_t = LN(Re(C h_t + c) + x_t),  block(x)_t = LN(W₂ GELU(W₁ y_t + b₁) + b₂ + y_t),  W₁ four times as wide
    score_i = <block(… block(LN(v)))_t, v_i> + b_i

Each |λ| < 1 whatever is learnt. As the recurrence is linear, all of its states can be had by an
associative scan of depth log L; a live session keeps h and the last output.

Differs from the authors' code, https://github.com/yueqirex/LRURec: √(1 - |λ|²) is computed, where theirs is
a parameter that starts there; GELU is its form with tanh; the vector of the user's features is added to
every v.
"""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo.devices.backend import pick
from rezoo.devices.meshes import along
from rezoo.nn import items, sequence
from rezoo.nn.dropout import Dropout
from rezoo.nn.events import NO_EVENT_FEATURES, EventFeature, EventFeatures
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile
from rezoo.types import Parts, Query


class Complex(NamedTuple):
    """A complex array as two real ones, which every device and format has."""

    real: Array
    imag: Array

    def times(self, other: "Complex") -> "Complex":
        """The product, element by element."""
        return Complex(
            self.real * other.real - self.imag * other.imag, self.real * other.imag + self.imag * other.real
        )


class Carry(NamedTuple):
    """A session so far."""

    user: Float[Array, " B D"]
    """The vector of the user's features, or zeros."""
    states: list[Complex]
    """h of each block, `[B 2D]`."""
    output: Float[Array, " B D"]
    """Of the last block; `user` before the first event."""


class LRURec(Model):
    """Score = <x_t, v_i> + b_i, where x_t is the output of the blocks for the events up to t."""

    num_items: int
    dim: int = 64
    _: KW_ONLY
    num_blocks: Parts = 2
    dropout: float = 0.0
    user_features: Mapping[str, int | None] = NO_FEATURES
    """As in `nn.profile.Profile`."""
    event_features: Mapping[str, EventFeature] = NO_EVENT_FEATURES
    """As in `nn.events.EventFeatures`."""
    item_features: Mapping[str, int | None] = NO_FEATURES
    id_dropout: float | Array = 0.5
    """Both as in `nn.items`."""

    def setup(self) -> None:
        self.item = items.table(self.num_items, self.dim, self.item_features, self.id_dropout)
        self.bias = items.table(self.num_items, 1, self.item_features, self.id_dropout, nn.initializers.zeros)
        self.blocks = [Block(self.dim, self.dropout) for _ in range(self.num_blocks)]
        self.event = EventFeatures(self.event_features, self.dim)
        self.norm = nn.LayerNorm()
        self.drop = Dropout(self.dropout)
        if self.user_features:
            self.profile = Profile(self.user_features, self.dim)

    def prefixes(self, query: Query) -> Float[Array, " B L E"]:
        """x_t after each event, and a 1 for the bias."""
        x = self.event(items.vectors(self, self.item, query.history), query)
        if self.user_features:
            x = x + jnp.broadcast_to(self.profile(query)[0], x.shape)
        x, first = self.norm(self.drop(x)), sequence.first_events(sequence.segments(query))
        for block in self.blocks:
            x = block(x, first)
        return with_columns(x, 1.0)

    def encode(self, query: Query) -> Float[Array, " B E"]:
        """The last output x, of an empty session the user's vector or zeros, and a 1 for the bias."""
        empty = self.state(self.begin(query))
        return sequence.at_last(self.prefixes(query), query.history, empty).squeeze(1)

    def begin(self, query: Query) -> Carry:
        """A session before its first event."""
        size = query.user.shape[0]
        user = (
            self.profile(query)[0][:, 0] if self.user_features else jnp.zeros((size, self.dim), jnp.float32)
        )
        zeros = jnp.zeros((size, 2 * self.dim), jnp.float32)
        return Carry(user, [Complex(zeros, zeros) for _ in range(self.num_blocks)], user)

    def step(self, carry: Carry, item: Int[Array, " B"], recent: Query | None = None) -> Carry:
        """The session after one more event."""
        x = self.event(items.vectors(self, self.item, item)[:, None], recent)[:, 0]
        x, states = self.norm(x + carry.user), []
        for block, state in zip(self.blocks, carry.states, strict=True):
            state, x = block.step(state, x)
            states.append(state)
        return Carry(carry.user, states, x)

    def state(self, carry: Carry) -> Float[Array, " B E"]:
        """What `encode` gives, of the events that led to the state."""
        return with_columns(carry.output, 1.0)

    def table(self) -> Float[Array, " N E"]:
        """Item vectors, each followed by its bias."""
        return with_columns(items.all_vectors(self, self.item), items.all_vectors(self, self.bias))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S E"]:
        """The rows of `table()` of some items."""
        return with_columns(*(items.vectors(self, rows, item) for rows in (self.item, self.bias)))


class Block(nn.Module):
    """The module's `block(x)`, for all events at once or by `step` for one more."""

    dim: int
    dropout: float

    def setup(self) -> None:
        width = 2 * self.dim
        self.log_rate = self.param("log_rate", on_ring, (width,), jnp.float32)
        self.log_angle = self.param("log_angle", any_angle, (width,), jnp.float32)
        self.drive, self.read = nn.Dense(2 * width), nn.Dense(self.dim)
        self.feed_in, self.feed_out = nn.Dense(4 * self.dim), nn.Dense(self.dim)
        self.state_norm, self.feed_norm = nn.LayerNorm(), nn.LayerNorm()
        self.drop = Dropout(self.dropout)

    def __call__(self, x: Float[Array, " B L D"], first: Bool[Array, " B L"]) -> Float[Array, " B L D"]:
        decay = self.decay()
        keep = Complex(*(jnp.where(first[..., None], 0.0, part[None, None]) for part in decay))
        return self.output(recurrence(keep, self.driven(x)), x)

    def step(self, state: Complex, x: Float[Array, " B D"]) -> tuple[Complex, Float[Array, " B D"]]:
        """The state and the output after one more event."""
        kept, new = state.times(Complex(*(part[None] for part in self.decay()))), self.driven(x)
        state = Complex(kept.real + new.real, kept.imag + new.imag)
        return state, self.output(state, x)

    def decay(self) -> Complex:
        """λ `[2D]`."""
        size, angle = jnp.exp(-jnp.exp(self.log_rate)), jnp.exp(self.log_angle)
        return Complex(size * jnp.cos(angle), size * jnp.sin(angle))

    def driven(self, x: Float[Array, " *B D"]) -> Complex:
        """√(1 - |λ|²) ∘ (B x + b)."""
        gain = jnp.sqrt(-jnp.expm1(-2 * jnp.exp(self.log_rate))).reshape(*[1] * (x.ndim - 1), -1)
        return Complex(*(part * gain for part in jnp.split(self.drive(x), 2, axis=-1)))

    def output(self, state: Complex, x: Float[Array, " *B D"]) -> Float[Array, " *B D"]:
        """What follows the recurrence; the real part of C h is a product of h's two parts, side by side."""
        read = self.read(jnp.concatenate([state.real, state.imag], axis=-1))
        y = self.state_norm(self.drop(read) + x)
        fed = self.feed_out(self.drop(nn.gelu(self.feed_in(y))))
        return self.feed_norm(self.drop(fed) + y)


def recurrence(keep: Complex, drive: Complex) -> Complex:
    """h_t = keep_t ∘ h_{t-1} + drive_t of all events, `[B L D]`, from h = 0.

    On an accelerator by a scan of few large steps, on a CPU by the loop, whose arrays stay in the cache:
    forward and backward it takes a third of the scan's time, or less.

    >>> one, none = jnp.ones((1, 3, 1)), jnp.zeros((1, 3, 1))
    >>> recurrence(Complex(0.5 * one, none), Complex(one, none)).real.ravel().tolist()
    [1.0, 1.5, 1.75]
    """
    known = isinstance(drive.real.shape[1], int)  # a scan is unrolled, so not of any length, as in an export
    return scanned(keep, drive) if pick(cpu=False, accelerator=known) else looped(keep, drive)


def scanned(keep: Complex, drive: Complex) -> Complex:
    """The recurrence as an associative scan."""
    return jax.lax.associative_scan(_then, (keep, drive), axis=1)[1]


def looped(keep: Complex, drive: Complex) -> Complex:
    """The recurrence, one event after the other."""

    def event(state: Complex, at: tuple[Complex, Complex]) -> tuple[Complex, Complex]:
        _, state = _then((state, state), at)
        return state, state

    zeros = along(jnp.zeros_like(drive.real, shape=(drive.real.shape[0], drive.real.shape[2])), drive.real)
    events = jax.tree.map(lambda part: part.swapaxes(0, 1), (keep, drive))
    _, states = jax.lax.scan(event, Complex(zeros, zeros), events)
    return Complex(*(part.swapaxes(0, 1) for part in states))


def _then(one: tuple[Complex, Complex], two: tuple[Complex, Complex]) -> tuple[Complex, Complex]:
    """(keep, drive) of two spans of events as those of one."""
    carried = two[0].times(one[1])
    return two[0].times(one[0]), Complex(carried.real + two[1].real, carried.imag + two[1].imag)


def on_ring(key: Array, shape: tuple[int, ...], dtype: object) -> Float[Array, " D"]:
    """ν so that |λ|² is uniform between 0.8² and 0.99²."""
    square = jax.random.uniform(key, shape, jnp.float32, 0.8**2, 0.99**2)
    return jnp.log(-0.5 * jnp.log(square))


def any_angle(key: Array, shape: tuple[int, ...], dtype: object) -> Float[Array, " D"]:
    """θ so that the angle e^θ of λ is uniform between 0 and 2π."""
    return jnp.log(jax.random.uniform(key, shape, jnp.float32, 1e-4, 2 * math.pi))
