"""Training as three pure functions, one inside the other: step < epoch < fit; and what stands around them.

    from rezoo.training import bucketed, loop, row_sparse

`loop` is the host's loop with progress, early stopping and checkpoints, `bucketed` trains on users of
different lengths, `row_sparse` touches only the embedding rows of a batch, `alternating` trains the parts
of a model in turn.
"""

from rezoo.training.freezing import frozen
from rezoo.training.step import (
    blank_row,
    epoch,
    fit,
    init_state,
    make_step,
    num_steps,
    shuffle,
    shuffle_key,
    take,
)

__all__ = [
    "alternating",
    "blank_row",
    "bucketed",
    "epoch",
    "fit",
    "frozen",
    "init_state",
    "loop",
    "make_step",
    "num_steps",
    "progress",
    "row_sparse",
    "shuffle",
    "shuffle_key",
    "take",
]
