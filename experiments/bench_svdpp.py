"""One epoch of SVD++ on ML-1M, 20 factors: ours beside Surprise's, in turns, in one run.

    taskset -c 0,1 python experiments/bench_svdpp.py --record --data-dir FOLDER --peer-python VENV/bin/python

VENV is a virtual environment with `pip install scikit-surprise`; without it that row is left out.
Both go once over all 1,000,209 ratings. Surprise takes Koren's stochastic step after each rating,
in Cython on one core, with its faster setting `cache_ratings=True`; ours takes one Adam step for
each batch of users, of the size that movielens_svdpp takes; see there how accurate its epochs are.
On 2 CPU cores: 0.10 s beside 12.0 s.
"""

import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import common
import jax
import numpy as np
import optax
from protocols.ratings import columns, synthetic

from rezoo import losses, objectives, training
from rezoo.data import batches
from rezoo.data.interactions import Interactions
from rezoo.datasets import movielens
from rezoo.models.factorization import SVDpp
from rezoo.training import bucketed

FACTORS, RATINGS_PER_BATCH, EPOCHS_PER_TURN = 20, 16384, 5
PROTOCOL = "20 factors, all ratings, in turns"

SURPRISE = """
import sys, time
import numpy as np
from surprise import Dataset, Reader, SVDpp
user, item, rating = np.load(sys.argv[1])
rows = [(int(u), int(i), float(r), None) for u, i, r in zip(user, item, rating)]
train = Dataset(Reader(rating_scale=(1, 5))).construct_trainset(rows)
print("ready", flush=True)
for _ in sys.stdin:
    model = SVDpp(n_factors=int(sys.argv[2]), n_epochs=1, cache_ratings=True)
    start = time.perf_counter()
    model.fit(train)
    seconds = time.perf_counter() - start
    memory = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(seconds, int(memory) / 1024, flush=True)
"""


@dataclass(frozen=True)
class Flags(common.Flags):
    """Flags of this benchmark; `seeds` is the number of turns."""

    peer_python: Path | None = None
    """Python of an environment with scikit-surprise."""


def ours(log: Interactions) -> tuple[Callable[[], list[float]], float]:
    """(a turn: seconds of each of its epochs; seconds of the first epoch, with compilation)."""
    buckets = batches.by_user(columns(log), growth=1.5)
    model = SVDpp(log.num_users, log.num_items, FACTORS, mean=float(np.mean(columns(log)[2])))
    optimizer = optax.adam(0.01)
    objective = objectives.l2(objectives.pointwise(model, losses.squared), 0.05)
    step = training.make_step(objective, optimizer)
    epoch = jax.jit(
        lambda state, data: bucketed.epoch(step, state, data, RATINGS_PER_BATCH), donate_argnums=0
    )
    state = training.init_state(jax.random.key(0), model, optimizer, buckets[0])

    def timed() -> float:
        nonlocal state
        start = time.perf_counter()
        state, metrics = epoch(state, buckets)
        jax.block_until_ready((state, metrics))
        return time.perf_counter() - start

    first = timed()
    return lambda: [timed() for _ in range(EPOCHS_PER_TURN)], first


def surprise(
    python: Path, log: Interactions, folder: Path
) -> tuple[Callable[[], tuple[float, float]], subprocess.Popen]:
    """A turn: (seconds of one epoch, peak memory in MiB), in a process that waits between turns."""
    np.save(folder / "ratings.npy", np.stack(columns(log)))
    arguments = [str(python), "-c", SURPRISE, str(folder / "ratings.npy"), str(FACTORS)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    answers, questions = process.stdout, process.stdin
    if answers.readline() != "ready\n":
        raise SystemExit(f"{python} could not run Surprise; pip install scikit-surprise there")

    def turn() -> tuple[float, float]:
        questions.write("go\n")
        questions.flush()
        seconds, memory = answers.readline().split()
        return float(seconds), float(memory)

    return turn, process


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("ml-100k*", "ml-1m*"))
    dataset = "synthetic" if flags.smoke else "ml-1m"
    log = synthetic() if flags.smoke else movielens.load(dataset, manual_dir=flags.data_dir).ratings
    our_turn, first = ours(log)
    if not flags.peer_python:
        print("no --peer-python: Surprise is left out")
    epochs, peer_epochs, peer_memory = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        peer = surprise(flags.peer_python, log, Path(folder)) if flags.peer_python else None
        for _ in range(flags.seeds):
            epochs += our_turn()
            if peer:
                seconds, peer_memory = peer[0]()
                peer_epochs.append(seconds)
        if peer:
            peer[1].communicate()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with results.together():
        results.put(
            "SVDpp",
            dataset,
            PROTOCOL,
            "seconds per epoch",
            epochs,
            seconds=sum(epochs),
            median=statistics.median(epochs),
            first_epoch_with_compilation=first,
            peak_rss_mib=memory,
        )
        if peer_epochs:
            results.put(
                "Surprise SVDpp",
                dataset,
                PROTOCOL,
                "seconds per epoch",
                peer_epochs,
                seconds=sum(peer_epochs),
                median=statistics.median(peer_epochs),
                peak_rss_mib=peer_memory,
            )
            ratio = statistics.median(peer_epochs) / statistics.median(epochs)
            results.put(
                "SVDpp", dataset, PROTOCOL, "epochs per epoch of Surprise (medians)", ratio, seconds=0.0
            )
    results.finish()


if __name__ == "__main__":
    main()
