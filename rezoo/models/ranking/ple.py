"""PLE: experts of each task's own beside shared ones, in levels that separate them progressively.

Tang, Liu, Zhao, Gong: Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for
Personalized Recommendations, RecSys 2020, https://doi.org/10.1145/3383313.3412236, equations 1-8.
At each level a task's gate mixes its own experts and the shared ones; the shared gate, which the
last level does without, mixes all. With one level it is the paper's CGC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.experts import Experts, Gate, Tower
from rezoo.nn.features import catalogue_of
from rezoo.nn.inputs import Inputs
from rezoo.nn.model import Model
from rezoo.types import Count, Names, Parts, Query


class PLE(Model):
    """A score for each of `task_names`, a logit for clicks; reads the columns that `SharedBottom` reads."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table."""
    task_names: Names
    """The tasks; the first one's score is the model's."""
    dim: int = 8
    _: KW_ONLY
    levels: Parts = 2
    num_task_experts: Count = 3
    """Experts of each task at each level."""
    num_shared_experts: Count = 2
    """Shared experts at each level."""
    widths: Sequence[int] = (16,)
    """Layers of each expert."""
    tower: Sequence[int] = (8,)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.num_task_experts + self.num_shared_experts:
            raise ValueError("PLE: num_task_experts = num_shared_experts = 0: give 1 or more of either")

    @nn.compact
    def tasks(self, query: Query, item: Int[Array, " B *C"]) -> dict[str, Float[Array, " B *C"]]:
        x = Inputs(self.sizes, self.dim, name="inputs")(query, item, catalogue_of(self))
        shared, state = x, dict.fromkeys(self.task_names, x)
        for level in range(self.levels):
            common = self._experts(self.num_shared_experts, f"shared_experts_{level}")(shared)
            own = {
                task: self._experts(self.num_task_experts, f"{task}_experts_{level}")(state[task])
                for task in self.task_names
            }
            if level + 1 < self.levels:
                every = jnp.concatenate([*own.values(), common], axis=-2)
                shared = Gate(name=f"shared_gate_{level}")(shared, every)
            for task in self.task_names:
                both = jnp.concatenate([own[task], common], axis=-2)
                state[task] = Gate(name=f"{task}_gate_{level}")(state[task], both)
        return {
            task: Tower(self.tower, self.dropout, name=f"{task}_tower")(state[task])
            for task in self.task_names
        }

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return self.tasks(query, item)[self.task_names[0]]

    def _experts(self, num: int, name: str) -> Experts:
        return Experts(num, self.widths, self.dropout, name=name)
