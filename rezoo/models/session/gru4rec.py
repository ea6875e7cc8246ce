"""GRU4Rec: a recurrent network over the clicks of a session.

Hidasi, Karatzoglou, Baltrunas, Tikk: Session-based Recommendations with Recurrent Neural
Networks, ICLR 2016, https://arxiv.org/abs/1511.06939, section 3.

Differs from the paper: inputs are embedded; every prefix of a padded session is trained at once
instead of session-parallel mini-batches (the gradient is that of the whole session); the loss is
the caller's choice.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn import sequence
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import Embed
from rezoo.nn.features import over
from rezoo.nn.recurrent import GRU
from rezoo.types import Query


class GRU4Rec(nn.Module):
    """Score = <h_t, v_i> + b_i, with h_t the state after the session's last click.

    An empty session has the state 0 and is given each item's bias, its popularity.
    """

    num_items: int
    dim: int = 64
    num_layers: int = 1
    cell: Callable[..., nn.Module] = GRU
    """`nn.recurrent.GRU` or `nn.recurrent.LSTM`."""
    tied: bool = False
    """Whether the input embeddings are the output table too ("constrained embeddings")."""
    dropout: float = 0.0

    def setup(self) -> None:
        self.item = Embed(self.num_items, self.dim)
        self.layers = [self.cell(self.dim) for _ in range(self.num_layers)]
        self.drop = Dropout(self.dropout)
        if not self.tied:
            self.output = Embed(self.num_items, self.dim)
        self.bias = Embed(self.num_items, 1, nn.initializers.zeros)

    def prefixes(self, query: Query) -> Float[Array, " B L E"]:
        """The state after each event, and a 1 for the bias."""
        x = self.drop(self.item(query.history))
        first = sequence.first_events(sequence.segments(query))
        for layer in self.layers:
            _, x = layer(x, layer.initial(x.shape[0]), first)
            x = self.drop(x)
        return jnp.concatenate([x, jnp.ones((*x.shape[:2], 1))], axis=-1)

    def encode(self, query: Query) -> Float[Array, " B E"]:
        """The state after the last event that is not padding."""
        last = sequence.at_last(self.prefixes(query), query.history).squeeze(1)
        return last.at[:, -1].set(1.0)  # an empty session has its bias, too

    def table(self) -> Float[Array, " N E"]:
        """Item vectors, each followed by its bias."""
        items = self.item if self.tied else self.output
        return jnp.concatenate([items.table(), self.bias.table()], axis=-1)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        items = self.item if self.tied else self.output
        vector = jnp.concatenate([items(item), self.bias(item)], axis=-1)
        return (over(self.encode(query), item) * vector).sum(-1)
