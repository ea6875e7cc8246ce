"""SessionRanker: the state of any session model as the user's vector in a network for stars or clicks.

    s = encode(history),  r = [s ; profile],  e = the item's columns,  m = ⟨s, v_item⟩
    score = mean + head(r, e, m)

The state is what the session model ranks the next item by, m its own score of the candidate. As one input
of a ranking network it stands where YouTube's ranker has an average of the history (Covington 2016,
https://doi.org/10.1145/2959100.2959190), and PinnerFormer (Pancha 2022, https://arxiv.org/abs/2205.04507) the
output of a transformer that was trained before.

- stars: `mean` is that of the ratings, the loss `losses.squared`.
- clicks: `mean` is 0, so the score is a logit; the loss is `losses.logistic`.

Three ways to train it, with the parameters of the session model in `params["session"]`:

- end to end: `objectives.pointwise`;
- jointly with the next item of the history as second task: `objectives.with_next_item`;
- over a frozen session model: train that first, put its parameters there, and give
  `training.frozen(optimizer, "session")`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.devices.meshes import alike
from rezoo.nn import events
from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.inputs import of_items, of_query
from rezoo.nn.mlp import PairMLP
from rezoo.nn.model import Model
from rezoo.types import Query


class Network(nn.Module):
    """wᵀ MLP([r ; e ; p ∘ q ; m]) + b, with p = P r and q = Q e: a network over both and their product."""

    dim: int
    widths: Sequence[int] = (64, 32)
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, row: Float[Array, " B R"], each: Float[Array, " B *C E"], match: Float[Array, " B *C"]
    ) -> Float[Array, " B *C"]:
        p = nn.Dense(self.dim, name="row")(row)
        p = p.reshape(p.shape[0], *(1,) * (each.ndim - 2), self.dim)
        product = p * nn.Dense(self.dim, name="each")(each)
        each = jnp.concatenate(alike([each, product, match[..., None]]), axis=-1)
        hidden = PairMLP(self.widths, self.dropout, name="mlp")(row, each)
        return nn.Dense(1, name="output")(hidden).squeeze(-1)


class Factors(nn.Module):
    """⟨P r, Q e⟩ + aᵀ r + bᵀ e + c m: a factorization, whose user is r and whose item is e."""

    dim: int

    @nn.compact
    def __call__(
        self, row: Float[Array, " B R"], each: Float[Array, " B *C E"], match: Float[Array, " B *C"]
    ) -> Float[Array, " B *C"]:
        user, item = nn.Dense(self.dim + 1, name="row")(row), nn.Dense(self.dim + 1, name="each")(each)
        weight = self.param("match", nn.initializers.zeros, (), jnp.float32)
        row = with_columns(user, 1.0)  # [p a 1] · [q 1 b]
        each = jnp.concatenate(alike([item[..., :-1], jnp.ones_like(item[..., :1]), item[..., -1:]]), axis=-1)
        return inner(row, each) + weight * match


Encoder = Annotated[Callable[[], nn.Module], "rezoo.models.session"]
"""Makes a session model, such as `functools.partial(GRU4Rec, num_items, 32)`; a model is saved with one of
`rezoo.models.session`."""


def made(encoder: Encoder, num_items: int | None) -> nn.Module:
    """The session model that a module is made around, of a catalogue of `num_items` rows if that is given.

    Raises:
      ValueError: if it is a model already, it has no `encode` or no `vectors`, or another catalogue.
    """
    if isinstance(encoder, nn.Module):
        name = type(encoder).__name__
        raise ValueError(f"encoder is a {name}: give what makes one, functools.partial({name}, …)")
    session: Any = encoder()
    if missing := [method for method in ("encode", "vectors") if not hasattr(session, method)]:
        raise ValueError(f"encoder makes a {type(session).__name__}, which has no `{missing[0]}`")
    if num_items is not None and session.num_items != num_items:
        raise ValueError(f"the encoder has {session.num_items} items, the model {num_items}: make them alike")
    return session


class SessionRanker(Model):
    """Score = mean + head([state of the history ; user's columns], item's columns, encoder's own score).

    Reads `query.history`, all of `query.features`, the item columns in `catalogue`, and the user and the
    item if `sizes` has a table for them. The encoder reads what it does elsewhere, of the same query and
    catalogue; columns of events (`event_features`) are read by it alone. An empty history has the state
    that the encoder gives it.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `item` included."""
    encoder: Encoder | None
    """Of the history. Any model with `encode` and `vectors`; None leaves the history out, for comparison."""
    dim: int = 16
    """Width of the columns' vectors, and of the product of user and item."""
    _: KW_ONLY
    head: Annotated[Callable[..., nn.Module], Network, Factors] = Network
    """`Network` or `Factors`: makes a module `(r [B R], e [B *C E], m [B *C]) -> [B *C]` of `dim`."""
    mean: float = 0.0
    """Of the labels, for stars; 0 for clicks."""

    def setup(self) -> None:
        self.columns = FieldEmbed(self.sizes, self.dim)
        self.items = FieldEmbed(self.sizes, self.dim)
        self.decoder = self.head(self.dim)
        if self.encoder is not None:
            self.session = made(self.encoder, self.sizes.get("item"))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        """Stars, or the logit of a click.

        Raises:
          ValueError: if there is neither an encoder nor a column of the user.
        """
        of_events = () if self.encoder is None else events.names(self.session)
        own = {name: column for name, column in query.features.items() if name not in of_events}
        row = of_query(self.columns, query._replace(features=own))
        each = of_items(self.items, item, catalogue_of(self))
        match = jnp.zeros(item.shape, each.dtype)
        if self.encoder is not None:
            state = self.session.encode(query)
            row, match = [state, *row], inner(state, self.session.vectors(item))
        if not row:
            raise ValueError(
                "nothing is known of who asks: give encoder=, features of the query, or sizes['user']"
            )
        return self.mean + self.decoder(jnp.concatenate(alike(row), axis=-1), each, match)
