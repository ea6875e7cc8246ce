"""AFM: a factorization machine that attends to some pairs of columns more than to others.

Xiao, Ye, He, Zhang, Wu, Chua: Attentional Factorization Machines, IJCAI 2017,
https://arxiv.org/abs/1708.04617, equations 5-6:

    ŷ = w_0 + Σ_f w_f + pᵀ Σ_{f<g} a_fg (v_f ∘ v_g),  a = softmax_fg hᵀ ReLU(W (v_f ∘ v_g) + b)

Differs from the paper: the score is a logit.
"""

import itertools
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo import arrays
from rezoo.nn.dropout import Dropout
from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import Linear, field_names, field_vectors
from rezoo.nn.interaction import pair_products
from rezoo.nn.model import Model
from rezoo.types import Query, Variables


class AFM(Model):
    """Attentional factorization machine. The weights a are sown in `intermediates`; see `attention`."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    _: KW_ONLY
    attention_width: int = 16
    dropout: float = 0.0
    """Of the attended sum."""

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        linear = Linear(self.sizes, name="linear")(query, item, catalogue)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        product = pair_products(v)
        hidden = nn.relu(nn.Dense(self.attention_width, name="attention_layer")(product))
        weight = arrays.softmax(nn.Dense(1, use_bias=False, name="attention_score")(hidden).squeeze(-1))
        self.sow("intermediates", "attention", weight)
        pooled = Dropout(self.dropout)(jnp.einsum("...p,...pd->...d", weight, product))
        return linear + nn.Dense(1, use_bias=False, name="output")(pooled).squeeze(-1)


def attention(
    model: AFM, variables: Variables, query: Query, item: Int[Array, " B *C"]
) -> tuple[list[tuple[str, str]], Float[Array, " B *C P"]]:
    """The P pairs of columns, and how much of the score's sum each makes up: weights that add to 1."""
    sown: Any = model.apply(variables, query, item, mutable=["intermediates"])[1]
    names = field_names(model.sizes, query, variables.get("catalogue", {}))
    return list(itertools.combinations(names, 2)), sown["intermediates"]["attention"][0]
