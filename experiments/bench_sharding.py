"""What tables over many devices, and over many rows, cost: bytes sent, operations, seconds, memory.

    python experiments/bench_sharding.py --record

The devices are parts of one CPU (`--xla_force_host_platform_device_count`), so bytes and operations are those
that the compiler puts into a step, and seconds are those of all devices one after the other. Each part runs
in a process of its own:

- sent: MF (64 wide, 16,384 pairs a device) with users and items spread over 8, 16 and 64 devices, of 10⁴ to
  10⁸ rows: bytes that a device's collectives give in a step, for each of the two routes of
  `rezoo.devices.sharding`; beside it those of its ids' rows and gradients, 2 · ids · width · 4.
- lists: the ten best of 10⁴ to 10⁸ items for 256 users of that MF, over 8 and 64 devices: bytes that a
  device's collectives give; beside it those of the users' vectors, 4 · 256 · width.
- softmax: the same bytes of a gradient of the full softmax of SASRec over 10⁴ and 10⁷ items, of 128 sessions
  of 20 clicks; beside them those of the states, 4 · 128 · 20 · width.
- operations: floating-point operations of a step on each of 1 … 512 devices, at 16,384 pairs a device,
  without those by which a CPU puts together what an all-to-all brought.
- big: MF of 10⁸ users and 10⁴ items, 16 wide, row-wise Adagrad, over 8 devices, beside 10⁵ users.
- sessions: GRU4Rec and SASRec over 10⁷ items on one device, trained by row against 1,024 sampled items,
  beside 10⁴ items, and beside a dense optimizer.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import Flags, Results, start
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rezoo import evaluation, losses, objectives, training
from rezoo.data import batches
from rezoo.devices import sharding
from rezoo.devices.sharding import lookup
from rezoo.models import MF, GRU4Rec, SASRec
from rezoo.training import row_sparse
from rezoo.types import Batch, Step, TrainState

EACH, WIDTH, LENGTH, SAMPLE, PRODUCTS, ASKED = 2**14, 64, 20, 1024, 10**4, 256
ROUTES = {"gather ids": sharding.gather_ids(), "all to all": sharding.all_to_all()}
PATTERN = re.compile(r"= (.*?) (all-to-all|all-gather|all-reduce|reduce-scatter)(?:-start)?\(")
ARRAY = re.compile(r"(pred|s8|u8|s32|u32|f32|s64|f64)\[([\d,]*)\]")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s64": 8, "f64": 8}


@dataclass(frozen=True)
class ShardingFlags(Flags):
    """Flags of this experiment."""

    part: str = ""
    """Measure this alone, and print it; parts run as processes of this script."""


def main(flags: ShardingFlags, results: Results) -> None:
    """All parts, each in its process."""
    smoke = flags.smoke
    devices, rows = ((2,), (1000,)) if smoke else ((8, 16, 64), (10**4, 10**6, 10**8))
    for number in devices:
        for route in ROUTES:
            for size in rows:
                told, seconds = measured(f"sent {number} {size} {route}", number)
                key = ("MF", f"{size:.0e} rows, {number} devices", f"a step, {route}")
                for metric in ("bytes sent", "bytes of rows"):
                    results.put(*key, metric, told[metric], seconds=seconds)
    for number in (2,) if smoke else (8, 64):
        for size in rows:
            told, seconds = measured(f"lists {size}", number)
            key = ("MF", f"{size:.0e} rows, {number} devices", "ten best for 256 users")
            for metric, value in told.items():
                results.put(*key, metric, value, seconds=seconds)
    for number in () if smoke else (8, 64):
        for size in (10**4, 10**7):
            told, seconds = measured(f"softmax {size}", number)
            key = ("SASRec", f"{size:.0e} rows, {number} devices", "a gradient of the full softmax")
            for metric, value in told.items():
                results.put(*key, metric, value, seconds=seconds)
    for number in (2,) if smoke else (1, 8, 64, 512):
        told, seconds = measured(f"operations {number} 1000000", number)
        key = ("MF", f"1e+06 rows, {number} devices", "a step, all to all")
        results.put(*key, "operations", told["operations"], seconds=seconds)
    for size in (1000,) if smoke else (10**5, 10**8):
        told, seconds = measured(f"big {size}", 8)
        for metric, value in told.items():
            results.put("MF", f"{size:.0e} rows, 8 devices", "a step", metric, value, seconds=seconds)
    for name in ("GRU4Rec",) if smoke else ("GRU4Rec", "SASRec"):
        for size in (1000,) if smoke else (10**4, 10**7):
            for how in ("by row", "dense"):
                if how == "dense" and (smoke or size > 10**6):
                    continue  # tables, gradients and both moments: 10 GiB of each
                told, seconds = measured(f"session {size} {name} {how}", 1)
                for metric, value in told.items():
                    results.put(name, f"{size:.0e} items", f"a step, {how}", metric, value, seconds=seconds)
    results.finish()


def measured(part: str, devices: int) -> tuple[dict[str, float], float]:
    """What a process of its own says of a part, and its seconds."""
    begin = time.monotonic()
    flag = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, __file__, f"--part={part}"],
        env=os.environ | {"XLA_FLAGS": flag},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    print(part, {name: round(value, 4) for name, value in told.items()}, flush=True)
    return told, time.monotonic() - begin


def measure(part: str) -> dict[str, float]:
    """A part, in this process."""
    kind, size, *rest = part.split(" ")
    if kind == "operations":
        lookup.exchanged = lambda x, axis: x
        return {"operations": compiled_step(int(size), ROUTES["all to all"]).cost_analysis()["flops"]}
    if kind == "sent":
        return sent(int(rest[0]), ROUTES[" ".join(rest[1:])])
    if kind == "lists":
        return lists(int(size))
    if kind == "softmax":
        return softmax(int(size))
    if kind == "big":
        return big(int(size))
    return sessions(int(size), rest[0], " ".join(rest[1:]))


def mesh() -> jax.sharding.Mesh:
    """All devices in a row."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def popular(rows: int, shape: Any) -> np.ndarray:
    """Ids whose popularity falls as a shop's."""
    return (np.random.default_rng(0).zipf(1.2, shape) % (rows - 1) + 1).astype(np.int32)


def pairs(users: int, items: int, number: int) -> Batch:
    """Who saw what, and clicked or not."""
    label = np.arange(number) % 2
    return batches.pairs(popular(users, number), popular(items, number), label)


def factorization(users: int, items: int, width: int) -> tuple[Any, Any, tuple[Any, Any]]:
    """MF, its objective, and its optimizers."""
    model = MF(users, items, width)
    optimizers = optax.sgd(0.1), row_sparse.row_wise_adagrad(0.1)
    return model, objectives.pointwise(model, losses.logistic), optimizers


def sent(rows: int, route: sharding.Route) -> dict[str, float]:
    """Bytes that a device's collectives give in a step, and of the rows of its pairs and their gradients."""
    own = 2 * 4 * EACH * (2 * WIDTH + 1)  # a user's vector, an item's, and its bias
    return {"bytes sent": given_bytes(compiled_step(rows, route)), "bytes of rows": own}


def lists(rows: int) -> dict[str, float]:
    """Bytes that a device's collectives give for lists, and of the vectors of those who are given them."""
    model = factorization(rows, rows, WIDTH)[0]
    query = batches.queries(popular(rows, ASKED))
    logical = jax.eval_shape(lambda: model.init(jax.random.key(0), query, query.user))
    variables = spread_shapes(logical, sharding.rules(logical))
    best = jax.jit(lambda variables, query: evaluation.recommend(model, variables, query, 10, mesh=mesh()))
    program = best.lower(variables, query).compile()
    return {"bytes sent": given_bytes(program), "bytes of vectors": 4 * ASKED * WIDTH}


def softmax(rows: int) -> dict[str, float]:
    """Bytes that a device's collectives give for the gradient by all parameters, and of the states."""
    model, batch = SASRec(rows, WIDTH, max_length=LENGTH), next_items(popular(rows, (128, LENGTH + 1)))
    logical = jax.eval_shape(lambda: model.init(jax.random.key(0), batch.query, batch.item[:, 0]))
    objective = objectives.next_item_softmax(model, mesh=mesh())
    gradient = jax.jit(jax.grad(lambda *inputs: objective(*inputs)[0]))
    variables = spread_shapes(logical, sharding.rules(logical))
    program = gradient.lower(variables, jax.random.key(0), batch).compile()
    return {"bytes sent": given_bytes(program), "bytes of states": 4 * 128 * LENGTH * WIDTH}


def given_bytes(program: Any) -> float:
    """Bytes that a device's collectives give in a compiled program."""
    return sum(array_bytes(result) for result, _ in PATTERN.findall(program.as_text()))


def spread_shapes(logical: Any, specs: Any) -> Any:
    """Shapes of arrays on all devices, of those on one."""
    devices = jax.device_count()

    def shape(spec: PartitionSpec, leaf: Any) -> Any:
        size = leaf.shape
        size = (devices, -(-size[0] // devices), *size[1:]) if len(spec) else size
        return jax.ShapeDtypeStruct(size, leaf.dtype, sharding=NamedSharding(mesh(), spec))

    return jax.tree.map(shape, specs, logical, is_leaf=lambda x: isinstance(x, PartitionSpec))


def compiled_step(rows: int, route: sharding.Route) -> Any:
    """A step over all devices, compiled for tables that are not made."""
    model, objective, optimizers = factorization(rows, rows, WIDTH)
    step = row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(mesh(), routes=[route]))
    batch = sharding.spread(pairs(rows, rows, EACH * jax.device_count()), mesh())
    logical = jax.eval_shape(lambda: row_sparse.init_state(jax.random.key(0), model, *optimizers, batch))

    state = spread_shapes(logical, row_sparse.rules(logical))
    return jax.jit(step, donate_argnums=0).lower(state, batch).compile()


def array_bytes(text: str) -> int:
    """Bytes of the arrays that a result of an instruction consists of."""
    sizes = ((kind, [int(n) for n in shape.split(",") if n]) for kind, shape in ARRAY.findall(text))
    return sum(BYTES.get(kind, 4) * int(np.prod(shape, dtype=np.int64)) for kind, shape in sizes)


def big(rows: int) -> dict[str, float]:
    """Seconds of a step, and memory, with a table of these rows over the devices."""
    model, objective, optimizers = factorization(rows, PRODUCTS, 16)
    step = row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(mesh()))
    batch = pairs(rows, PRODUCTS, EACH)
    state = row_sparse.init_spread(jax.random.key(0), model, *optimizers, batch, mesh())
    return timed(step, state, sharding.spread(batch, mesh()))


def sessions(items: int, name: str, how: str) -> dict[str, float]:
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


def timed(step: Step, state: TrainState, batch: Batch) -> dict[str, float]:
    """The median of the seconds of some steps, compiled before, and the process's memory at its highest."""
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    seconds = []
    for _ in range(12):
        begin = time.perf_counter()
        state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - begin)
    if bool(state.halted) or int(metrics.get("overflow", 0)):
        raise RuntimeError(f"the run halted: {metrics}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"ms": 1e3 * float(np.median(seconds[2:])), "GiB of memory": memory}


if __name__ == "__main__":
    chosen = [word.removeprefix("--part=") for word in sys.argv if word.startswith("--part=")]
    if chosen:
        print(json.dumps(measure(chosen[0])))
    else:
        main(*start(__file__, __doc__, ShardingFlags))
