"""MMoE: experts that all tasks share, and for each task a gate that mixes them.

Ma, Zhao, Yi, Chen, Hong, Chi: Modeling Task Relationships in Multi-task Learning with Multi-gate
Mixture-of-Experts, KDD 2018, https://doi.org/10.1145/3219819.3220007, equations 5-7:

    y_k = h_k(Σ_i g_k(x)_i f_i(x)),    g_k(x) = softmax(W_k x)

With one expert every gate is 1, and it is a shared bottom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
from jaxtyping import Array, Float, Int

from rezoo.nn.experts import Experts, Gate, Tower
from rezoo.nn.features import catalogue_of
from rezoo.nn.inputs import Inputs
from rezoo.nn.model import Model
from rezoo.types import Names, Query


class MMoE(Model):
    """A score for each of `task_names`, a logit for clicks; reads the columns that `SharedBottom` reads."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table."""
    task_names: Names
    """The tasks; the first one's score is the model's."""
    dim: int = 8
    _: KW_ONLY
    experts: int = 8
    widths: Sequence[int] = (16,)
    """Layers of each expert."""
    tower: Sequence[int] = (8,)
    dropout: float = 0.0

    @nn.compact
    def tasks(self, query: Query, item: Int[Array, " B *C"]) -> dict[str, Float[Array, " B *C"]]:
        x = Inputs(self.sizes, self.dim, name="inputs")(query, item, catalogue_of(self))
        experts = Experts(self.experts, self.widths, self.dropout, name="experts")(x)

        def score(task: str) -> Array:
            mixed = Gate(name=f"{task}_gate")(x, experts)
            return Tower(self.tower, self.dropout, name=f"{task}_tower")(mixed)

        return {task: score(task) for task in self.task_names}

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return self.tasks(query, item)[self.task_names[0]]
