"""DLRM: inner products of all pairs of columns, the numbers as one column more.

Naumov, Mudigere, Shi et al.: Deep Learning Recommendation Model for Personalization and Recommendation
Systems, 2019, https://arxiv.org/abs/1906.00091:

    z = MLP_bottom(numbers),  ŷ = wᵀ MLP_top([z ; ⟨x_i, x_j⟩ for all i < j]) + b,  x = (v_1, …, v_F, z)

v are the embeddings of the categorical columns. The authors' code, https://github.com/facebookresearch/dlrm,
can lay the vectors end to end instead: `interaction=end_to_end`; without numbers that is `DNN`.

Differs from the paper: the score is a logit. A multi-valued column is the mean of its values, in the code
their sum. Without a numeric column there is no z.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.devices.meshes import alike
from rezoo.nn.features import FieldEmbed, OtherColumns, catalogue_of, pair_columns
from rezoo.nn.inputs import at_least_2, field_names, field_vectors, joined
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Query


def dots(v: Float[Array, " *B F D"], z: Float[Array, " *B K D"]) -> Float[Array, " *B E"]:
    """[z ; ⟨x_i, x_j⟩ for all i < j], x = (v_1, …, v_F, z)."""
    x = jnp.concatenate([v, z], axis=-2)
    fields = at_least_2(x)
    i, j = jnp.triu_indices(fields, k=1)
    gram = jnp.einsum("...id,...jd->...ij", x, x).reshape(*x.shape[:-2], fields * fields)
    return jnp.concatenate([joined(z), gram[..., i * fields + j]], axis=-1)


def end_to_end(v: Float[Array, " *B F D"], z: Float[Array, " *B K D"]) -> Float[Array, " *B E"]:
    """[v_1 ; … ; v_F ; z]."""
    return joined(jnp.concatenate([v, z], axis=-2))


class DLRM(Model):
    """Deep learning recommendation model. The score is a logit."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    """Layers of the top network."""
    _: KW_ONLY
    bottom: Sequence[int] = (64,)
    """Layers of the network over the numeric columns, before its last, which is `dim` wide."""
    interaction: Annotated[Callable[[Array, Array], Array], dots, end_to_end] = dots
    """What the top network is given of the vectors: `dots` or `end_to_end`."""
    dropout: float = 0.0
    batch_norm: bool = False

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        columns = pair_columns(query, item, catalogue)
        names = field_names(self.sizes, query, catalogue)
        numeric = [name for name in names if jnp.issubdtype(columns[name].dtype, jnp.floating)]
        categorical = [name for name in names if name not in numeric]
        embed = FieldEmbed(self.sizes, self.dim, name="factors")
        v = field_vectors(embed, query, item, catalogue, categorical)
        z = v[..., :0, :]
        given = (columns[name] for name in numeric)
        flat = [one.reshape(*item.shape, math.prod(one.shape[item.ndim :])) for one in given]
        self._check_numbers(numeric, sum(one.shape[-1] for one in flat))
        if numeric:
            numbers = jnp.concatenate(alike(flat), axis=-1)
            layers = (*self.bottom, self.dim)
            z = MLP(layers, dropout=self.dropout, batch_norm=self.batch_norm, name="bottom")(numbers)
            z = z[..., None, :]
        mlp = MLP(self.widths, dropout=self.dropout, batch_norm=self.batch_norm, name="mlp")
        return nn.Dense(1, name="output")(mlp(self.interaction(*alike([v, z])))).squeeze(-1)

    def _check_numbers(self, names: Sequence[str], width: int) -> None:
        """That there are as many numbers as the bottom network was fitted with."""
        if self.is_mutable_collection("params"):
            return
        bottom = self.variables.get("params", {}).get("bottom")
        fitted = bottom["Dense_0"]["kernel"].shape[0] if bottom else 0
        if width != fitted:
            there = ", ".join(map(repr, names)) or "none"
            raise OtherColumns(
                f"the columns of numbers, {there}, are {width} wide; the model was fitted with {fitted}"
            )
