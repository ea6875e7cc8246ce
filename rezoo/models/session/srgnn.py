"""SR-GNN: a gated network over the graph of a session, read out by attention to its last click.

Wu, Tang, Zhu, Wang, Xie, Tan: Session-based Recommendation with Graph Neural Networks, AAAI 2019,
https://arxiv.org/abs/1811.00855. The nodes of a session are its different items, an edge goes from each click
to the next; A_in and A_out are the shares of a node's incoming and outgoing edges (equations 1 to 8):

    [a_z ; a_r ; a_o] = W [A_in,i V H_in ; A_out,i V H_out] + b,  [u_z ; u_r ; u_o] = U v_i + b_u
    z = σ(a_z + u_z),  r = σ(a_r + u_r),  v_i' = (1 - z) ∘ v_i + z ∘ tanh(a_o + r ∘ u_o)
    s_g = Σ_j α_j v_j,  α_j = qᵀ σ(W₁ v_t + W₂ v_j + c),  score = <W₃ [v_t ; s_g], x_i>

Sums over j go over the clicks of the session, the last of them at t.

As in the authors' code, https://github.com/CRIPAC-DIG/SR-GNN, r stands behind the product with U, in the
paper before it, and the network runs over the graph once, which is `num_steps=1`. Differs from the code: an
edge weighs as often as it was walked, as the paper says, there once; every prefix of a session is trained in
one pass, each with the graph of its own. The user's features are one more v_j without edges, which takes the
place of the last click in an empty session. With features of events each click has a v of its own, beside the
edges of its item.

Training B rows of L events needs memory in proportion to B L³ and B L² times the width: for sessions, not
for long histories.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo.nn import items, sequence
from rezoo.nn.dropout import Dropout
from rezoo.nn.events import NO_EVENT_FEATURES, EventFeature, EventFeatures
from rezoo.nn.inner import inner
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile, of_last
from rezoo.nn.similarity import DOT, Similarity
from rezoo.types import Parts, Query


class SRGNN(Model):
    """Score = <W₃ [v_t ; s_g], x_i>: the last click, and what it finds in the graph of the session."""

    num_items: int
    dim: int = 100
    _: KW_ONLY
    num_steps: Parts = 1
    """How often a node reads its neighbours."""
    dropout: float = 0.0
    """Of the item embeddings."""
    similarity: Similarity = DOT
    user_features: Mapping[str, int | None] = NO_FEATURES
    """As in `nn.profile.Profile`."""
    event_features: Mapping[str, EventFeature] = NO_EVENT_FEATURES
    """As in `nn.events.EventFeatures`."""
    item_features: Mapping[str, int | None] = NO_FEATURES
    id_dropout: float | Array = 0.5
    """Both as in `nn.items`."""

    def setup(self) -> None:
        self.item = items.table(self.num_items, self.dim, self.item_features, self.id_dropout)
        self.incoming, self.outgoing = (nn.Dense(self.dim, use_bias=False) for _ in range(2))
        self.of_incoming, self.of_outgoing = (nn.Dense(3 * self.dim, use_bias=False) for _ in range(2))
        self.bias = self.param("bias", nn.initializers.zeros, (3 * self.dim,), jnp.float32)
        self.of_node = nn.Dense(3 * self.dim)
        self.of_last = nn.Dense(self.dim, use_bias=False)
        self.of_memory = nn.Dense(self.dim)
        self.weight = nn.Dense(1, use_bias=False)
        self.combine = nn.Dense(self.dim, use_bias=False)
        self.event = EventFeatures(self.event_features, self.dim)
        self.drop = Dropout(self.dropout)
        if self.user_features:
            self.profile = Profile(self.user_features, self.dim)

    def nodes(self, query: Query, mask: Bool[Array, " B Q L"]) -> Float[Array, " B Q L D"]:
        """The v of the node of every click, in the graph of the clicks that each mask allows."""
        # What neighbours say is multiplied by W before it is summed: once for a click, not for each graph.
        v = self.similarity.item(items.vectors(self, self.item, query.history))
        v = self.drop(self.event(v, query))[:, None]
        before, after = edges(query.history, mask)
        for _ in range(self.num_steps):
            a = _messages(before, self.of_incoming(self.incoming(v)))
            a += _messages(after, self.of_outgoing(self.outgoing(v)))
            a_z, a_r, a_o = jnp.split(a + self.bias[None, None, None], 3, axis=-1)
            u_z, u_r, u_o = jnp.split(self.of_node(v), 3, axis=-1)
            z, r = nn.sigmoid(a_z + u_z), nn.sigmoid(a_r + u_r)
            v = (1 - z) * v + z * jnp.tanh(a_o + r * u_o)
        return v

    def read(
        self, last: Float[Array, " B Q D"], memory: Float[Array, " B Q M D"], mask: Bool[Array, " B Q M"]
    ) -> Float[Array, " B Q D"]:
        """W₃ [v_t ; s_g] for each of the last clicks, remembering what the mask allows."""
        alpha = self.weight(nn.sigmoid(self.of_last(last)[:, :, None] + self.of_memory(memory)))[..., 0]
        whole = jnp.einsum("bqm,bqmd->bqd", jnp.where(mask, alpha, 0.0), memory)
        state = self.combine(jnp.concatenate([last, whole], axis=-1))
        return self.similarity.state(jnp.where(mask.any(axis=-1, keepdims=True), state, 0.0))

    def prefixes(self, query: Query) -> Float[Array, " B L D"]:
        """W₃ [v_t ; s_g] after every event."""
        mask = sequence.past(sequence.segments(query))
        nodes = self.nodes(query, mask)
        last = jnp.einsum("btjd,tj->btd", nodes, jnp.eye(nodes.shape[1], dtype=nodes.dtype))
        if self.user_features:
            nodes, mask = with_user(nodes, mask, *self.profile(query))
        return self.read(last, nodes, mask)

    def encode(self, query: Query) -> Float[Array, " B D"]:
        """W₃ [v_t ; s_g] after the last event; of an empty session by its user alone, or zeros."""
        mask = sequence.last_session(query)[:, None]
        nodes = self.nodes(query, mask)
        last = sequence.at_last(nodes[:, 0], query.history)
        if self.user_features:
            user, known = of_last(*self.profile(query), query)
            last = sequence.at_last(nodes[:, 0], query.history, user[:, 0])
            nodes, mask = with_user(nodes, mask, user, known)
        return self.read(last, nodes, mask).squeeze(1)

    def table(self) -> Float[Array, " N D"]:
        """Item vectors."""
        return self.similarity.item(items.all_vectors(self, self.item))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return self.similarity.item(items.vectors(self, self.item, item))


def edges(
    history: Int[Array, " B L"], mask: Bool[Array, " B Q L"]
) -> tuple[Float[Array, " B Q L L"], Float[Array, " B Q L L"]]:
    """Rows of A_in and A_out for the node of every click, in the graph of the clicks that each mask allows.

    `[b, q, i, j]` is the share of click j among those just before the clicks on item i, or just after them.

    >>> history = jnp.array([[4, 7, 4, 5]])
    >>> before, after = edges(history, jnp.ones((1, 1, 4), bool))
    >>> before[0, 0].tolist()  # before item 4 stands the click on 7, before 5 the second one on 4
    [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    >>> after[0, 0].tolist()
    [[0.0, 0.5, 0.0, 0.5], [0.0, 0.0, 1.0, 0.0], [0.0, 0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]]
    """
    same = history[:, :, None] == history[:, None, :]
    following = jnp.pad(same, ((0, 0), (0, 0), (0, 1)))[:, :, 1:]
    preceding = jnp.pad(same, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
    has_next = jnp.pad(mask, ((0, 0), (0, 0), (0, 1)))[:, :, 1:] & mask
    has_previous = jnp.pad(mask, ((0, 0), (0, 0), (1, 0)))[:, :, :-1] & mask
    return _shares(following, has_next), _shares(preceding, has_previous)


def _shares(edge: Bool[Array, " B L L"], real: Bool[Array, " B Q L"]) -> Float[Array, " B Q L L"]:
    weight = (edge[:, None] & real[:, :, None]).astype(jnp.float32)
    return weight / jnp.maximum(weight.sum(axis=-1, keepdims=True), 1.0)


def _messages(share: Float[Array, " B Q L L"], said: Float[Array, " B G L D"]) -> Float[Array, " B Q L D"]:
    """What each node hears; what is said is the same in all graphs (G = 1), or another in each (G = Q)."""
    share = share.astype(said.dtype)
    if said.shape[1] == 1:
        return jnp.einsum("bqij,bjd->bqid", share, said[:, 0])
    return jnp.einsum("bqij,bqjd->bqid", share, said)


def with_user(
    nodes: Float[Array, " B Q L D"],
    mask: Bool[Array, " B Q L"],
    user: Float[Array, " B S D"],
    known: Bool[Array, " B S"],
) -> tuple[Float[Array, " B Q M D"], Bool[Array, " B Q M"]]:
    """The nodes, and the user as one more behind them; S is Q, or 1."""
    user = jnp.broadcast_to(user, (*nodes.shape[:2], user.shape[2]))[:, :, None]
    known = jnp.broadcast_to(known, nodes.shape[:2])[..., None]
    return jnp.concatenate([nodes, user], axis=2), jnp.concatenate([mask, known], axis=2)
