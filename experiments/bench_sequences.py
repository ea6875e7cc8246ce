"""Training tokens a second of SASRec, eSASRec, HSTU and BERT4Rec, beside plain PyTorch of the same sizes.

    taskset -c 0,1 python experiments/bench_sequences.py --record --peer-python TORCH/bin/python

A token is an event of a history; rows are full, so that no padding is computed. Whole training: batches,
gradients, Adam. 64 wide, two blocks of two heads, 3,416 random items (as many as ML-1M has), histories of 50
and 200, about 6,400 tokens a batch, no dropout, 2 threads each. The causal models take a softmax over each
next item and 256 that a batch shares, BERT4Rec one over all items at a fifth of the places. PyTorch has
`scaled_dot_product_attention` and, as a contender of its own, `torch.compile`, where that works: its rows say
`compiled` (`peers/torch_sequences.py`). All take turns, round by round, in one run; a figure is the median of
the rounds. TORCH is a virtual environment with `pip install torch numpy`; without it only our own rows are
made. --models and --lengths choose. On an accelerator batches are eight times as large, and our model is
timed with products of bfloat16, too.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import Flags, Results, start
from protocols.contest import DIM, THREADS, contest, epochs
from turns import Peer, Turn

from rezoo import losses, objectives
from rezoo.data.batches import queries
from rezoo.devices.backend import pick
from rezoo.models import HSTU, BERT4Rec, SASRec, eSASRec
from rezoo.types import Batch

ITEMS, HEADS, BLOCKS, NEGATIVES, TOKENS = 3417, 2, 2, 256, 6400
MODELS = {"SASRec": SASRec, "eSASRec": eSASRec, "HSTU": HSTU, "BERT4Rec": BERT4Rec}


@dataclass(frozen=True)
class BenchFlags(Flags):
    """Flags of this benchmark."""

    peer_python: Path | None = None
    """A Python with torch and numpy."""
    rounds: int = 5
    """Turns that each contender takes."""
    models: tuple[str, ...] = tuple(MODELS)
    """Which to time."""
    lengths: tuple[int, ...] = (50, 200)
    """Events of a history."""


def ours(name: str, length: int, rows: int, steps: int, low: bool = False) -> Turn:
    """Tokens a second of an epoch of `steps` batches; `low` is `objectives.mixed`."""
    model = MODELS[name](ITEMS, DIM, num_blocks=BLOCKS, num_heads=HEADS, max_length=length)
    events = np.random.default_rng(0).integers(1, ITEMS, (steps * rows, length + 1)).astype(np.int32)
    history, target = events[:, :-1], events[:, 1:]
    objective: Any
    if name == "BERT4Rec":
        target, objective = history, objectives.cloze(model, 0.2, last=0.0)
    else:
        same = jnp.ones(ITEMS).at[0].set(0.0)
        loss = losses.softmax_cross_entropy
        objective = objectives.next_item_sampled(model, loss, same, NEGATIVES, corrected=False)
    ones = jnp.ones(history.shape)
    data = Batch(queries(history=history), jnp.asarray(target), ones, ones > 0)
    turn = epochs(model, objectives.mixed(objective) if low else objective, data, rows)
    return lambda: turn() * length


def main(flags: BenchFlags, results: Results) -> None:
    """Model after model at each length."""
    steps, rounds = (2, 1) if flags.smoke else (pick(cpu=8, accelerator=40), flags.rounds)
    tokens = 200 if flags.smoke else TOKENS * pick(cpu=1, accelerator=8)
    for name in flags.models:
        for length in flags.lengths[: 1 if flags.smoke else None]:
            rows = max(tokens // length, 1)
            sizes = (ITEMS, length, rows, DIM, HEADS, BLOCKS, NEGATIVES, steps, THREADS)
            peers = {
                label: Peer(
                    flags.peer_python, results.out.absolute(), "torch_sequences.py", name, *sizes, compiled
                )
                for label, compiled in (("torch", 0), ("torch.compile", 1))
                if not compiled or not flags.smoke
            }
            contenders = {"rezoo": partial(ours, name, length, rows, steps)}
            if jax.default_backend() != "cpu":
                contenders["rezoo, bfloat16"] = partial(ours, name, length, rows, steps, True)
            size = f"histories of {length}, {rows} rows a batch"
            contest(results, name, "random histories", size, contenders, peers, rounds, "tokens_per_s")
    results.finish()


if __name__ == "__main__":
    main(*start(__file__, __doc__, BenchFlags))
