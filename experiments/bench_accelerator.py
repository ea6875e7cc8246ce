"""What a device can do, and what share of it rezoo's programs reach: one command for an accelerator.

    python experiments/bench_accelerator.py --record       # ≤ 9 minutes; --smoke tries it on a CPU

Needs no data, no peers, and only the extra of the device (`-e '.[experiments,cuda12]'`). First the copy
bandwidth and the peak of matrix products, in float32 (as the device does them by default: on an NVIDIA GPU in
TensorFloat-32) and bfloat16; then, as shares of them (--parts chooses):

- epoch: MF, 64 wide, 10⁶ users and 10⁵ items trained by row with lazy Adam; the bytes are those of the
  looked-up rows: θ, m and v read and written once. At least .8 of copy bandwidth is asked for.
- rows: that step at 10⁴ … 10⁷ rows a table, stored in float32 and in bfloat16.
- softmax: value and gradient of `losses.catalogue_softmax`, 4,096 states over 10⁶ items, 8 T N D operations.
- attention: value and gradient of causal attention at L = 200 … 4,096 of some 32,768 events, two heads of 64,
  as the array of every two events and as `nn.attention`, packed or one session a row (cuDNN's, where it
  applies); 7 B H L² E operations, those of the causal half.
- study: 16 learning rates of MF in one vmapped program and as 16 runs; a ratio of 5 is asked for.
- live: 256 sessions observe a click and get their ten best of 43,097 items, SASRec with cache and GRU4Rec.

Compilation is timed apart; a figure is the median of five blocks of calls, and a block ends when the device
is done: nothing is sent to the host inside. What --budget seconds leave no time for, or memory no room, is
left out, and said.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import Flags, Results, start
from protocols.contest import DIM

from rezoo import losses, objectives, sampling, training
from rezoo.data.batches import pairs, queries
from rezoo.devices.backend import free_memory
from rezoo.models import MF, GRU4Rec, SASRec
from rezoo.nn import attention, masks
from rezoo.nn.dropout import Dropout
from rezoo.serving import live
from rezoo.training import row_sparse

BLOCKS, BLOCK = 5, 0.05
"""Blocks of a median, and seconds that one takes at least."""
TYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True)
class AcceleratorFlags(Flags):
    """Flags of this benchmark."""

    parts: tuple[str, ...] = ("epoch", "rows", "softmax", "attention", "study", "live")
    """What to measure after the device itself."""
    budget: float = 480.0
    """Seconds after which no further measurement is begun."""
    rows: tuple[int, ...] = (10**4, 10**5, 10**6, 10**7)
    """Of each table of the row-sparse step."""
    lengths: tuple[int, ...] = (200, 512, 1024, 2048, 4096)
    """Of the histories of attention."""
    items: int = 10**6
    """Of the catalogue of the softmax."""


class Bench:
    """The clock, the results, and what the device can do."""

    def __init__(self, flags: AcceleratorFlags, results: Results):
        self.flags, self.results, self.begun = flags, results, time.perf_counter()
        self.copied, self.multiplied = 1.0, dict.fromkeys(TYPES, 1.0)
        """Bytes a second, and operations a second of each type."""

    def fits(self, what: str, bytes_needed: float = 0) -> bool:
        """Whether there is time and memory for one more; says what is left out."""
        late = time.perf_counter() - self.begun > self.flags.budget
        large = bytes_needed > free_memory()
        if late or large:
            print(f"{what} is left out: no {'time' if late else 'memory'} left")
        return not (late or large)

    def timed(self, function: Callable[..., Any], *arguments: Any, carried: bool = False) -> dict[str, float]:
        """Seconds of a call, and of its compilation; `carried` if its result is its first argument."""
        began = time.perf_counter()
        run = jax.jit(function, donate_argnums=0 if carried else ()).lower(*arguments).compile()
        compilation = time.perf_counter() - began
        first, *rest = arguments

        def block(calls: int) -> float:
            nonlocal first
            began = time.perf_counter()
            for _ in range(calls):
                out = run(first, *rest)
                first = out if carried else first
            jax.block_until_ready(out)
            return (time.perf_counter() - began) / calls

        block(1)
        calls = 1 if self.flags.smoke else max(1, round(BLOCK / block(1)))
        each = [block(calls) for _ in range(2 if self.flags.smoke else BLOCKS)]
        return {"seconds": float(np.median(each)), "compilation": compilation}

    def add(self, what: tuple[str, str, str], took: dict[str, float], **shares: float) -> None:
        """The seconds of a call, and its rates or shares."""
        notes = {"compilation_seconds": round(took["compilation"], 2)}
        for metric, value in ({"call_seconds": took["seconds"]} | shares).items():
            self.results.put(*what, metric, value, seconds=took["seconds"], **notes)
        line = ", ".join(f"{metric} {value:.4g}" for metric, value in shares.items())
        print(f"{' | '.join(what)}: {took['seconds'] * 1e3:.3f} ms {line}", flush=True)

    def size(self, full: int, small: int) -> int:
        """The small one with --smoke."""
        return small if self.flags.smoke else full


def device(bench: Bench) -> None:
    """Copy bandwidth and peak of products."""
    numbers = jnp.zeros(bench.size(2**28, 2**20), jnp.float32)
    took = bench.timed(lambda x: x + 1, numbers)
    bench.copied = 2 * numbers.nbytes / took["seconds"]
    bench.add(("device", "copy", f"{numbers.nbytes:,} bytes"), took, bytes_per_s=bench.copied)
    n = bench.size(8192, 256)
    for name, dtype in TYPES.items():
        a = jax.random.normal(jax.random.key(0), (n, n), dtype)
        took = bench.timed(lambda a: a @ a, a)
        bench.multiplied[name] = 2 * n**3 / took["seconds"]
        bench.add(("device", "product", f"{n} wide, {name}"), took, flop_per_s=bench.multiplied[name])


def by_row(
    bench: Bench, what: tuple[str, str, str], users: int, items: int, batch: int, steps: int, dtype: Any
) -> None:
    """An epoch of so many steps, its bytes as a share of copy bandwidth."""
    size = jnp.dtype(dtype).itemsize
    rng = np.random.default_rng(0)
    user, item = (rng.integers(1, high, steps * batch).astype(np.int32) for high in (users, items))
    distinct = sum(
        len(np.unique(ids[at : at + batch])) for ids in (user, item) for at in range(0, len(ids), batch)
    )
    data = pairs(user, item, rng.integers(0, 2, steps * batch))
    model, optimizers = MF(users, items, dim=DIM), (optax.sgd(0.01), row_sparse.lazy_adam(0.01))
    step = row_sparse.make_step(objectives.pointwise(model, losses.squared), *optimizers)
    init = partial(row_sparse.init_state, table_dtype=dtype)
    state = jax.jit(lambda key: init(key, model, *optimizers, data))(jax.random.key(0))
    data = jax.device_put(data)
    took = bench.timed(
        lambda state, data: training.epoch(step, state, data, batch)[0], state, data, carried=True
    )
    rate = distinct * DIM * (2 * size + 4 * 4) / took["seconds"]
    each = took["seconds"] / steps
    bench.add(what, took, step_seconds=each, bytes_per_s=rate, share_of_copy=rate / bench.copied)


def epoch(bench: Bench) -> None:
    """MF by row."""
    users, items, batch = (bench.size(*pair) for pair in ((10**6, 500), (10**5, 300), (2**17, 256)))
    what = "MF", f"{users:,} users, {items:,} items", f"epoch, batches of {batch:,}"
    if bench.fits("the epoch of MF", 5 * 4 * DIM * (users + items)):
        by_row(bench, what, users, items, batch, bench.size(32, 2), jnp.float32)


def rows(bench: Bench) -> None:
    """The row-sparse step, whatever the number of rows."""
    for count in (300, 1000) if bench.flags.smoke else bench.flags.rows:
        for name, dtype in TYPES.items():
            what = "MF", f"{count:,} rows", f"row-sparse step, tables of {name}"
            if bench.fits(" ".join(what), 2 * 5 * 4 * DIM * count):
                by_row(bench, what, count, count, bench.size(8192, 64), bench.size(16, 2), dtype)


def softmax(bench: Bench) -> None:
    """The catalogue's softmax and its gradient."""
    items, states = bench.size(bench.flags.items, 1000), bench.size(4096, 32)
    for name, dtype in TYPES.items():
        what = "catalogue_softmax", f"{items:,} items", f"{states:,} states, {name}"
        if not bench.fits(" ".join(what), 4 * 4 * DIM * items + 4 * 2**29):
            continue
        state, table = (jax.random.normal(jax.random.key(n), (n, DIM), dtype) for n in (states, items))
        target = jnp.arange(1, states + 1) % items
        gradient = jax.grad(lambda s, t, target: losses.catalogue_softmax(s, t, target).sum(), (0, 1))
        took = bench.timed(gradient, state, table, target)
        rate = 8 * states * items * DIM / took["seconds"]
        bench.add(what, took, flop_per_s=rate, share_of_product=rate / bench.multiplied[name])


def every_two(q: Any, k: Any, v: Any) -> Any:
    """Causal attention by the array of every two events."""
    past = jnp.tri(q.shape[1], dtype=bool)[None, None]
    score = jnp.einsum("bqhe,bkhe->bhqk", q, k) * q.shape[-1] ** -0.5
    share = jax.nn.softmax(jnp.where(past, score, -1e9).astype(jnp.float32)).astype(q.dtype)
    return jnp.einsum("bhqk,bkhe->bqhe", share, v)


def attentions(bench: Bench) -> None:
    """Attention as the array of every two events, and in pieces."""
    heads, width = 2, 64
    for length in (60, 300) if bench.flags.smoke else bench.flags.lengths:
        size = max(bench.size(32768, 300) // length, 1)
        segment = jnp.ones((size, length), jnp.int32)

        def ours(q: Any, k: Any, v: Any, packed: bool, segment: Any = segment) -> Any:
            return attention.attention(q, k, v, masks.past(segment, packed=packed), Dropout(0.0))

        ways = {
            "every two": every_two,
            "packed": partial(ours, packed=True),
            "one session a row": partial(ours, packed=False),
        }
        for name, dtype in TYPES.items():
            keys = jax.random.split(jax.random.key(0), 3)
            qkv = [jax.random.normal(key, (size, length, heads, width), dtype) for key in keys]
            for way, function in ways.items():
                what = "attention", f"{size} × {length} events", f"{way}, {name}"
                kept = size * heads * length**2 * 4 * 4 if way == "every two" else 0
                if not bench.fits(" ".join(what), kept):
                    continue
                total = lambda *x, f=function: f(*x).astype(jnp.float32).sum()  # noqa: E731
                took = bench.timed(jax.grad(total, (0, 1, 2)), *qkv)
                rate = 7 * size * heads * length**2 * width / took["seconds"]
                bench.add(what, took, flop_per_s=rate, share_of_product=rate / bench.multiplied[name])


def study(bench: Bench) -> None:
    """16 runs as one program, and one after the other."""
    members, count = bench.size(16, 3), bench.size(2000, 100)
    if not bench.fits("the study"):
        return
    rng = np.random.default_rng(0)
    data = pairs(*(rng.integers(1, count, bench.size(100_000, 500)) for _ in range(2)))
    model = MF(count, count, dim=DIM)

    def train(rate: Any) -> Any:
        optimizer = optax.adam(rate)
        objective = objectives.sampled(model, losses.bpr, sampling.uniform(count), 1)
        state = training.init_state(jax.random.key(0), model, optimizer, data)
        step = training.make_step(objective, optimizer)
        return training.fit(step, state, data, num_epochs=1, batch_size=bench.size(2048, 128))[1]["loss"]

    rates = jnp.geomspace(1e-4, 1e-1, members)
    together, alone = bench.timed(jax.vmap(train), rates), bench.timed(train, rates[0])
    ratio = members * alone["seconds"] / together["seconds"]
    what = "MF", f"{count:,} users and items", f"study of {members} learning rates"
    bench.add((*what[:2], f"{what[2]}, one run"), alone)
    bench.add((*what[:2], f"{what[2]}, vmapped"), together, ratio=ratio)


def clicks(bench: Bench) -> None:
    """Clicks and their lists, many sessions at a time."""
    items, slots, at_once = (bench.size(*pair) for pair in ((43_098, 300), (10_000, 20), (256, 8)))
    models = {"SASRec": SASRec(items, DIM, max_length=50), "GRU4Rec": GRU4Rec(items, DIM)}
    for name, model in models.items():
        if not bench.fits(f"live clicks of {name}"):
            continue
        asked = queries(history=[[1, 2]])
        served = live.serve(model, jax.jit(model.init)(jax.random.key(0), asked, jnp.array([1])))
        sessions = live.start(model, served, slots, cached=name == "SASRec")
        slot = jnp.arange(at_once)

        def click(sessions: Any, served: Any, slot: Any, model: Any = model) -> Any:
            item = sessions.count[slot] * 7919 % (items - 1) + 1
            sessions = live.observe(model, served, sessions, slot, item)
            ids, _ = live.recommend(model, served, sessions, slot, 10)
            # The list goes into the session, so that no call's answer is left out.
            return sessions._replace(user=sessions.user.at[slot].set(ids[:, 0]))

        took = bench.timed(click, sessions, served, slot, carried=True)
        what = name, f"{items:,} items", f"live, {at_once} sessions at a time"
        bench.add(what, took, clicks_per_s=at_once / took["seconds"])


PARTS: dict[str, Callable[[Bench], None]] = {
    "epoch": epoch,
    "rows": rows,
    "softmax": softmax,
    "attention": attentions,
    "study": study,
    "live": clicks,
}


def main(flags: AcceleratorFlags, results: Results) -> None:
    """The device, then the parts."""
    bench = Bench(flags, results)
    device(bench)
    for part in flags.parts:
        PARTS[part](bench)
    print(f"{time.perf_counter() - bench.begun:.0f} seconds")
    results.finish()


if __name__ == "__main__":
    main(*start(__file__, __doc__, AcceleratorFlags))
