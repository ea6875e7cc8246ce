"""ESMM: what follows a click, learnt from everything that was shown and not from clicks alone.

Ma, Zhao, Huang, Wang, Hu, Zhu, Gai: Entire Space Multi-Task Model: An Effective Approach for
Estimating Post-Click Conversion Rate, SIGIR 2018, https://arxiv.org/abs/1804.07931, equations 2-4:

    P(click, conversion | x) = P(click | x) · P(conversion | click, x)

The two factors are networks on shared embeddings. Losses are given for `click` and `purchase` (the
product), which every impression has a label for; none for `conversion`, which is therefore learnt
without the bias of having seen clicked products only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.experts import Tower
from rezoo.nn.features import catalogue_of
from rezoo.nn.inputs import Inputs
from rezoo.nn.model import Model
from rezoo.types import Query


class ESMM(Model):
    """Logits of `purchase` (click and conversion), `click`, and `conversion` (given a click).

    The model's score is that of `purchase`. Reads what SharedBottom does.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table."""
    dim: int = 8
    widths: Sequence[int] = (64, 32)
    """Layers of either network."""
    _: KW_ONLY
    dropout: float = 0.0

    @nn.compact
    def tasks(self, query: Query, item: Int[Array, " B *C"]) -> dict[str, Float[Array, " B *C"]]:
        x = Inputs(self.sizes, self.dim, name="inputs")(query, item, catalogue_of(self))
        click = Tower(self.widths, self.dropout, name="click_tower")(x)
        conversion = Tower(self.widths, self.dropout, name="conversion_tower")(x)
        return {"purchase": both(click, conversion), "click": click, "conversion": conversion}

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return self.tasks(query, item)["purchase"]


def both(a: Float[Array, " *B"], b: Float[Array, " *B"]) -> Float[Array, " *B"]:
    """The logit of σ(a) σ(b): -ln(e⁻ᵃ + e⁻ᵇ + e⁻ᵃ⁻ᵇ), as odds are p / (1 - p).

    >>> round(float(jax.nn.sigmoid(both(jnp.array(0.0), jnp.array(0.0)))), 6)
    0.25
    """
    return -jax.nn.logsumexp(jnp.stack([-a, -b, -a - b]), axis=0)
