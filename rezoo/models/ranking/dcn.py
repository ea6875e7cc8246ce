"""DCN-V2: layers that cross all columns with all, beside or below a network.

Wang, Shivanna, Cheng, Jain, Lin, Hong, Chi: DCN V2: Improved Deep & Cross Network and Practical
Lessons for Web-scale Learning to Rank Systems, WWW 2021, https://arxiv.org/abs/2008.13535.

After l cross layers the score may hold every product of up to l + 1 embedded columns.

With `cross=nn.interaction.GatedCross` it is GDCN (Wang, Gu, Li, Lu, Zhang, Gu: Towards Deeper, Lighter and
Interpretable Cross Network for CTR Prediction, CIKM 2023, https://arxiv.org/abs/2311.04635), whose layers
weigh each product by a gate: GDCN-S if `stacked`, GDCN-P if `parallel`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import field_vectors, joined
from rezoo.nn.interaction import Cross, GatedCross, LowRankCross
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Parts, Query

Part = Callable[[Array], Array]


def parallel(crosses: Part, deep: Part, x: Float[Array, " *B E"]) -> Float[Array, " *B G"]:
    """Both read the embeddings, and their outputs stand side by side (figure 1b)."""
    return jnp.concatenate([crosses(x), deep(x)], axis=-1)


def stacked(crosses: Part, deep: Part, x: Float[Array, " *B E"]) -> Float[Array, " *B G"]:
    """The network reads what the cross layers give (figure 1a)."""
    return deep(crosses(x))


class DCNv2(Model):
    """Deep & cross network, version 2. The score is a logit."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    _: KW_ONLY
    num_crosses: Parts = 3
    widths: Sequence[int] = (128, 64)
    dropout: float = 0.0
    batch_norm: bool = False
    cross: Annotated[Callable[[], nn.Module], Cross, GatedCross, LowRankCross] = Cross
    """`nn.interaction.Cross`, `GatedCross`, or `partial(nn.interaction.LowRankCross, rank=…, experts=…)`."""
    structure: Annotated[Callable[[Part, Part, Array], Array], parallel, stacked] = parallel
    """`parallel` or `stacked`."""

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        layers = [self.cross() for _ in range(self.num_crosses)]
        mlp = MLP(self.widths, dropout=self.dropout, batch_norm=self.batch_norm, name="mlp")

        def crosses(x_0: Array) -> Array:
            x = x_0
            for layer in layers:
                x = layer(x_0, x)
            return x

        return nn.Dense(1, name="output")(self.structure(crosses, mlp, joined(v))).squeeze(-1)
