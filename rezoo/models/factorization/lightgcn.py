"""LightGCN: matrix factorization whose vectors are averaged over the graph of who took what.

He, Deng, Wang, Li, Zhang, Wang: LightGCN: simplifying and powering graph convolution network for
recommendation, SIGIR 2020, https://arxiv.org/abs/2002.02126, equations 3 to 5:

    e_u⁽ᵏ⁺¹⁾ = Σ_{i ∈ N_u} e_i⁽ᵏ⁾ / √(|N_u| |N_i|),   e_i⁽ᵏ⁺¹⁾ = Σ_{u ∈ N_i} e_u⁽ᵏ⁾ / √(|N_i| |N_u|)
    score = ⟨e_u, e_i⟩,   e = (e⁽⁰⁾ + … + e⁽ᴷ⁾) / (K + 1)

The graph is the collection `graph`, which `graph` makes of a log: `constants={"graph": graph(…)}` of
`training.init_state`. More users, items and edges need no training: who is not in the tables has e⁽⁰⁾ = 0
and is known by their edges. A call makes all vectors once; `propagated` adds them to the variables, so that
serving does not make them for each question.

The paper's loss is BPR with a penalty of e⁽⁰⁾ of what a batch looks up, in the authors' code ½ λ |e⁽⁰⁾|²:

    objectives.l2(objectives.sampled(model, losses.bpr, sampler, 1), λ / 2)
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import distinct_pairs, finite, ids_of, in_table
from rezoo.devices.meshes import lookup
from rezoo.models.factorization.item_lists import power
from rezoo.nn.embedding import Embed, or_unknown
from rezoo.nn.graph import neighbours, sums
from rezoo.nn.inner import inner
from rezoo.nn.model import Model
from rezoo.nn.similarity import DOT, Similarity
from rezoo.types import Parts, Query, Variables

Sides = tuple[Float[Array, " U D"], Float[Array, " N D"]]
"""A vector for each user, and one for each item."""


class LightGCN(Model):
    """A retriever over the graph of users and items.

    Tables: `user` and `item`. A call makes the vectors of all users and items, once, however many it scores;
    with the collection `propagated` it makes none.
    """

    num_users: int
    num_items: int
    dim: int = 64
    _: KW_ONLY
    num_layers: Parts = 3
    """K."""
    similarity: Similarity = DOT

    def setup(self) -> None:
        init = nn.initializers.normal(0.1)
        self.user = Embed(self.num_users, self.dim, init)
        self.item = Embed(self.num_items, self.dim, init)
        self.sides = self._sides()

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def encode(self, query: Query) -> Float[Array, " B D"]:
        if self.has_rng("dropout"):
            self.user(query.user)  # sows e⁽⁰⁾ of the batch, for a penalty
        users, _ = self.sides
        return lookup(users, or_unknown(query.user, len(users)))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        if self.has_rng("dropout"):
            self.item(item)
        return lookup(self.table(), or_unknown(item, len(self.table())))

    def table(self) -> Float[Array, " N D"]:
        return self.sides[1]

    def _sides(self) -> Sides:
        if self.has_variable("propagated", "user") and not self.has_rng("dropout"):
            users, items = (self.get_variable("propagated", name) for name in ("user", "item"))
            return jnp.asarray(users), jnp.asarray(items)
        if not self.has_variable("graph", "user"):
            raise ValueError(
                'LightGCN reads the collection `graph`: give constants={"graph": lightgcn.graph(user, item, '
                "num_users, num_items)} to init_state"
            )
        graph = {name: self.get_variable("graph", name) for name in ("user", "item")}
        users, items = (_padded(self, name, len(graph[name]["scale"])) for name in ("user", "item"))
        users, items = cast(Sides, mean_of_layers(self.num_layers, graph, users, items))
        return self.similarity.state(users), self.similarity.item(items)


def graph(
    user: Int[Array | np.ndarray, " n"],
    item: Int[Array | np.ndarray, " n"],
    num_users: int,
    num_items: int,
    *,
    user_exponent: float = 0.5,
    item_exponent: float = 0.5,
) -> dict[str, Any]:
    """The collection `graph`, from parallel columns of interactions.

    Pairs that come twice count once, pairs with id 0 not at all.

    Args:
      user: dense ids.
      item: dense ids.
      num_users: of the graph, 0 included: as many as the model has, or more.
      num_items: likewise.
      user_exponent: of the degree that an edge is divided by; ½ in the paper.
      item_exponent: likewise.

    Raises:
      ValueError: if an id is beyond these numbers.

    >>> made = graph(np.array([1, 1, 2]), np.array([3, 1, 1]), 3, 4)
    >>> print(made["item"]["scale"].round(2))  # 1 / √(number of users)
    [0.   0.71 0.   1.  ]
    """
    finite(user_exponent=user_exponent, item_exponent=item_exponent)
    pair = np.stack(ids_of(user=user, item=item)).astype(np.int64)
    pair = pair[:, (pair > 0).all(axis=0)]
    for name, ids, rows in zip(("user", "item"), pair, (num_users, num_items), strict=True):
        in_table(name, ids, rows)
    user, item = distinct_pairs(*pair)
    sides = {
        "user": (user, item, num_users, user_exponent),
        "item": (item, user, num_items, item_exponent),
    }
    return {
        name: {"scale": _scale(node, rows, exponent), "neighbours": neighbours(node, other, rows)}
        for name, (node, other, rows, exponent) in sides.items()
    }


def propagated(model: LightGCN, variables: Variables) -> Variables:
    """The variables with the vectors of all users and items, the collection `propagated`.

    Scoring then looks them up. They are not renewed: make them again of new parameters or of a new graph.
    """
    rest = {name: collection for name, collection in variables.items() if name != "propagated"}
    users, items = jax.jit(lambda rest: model.apply(rest, method=lambda module: module.sides))(rest)
    return {**rest, "propagated": {"user": users, "item": items}}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def mean_of_layers(
    num_layers: int, graph: Mapping[str, Any], users: Float[Array, " U D"], items: Float[Array, " N D"]
) -> Sides:
    """(e⁽⁰⁾ + … + e⁽ᴷ⁾) / (K + 1) of users and items.

    It is a symmetric matrix times e⁽⁰⁾, so its gradient is the same mean of gradients. With A for a layer,
    the sum is e⁽⁰⁾ + A (e⁽⁰⁾ + A (e⁽⁰⁾ + …)), which keeps no layer beside the next.
    """
    of_user, of_item = graph["user"], graph["item"]
    total = users, items
    for _ in range(num_layers):
        total = users + over(of_user, of_item, total[1]), items + over(of_item, of_user, total[0])
    return total[0] / (num_layers + 1), total[1] / (num_layers + 1)


def _forward(num_layers: int, graph: Any, users: Array, items: Array) -> tuple[Sides, Any]:
    return mean_of_layers(num_layers, graph, users, items), graph


def _backward(num_layers: int, graph: Any, gradients: Sides) -> tuple[None, Array, Array]:
    return None, *cast(Sides, mean_of_layers(num_layers, graph, *gradients))


mean_of_layers.defvjp(_forward, _backward)


def over(side: Mapping[str, Any], other: Mapping[str, Any], x: Float[Array, " M D"]) -> Float[Array, " N D"]:
    """Σ_j x_j / √(|N_i| |N_j|) over the neighbours j of each node i of one side; they are of the other.

    With other exponents of `graph`, what these make of |N_i| and |N_j|.
    """
    near, far = (jnp.asarray(one["scale"])[:, None] for one in (side, other))
    return near * sums(side["neighbours"], far * x)


def _scale(node: Int[np.ndarray, " E"], num_nodes: int, exponent: float) -> Float[np.ndarray, " N"]:
    """|N_i|^-exponent, 0 for a node without neighbours."""
    return power(np.bincount(node, minlength=num_nodes), -exponent).astype(np.float32)


def _padded(model: LightGCN, name: str, rows: int) -> Float[Array, " N D"]:
    """A table with zeros for those who are in the graph and not in it."""
    table = getattr(model, name).table()
    if rows < len(table):
        raise ValueError(f"the graph has {rows} {name}s, 0 included, fewer than the model's {len(table)}")
    return jnp.pad(table, ((0, rows - len(table)), (0, 0)))
