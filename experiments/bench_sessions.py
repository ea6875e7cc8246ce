"""Training speed of session models beside RecBole and plain PyTorch.

    taskset -c 0,1 python experiments/bench_sessions.py --record --data-dir FOLDER \
        --torch-python TORCH/bin/python --recbole-python RECBOLE/bin/python

Prefixes (events that have a next one) per second of whole training: shuffling, gradients, Adam, 64
wide, 2 threads each. RecBole expands every prefix to a row of its own; we and plain torch compute the
states after every event in one pass, torch over padded rows, we over packed ones. All three take the
softmax over the whole catalogue; "rezoo, sampled" is a softmax over 2,048 sampled items, with which
`session_next_click.py` spends most of its epochs. Contenders take turns, round by round; a figure is the
median of the rounds; a batch has about 2,048 prefixes in all. Diginetica has 43,097 items, sessions
are cut at 20; ML-100k has histories of 50. Without the data folder the sessions are drawn at random.

On 2 quiet CPU cores, times RecBole's speed (in brackets, with sampled items) and times plain torch's:

                diginetica              ML-100k
    GRU4Rec     6.0 (41), torch 4.7     30, torch 2.0
    NARM        6.5 (37)                23
    STAMP       5.4 (32)                11
    SASRec                              64, torch 1.4

Beside other work on the same cores GRU4Rec, NARM and STAMP were at 3.3, 4.4 and 3.5 on Diginetica: over
43,097 items nearly all time goes into the softmax's products, which are the same for all. These four
take 7 minutes with `--rounds 3` (`--models GRU4Rec NARM STAMP SASRec`); Caser beside RecBole's takes
longer. On an NVIDIA H200 they are at 5.9, 7.4 and 11 times RecBole on Diginetica, GRU4Rec at 1.9 times
torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import Flags, Results, start
from protocols.contest import DIM, THREADS, contest, epochs
from turns import Peer, Turn

from rezoo import losses, objectives
from rezoo.arrays import offsets_of
from rezoo.data import batches, sessions
from rezoo.data.sessions import Sessions
from rezoo.datasets import movielens, session_sets
from rezoo.devices.backend import pick
from rezoo.models import NARM, STAMP, Caser, GRU4Rec, SASRec
from rezoo.types import Batch

PREFIXES = 2048


@dataclass(frozen=True)
class BenchFlags(Flags):
    """Flags of this benchmark."""

    torch_python: Path | None = None
    """A Python with torch and numpy."""
    recbole_python: Path | None = None
    """A Python with recbole."""
    rounds: int = 5
    """Turns that each contender takes."""
    models: tuple[str, ...] = ()
    """Which to time; all if none is given."""


class Log(NamedTuple):
    """Sessions, cut to `length` events."""

    name: str
    sessions: Sessions
    length: int

    @property
    def num_items(self) -> int:
        return int(self.sessions.items.max()) + 1


MAKE: dict[str, Callable[[int, int], Any]] = {
    "GRU4Rec": lambda n, length: GRU4Rec(n, DIM, tied=True),
    "NARM": lambda n, length: NARM(n, DIM, hidden=DIM),
    "STAMP": lambda n, length: STAMP(n, DIM),
    "SASRec": lambda n, length: SASRec(n, DIM, num_blocks=2, num_heads=1, max_length=length),
    "Caser": lambda n, length: Caser(n, DIM),
}
ONE_PASS = ("GRU4Rec", "SASRec")


def diginetica(folder: Path) -> Log:
    """The training sessions, items numbered 1, 2 …, the last 20 events of each."""
    whole = session_sets.load("diginetica", folder).train
    items = np.unique(whole.items, return_inverse=True)[1].astype(np.int32) + 1
    return Log("diginetica", whole._replace(items=items).newest(20), 20)


def ml_100k(folder: Path) -> Log:
    """Each user's ratings in the order of time, in pieces of 50 that overlap by one event."""
    ratings = movielens.load("ml-100k", manual_dir=folder).ratings
    return pieces(sessions.by_id(ratings._replace(session=ratings.user)), 50, "ml-100k")


def random(name: str) -> Log:
    """Sessions of random items."""
    length = np.random.default_rng(0).integers(2, 9, 300)
    items = np.random.default_rng(1).integers(1, 60, length.sum()).astype(np.int32)
    return Log(name, Sessions(items, offsets_of(length)), 8)


def pieces(whole: Sessions, length: int, name: str) -> Log:
    """Long sessions in pieces, so that every event but the first is once a target."""
    parts = []
    for begin, end in zip(whole.offsets[:-1], whole.offsets[1:], strict=True):
        for at in range(begin, max(end - 1, begin + 1), length - 1):
            parts.append(whole.items[at : min(at + length, end)])
    kept = [part for part in parts if len(part) > 1]
    lengths = np.array([len(part) for part in kept])
    return Log(name, Sessions(np.concatenate(kept), offsets_of(lengths)), length)


def ours(log: Log, model: Any, sampled: bool, steps: int) -> Turn:
    """An epoch over as many packed rows as make `steps` batches."""
    packed = batches.next_items(log.sessions, log.length, packed=True)
    per_row = int(packed.where.sum()) / len(packed.where)
    batch = max(round(PREFIXES / per_row), 1)
    some = np.random.default_rng(0).permutation(len(packed.where))[: batch * steps]
    data: Batch = jax.tree.map(lambda column: column[some], packed)
    share = jnp.asarray(np.bincount(log.sessions.items, minlength=log.num_items), jnp.float32) ** 0.5
    objective = (
        objectives.next_item_sampled(model, losses.softmax_cross_entropy, share, min(2048, log.num_items))
        if sampled
        else objectives.next_item_softmax(model)
    )
    turn = epochs(model, objective, data, batch)
    return lambda: turn() * int(data.where.sum()) / len(some)


def export(log: Log, out: Path) -> Path:
    """The same sessions for the peers: an npz of padded rows, and RecBole's atomic file."""
    folder = out / log.name
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    np.savez(folder / "sessions.npz", history=sessions.pad(log.sessions, log.length))
    lengths = log.sessions.lengths
    place = np.concatenate([np.arange(n) for n in lengths.tolist()])
    session = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    with (folder / f"{log.name}.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        rows = zip(session.tolist(), log.sessions.items.tolist(), place.tolist(), strict=True)
        file.writelines(f"{s}\t{i}\t{t}\n" for s, i, t in rows)
    return folder


def main(flags: BenchFlags, results: Results) -> None:
    """Model after model on either log."""
    out = results.out.absolute()
    if flags.smoke or flags.data_dir is None:
        logs = [random("random")]
    else:
        logs = [diginetica(flags.data_dir), ml_100k(flags.data_dir)]
    steps, rounds = (3, 1) if flags.smoke else (pick(cpu=8, accelerator=40), flags.rounds)
    for log in logs:
        names = ("GRU4Rec", "NARM", "STAMP") if log.name == "diginetica" else tuple(MAKE)
        folder = export(log, out)
        per_row = (len(log.sessions.items) - log.sessions.num_sessions) / log.sessions.num_sessions
        for name in names:
            size = f"{PREFIXES:,} prefixes a batch"
            if flags.models and name not in flags.models:
                continue
            model = MAKE[name](log.num_items, log.length)
            last = (DIM, steps, THREADS)
            rows = max(round(PREFIXES / per_row), 1)
            recbole = (out, log.name, name, PREFIXES, *last, log.length)
            peers = {"RecBole": Peer(flags.recbole_python, out, "recbole_step.py", *recbole)}
            if name in ONE_PASS:
                file = folder / "sessions.npz"
                peers["torch"] = Peer(flags.torch_python, out, "torch_sessions.py", file, name, rows, *last)
            contenders = {
                "rezoo": partial(ours, log, model, False, steps),
                "rezoo, sampled": partial(ours, log, model, True, 4 * steps),
            }
            contest(results, name, log.name, size, contenders, peers, rounds, "prefixes_per_s")
    results.finish()


if __name__ == "__main__":
    main(*start(__file__, __doc__, BenchFlags, data=("diginetica*", "ml-100k*")))
