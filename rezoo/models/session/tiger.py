"""TIGER: the next item is written digit by digit, after a history that is read by digits.

Rajput et al.: Recommender Systems with Generative Retrieval, NeurIPS 2023, https://arxiv.org/abs/2305.05065,
section 3.2, over the codes c of items by `data.semantic_ids`:

    v_i = Σ_l E_l[c_il],    h = LN(block(… block(√D v + p)))
    ln P(i | h_t) = Σ_l ln softmax(W_l g_l + b_l)[c_il]
    g = LN(block(… block([h_t ; E_1[c_i1] ; … ; E_{D-1}[c_i,D-1]] + q)))

with causal blocks over the events, and others over the digits so far. There is no vector of an item's id: all
that is known of an item is its row of the collection `catalogue`, so an item that came after training is
scored, and written, by the digits of its content.

The score of an item is its log-probability, not an inner product: there is no `encode`, `table` or
`prefixes`, and scoring a catalogue of N items takes N times D digits for each question.
`evaluation.recommend_by_beam` writes the best ones in a few steps. It is trained by
`objectives.next_item_likelihood`.

On Amazon Beauty, with attributes for content, it finds little more than half as much as SASRec with a sixth
of its parameters. New items are hardly ever in its lists of all items; among each other they are ranked far
better than by chance, and not as well as by SASRec with `item_features`
(`experiments/generative_retrieval.py`).

Differs from the paper: an event is one place of the history, the sum of its digits, where the paper's encoder
has a place for each digit; the digits of the next item look at the state after the last event, where its
decoder looks at all places; blocks are `nn.attention.LiGR`, where it has those of T5; there is no token of
the user.
"""

from dataclasses import KW_ONLY

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.devices.meshes import alike
from rezoo.nn import masks, sequence
from rezoo.nn.attention import LiGR
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import NORMAL, Embed
from rezoo.nn.features import catalogue_of, item_columns, repeat_for_items
from rezoo.nn.model import Model
from rezoo.types import Parts, Query, Sizes


class TIGER(Model):
    """Score = ln P(i | history), the sum over the digits of i; reads the column `code` of the catalogue.

    >>> from rezoo.data.batches import queries
    >>> model, catalogue = TIGER((2, 2), dim=4), {"code": jnp.array([[0, 0], [1, 1], [1, 2], [2, 1]])}
    >>> query, item = queries(history=[[1, 3]]), jnp.array([[1, 2, 3]])
    >>> def first(key):
    ...     given = {"catalogue": catalogue}
    ...     return model.apply(given, query, item, rngs={"params": key}, mutable=["params"])
    >>> jax.jit(first)(jax.random.key(0))[0].shape
    (1, 3)
    """

    digits: Sizes
    """The largest digit of each level, as `semantic_ids.fit` and `room` of `catalogue` have them."""
    dim: int = 64
    _: KW_ONLY
    num_blocks: Parts = 2
    """Over the events of the history."""
    num_digit_blocks: Parts = 1
    """Over the digits of the item that is written."""
    num_heads: int = 2
    max_length: int = 20
    """Positions that have a vector of their own; later events share the last one."""
    dropout: float = 0.0

    def setup(self) -> None:
        self.digit = [Embed(size + 1, self.dim) for size in self.digits]
        self.position = Embed(self.max_length, self.dim)
        self.blocks = [LiGR(self.num_heads, self.dropout, 2) for _ in range(self.num_blocks)]
        self.norm = nn.LayerNorm()
        self.level = self.param("level", NORMAL, (len(self.digits), self.dim), jnp.float32)
        self.digit_blocks = [LiGR(self.num_heads, self.dropout, 2) for _ in range(self.num_digit_blocks)]
        self.digit_norm = nn.LayerNorm()
        self.logits = [nn.Dense(size + 1) for size in self.digits]
        self.drop = Dropout(self.dropout)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return self._log_probability(repeat_for_items(self.after(query), item), self.code(item))

    def likelihoods(self, query: Query, item: Int[Array, " B L"]) -> Float[Array, " B L"]:
        """The log-probability of the item that followed each event, in one pass."""
        return self._log_probability(self._states(query), self.code(item))

    def after(self, query: Query) -> Float[Array, " B D"]:
        """The state after the last event, with which an item begins; zeros for an empty history."""
        return sequence.at_last(self._states(query), query.history).squeeze(1)

    def next_digit(self, state: Float[Array, " B D"], before: Int[Array, " B K l"]) -> Float[Array, " B K S"]:
        """The log-probability of each digit, from 0, after the digits that K items of a query begin with."""
        hidden = self._written(repeat_for_items(state, before[:, :, :1].sum(-1)), before)
        return jax.nn.log_softmax(self.logits[before.shape[2]](hidden[:, :, -1]))

    def code(self, item: Int[Array, " *S"]) -> Int[Array, " *S levels"]:
        """The digits of each item; 0 for the unknown.

        Raises:
          ValueError: if the catalogue has no column `code`, or one of another number of digits.
        """
        column = catalogue_of(self).get("code")
        if column is None or column.shape[1:] != (len(self.digits),):
            found = "there is none" if column is None else f"it has the shape {list(column.shape)}"
            raise ValueError(
                f"TIGER reads the column `code` of the catalogue, [N {len(self.digits)}], and {found}: give "
                'constants={"catalogue": semantic_ids.catalogue(…)} to init_state'
            )
        return item_columns(item, {"code": column})["code"]

    def _states(self, query: Query) -> Float[Array, " B L D"]:
        segment, code = sequence.segments(query), self.code(query.history)
        x = sum(digit(code[..., level]) for level, digit in enumerate(self.digit)) * self.dim**0.5
        x = x + self.position(jnp.minimum(sequence.positions(segment), self.max_length - 1))
        x, mask = self.drop(x), masks.past(segment, packed=sequence.SEGMENT in query.features)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

    def _written(self, state: Float[Array, " *S D"], before: Int[Array, " *S l"]) -> Float[Array, " *S m D"]:
        """G after the state, and after each digit."""
        places = [state]
        places += [self.digit[level](before[..., level]) * self.dim**0.5 for level in range(before.shape[-1])]
        x = jnp.stack(alike(places), axis=-2)
        x = x + self.level[: len(places)].reshape(*(1,) * (x.ndim - 2), len(places), self.dim)
        rows = self.drop(x.reshape(-1, *x.shape[-2:]))
        mask = masks.past(jnp.ones_like(rows[..., 0], jnp.int32), packed=False)
        for block in self.digit_blocks:
            rows = block(rows, mask)
        return self.digit_norm(rows).reshape(x.shape)

    def _log_probability(
        self, state: Float[Array, " *S D"], code: Int[Array, " *S levels"]
    ) -> Float[Array, " *S"]:
        hidden, total = self._written(state, code[..., :-1]), jnp.zeros_like(state[..., 0], jnp.float32)
        for level, logits in enumerate(self.logits):
            share = jax.nn.log_softmax(logits(hidden[..., level, :]).astype(jnp.float32))
            digit = jnp.minimum(code[..., level], self.digits[level])
            told = jnp.take_along_axis(share, digit[..., None], axis=-1).squeeze(-1)
            total = total + jnp.where(code[..., level] > self.digits[level], -jnp.inf, told)
        return total
