"""Mult-VAE and Mult-DAE: a user's items through a bottleneck, out as a multinomial over all items.

Liang, Krishnan, Hoffman, Jebara: Variational autoencoders for collaborative filtering, WWW 2018,
https://arxiv.org/abs/1802.05814, equations 1-8 and section 3:

    z_u ~ N(μ(x_u), σ²(x_u)),   π(z) = softmax(f(z)),   log p(x_u | z) = Σ_i x_ui log π_i(z)
    maximise  E_z [log p(x_u | z)] - β KL(q(z | x_u) ‖ N(0, I))

`objectives.every_item(model, losses.softmax_cross_entropy)` is the likelihood, and
`objectives.penalised` adds β times the KL, which Mult-VAE sows while it trains. β grows with the
steps, so the step makes its objective:

    def step(state, batch):
        beta = jnp.minimum(state.step / anneal_steps, 1) * beta_max
        return training.make_step(objectives.penalised(likelihood, beta), optimizer)(state, batch)

Users are known by `query.history` alone, so new users need no training. A user without history is
given what the network gives for an input of zeros: about popularity, and nothing personal.
"""

from dataclasses import KW_ONLY

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.bag import XAVIER, Bag, inner_with_rows
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import Embed, has_row
from rezoo.nn.inner import with_columns
from rezoo.nn.mlp import Activation, linear
from rezoo.nn.model import Model
from rezoo.types import Query


class MultDAE(Model):
    """Mult-DAE: score = W tanh(V x̃ + c) + b, x̃ the history with events dropped at random in training."""

    num_items: int
    dim: int = 200
    _: KW_ONLY
    dropout: float = 0.5

    def setup(self) -> None:
        self.input = Input(self.num_items, self.dim, self.dropout)
        self.output = Embed(self.num_items, self.dim, XAVIER)
        self.output_bias = Embed(self.num_items, 1, nn.initializers.zeros)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner_with_rows(self.input(query), self.output, item) + self.output_bias(item)[..., 0]

    def encode(self, query: Query) -> Float[Array, " B D"]:
        return with_columns(self.input(query), 1.0)

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.output.table(), self.output_bias.table())

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.output(item), self.output_bias(item))


class MultVAE(Model):
    """Mult-VAE: I → hidden → latent → hidden → I. Scoring takes the mean of z, training draws it.

    With `hidden` None it is I → latent → I, each arrow an affine map: for data that is small and sparse.
    While it trains, it sows the KL of each row, `[B]`, as `penalty/kl`.
    """

    num_items: int
    hidden: int | None = 600
    latent: int = 200
    _: KW_ONLY
    dropout: float = 0.5

    def setup(self) -> None:
        if self.hidden is None:
            self.input = Input(self.num_items, 2 * self.latent, self.dropout, linear)
            self.posterior = self.decoder = linear
        else:
            self.input = Input(self.num_items, self.hidden, self.dropout)
            self.posterior = nn.Dense(2 * self.latent, kernel_init=XAVIER)
            self.decoder = nn.Sequential([nn.Dense(self.hidden, kernel_init=XAVIER), nn.tanh])
        self.output = Embed(self.num_items, self.hidden or self.latent, XAVIER)
        self.output_bias = Embed(self.num_items, 1, nn.initializers.zeros)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner_with_rows(self.state(query), self.output, item) + self.output_bias(item)[..., 0]

    def encode(self, query: Query) -> Float[Array, " B D"]:
        return with_columns(self.state(query), 1.0)

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.output.table(), self.output_bias.table())

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.output(item), self.output_bias(item))

    def state(self, query: Query) -> Float[Array, " B D"]:
        """What the output layer is given."""
        mean, log_variance = jnp.split(self.posterior(self.input(query)), 2, axis=1)
        z = mean
        if self.has_rng("dropout"):
            noise = jax.random.normal(self.make_rng("dropout"), mean.shape).astype(mean.dtype)
            z = mean + noise * jnp.exp(log_variance / 2)
            self.sow("penalty", "kl", kl_from_standard_normal(mean, log_variance))
        return self.decoder(z)


class Input(nn.Module):
    """f(V x̃ + c): x is the binary history over its norm, x̃ what is left of it after dropout.

    An event that comes twice counts twice.
    """

    num_items: int
    dim: int
    dropout: float
    activation: Activation = nn.tanh

    @nn.compact
    def __call__(self, query: Query) -> Float[Array, " B D"]:
        real = has_row(query.history, self.num_items).astype(jnp.float32)
        x = real * jax.lax.rsqrt(jnp.maximum(real.sum(axis=1, keepdims=True), 1.0))
        bias = self.param("bias", nn.initializers.zeros, (self.dim,), jnp.float32)
        mapped = Bag(self.num_items, self.dim)(query.history, Dropout(self.dropout)(x))
        return self.activation(mapped + bias[None])


def kl_from_standard_normal(
    mean: Float[Array, " B D"], log_variance: Float[Array, " B D"]
) -> Float[Array, " B"]:
    """KL(N(μ, σ²) ‖ N(0, I)) = ½ Σ_d (σ_d² + μ_d² - 1 - ln σ_d²).

    >>> kl_from_standard_normal(jnp.array([[1.0, 0.0], [0.0, 0.0]]), jnp.zeros((2, 2))).tolist()
    [0.5, 0.0]
    """
    return 0.5 * (jnp.exp(log_variance) + jnp.square(mean) - 1 - log_variance).sum(axis=1)
