"""Shared bottom: one network for all tasks, and a small tower on it for each.

Caruana: Multitask Learning, Machine Learning 28, 1997, https://doi.org/10.1023/A:1007379606734,
figure 1. With one task it is a plain network over the pair's columns.

    y_k = h_k(f(x))

Differs from the paper: inputs are embedded, units are ReLU, and each task has hidden layers of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
from jaxtyping import Array, Float, Int

from rezoo.nn.experts import Tower
from rezoo.nn.features import catalogue_of
from rezoo.nn.inputs import Inputs
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Names, Query


class SharedBottom(Model):
    """A logit (or whatever the task's loss makes of it) for each of `task_names`.

    Reads all of `query.features`, the item columns in `catalogue`, and the user and the item if
    `sizes` has a table for them.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table."""
    task_names: Names
    """The tasks; the first one's score is the model's."""
    dim: int = 8
    widths: Sequence[int] = (128,)
    """Layers of the bottom."""
    tower: Sequence[int] = (32,)
    _: KW_ONLY
    dropout: float = 0.0

    @nn.compact
    def tasks(self, query: Query, item: Int[Array, " B *C"]) -> dict[str, Float[Array, " B *C"]]:
        x = Inputs(self.sizes, self.dim, name="inputs")(query, item, catalogue_of(self))
        x = MLP(self.widths, dropout=self.dropout, name="bottom")(x)
        return {task: Tower(self.tower, self.dropout, name=f"{task}_tower")(x) for task in self.task_names}

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return self.tasks(query, item)[self.task_names[0]]
