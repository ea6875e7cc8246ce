"""YouTube's two networks: one that finds candidates, one that ranks them by what is to be expected.

Covington, Adams, Sargin: Deep Neural Networks for YouTube Recommendations, RecSys 2016,
https://doi.org/10.1145/2959100.2959190.

Candidates (section 3): P(i | u) ∝ exp⟨v_i, u⟩ with u = MLP([mean of the watched ; context]). Train it by
`objectives.sampled(model, losses.softmax_cross_entropy, …)`, and with as many examples of each user; or by
`objectives.next_item_sampled`, where each event is to be found by those before it (figure 5b), in one pass.
The age of an example is a column of `query.features` like any other, which is 0 in serving.

Ranking (section 4): logistic regression in which a positive example weighs what was watched, or
spent, and a negative one 1 (`losses.weighted_logistic`). The odds, e^score, then estimate the
expected amount, as long as positives are few.

Differs from the paper: u is what a linear layer gives, in the paper its last ReLU layer
(`user_activation=nn.relu`); items have a bias (`bias=False` leaves it out). Ids of watched items are not
hashed, and search tokens and geography are whatever columns there are. Numbers are normalised by
`data.features`, and enter with their square and their root.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, field

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.devices.meshes import alike
from rezoo.nn.embedding import Embed
from rezoo.nn.features import FieldEmbed, catalogue_of, pair_columns, repeat_for_items
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.inputs import side_by_side
from rezoo.nn.mlp import MLP, Activation, linear
from rezoo.nn.model import Model
from rezoo.nn.profile import by_place
from rezoo.nn.sequence import SEGMENT, at_last, last_session, mean_of, means, segments
from rezoo.types import Query


class YouTubeDNN(Model):
    """Candidate generation: score = ⟨u, v_item⟩ + b_item, a session model.

    Reads the history and all of `query.features`, columns of users; the user's id is not used, so that a
    new user is served by what they watched.
    """

    num_items: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Rows of each categorical context column's table."""
    dim: int = 64
    widths: Sequence[int] = (128,)
    """Hidden layers; one more, `dim` wide, gives the user vector."""
    _: KW_ONLY
    dropout: float = 0.0
    user_activation: Activation = linear
    """Activation of the user vector: `nn.mlp.linear`, or the paper's `nn.relu`."""
    bias: bool = True
    """Whether an item has a bias, its popularity."""

    def setup(self) -> None:
        self.watched = Embed(self.num_items, self.dim)
        self.context = FieldEmbed(self.sizes, self.dim)
        self.mlp = MLP(self.widths, dropout=self.dropout)
        self.last = nn.Dense(self.dim)
        self.item = Embed(self.num_items, self.dim)
        if self.bias:
            self.item_bias = Embed(self.num_items, 1, nn.initializers.zeros)

    def prefixes(self, query: Query) -> Float[Array, " B L E"]:
        """The user vector after each event."""
        return self._user(means(self.watched(query.history), segments(query)), self._known(query))

    def encode(self, query: Query) -> Float[Array, " B E"]:
        history = jnp.where(last_session(query), query.history, 0)
        known = self._known(query)
        if known.shape[1] != 1:
            known = at_last(known, query.history)
        return self._user(mean_of(self.watched(history), history)[:, None], known).squeeze(1)

    def _known(self, query: Query) -> Float[Array, " B S E"]:
        """The context's vectors end to end."""
        columns = {name: column for name, column in query.features.items() if name != SEGMENT}
        vectors = self.context(by_place(columns, query), 2)
        return side_by_side(vectors) if vectors else jnp.zeros((len(query.history), 1, 0))

    def _user(self, watched: Float[Array, " B L D"], known: Float[Array, " B S F"]) -> Float[Array, " B L E"]:
        known = jnp.broadcast_to(known, (*watched.shape[:2], known.shape[2]))
        x = jnp.concatenate(alike([watched, known]), axis=-1)
        user = self.user_activation(self.last(self.mlp(x)))
        return with_columns(user, 1.0) if self.bias else user

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.item.table(), self.item_bias.table()) if self.bias else self.item.table()

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.item(item), self.item_bias(item)) if self.bias else self.item(item)


class YouTubeRanker(Model):
    """Ranking: score = MLP of the pair's columns and of the mean of the history, a logit.

    Trained by `losses.weighted_logistic`, `jnp.exp(score)` is the expected amount. Reads the user,
    the history, all of `query.features` and the item columns in `catalogue`.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    _: KW_ONLY
    dropout: float = 0.0

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        columns = with_powers(pair_columns(query, item, catalogue_of(self)))
        x = side_by_side(FieldEmbed(self.sizes, self.dim, name="fields")(columns, item.ndim))
        watched = Embed(self.sizes["item"], self.dim, name="watched")(query.history)
        x = jnp.concatenate([x, repeat_for_items(mean_of(watched, query.history), item)], axis=-1)
        x = MLP(self.widths, dropout=self.dropout, name="mlp")(x)
        return nn.Dense(1, name="output")(x).squeeze(-1)


def with_powers(columns: Mapping[str, Array]) -> dict[str, Array]:
    """The columns, and of each number x its square and its root with the sign of x."""
    powers = {}
    for name, x in columns.items():
        if jnp.issubdtype(x.dtype, jnp.floating):
            # The root's slope at 0 is infinite, and a missing number is 0.
            size = jnp.where(x == 0, 1.0, jnp.abs(x))
            powers |= {f"{name}_squared": jnp.square(x), f"{name}_root": jnp.sign(x) * jnp.sqrt(size)}
    return {**columns, **powers}
