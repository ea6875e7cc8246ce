"""SimpleX: a user's vector and their items' vectors, compared with an item by their cosine.

Mao, Zhu, Wang, Dai, Dong, Xiao, He: SimpleX: a simple and strong baseline for collaborative filtering, CIKM
2021, https://arxiv.org/abs/2109.12613, section 4, with the loss `losses.ccl`:

    score = cos(h_u, e_i),   h_u = g e_u + (1 - g) V Σ_{j ∈ R_u} a_j e_j

a is 1 / |R_u|, or the softmax of ⟨q, tanh(W e_j + b)⟩ with q = e_u (user attention) or q learnt (self
attention). With g = 1 it is matrix factorization by cosines, the paper's MF-CCL.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo import arrays
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import Embed, has_row
from rezoo.nn.inner import inner
from rezoo.nn.model import Model
from rezoo.nn.similarity import Similarity, cosine
from rezoo.types import Query

COSINE = cosine(1.0)


class Mean(nn.Module):
    """1 / n for each of n items."""

    def __call__(
        self, user: Float[Array, " B D"], items: Float[Array, " B L D"], real: Bool[Array, " B L"]
    ) -> Float[Array, " B L"]:
        share = real.astype(items.dtype)
        return share / jnp.maximum(share.sum(axis=1, keepdims=True), 1.0)


class UserAttention(nn.Module):
    """softmax_j ⟨e_u, tanh(W e_j + b)⟩; 0 for padding."""

    @nn.compact
    def __call__(
        self, user: Float[Array, " B D"], items: Float[Array, " B L D"], real: Bool[Array, " B L"]
    ) -> Float[Array, " B L"]:
        key = jnp.tanh(nn.Dense(items.shape[-1], name="key")(items))
        return arrays.softmax(jnp.einsum("bd,bld->bl", user, key), where=real)


class SelfAttention(nn.Module):
    """softmax_j ⟨q, tanh(W e_j + b)⟩, the same q for all users; 0 for padding."""

    @nn.compact
    def __call__(
        self, user: Float[Array, " B D"], items: Float[Array, " B L D"], real: Bool[Array, " B L"]
    ) -> Float[Array, " B L"]:
        key = jnp.tanh(nn.Dense(items.shape[-1], name="key")(items))
        return arrays.softmax(nn.Dense(1, use_bias=False, name="query")(key)[..., 0], where=real)


class SimpleX(Model):
    """A retriever by cosine; who came after training is known by their history alone.

    Tables: `user` and `item`; items of the history and those that are scored share their vectors. Without
    a user and a history every score is 0.
    """

    num_users: int
    num_items: int
    dim: int = 64
    _: KW_ONLY
    gamma: float = 0.5
    """g, the user's own share; with 1 the history is not read."""
    weights: Annotated[Callable[..., nn.Module], Mean, UserAttention, SelfAttention] = Mean
    """Makes a, which weighs the history: `Mean`, `UserAttention` or `SelfAttention`."""
    similarity: Similarity = COSINE
    dropout: float = 0.0
    """Of h_u."""

    def setup(self) -> None:
        self.user = Embed(self.num_users, self.dim)
        self.item = Embed(self.num_items, self.dim)
        self.drop = Dropout(self.dropout)
        if self.gamma < 1:
            self.weigh = self.weights()
            self.map = nn.Dense(self.dim, use_bias=False)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def encode(self, query: Query) -> Float[Array, " B D"]:
        h = self.user(query.user)
        if self.gamma < 1:
            items = self.item(query.history)
            a = self.weigh(h, items, has_row(query.history, self.num_items))
            h = self.gamma * h + (1 - self.gamma) * self.map(jnp.einsum("bl,bld->bd", a, items))
        return self.similarity.state(self.drop(h))

    def table(self) -> Float[Array, " N D"]:
        return self.similarity.item(self.item.table())

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return self.similarity.item(self.item(item))
