"""FM: factorization machines, every pair of columns meeting in an inner product.

Rendle: Factorization Machines, ICDM 2010, https://doi.org/10.1109/ICDM.2010.127, equation 1:

    ŷ = w_0 + Σ_f w_f + Σ_{f<g} ⟨v_f, v_g⟩

over the user, the item, all of `query.features` and the item columns in `catalogue`. The double sum
is taken in O(F D) by lemma 3.1. A multi-valued column has the mean of its values' vectors (the
values' weights add up to 1), a numeric one its number times a vector.

Differs from the paper: the values of one multi-valued column do not meet each other.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY

import flax.linen as nn
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import Linear, field_vectors
from rezoo.nn.interaction import bi_interaction
from rezoo.nn.model import Model
from rezoo.types import Count, Query


class FM(Model):
    """Factorization machine for ratings or, the score being a logit, for clicks.

    With `dim` 0 it is a linear model: logistic regression, if trained by the logistic loss.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: Count = 16
    _: KW_ONLY
    mean: float | Array = 0.0
    """Added to every score: the mean of the training ratings; 0 for logits."""

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        score = self.mean + Linear(self.sizes, name="linear")(query, item, catalogue)
        if self.dim == 0:
            return score
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        return score + bi_interaction(v).sum(-1)
