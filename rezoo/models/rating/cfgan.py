"""CFGAN: a network writes down what a user would buy, another tells it from what they bought.

Chae, Kang, Kim, Lee: CFGAN: A generic collaborative filtering framework based on generative
adversarial networks, CIKM 2018, https://doi.org/10.1145/3269206.3271743, sections 3.2-3.4.

The generator gives a user's whole purchase vector r̂ from the condition c, which is the purchase
vector r; the discriminator sees (r, c) or (r̂ ∘ mask, c). `rezoo.training.alternating` has the objectives,
ZR, PM and ZP, and trains the two in turn.

Differs from the paper: user-based alone (a user is known by `query.history`, so new users need no
training); no noise, as in the paper's experiments.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.bag import XAVIER, Bag, inner_with_rows
from rezoo.nn.embedding import Embed
from rezoo.nn.inner import with_columns
from rezoo.nn.model import Model
from rezoo.types import Query, Sizes


class CFGAN(Model):
    """Score = the generator's logit; σ(score) is r̂. Submodules `generator` and `discriminator`.

    A user without history is given what the generator gives for an input of zeros.
    """

    num_items: int
    generator_widths: Sizes = (400,)
    discriminator_widths: Sizes = (125,)

    def setup(self) -> None:
        self.generator = Generator(self.num_items, self.generator_widths)
        self.discriminator = Discriminator(self.num_items, self.discriminator_widths)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        if self.is_mutable_collection("params"):  # the discriminator's parameters are made here too
            self.judge(query, jnp.zeros((query.user.shape[0], self.num_items), jnp.float32))
        return self.generator(query, item)

    def encode(self, query: Query) -> Float[Array, " B D"]:
        return with_columns(self.generator.hidden(query), 1.0)

    def table(self) -> Float[Array, " N D"]:
        return self.generator.table()

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return self.generator.vectors(item)

    def purchases(self, query: Query) -> Float[Array, " B N"]:
        """r̂, in (0, 1)."""
        return nn.sigmoid(self.encode(query) @ self.table().T)

    def judge(self, query: Query, r: Float[Array, " B N"]) -> Float[Array, " B"]:
        """The logit of r being what the user really bought."""
        return self.discriminator(query, r)


class Generator(nn.Module):
    """Sigmoid layers over the purchase vector, and an output for each item."""

    num_items: int
    widths: Sizes

    def setup(self) -> None:
        self.input = Bag(self.num_items, self.widths[0])
        self.input_bias = self.param("input_bias", nn.initializers.zeros, (self.widths[0],), jnp.float32)
        self.layers = [nn.Dense(width, kernel_init=XAVIER) for width in self.widths[1:]]
        self.output = Embed(self.num_items, self.widths[-1], XAVIER)
        self.output_bias = Embed(self.num_items, 1, nn.initializers.zeros)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner_with_rows(self.hidden(query), self.output, item) + self.output_bias(item)[..., 0]

    def hidden(self, query: Query) -> Float[Array, " B D"]:
        """The last hidden layer."""
        x = self.input(query.history, jnp.ones(query.history.shape, jnp.float32)) + self.input_bias[None]
        for layer in self.layers:
            x = layer(nn.sigmoid(x))
        return nn.sigmoid(x)

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.output.table(), self.output_bias.table())

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.output(item), self.output_bias(item))


class Discriminator(nn.Module):
    """Sigmoid layers over [r ; c], the condition c being the user's purchase vector."""

    num_items: int
    widths: Sizes

    @nn.compact
    def __call__(self, query: Query, r: Float[Array, " B N"]) -> Float[Array, " B"]:
        condition = Bag(self.num_items, self.widths[0], name="condition")
        x = condition(query.history, jnp.ones(query.history.shape, jnp.float32))
        x = nn.sigmoid(x + nn.Dense(self.widths[0], kernel_init=XAVIER, name="purchases")(r))
        for width in self.widths[1:]:
            x = nn.sigmoid(nn.Dense(width, kernel_init=XAVIER)(x))
        return nn.Dense(1, kernel_init=XAVIER, name="logit")(x)[:, 0]
