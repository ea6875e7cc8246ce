"""Training tokens a second of SASRec, eSASRec, HSTU and BERT4Rec, beside plain PyTorch of the same sizes.

    taskset -c 0,1 python experiments/bench_sequences.py --record --peer-python TORCH/bin/python
    taskset -c 0,1 python experiments/bench_sequences.py --record --peer-python TORCH/bin/python \
        --dataset ml-1m Beauty --data-dir FOLDER

A token is an event of a history. Whole training: batches, gradients, Adam. 64 wide, two blocks of two heads,
about 6,400 tokens a batch, no dropout, 2 threads each. The causal models take a softmax over each next item
and 256 that a batch shares, BERT4Rec one over all items at a fifth of the places. PyTorch has
`scaled_dot_product_attention` and, as a contender of its own, `torch.compile`, where that works: its rows say
`compiled` (`peers/torch_sequences.py`). All take turns, round by round, in one run; a figure is the median of
the rounds. TORCH is a virtual environment with `pip install torch numpy`; without it only our own rows are
made. --dataset, --models and --lengths choose.

The first command times the arithmetic alone: random items, as many as ML-1M has, in rows of 50 or 200 that
are full, so that no padding is computed. The second trains on the histories of `sequences.py`, up to 200
(ml-1m) or 50 events each. There rezoo packs several into a row (`rezoo.data.packing`), PyTorch pads them to
the longest of the batch, as its libraries do, and scores no padding; a batch of either has as many events.

rezoo over PyTorch and over its compiled step, tokens a second on two cores:

                random, 50       random, 200      ml-1m            Beauty
    SASRec       0.89    0.84     1.00    0.82     2.26    2.38     8.04    9.71
    eSASRec      0.85    0.81     1.08    1.06     2.37    2.26    11.45   10.04
    HSTU         0.90    0.77     1.02    0.81     2.20    1.90     7.08    6.44
    BERT4Rec     1.00    1.00     0.90    0.81     1.78    1.83     7.05    7.12

On an accelerator batches are eight times as large, and our model is timed with products of bfloat16, too.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import Flags, Results, check_names, start
from protocols import leave_one_out
from protocols.contest import DIM, THREADS, contest, epochs
from protocols.sequence_fits import whole
from turns import Peer, Turn

from rezoo import losses, objectives
from rezoo.data import batches, sessions
from rezoo.data.sessions import Sessions
from rezoo.devices.backend import pick
from rezoo.models import HSTU, BERT4Rec, SASRec, eSASRec
from rezoo.types import Batch

ITEMS, HEADS, BLOCKS, NEGATIVES, TOKENS = 3417, 2, 2, 256, 6400
MODELS = {"SASRec": SASRec, "eSASRec": eSASRec, "HSTU": HSTU, "BERT4Rec": BERT4Rec}
RANDOM = "random"
EVENTS = 250_000
"""Of an epoch over real histories."""


@dataclass(frozen=True)
class BenchFlags(Flags):
    """Flags of this benchmark."""

    peer_python: Path | None = None
    """A Python with torch and numpy."""
    rounds: int = 5
    """Turns that each contender takes."""
    dataset: tuple[str, ...] = (RANDOM,)
    """random, ml-1m, or a name of S3-Rec's files."""
    models: tuple[str, ...] = tuple(MODELS)
    """Which to time."""
    lengths: tuple[int, ...] = (50, 200)
    """Events of a random history."""


def tokens_of_batch(flags: BenchFlags) -> int:
    """About how many a batch has."""
    return 200 if flags.smoke else TOKENS * pick(cpu=1, accelerator=8)


class Histories(NamedTuple):
    """What a benchmark trains on."""

    sessions: Sessions
    """None longer than `length` and the item after it."""
    num_items: int
    length: int
    packed: bool
    """Whether a row of ours holds several."""


def random_histories(length: int, count: int) -> Histories:
    """Items drawn alike, all of one length."""
    events = np.random.default_rng(0).integers(1, ITEMS, (count, length + 1)).astype(np.int32)
    return Histories(sessions.of_padded(events), ITEMS, length, packed=False)


def real_histories(dataset: str, folder: Path | None) -> Histories:
    """Some of those of `sequences.py`, of more than one event, drawn at random: about `EVENTS` events."""
    data = leave_one_out.load(dataset, folder)
    train = data.train.take(data.train.lengths > 1).newest(data.length + 1)
    users = np.random.default_rng(0).permutation(train.num_sessions)
    users = users[: np.searchsorted(np.cumsum(train.lengths[users]), EVENTS) + 1]
    return Histories(train.take(users), data.num_items, data.length, packed=True)


def learnt(name: str, histories: Histories) -> Batch:
    """Rows of whole histories (BERT4Rec), or of events and the item after each."""
    rows = whole if name == "BERT4Rec" else batches.next_items
    return rows(histories.sessions, histories.length, packed=histories.packed)


def ours(name: str, histories: Histories, data: Batch, size: int, low: bool = False) -> Turn:
    """Tokens a second of an epoch of batches of `size` rows; `low` is `objectives.mixed`."""
    num_items, length = histories.num_items, histories.length
    model = MODELS[name](num_items, DIM, num_blocks=BLOCKS, num_heads=HEADS, max_length=length)
    objective: Any
    if name == "BERT4Rec":
        objective = objectives.cloze(model, 0.2, last=0.0)
    else:
        same = jnp.ones(num_items).at[0].set(0.0)
        loss = losses.softmax_cross_entropy
        objective = objectives.next_item_sampled(model, loss, same, NEGATIVES, corrected=False)
    turn = epochs(model, objectives.mixed(objective) if low else objective, data, size)
    a_row = float(data.where.sum()) / len(data.item)
    return lambda: turn() * a_row


def race(name: str, dataset: str, histories: Histories, flags: BenchFlags, results: Results) -> None:
    """A model of ours beside PyTorch's, on the same histories, with as many events a batch."""
    length, num_sessions = histories.length, histories.sessions.num_sessions
    data = learnt(name, histories)
    rows = min(max(tokens_of_batch(flags) // length, 1), len(data.item))
    their_rows = max(rows * num_sessions // len(data.item), 1)
    steps = max(num_sessions // their_rows, 1)
    file = results.out.absolute() / f"{dataset}-{length}-{name}.npy"
    width = length if name == "BERT4Rec" else length + 1
    np.save(file, sessions.pad(histories.sessions, width).astype(np.int64))
    sizes = (histories.num_items, length, their_rows, DIM, HEADS, BLOCKS, NEGATIVES, steps, THREADS)
    peers = {
        label: Peer(
            flags.peer_python, results.out.absolute(), "torch_sequences.py", name, *sizes, compiled, file
        )
        for label, compiled in (("torch", 0), ("torch.compile", 1))
        if not compiled or not flags.smoke
    }
    contenders = {"rezoo": partial(ours, name, histories, data, rows)}
    if jax.default_backend() != "cpu":
        contenders["rezoo, bfloat16"] = partial(ours, name, histories, data, rows, True)
    rounds = 1 if flags.smoke else flags.rounds
    if dataset == RANDOM:
        about = ("random histories", f"histories of {length}, {rows} rows a batch")
    else:
        about = (dataset, f"histories of up to {length}, {their_rows} a batch")
    contest(results, name, *about, contenders, peers, rounds, "tokens_per_s")


def main(flags: BenchFlags, results: Results) -> None:
    """Model after model on each set of histories."""
    check_names("models", flags.models, MODELS)
    steps = 2 if flags.smoke else pick(cpu=8, accelerator=40)
    for dataset in (RANDOM, "smoke") if flags.smoke else flags.dataset:
        if dataset == RANDOM:
            tokens = steps * tokens_of_batch(flags)
            lengths = flags.lengths[: 1 if flags.smoke else None]
            several = [random_histories(length, tokens // length) for length in lengths]
        else:
            several = [real_histories(dataset, flags.data_dir)]
        some = slice(None)
        if flags.smoke:  # each model once, on one of the two
            some = slice(2) if dataset == RANDOM else slice(2, None)
        for name in flags.models[some]:
            for histories in several:
                race(name, dataset, histories, flags, results)
    results.finish()


if __name__ == "__main__":
    main(*start(__file__, __doc__, BenchFlags, data=("ml-1m*", "s3rec*")))
