"""Training on two processes, or two devices, beside PyTorch's DistributedDataParallel with SparseAdam.

    python experiments/bench_processes.py --record --peer-python VENV/bin/python

VENV is a virtual environment with torch and numpy; without it the peer is left out. MF (64 wide) and Wide &
Deep (16 wide, layers 128 and 64), of 10⁶ users and 10⁵ items, logistic loss, 16,384 rows a step with ids by
popularity, the same for all, half of them of each process; Adam that moves the looked-up rows of the large
tables alone (`row_sparse.lazy_adam`, `torch.optim.SparseAdam`), and Adam for all else. Both have two
processes, which speak over loopback by gloo, on two cores that the system shares out; PyTorch has one thread
in each, and the whole tables; ours has half of the rows in each, as a row has one holder. A third contender
is one process of ours with two devices. On CPUs, XLA sums the gradient of every array that all hold by a call
of gloo of its own, 15 for Wide & Deep, where PyTorch has one. Turns alternate; a figure is the median of the
rounds: rows per second, of both processes together.
"""

import socket
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from common import Flags, Results, start
from jax.sharding import AxisType
from peers.rounds import serve
from turns import Peer, Turn, take_turns

from rezoo import losses, objectives
from rezoo.data import batches
from rezoo.devices import processes, sharding
from rezoo.models import MF, WideDeep
from rezoo.training import row_sparse

BATCHES, ROWS, PROCESSES = 32, 2**14, 2
FEW = 10_000
"""Tables of fewer rows are moved as a whole."""
SIZES = {
    "MF": {"user": 10**6, "item": 10**5},
    "WideDeep": {"user": 10**6, "item": 10**5, "hour": 25, "age": 8, "gender": 4, "category": 100},
}
DIM = {"MF": 64, "WideDeep": 16}


@dataclass(frozen=True)
class ProcessesFlags(Flags):
    """Flags of this benchmark."""

    peer_python: Path | None = None
    """Python of an environment with torch."""
    rounds: int = 9
    """Turns that each contender takes."""
    models: tuple[str, ...] = ("MF", "WideDeep")
    """What to train."""


def main(flags: ProcessesFlags, results: Results) -> None:
    """A contest for each model."""
    if flags.peer_python is None:
        print("no --peer-python: PyTorch is left out")
    for name in flags.models[:1] if flags.smoke else flags.models:
        contest(flags, results, name)
    results.finish()


def contest(flags: ProcessesFlags, results: Results, name: str) -> None:
    """Rows a second of the contenders in turns, and ratios."""
    sizes = {one: min(rows, 2 * FEW) if flags.smoke else rows for one, rows in SIZES[name].items()}
    data = f"{sizes['user']:,} users, {sizes['item']:,} items"
    size = f"{ROWS:,} rows a step"
    if results.values(name, data, f"{size}, rezoo", "rows_per_s"):
        return
    file = results.out.absolute() / f"{name}.npz"
    write(file, sizes)
    begin, steps = time.monotonic(), 2 if flags.smoke else BATCHES

    def ours(number: int, devices: int) -> list[Peer]:
        words = (__file__, file, name, DIM[name], steps, free_port(), number)
        return [Peer(Path(sys.executable), results.out, *words, one, devices) for one in range(number)]

    contenders = {"rezoo": ours(PROCESSES, 1)}
    if not flags.smoke:
        contenders["rezoo in one process"] = ours(1, PROCESSES)
    if flags.peer_python:
        words = ("torch_ddp.py", file, name, DIM[name], FEW, steps, free_port(), PROCESSES)
        contenders["torch"] = [Peer(flags.peer_python, results.out, *words, one) for one in range(PROCESSES)]
    with ExitStack() as stack:
        turns = {who: stack.enter_context(together(some)) for who, some in contenders.items()}
        speeds = take_turns(turns, 2 if flags.smoke else flags.rounds)
    seconds = time.monotonic() - begin
    medians = {who: statistics.median(values) for who, values in speeds.items()}
    with results.together():
        for who, values in speeds.items():
            about = contenders[who][0].about
            key = name, data, f"{size}, {who}", "rows_per_s"
            results.add(*key, medians[who], seconds=seconds, rounds=values, **about)
            if who != "rezoo":
                ratio = medians["rezoo"] / medians[who]
                results.add(name, data, f"{size}, rezoo over {who}", "ratio", ratio, seconds=0.0)


@contextmanager
def together(peers: list[Peer]) -> Iterator[Turn]:
    """Processes that are one contender: they begin, take turns and end together; its speed is their sum."""
    with ExitStack() as stack, ThreadPoolExecutor(len(peers)) as pool:
        turns = list(pool.map(stack.enter_context, peers))
        yield lambda: sum(pool.map(lambda turn: turn(), turns))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def write(file: Path, sizes: Mapping[str, int]) -> None:
    """Batches, `[BATCHES ROWS]` of each column, and the rows of each table."""
    rng, shape = np.random.default_rng(0), (BATCHES, ROWS)
    columns = {one: (rng.zipf(1.2, shape) % (rows - 1) + 1).astype(np.int32) for one, rows in sizes.items()}
    label = rng.integers(0, 2, shape).astype(np.float32)
    rows: dict[str, Any] = {f"{one}_rows": rows for one, rows in sizes.items()}
    np.savez(file, label=label, columns=list(columns), **columns, **rows)


def work(file: str, name: str, *numbers: int) -> None:
    """Be one of the processes that `contest` starts, and take turns."""
    dim, steps, port, number, process, devices = numbers
    jax.config.update("jax_num_cpu_devices", devices)
    if number > 1:
        processes.connect(f"localhost:{port}", number, process, timeout=600)
    mesh = jax.make_mesh((jax.device_count(),), (sharding.AXIS,), axis_types=(AxisType.Auto,))
    share = ROWS // number
    own = slice(process * share, (process + 1) * share)
    given = np.load(file)
    sizes = {one: int(given[f"{one}_rows"]) for one in given["columns"].tolist()}
    columns = {one: given[one][:, own] for one in (*sizes, "label")}
    own_rows = list(rows_of(columns))
    data = [sharding.spread(rows, mesh) for rows in own_rows]
    model = MF(sizes["user"], sizes["item"], dim) if name == "MF" else WideDeep(sizes, dim=dim)
    small = [one for one, rows in sizes.items() if rows < FEW]
    optimizers = optax.adam(1e-3), row_sparse.lazy_adam(1e-3)
    step = row_sparse.make_step(
        objectives.pointwise(model, losses.logistic), *optimizers, row_sparse.spread_over(mesh)
    )
    state = row_sparse.init_spread(jax.random.key(0), model, *optimizers, own_rows[0], mesh, dense=small)
    program = jax.jit(step, donate_argnums=0).lower(state, data[0]).compile()
    at = 0

    def one() -> None:
        nonlocal state, at
        state, metrics = jax.block_until_ready(program(state, data[at]))
        if int(metrics["overflow"]):
            raise RuntimeError("ids found no place on their route")
        at = (at + 1) % len(data)

    serve(one, steps, share, library="rezoo", version=jax.__version__)


def rows_of(columns: Mapping[str, np.ndarray]) -> Iterator[Any]:
    """The batches of this process."""
    others = [one for one in columns if one not in ("user", "item", "label")]
    for n in range(BATCHES):
        features = {one: columns[one][n] for one in others}
        yield batches.pairs(columns["user"][n], columns["item"][n], columns["label"][n], features=features)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].endswith(".npz"):
        work(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main(*start(__file__, __doc__, ProcessesFlags))
