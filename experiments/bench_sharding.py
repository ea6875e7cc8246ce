"""What tables over many devices, and over many rows, cost: bytes sent, operations, seconds, memory.

    python experiments/bench_sharding.py --record

The devices are parts of one CPU (`--xla_force_host_platform_device_count`), so bytes and operations are those
that the compiler puts into a step, and seconds are those of all devices one after the other. --parts chooses;
each measurement is made in a process of its own:

- sent: MF (64 wide, 16,384 pairs a device) with users and items spread over 8, 16 and 64 devices, of 10⁴ to
  10⁸ rows: bytes that a device's collectives give in a step, for each of the two routes of
  `rezoo.devices.sharding`; beside it those of its ids' rows and gradients, 2 · ids · width · 4.
- lists: the ten best of 10⁴ to 10⁸ items for 256 users of that MF, over 8 and 64 devices: bytes that a
  device's collectives give; beside it those of the users' vectors, 4 · 256 · width.
- softmax: the same bytes of a gradient of the full softmax of SASRec over 10⁴ and 10⁷ items, of 128 sessions
  of 20 clicks; beside them those of the states, 4 · 128 · 20 · width.
- operations: floating-point operations of a step on each of 1 … 512 devices, at 16,384 pairs a device,
  without those by which a CPU puts together what an all-to-all brought; and the bytes that the device's
  memory reads and writes at least (`protocols/counted.py`).
- big: MF of 10⁸ users and 10⁴ items, 16 wide, row-wise Adagrad, over 8 devices, beside 10⁵ users.
- sessions: GRU4Rec and SASRec over 10⁷ items on one device, trained by row against 1,024 sampled items,
  beside 10⁴ items, and beside a dense optimizer over 10⁴ and 10⁶.
"""

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import Flags, Results, start
from protocols import parts
from protocols.counted import memory_bytes, sent_bytes
from protocols.parts import Figures, put
from protocols.spread_steps import compiled, factorization, mesh, pairs, popular, problem, spread_shapes

from rezoo import evaluation, losses, objectives, training
from rezoo.data import batches
from rezoo.devices import sharding
from rezoo.devices.sharding import lookup
from rezoo.models import GRU4Rec, SASRec
from rezoo.training import row_sparse
from rezoo.types import Batch, Step, TrainState

EACH, WIDTH, LENGTH, SAMPLE, PRODUCTS, ASKED = 2**14, 64, 20, 1024, 10**4, 256
ROUTES = {"gather ids": sharding.gather_ids(), "all to all": sharding.all_to_all()}


@dataclass(frozen=True)
class ShardingFlags(Flags):
    """Flags of this experiment."""

    parts: tuple[str, ...] = ("sent", "lists", "softmax", "operations", "big", "sessions")
    """What to measure."""


def main(flags: ShardingFlags, results: Results) -> None:
    """The parts."""
    for part in flags.parts:
        PARTS[part](flags.smoke, results)
    results.finish()


def all_sent(smoke: bool, results: Results) -> None:
    """A step's bytes, by devices, rows and route."""
    for number in () if smoke else (8, 16, 64):
        for route in ROUTES:
            for size in (10**4, 10**6, 10**8):
                key = "MF", f"{size:.0e} rows, {number} devices", f"a step, {route}"
                put(results, __file__, key, f"sent {size} {route}", number)


def all_lists(smoke: bool, results: Results) -> None:
    """Lists' bytes, by devices and rows."""
    for number in (2,) if smoke else (8, 64):
        for size in (1000,) if smoke else (10**4, 10**6, 10**8):
            key = "MF", f"{size:.0e} rows, {number} devices", "ten best for 256 users"
            put(results, __file__, key, f"lists {size}", number)


def all_softmax(smoke: bool, results: Results) -> None:
    """A gradient's bytes, by devices and rows."""
    for number in () if smoke else (8, 64):
        for size in (10**4, 10**7):
            key = "SASRec", f"{size:.0e} rows, {number} devices", "a gradient of the full softmax"
            put(results, __file__, key, f"softmax {size}", number)


def all_operations(smoke: bool, results: Results) -> None:
    """A step's operations, by devices."""
    for number in (2,) if smoke else (1, 8, 64, 512):
        key = "MF", f"1e+06 rows, {number} devices", "a step on each device"
        put(results, __file__, key, "operations 1000000", number)


def all_big(smoke: bool, results: Results) -> None:
    """A step's time and memory, by rows."""
    for size in (1000,) if smoke else (10**5, 10**8):
        put(results, __file__, ("MF", f"{size:.0e} rows, 8 devices", "a step"), f"big {size}", 8)


def all_sessions(smoke: bool, results: Results) -> None:
    """A session model's step, by items; dense up to what goes into memory with its gradient and moments."""
    sizes = {"by row": (1000,), "dense": ()} if smoke else {"by row": (10**4, 10**7), "dense": (10**4, 10**6)}
    for name in ("GRU4Rec",) if smoke else ("GRU4Rec", "SASRec"):
        for how, items in sizes.items():
            for size in items:
                key = name, f"{size:.0e} items", f"a step, {how}"
                put(results, __file__, key, f"sessions {size} {name} {how}")


PARTS = {
    "sent": all_sent,
    "lists": all_lists,
    "softmax": all_softmax,
    "operations": all_operations,
    "big": all_big,
    "sessions": all_sessions,
}


def measure(part: str) -> Figures:
    """A measurement, in this process."""
    kind, size, *rest = part.split(" ")
    rows = int(size)
    if kind == "operations":
        return operations(rows)
    if kind == "sent":
        return sent(rows, ROUTES[" ".join(rest)])
    if kind == "sessions":
        return sessions(rows, rest[0], " ".join(rest[1:]))
    return {"lists": lists, "softmax": softmax, "big": big}[kind](rows)


def sent(rows: int, route: sharding.Route) -> Figures:
    """Bytes that a device's collectives give in a step, and of the rows of its pairs and their gradients."""
    own = 2 * 4 * EACH * (2 * WIDTH + 1)  # a user's vector, an item's, and its bias
    program = compiled(problem(rows, rows, WIDTH, EACH, route))
    return {"bytes sent": sent_bytes(program), "bytes of rows": own}


def lists(rows: int) -> Figures:
    """Bytes that a device's collectives give for lists, and of the vectors of those who are given them."""
    model = factorization(rows, rows, WIDTH)[0]
    query = batches.queries(popular(rows, ASKED))
    logical = jax.eval_shape(lambda: model.init(jax.random.key(0), query, query.user))
    variables = spread_shapes(logical, sharding.rules(logical))
    best = jax.jit(lambda variables, query: evaluation.recommend(model, variables, query, 10, mesh=mesh()))
    program = best.lower(variables, query).compile()
    return {"bytes sent": sent_bytes(program), "bytes of vectors": 4 * ASKED * WIDTH}


def softmax(rows: int) -> Figures:
    """Bytes that a device's collectives give for the gradient by all parameters, and of the states."""
    model, batch = SASRec(rows, WIDTH, max_length=LENGTH), next_items(popular(rows, (128, LENGTH + 1)))
    logical = jax.eval_shape(lambda: model.init(jax.random.key(0), batch.query, batch.item[:, 0]))
    objective = objectives.next_item_softmax(model, mesh=mesh())
    gradient = jax.jit(jax.grad(lambda *inputs: objective(*inputs)[0]))
    variables = spread_shapes(logical, sharding.rules(logical))
    program = gradient.lower(variables, jax.random.key(0), batch).compile()
    return {"bytes sent": sent_bytes(program), "bytes of states": 4 * 128 * LENGTH * WIDTH}


def operations(rows: int) -> Figures:
    """Operations of a step on a device, and bytes of its memory."""
    given = problem(rows, rows, WIDTH, EACH)
    moved = memory_bytes(given.step, given.state, given.batch, devices=jax.device_count())
    lookup.exchanged = lambda x, axis: x
    given = problem(rows, rows, WIDTH, EACH)
    return {"operations": compiled(given).cost_analysis()["flops"], "bytes of memory": moved}


def big(rows: int) -> Figures:
    """Seconds of a step, and memory, with a table of these rows over the devices."""
    model, objective, optimizers = factorization(rows, PRODUCTS, 16)
    step = row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(mesh()))
    batch = pairs(rows, PRODUCTS, EACH)
    state = row_sparse.init_spread(jax.random.key(0), model, *optimizers, batch, mesh())
    return timed(step, state, sharding.spread(batch, mesh()))


def sessions(items: int, name: str, how: str) -> Figures:
    """Seconds of a step, and memory, of a session model on one device."""
    model = GRU4Rec(items, WIDTH, tied=True) if name == "GRU4Rec" else SASRec(items, WIDTH, max_length=LENGTH)
    batch = next_items(popular(items, (128, LENGTH + 1)))
    objective = objectives.next_item_sampled(model, losses.softmax_cross_entropy, jnp.ones(items), SAMPLE)
    dense = optax.adam(1e-3)
    if how == "dense":
        state = training.init_state(jax.random.key(0), model, dense, batch)
        return timed(training.make_step(objective, dense), state, batch)
    rows = row_sparse.row_wise_adagrad(0.1)
    state = row_sparse.init_state(jax.random.key(0), model, dense, rows, batch)
    return timed(row_sparse.make_step(objective, dense, rows), state, batch)


def next_items(item: np.ndarray) -> Batch:
    """Sessions of clicks, each to be told from those before it."""
    query, target = batches.queries(history=item[:, :-1]), jnp.asarray(item[:, 1:])
    return Batch(query, target, jnp.ones(target.shape), target > 0)


def timed(step: Step, state: TrainState, batch: Batch) -> Figures:
    """The median of the seconds of some steps, compiled before, and the process's memory at its highest."""
    program = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    seconds = []
    for _ in range(12):
        begin = time.perf_counter()
        state, metrics = program(state, batch)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - begin)
    if bool(state.halted) or int(metrics.get("overflow", 0)):
        raise RuntimeError(f"the run halted: {metrics}")
    return {"ms": 1e3 * float(np.median(seconds[2:])), "GiB of memory": parts.peak_gib()}


if __name__ == "__main__":
    if part := parts.asked():
        parts.answer(measure, part)
    else:
        main(*start(__file__, __doc__, ShardingFlags))
