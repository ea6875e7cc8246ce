"""MaskNet: layers whose inputs are multiplied by what a network makes of all columns.

Wang, She, Zhang: MaskNet: Introducing Feature-Wise Multiplication to CTR Ranking Models by
Instance-Guided Mask, DLP-KDD 2021, https://arxiv.org/abs/2102.07619:

    mask(v) = W_p ReLU(W_a v + b_a) + b_p,   v = [v_1; …; v_F]
    block(v, x) = ReLU(LN(W (mask(v) ∘ x)))

The first block's x are the normalised embeddings [LN(v_1); …; LN(v_F)]. In series each further block
reads the block before it; in parallel all read the embeddings, and a network reads all of them.

Differs from the paper: the score is a logit. A network may stand above blocks in series, too; the paper has
none there: `widths=()`. Dropout is applied to the blocks and to the network, as in FuxiCTR.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.dropout import Dropout
from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import field_vectors, joined
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Query, Sizes

Block = Callable[[Array, Array], Array]


def parallel(
    blocks: Sequence[Block], v: Float[Array, " *B E"], x: Float[Array, " *B E"]
) -> Float[Array, " *B G"]:
    """All blocks read x; their outputs stand side by side."""
    return jnp.concatenate([block(v, x) for block in blocks], axis=-1)


def serial(
    blocks: Sequence[Block], v: Float[Array, " *B E"], x: Float[Array, " *B E"]
) -> Float[Array, " *B G"]:
    """The first block reads x, each further one the block before it."""
    for block in blocks:
        x = block(v, x)
    return x


class MaskBlock(nn.Module):
    """ReLU(LN(W (mask(v) ∘ x))): `[*B E], [*B D] -> [*B width]`."""

    width: int
    reduction: float
    """Width of the mask's hidden layer over that of x."""
    dropout: float = 0.0

    @nn.compact
    def __call__(self, v: Float[Array, " *B E"], x: Float[Array, " *B D"]) -> Float[Array, " *B H"]:
        width = x.shape[-1]
        hidden = nn.relu(nn.Dense(max(round(self.reduction * width), 1), name="aggregation")(v))
        mask = nn.Dense(width, name="projection")(hidden)
        out = nn.LayerNorm(name="norm")(nn.Dense(self.width, use_bias=False, name="hidden")(mask * x))
        return Dropout(self.dropout)(nn.relu(out))


class MaskNet(Model):
    """Blocks with instance-guided masks, in parallel or in series. The score is a logit."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    """Layers of the network over the blocks."""
    _: KW_ONLY
    blocks: Sizes = (64, 64, 64)
    """The width of each block."""
    reduction: float = 2.0
    """Width of a mask's hidden layer over that of what it is multiplied with."""
    structure: Annotated[Callable[[Sequence[Block], Array, Array], Array], parallel, serial] = parallel
    """`parallel` or `serial`."""
    normalise: bool = True
    """Whether the embeddings are layer-normalised, each column by itself, where they are multiplied."""
    dropout: float = 0.0

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        x = v
        if self.normalise:
            x = nn.LayerNorm(reduction_axes=-1, feature_axes=(-2, -1), name="field_norm")(v)
        blocks = [MaskBlock(width, self.reduction, self.dropout) for width in self.blocks]
        mlp = MLP(self.widths, dropout=self.dropout, name="mlp")
        hidden = mlp(self.structure(blocks, joined(v), joined(x)))
        return nn.Dense(1, name="output")(hidden).squeeze(-1)
