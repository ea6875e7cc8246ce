"""RepeatExplore: what of the session comes again, beside what the session model finds elsewhere.

Ren, Chen, Li, Ren, Ma, de Rijke: RepeatNet, A Repeat Aware Neural Recommendation Machine for Session-based
Recommendation, AAAI 2019, https://arxiv.org/abs/1812.02646:

    P(i) = P(repeat) P_r(i) + P(explore) P_e(i),    P_r(i) = Σ_{t: h_t = i} α_t

P_r is attention over the events h_1 … h_n, summed for equal items; P_e is a softmax over the items that do
not stand in the session. Here any session model is the explorer, with its state s and its items' vectors v:

    e_t = ⟨s, v_{h_t}⟩ + wᵀ tanh(A s + U v_{h_t} + p_{n - t} + q_t),    α = softmax(e)
    g = uᵀ tanh(B [s ; Σ_t α_t v_{h_t}])
    score(i) = ⟨s, v_i⟩ where i is not in the session,  ln Σ_{t: h_t = i} exp(e_t + g) where it is

These are the paper's log-probabilities but for a constant of the session: the softmax over all items is P,
with P(repeat) : P(explore) = Σ_t exp(e_t + g) : Σ_{i ∉ h} exp⟨s, v_i⟩. As scores are not normalised over the
catalogue, slates, sampled negatives and a second stage need no sum over all items. An empty session has the
scores of its session model.

Differs from the paper: the explorer is any session model, where the paper's has a second attention over the
states of its GRU; g is weighed against the explorer's own mass instead of a softmax of two modes; events are
told apart by their item's vector and their places from both ends (p, q) instead of the states of the GRU,
which not every session model has; e_t begins with the explorer's own score, and w and u start as zeros, so
that training begins with the explorer's lists (an item that came k times has ln k more); there is no loss of
the mode besides.

Training takes rows of `sessions.prefixes`: the score is no inner product, so one pass does not learn from
every event.

- few items: `objectives.pointwise` with slates of all of them and `losses.softmax_cross_entropy`, which is
  the likelihood of P;
- many: slates of the target, the items of the session and sampled ones, with `losses.sampled_softmax`, whose
  `log_q` is 0 but for those sampled, as in `experiments/repeat_explore.py`. A sample alone rarely has an item
  of the session, so that it says little of the mode.

The session model can be trained before, in one pass over all prefixes: its parameters are
`params["session"]`, and `training.frozen(optimizer, "session")` leaves them as they are. So a head over a
GRU4Rec won .012 in mrr@20 and .003 in recall@20 on Yoochoose 1/64, with one seed
(`experiments/repeat_explore.py`).
"""

from dataclasses import KW_ONLY

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo import arrays
from rezoo.devices.meshes import alike
from rezoo.models.ranking.session_ranker import Encoder, made
from rezoo.nn.embedding import Embed
from rezoo.nn.inner import inner
from rezoo.nn.model import Model
from rezoo.types import Query

ZEROS = nn.initializers.zeros


class RepeatExplore(Model):
    """Score = that of the encoder; of items in the history ln Σ exp(e_t + g) over their events.

    The encoder reads what it does elsewhere, of the same query and catalogue; columns of events
    (`event_features`) are read by it alone.

    >>> from functools import partial
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import GRU4Rec
    >>> model = RepeatExplore(9, partial(GRU4Rec, 9, 4), dim=4)
    >>> query, item = queries(history=[[5, 6, 5]]), jnp.array([[5, 6, 7]])
    >>> jax.jit(model.init_with_output)(jax.random.key(0), query, item)[0].shape
    (1, 3)
    """

    num_items: int
    encoder: Encoder
    """Of the history. Any model with `encode` and `vectors`."""
    dim: int = 32
    """Width of the two hidden layers."""
    _: KW_ONLY
    places: int = 20
    """Places that are told apart, from the session's beginning and from its end; those beyond are one."""

    def setup(self) -> None:
        self.session = made(self.encoder, self.num_items)
        self.of_state, self.of_event = nn.Dense(self.dim), nn.Dense(self.dim, use_bias=False)
        self.from_start, self.from_end = Embed(self.places + 1, self.dim), Embed(self.places + 1, self.dim)
        self.weight = nn.Dense(1, use_bias=False, kernel_init=ZEROS)
        self.of_mode, self.mode = nn.Dense(self.dim), nn.Dense(1, use_bias=False, kernel_init=ZEROS)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        """The logit of each item as the next one."""
        state = self.session.encode(query)
        each, _, mode = self._repeated(query, state)
        explored = inner(state, self.session.vectors(item))
        same = query.history[:, :, None] == query.history[:, None, :]
        total = jax.nn.logsumexp((each + mode)[:, None, :], axis=-1, where=same)
        earlier = jnp.tri(same.shape[1], k=-1, dtype=bool)[None]
        first = (query.history > 0) & ~(same & earlier).any(-1)
        shape = same.shape[0], *(1,) * (item.ndim - 1), same.shape[1]
        here = (query.history.reshape(shape) == item[..., None]) & first.reshape(shape)
        repeated = jnp.where(here, total.reshape(shape), 0.0).sum(-1)
        return jnp.where(here.any(-1), repeated, explored)

    def attention(self, query: Query) -> Float[Array, " B L"]:
        """α, the share of each event in what comes again; 0 for padding."""
        return self._repeated(query, self.session.encode(query))[1]

    def _repeated(self, query: Query, state: Float[Array, " B D"]) -> tuple[Array, Array, Array]:
        """E `[B L]`, α `[B L]` and g `[B 1]`."""
        vectors, real = self.session.vectors(query.history), query.history > 0
        place = jnp.broadcast_to(jnp.arange(real.shape[1])[None], real.shape)
        last = real.sum(axis=1, keepdims=True) - 1
        hidden = self.of_state(state)[:, None] + self.of_event(vectors)
        hidden = hidden + self._place(self.from_start, place) + self._place(self.from_end, last - place)
        each = inner(state, vectors) + self.weight(jnp.tanh(hidden)).squeeze(-1)
        share = arrays.softmax(each, where=real)
        found = jnp.einsum("bl,bld->bd", share, vectors)
        mode = self.mode(jnp.tanh(self.of_mode(jnp.concatenate(alike([state, found]), axis=-1))))
        return each, share, mode

    def _place(self, table: Embed, place: Int[Array, " B L"]) -> Float[Array, " B L D"]:
        return table(1 + jnp.clip(place, 0, self.places - 1))
