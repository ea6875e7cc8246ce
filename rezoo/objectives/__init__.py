"""What training minimises: a model, a loss and a sampler put together.

An objective is `(variables, key, batch) -> (scalar, Aux)`. It knows nothing of optimizers, and
the functions here know nothing of any one model: model × loss × sampler × data all combine.
"""

from rezoo.objectives.beside import with_next_item
from rezoo.objectives.catalogue import (
    every_item,
    next_item,
    next_item_likelihood,
    next_item_sampled,
    next_item_softmax,
)
from rezoo.objectives.cloze import cloze
from rezoo.objectives.forward import WRITABLE, Weights, forward, mean
from rezoo.objectives.inputs import masked
from rezoo.objectives.penalties import l2, penalised
from rezoo.objectives.precision import mixed
from rezoo.objectives.slates import in_batch, pointwise, sampled, shared
from rezoo.objectives.tasks import in_order, multi_task, task_gradients, task_losses

__all__ = [
    "WRITABLE",
    "Weights",
    "adversarial",
    "cloze",
    "every_item",
    "forward",
    "in_batch",
    "in_order",
    "l2",
    "masked",
    "mean",
    "mixed",
    "multi_task",
    "next_item",
    "next_item_likelihood",
    "next_item_sampled",
    "next_item_softmax",
    "penalised",
    "pointwise",
    "sampled",
    "shared",
    "task_gradients",
    "task_losses",
    "weighting",
    "with_next_item",
]
