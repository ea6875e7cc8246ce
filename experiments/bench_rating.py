r"""Training speed of the rating family beside RecBole, plain PyTorch and `implicit`, in turns, on ML-1M.

    taskset -c 0,1 python experiments/bench_rating.py --record --data-dir FOLDER \
        --torch-python TORCH/bin/python --recbole-python RECBOLE/bin/python \
        --implicit-python IMPLICIT/bin/python

Interactions per second of whole training (shuffling, sampling, gradients, Adam) of MF with BPR, NeuMF,
NFM, DeepFM (batch 2,048, 64 wide) and Mult-VAE (500 users, hidden 600, latent 128); of iALS, non-zeros
times iterations per second of whole fits, the log in arrays before and the factors after. Contenders
have the same data, sizes and 2 threads each, and take turns in processes of their own; a figure is the
median of the rounds. A peer whose Python is not given is left out. The environments:

    TORCH       pip install torch==2.13.0 numpy
    RECBOLE     pip install torch==2.13.0 recbole==1.2.1 'numpy<2' 'pandas<2.3' 'scipy<1.14'
    IMPLICIT    pip install implicit==0.7.3

Then the evaluation of all 6,040 users against the whole catalogue, compiled before, and the peak
memory of this process. Without the data folder the log is drawn at random in ML-1M's size.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import Results, check_names, start
from protocols.bench_data import Log, export, read
from protocols.contenders import clicks, ours_bpr, ours_neumf
from protocols.contest import DIM, THREADS, BenchFlags, contest, epochs
from turns import Peer, Turn

from rezoo import evaluation, losses, objectives
from rezoo.data import batches
from rezoo.data.packing import padded
from rezoo.models import MF, NFM, DeepFM, MultVAE
from rezoo.models.factorization import ials
from rezoo.types import Batch

ITERATIONS = 15
"""Of iALS; the default of `implicit`."""


@dataclass(frozen=True)
class Flags(BenchFlags):
    """Flags of this benchmark."""

    implicit_python: Path | None = None
    """A Python with implicit."""
    models: tuple[str, ...] = ()
    """Of MF, NeuMF, NFM, DeepFM, MultVAE and IALS; rows of others stay as they are. All, and the evaluation,
    if none is given."""


class Contest(NamedTuple):
    """A model in rezoo, and who else trains it."""

    model: str
    batch: int
    ours: Callable[[Log, int], Turn]
    torch: str
    """Arguments between the data and the batch of the peer in plain torch; its script if it has one."""
    recbole: str
    """RecBole's name of the model."""


CONTESTS = (
    Contest("MF", 2048, ours_bpr, "torch_bpr.py", "BPR"),
    Contest("NeuMF", 2048, ours_neumf, "NeuMF", "NeuMF"),
    Contest("NFM", 2048, lambda log, batch: clicks(log, batch, nfm), "NFM", "NFM"),
    Contest("DeepFM", 2048, lambda log, batch: clicks(log, batch, deep_fm), "DeepFM", "DeepFM"),
    Contest("MultVAE", 500, lambda log, batch: ours_mult_vae(log, batch), "MultVAE", "MultiVAE"),
)


def nfm(sizes: dict[str, int]) -> NFM:
    """RecBole's layers."""
    return NFM(sizes, DIM, widths=(64, 64, 64))


def deep_fm(sizes: dict[str, int]) -> DeepFM:
    """RecBole's layers and dropout."""
    return DeepFM(sizes, DIM, widths=(128, 128, 128), dropout=0.2)


def ours_mult_vae(log: Log, batch: int) -> Turn:
    """Every user's items in one row; β 0.2."""
    users = np.unique(log.user)
    history, where = (jnp.asarray(column) for column in padded(users, log.user, log.item))
    query = batches.queries(history=history)
    data = Batch(query, query.history, where * 1.0, where)
    model = MultVAE(int(log.item.max()) + 1, hidden=600, latent=128)
    likelihood = objectives.every_item(model, losses.softmax_cross_entropy)
    turn = epochs(model, objectives.penalised(likelihood, 0.2), data, batch)
    return lambda: turn() * len(log.user) / len(users)


def ours_ials(log: Log) -> Turn:
    """A whole fit."""
    sizes = int(log.user.max()) + 1, int(log.item.max()) + 1

    def turn() -> float:
        begin = time.perf_counter()
        fitted = ials.fit(jax.random.key(0), log.user, log.item, *sizes, DIM, num_epochs=ITERATIONS)
        jax.block_until_ready(fitted)
        return len(log.user) * ITERATIONS / (time.perf_counter() - begin)

    return turn


def main(flags: Flags, results: Results) -> None:
    """Contest after contest, then the evaluation."""
    names = [contest.model for contest in CONTESTS] + ["IALS"]
    check_names("models", flags.models, names, all_by_none=True)
    log = read(flags)
    export(log, results.out)
    out = results.out.absolute()
    columns = {"user": log.user, "item": log.item, "rating": log.rating} | log.users | log.items
    np.savez(out / "features.npz", allow_pickle=False, **columns)
    data = "ml-1m" if flags.data_dir and not flags.smoke else "random pairs"
    steps, rounds = (3, 2) if flags.smoke else (60, flags.rounds)
    for model, batch, ours, torch, recbole in CONTESTS:
        if flags.models and model not in flags.models:
            continue
        few = max(steps // 6, 3) if model == "MultVAE" else steps
        last = (DIM, few, THREADS)
        # A batch of RecBole's NeuMF is positives and negatives together; here as there.
        positives_of_batch = batch // 2 if model == "NeuMF" else batch
        script, file = (
            ("torch_bpr.py", "pairs.npz") if torch.endswith(".py") else ("torch_models.py", "features.npz")
        )
        named = [] if torch.endswith(".py") else [torch]
        peers = {
            "torch": Peer(flags.torch_python, out, script, out / file, *named, positives_of_batch, *last),
            "RecBole": Peer(flags.recbole_python, out, "recbole_step.py", out, "ml", recbole, batch, *last),
        }
        contest(results, model, data, f"batch {batch:,}", {"rezoo": partial(ours, log, batch)}, peers, rounds)
    if not flags.models or "IALS" in flags.models:
        peer = Peer(
            flags.implicit_python, out, "implicit_als.py", out / "pairs.npz", DIM, ITERATIONS, THREADS
        )
        size = f"{ITERATIONS} iterations, {DIM} wide"
        contest(results, "IALS", data, size, {"rezoo": partial(ours_ials, log)}, {"implicit": peer}, rounds)
    if not flags.models:
        evaluate(results, log, data, rounds)
    results.finish()


def evaluate(results: Results, log: Log, data: str, rounds: int) -> None:
    """Every user against the whole catalogue: one target, what else the user knows left out."""
    row = ("MF", data, "all users, whole catalogue, ndcg@10 and recall@10", "seconds")
    if results.values(*row):
        return
    users = np.unique(log.user)
    known = jnp.asarray(padded(users, log.user, log.item)[0], jnp.int32)
    query = batches.queries(users)
    model = MF(int(log.user.max()) + 1, int(log.item.max()) + 1, DIM)
    variables = model.init(jax.random.key(0), query, known[:, 0])
    run = jax.jit(
        lambda variables, query, known: evaluation.evaluate(
            model, variables, query, known[:, :1], exclude=known[:, 1:]
        )
    )

    def turn() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(run(variables, query, known))
        return time.perf_counter() - begin

    turn()
    values = [turn() for _ in range(rounds)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with results.together():
        results.add(*row, values, seconds=sum(values), users=len(users))
        results.add("all of the above", data, "this process", "peak_rss_mib", peak, seconds=0.0)


if __name__ == "__main__":
    main(*start(__file__, __doc__, Flags, data=("ml-1m*",)))
