"""Training steps whose cost does not grow with the embedding tables.

`make_step` is `training.make_step` for models with large tables. A batch looks up a few thousand
rows; only those rows of the table and of its optimizer's state are read and written, in place if
the state is donated. The table is never differentiated: the model is given the rows that it looks up
(see `nn.embedding.Embed`), and the loss is differentiated by them.

Sparse is the optimizer's choice, not the model's. Below some 10⁴ rows a dense optimizer is as fast.
"""

from rezoo.training.row_sparse.optimizers import (
    RowOptimizer,
    adagrad,
    lazy_adam,
    momentum,
    row_wise_adagrad,
    sgd,
)
from rezoo.training.row_sparse.spread import checkpoints_over, init_spread, rules, spread_over
from rezoo.training.row_sparse.step import OptState, RowState, init_state, make_step, sum_by_id

__all__ = [
    "OptState",
    "RowOptimizer",
    "RowState",
    "adagrad",
    "checkpoints_over",
    "init_spread",
    "init_state",
    "lazy_adam",
    "make_step",
    "momentum",
    "row_wise_adagrad",
    "rules",
    "sgd",
    "spread_over",
    "sum_by_id",
]
