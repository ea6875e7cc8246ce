"""AITM: tasks that are steps one after the other, each of which hands on what it knows to the next.

Xi, Chen, Yan, Zhang, Zhu, Zhuang, Chen: Modeling the Sequential Dependence among Audience Multi-step
Conversions with Multi-task Learning in Targeted Advertising, KDD 2021, https://arxiv.org/abs/2105.08489,
equations 1-6. With q_t = f_t(x) the tower of step t, z_1 = q_1, and p_t = g_t(z_t) what a step hands on:

    z_t = Σ_u w(u) h₁(u),  u of {p_{t-1}, q_t};    w = softmax(⟨h₂(u), h₃(u)⟩ / √H)
    y_t = W_t z_t + b_t

A step is seldom taken without the one before: `objectives.in_order` adds the paper's penalty (equation 8) for
probabilities that rise from one step to the next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.arrays import softmax
from rezoo.nn.features import catalogue_of
from rezoo.nn.inputs import Inputs
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Names, Query


class AITM(Model):
    """A logit for each step of `task_names`, such as `click` and `purchase`; reads what SharedBottom does.

    The model's score is that of the last step.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table."""
    task_names: Names
    """The steps, in the order in which they are taken."""
    dim: int = 8
    widths: Sequence[int] = (64, 32)
    """Layers of each step's tower; the last is H wide."""
    _: KW_ONLY
    dropout: float = 0.0

    @nn.compact
    def tasks(self, query: Query, item: Int[Array, " B *C"]) -> dict[str, Float[Array, " B *C"]]:
        x = Inputs(self.sizes, self.dim, name="inputs")(query, item, catalogue_of(self))
        scores: dict[str, Array] = {}
        state = None
        for task in self.task_names:
            own = MLP(self.widths, dropout=self.dropout, name=f"{task}_tower")(x)
            if state is None:
                state = own
            else:
                handed = MLP(self.widths[-1:], dropout=self.dropout, name=f"{task}_handed")(state)
                state = Transfer(name=f"{task}_transfer")(jnp.stack([handed, own], axis=-2))
            scores[task] = nn.Dense(1, name=f"{task}_output")(state).squeeze(-1)
        return scores

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return self.tasks(query, item)[self.task_names[-1]]


class Transfer(nn.Module):
    """Attention of the vectors that meet at a step, over one another: `[*B U H] -> [*B H]`."""

    @nn.compact
    def __call__(self, vectors: Float[Array, " *B U H"]) -> Float[Array, " *B H"]:
        width = vectors.shape[-1]
        value, key, query = (nn.Dense(width, name=name)(vectors) for name in ("value", "key", "query"))
        weight = softmax((key * query).sum(-1) / width**0.5)
        return jnp.einsum("...u,...uh->...h", weight, value)
