"""NeuMF: neural matrix factorization.

He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering, WWW 2017,
https://arxiv.org/abs/1708.05031, equations 8-13.

Differs from the paper: scores are logits (the loss applies σ); weights start from normal(0.05)
for embeddings and Lecun's scheme for dense layers instead of normal(0.01) throughout, which
lets it learn without pre-training.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.models.rating import gmf, mlp
from rezoo.nn.embedding import Embed
from rezoo.nn.model import Model
from rezoo.types import Query, Sizes


class NeuMF(Model):
    """Score = hᵀ [p_G ∘ q_G ; MLP([p_M ; q_M])] + b, the GMF part beside the MLP part."""

    num_users: int
    num_items: int
    dim: int = 16
    """Width of the GMF embeddings."""
    widths: Sizes = (32, 16, 8)
    """Layers of the MLP, whose embeddings are half as wide as its first layer each."""
    _: KW_ONLY
    dropout: float = 0.0

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        user = Embed(self.num_users, self.dim, name="gmf_user")
        product = gmf.product(user, Embed(self.num_items, self.dim, name="gmf_item"), query, item)
        hidden = mlp.hidden(self.num_users, self.num_items, self.widths, self.dropout, query, item)
        return nn.Dense(1, name="output")(jnp.concatenate([product, hidden], axis=-1)).squeeze(-1)


def pretrained(
    gmf_params: Mapping[str, Any], mlp_params: Mapping[str, Any], alpha: float | Array = 0.5
) -> dict[str, Any]:
    """NeuMF's parameters from those of a trained `GMF` and `MLP`: equation 13, h = [α h_G ; (1 - α) h_M].

    Its score is then α times the GMF's plus 1 - α times the MLP's.
    """
    output, other = gmf_params["output"], mlp_params["output"]
    kernel = jnp.concatenate([alpha * output["kernel"], (1 - alpha) * other["kernel"]])
    bias = alpha * output["bias"] + (1 - alpha) * other["bias"]
    return {**mlp_params, **gmf_params, "output": {"kernel": kernel, "bias": bias}}
