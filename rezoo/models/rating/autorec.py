"""AutoRec: a user's or an item's ratings through a bottleneck and out again.

Sedhain, Menon, Sanner, Xie: AutoRec: Autoencoders Meet Collaborative Filtering, WWW 2015,
https://doi.org/10.1145/2740908.2742726, equations 1-3:

    h(r; θ) = f(W · g(V r + μ) + b),    min Σ_r |r - h(r; θ)|²_observed + λ/2 (|W|² + |V|²)

f is the identity and g the sigmoid. What is not observed is 0 in r and does not count in the loss.

Differs from the paper: `mean`, the mean of the training ratings, is added to the output, so that
what nothing was learnt for gets the mean instead of the paper's default of 3. Where the penalty is
`optax.add_decayed_weights` before an optimizer, it goes with the mean over a batch's ratings.
`dropout`, of the ratings that enter and of the hidden units, is not in the paper.
`objectives.l2` is not for these models, which multiply with whole tables.
"""

import math
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import across
from rezoo.devices.meshes import lookup
from rezoo.nn.bag import XAVIER, Bag, inner_with_rows
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import Embed, or_unknown, rows_or_zero
from rezoo.nn.features import catalogue_of, checked_column
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.model import Model
from rezoo.types import Query


class UAutoRec(Model):
    """U-AutoRec: r is a user's ratings, `query.features["history_rating"]` `[B L]` of `query.history`.

    Without that feature every event of the history counts 1 (implicit feedback). A user without
    history has g(μ), and is given what users have on average. Train on user-major batches, in which
    `item` `[B C]` and `label` are the history and its ratings again.
    """

    num_items: int
    dim: int = 500
    _: KW_ONLY
    mean: float | Array = 0.0
    dropout: float = 0.0

    def setup(self) -> None:
        self.drop_rating, self.drop_unit = Dropout(self.dropout), Dropout(self.dropout)
        self.encoder = Bag(self.num_items, self.dim)
        self.encoder_bias = self.param("encoder_bias", nn.initializers.zeros, (self.dim,), jnp.float32)
        self.decoder = Embed(self.num_items, self.dim, XAVIER)
        self.decoder_bias = Embed(self.num_items, 1, nn.initializers.zeros)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        output = inner_with_rows(self.hidden(query), self.decoder, item)
        return self.mean + output + self.decoder_bias(item)[..., 0]

    def encode(self, query: Query) -> Float[Array, " B D"]:
        return with_columns(self.hidden(query), 1.0)

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.decoder.table(), self.mean + self.decoder_bias.table())

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.decoder(item), self.mean + self.decoder_bias(item))

    def hidden(self, query: Query) -> Float[Array, " B D"]:
        """g(V r + μ)."""
        rating = query.features.get("history_rating", jnp.ones(query.history.shape, jnp.float32))
        units = self.encoder(query.history, self.drop_rating(rating)) + self.encoder_bias[None]
        return self.drop_unit(nn.sigmoid(units))


class IAutoRec(Model):
    """I-AutoRec: r is an item's ratings, which are item data: collection `catalogue`, see `ratings_of`.

    It is U-AutoRec of the transposed matrix, and has the same parameters. To train, take
    `UAutoRec(num_users)` on item-major batches (items as `query.user`, who rated them as
    `query.history` and `item`), and give its parameters to this model, which turns them round. It can be
    trained as it is too, like any model, but then every step encodes all the items of its batch.

    An item without ratings has g(μ), and is given what items have on average; items that came after
    training are scored from their ratings by known users. An unknown user is row 0.
    """

    num_users: int
    dim: int = 500
    _: KW_ONLY
    mean: float | Array = 0.0
    dropout: float = 0.0

    def setup(self) -> None:
        self.drop_rating, self.drop_unit = Dropout(self.dropout), Dropout(self.dropout)
        self.encoder = Bag(self.num_users, self.dim)
        self.encoder_bias = self.param("encoder_bias", nn.initializers.zeros, (self.dim,), jnp.float32)
        self.decoder = Embed(self.num_users, self.dim, XAVIER)
        self.decoder_bias = Embed(self.num_users, 1, nn.initializers.zeros)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        raters, _ = self.ratings()
        count = math.prod(item.shape)
        if isinstance(count, int) and count < len(raters):
            hidden = self.hidden(item.ravel()).reshape(*item.shape, -1)
        else:
            known = or_unknown(item, len(raters))
            hidden = lookup(self.hidden(jnp.arange(len(raters))), known)
        state = self.encode(query)
        return inner(state[:, :-1], hidden) + across(state[:, -1], item)

    def encode(self, query: Query) -> Float[Array, " B D"]:
        return with_columns(self.decoder(query.user), self.mean + self.decoder_bias(query.user))

    def table(self) -> Float[Array, " N D"]:
        items = jnp.arange(len(self.ratings()[0]))
        return with_columns(self.hidden(items), 1.0)

    def ratings(self) -> tuple[Int[Array, " N R"], Float[Array, " N R"]]:
        """Who rated each item, and how, of the catalogue.

        Raises:
          ValueError: if the catalogue lacks `rater` or `rating`, or one is of the other type.
        """
        columns = catalogue_of(self)
        return checked_column(columns, "rater", self.num_users), checked_column(columns, "rating", None)

    def hidden(self, item: Int[Array, " R"]) -> Float[Array, " R D"]:
        """g(V r + μ) of each item; an item beyond the catalogue has no ratings."""
        rater, rating = (rows_or_zero(column, item) for column in self.ratings())
        units = self.encoder(rater, self.drop_rating(rating)) + self.encoder_bias[None]
        return self.drop_unit(nn.sigmoid(units))


def ratings_of(
    row: np.ndarray, column: np.ndarray, rating: np.ndarray, num_rows: int
) -> tuple[Int[Array, " R L"], Float[Array, " R L"]]:
    """Each row's columns and their ratings, padded with 0, from parallel columns of ratings.

    For U-AutoRec of (user, item, rating): the `history` and `history_rating` of every user, 0
    included. For I-AutoRec of (item, user, rating): `rater` and `rating` of the catalogue.

    >>> rater, rating = ratings_of(np.array([2, 1, 2]), np.array([5, 6, 7]), np.array([3.0, 4.0, 1.0]), 3)
    >>> rater.tolist(), rating[2].tolist()
    ([[0, 0], [6, 0], [5, 7]], [3.0, 1.0])

    Raises:
      ValueError: if a pair is there twice; its ratings would add up.
    """
    order = np.lexsort((column, row))
    twice = (np.diff(row[order]) == 0) & (np.diff(column[order]) == 0)
    if twice.any():
        one, other = order[np.flatnonzero(twice)[0] :][:2]
        raise ValueError(
            f"row {row[one]} rates column {column[one]} twice, {rating[one]:g} and {rating[other]:g}: keep "
            "one of them, as data.clean.drop_duplicates does"
        )
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=num_rows)
    at = row[order], np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = np.zeros((num_rows, max(counts.max(), 1)), np.int32)
    ratings = np.zeros(columns.shape, np.float32)
    columns[at], ratings[at] = column[order], rating[order]
    return jnp.asarray(columns), jnp.asarray(ratings)
