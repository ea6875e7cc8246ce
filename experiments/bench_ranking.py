r"""Training speed of rankers beside DeepCTR-Torch, torch-rechub, RecBole and plain PyTorch, in turns.

    taskset -c 0,1 python experiments/bench_ranking.py --record --data-dir FOLDER \
        --torch-python TORCH/bin/python --recbole-python RECBOLE/bin/python \
        --libraries-python LIBRARIES/bin/python

Rows per second of whole training (shuffling, gradients, Adam, no regularisation), batch 2,048,
embeddings 16 wide, networks 256-128. Wide & Deep, AFM (attention 16 wide), DCNv2 (three cross layers),
XDeepFM (32 and 32 maps), FiBiNET (one matrix), DLRM, FinalMLP (gated by user and item, two heads) and
MaskNet (three parallel blocks 64 wide) learn who likes which movie of ML-1M from user, item, age, gender,
occupation and year; DIN learns from 100,000 rows of a user, an item and a history of 50 (local activation
unit 36 wide; 64-16 in DeepCTR-Torch and torch-rechub, which have two layers, 256-128 in RecBole, which takes
the network's). All contenders but RecBole have the same rows; RecBole reads its own files of the same log,
AFM also the genres, DIN a history for each positive and a drawn item; its Wide & Deep is in
`bench_training.py`. A figure is the median of the rounds; a peer whose Python is not given is left out, and
--models chooses. The environments:

    TORCH       pip install torch==2.13.0 numpy
    RECBOLE     pip install torch==2.13.0 recbole==1.2.1 'numpy<2' 'pandas<2.3' 'scipy<1.14'
    LIBRARIES   pip install torch==2.13.0 deepctr-torch==0.3.0 torch-rechub==0.9.0 requests

Without the data folder the log is drawn at random in ML-1M's size.
"""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Results, check_names, start
from protocols.bench_data import Log, export, read
from protocols.contenders import clicks
from protocols.contest import THREADS, BenchFlags, contest, epochs
from turns import Peer, Turn

from rezoo import losses, objectives
from rezoo.data import batches
from rezoo.models import AFM, DIN, DLRM, DCNv2, FiBiNET, FinalMLP, MaskNet, WideDeep, XDeepFM

DIM, WIDTHS, BATCH, LENGTH = 16, (256, 128), 2048, 50
MODELS: dict[str, Callable[[dict[str, int]], Any]] = {
    "DIN": lambda sizes: DIN(sizes, DIM, widths=WIDTHS),
    "WideDeep": lambda sizes: WideDeep(sizes, dim=DIM, widths=WIDTHS),
    "AFM": lambda sizes: AFM(sizes, DIM, attention_width=16),
    "DCNv2": lambda sizes: DCNv2(sizes, DIM, widths=WIDTHS),
    "XDeepFM": lambda sizes: XDeepFM(sizes, DIM, WIDTHS),
    "FiBiNET": lambda sizes: FiBiNET(sizes, DIM, WIDTHS),
    "DLRM": lambda sizes: DLRM(sizes, DIM, WIDTHS),
    "FinalMLP": lambda sizes: FinalMLP(sizes, DIM, WIDTHS, second_widths=WIDTHS),
    "MaskNet": lambda sizes: MaskNet(sizes, DIM, WIDTHS),
}
"""DIN first, as peak memory is that of all before."""
OF_PEER = {
    "DeepCTR-Torch": ("DIN", "WideDeep", "AFM", "DCNv2", "XDeepFM", "FiBiNET"),
    "torch-rechub": ("DIN", "WideDeep", "AFM"),
    "RecBole": ("DIN", "AFM"),
}
"""What is timed in a library."""


@dataclass(frozen=True)
class Flags(BenchFlags):
    """Flags of this benchmark."""

    libraries_python: Path | None = None
    """A Python with deepctr-torch and torch-rechub."""
    models: tuple[str, ...] = tuple(MODELS)
    """Which to time; rows of others stay as they are."""


def histories(log: Log, rows: int) -> dict[str, np.ndarray]:
    """Rows of a user, an item, whether it was liked, and `history` `[rows, 50]` of that user's items."""
    rng = np.random.default_rng(0)
    order = np.argsort(log.user, kind="stable")
    item, begin = log.item[order], np.searchsorted(log.user[order], np.arange(log.user.max() + 2))
    picked = rng.integers(0, len(log.user), rows)
    user = log.user[picked]
    low, high = begin[user], begin[user + 1]
    place = (low + rng.integers(0, np.maximum(high - low - LENGTH, 0) + 1))[:, None] + np.arange(LENGTH)
    history = np.where(place < high[:, None], item[np.minimum(place, len(item) - 1)], 0)
    return {
        "user": user,
        "item": log.item[picked],
        "label": (log.rating[picked] >= 4).astype(np.int32),
        "history": history.astype(np.int32),
    }


def ours_din(rows: dict[str, np.ndarray]) -> Turn:
    """Profile: the user's id."""
    last_item = max(rows["item"].max(), rows["history"].max())
    sizes = {"user": int(rows["user"].max()) + 1, "item": int(last_item) + 1}
    data = batches.pairs(rows["user"], rows["item"], rows["label"], history=rows["history"])
    model = MODELS["DIN"](sizes)
    return epochs(model, objectives.pointwise(model, losses.logistic), data, BATCH)


def main(flags: Flags, results: Results) -> None:
    """Contest after contest."""
    check_names("models", flags.models, MODELS)
    log = read(flags)
    export(log, results.out)
    log = log._replace(items={"year": log.items["year"]})
    out = results.out.absolute()
    rows = histories(log, 2000 if flags.smoke else 100_000)
    np.savez(out / "din.npz", **rows)  # pyright: ignore[reportArgumentType]
    liked = {"label": (log.rating >= 4).astype(np.int32), "user": log.user, "item": log.item}
    liked |= {name: column[log.user] for name, column in log.users.items()}
    np.savez(out / "clicks.npz", **liked, year=log.items["year"][log.item])  # pyright: ignore[reportArgumentType]
    data = "ml-1m" if flags.data_dir and not flags.smoke else "random pairs"
    for model in ("DIN", "DCNv2") if flags.smoke else flags.models:
        file = "din.npz" if model == "DIN" else "clicks.npz"
        ours = partial(ours_din, rows) if model == "DIN" else partial(clicks, log, BATCH, MODELS[model])
        last = (BATCH, DIM, 2 if flags.smoke else 10 if model == "DIN" else 30, THREADS)
        libraries = flags.libraries_python
        peers = {
            "torch": Peer(flags.torch_python, out, "torch_ranking.py", out / file, model, *last),
            "DeepCTR-Torch": Peer(libraries, out, "ctr_libraries.py", "deepctr", out / file, model, *last),
            "torch-rechub": Peer(libraries, out, "ctr_libraries.py", "rechub", out / file, model, *last),
            "RecBole": Peer(flags.recbole_python, out, "recbole_step.py", out, "ml", model, *last),
        }
        peers = {name: peer for name, peer in peers.items() if model in OF_PEER.get(name, MODELS)}
        rounds = 2 if flags.smoke else flags.rounds
        contest(results, model, data, f"batch {BATCH:,}", {"rezoo": ours}, peers, rounds, "rows_per_s")
    if set(flags.models) == set(MODELS):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        results.put("all of the above", "in one process", "rezoo", "peak_rss_mib", peak, seconds=0.0)
    results.finish()


if __name__ == "__main__":
    main(*start(__file__, __doc__, Flags, data=("ml-1m*",)))
