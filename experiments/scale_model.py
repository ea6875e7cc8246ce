"""On paper: a step over 10⁹ users and 10⁸ items, 128 wide, on 64 H100 and 256 TPU v5p; what a pass takes.

    python experiments/scale_model.py --record --h100-price PER_HOUR --v5p-price PER_HOUR

MF with row-wise Adagrad, by the all-to-all route of `rezoo.devices.sharding`. Its step is compiled for as
many fake devices and for tables of this size, which are not made; counted in it are the bytes that a device's
collectives bring and those that its memory reads and writes at least (`protocols/counted.py`). Both are
divided by published bandwidths:

- H100 SXM: 80 GB at 3,350 GB/s; NVLink 900 GB/s in both directions together between the eight of a machine
  (https://www.nvidia.com/en-us/data-center/h100/); each has a 400 Gb/s InfiniBand port to other machines
  (https://docs.nvidia.com/dgx/dgxh100-user-guide/).
- TPU v5p: 95 GiB at 2,765 GB/s; 1,200 GB/s in both directions together over the six links of a torus, for 256
  of 4 × 8 × 8 (https://docs.cloud.google.com/tpu/docs/v5p).

An exchange of all with all is bound, on machines, by the ports to the other machines; on a torus, by the
links through the middle of its longest side. A step takes the longer of the two times where they overlap
entirely, and their sum where they do not; pairs per second are those of the sum. Still it is a lower bound:
memory and links reach what is published, and the input is there. Nobody publishes how long a collective takes
to start: --start-us adds it. Prices are those that you are offered; without them the cost is in hours of a
device.

Three checks: the bytes are the same for tables of 10⁴ rows; what collectives bring follows from the route's
capacity; and on one CPU device, whose bandwidth is measured by a copy, a step takes so many times its bound.
"""

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import Flags, Results, start
from protocols import parts
from protocols.counted import collectives, memory_bytes, sent_bytes
from protocols.parts import Figures, measured
from protocols.spread_steps import ALL_TO_ALL, compiled, factorization, pairs, problem

from rezoo.training import row_sparse


class Machines(NamedTuple):
    """Devices in machines, each with a port of its own to the others."""

    devices: int
    each: int
    """Devices of a machine."""
    inside: float
    """Bytes a second from a device to those of its machine."""
    outside: float
    """Bytes a second from a device to those of others."""


class Torus(NamedTuple):
    """Devices in a grid whose sides are rings."""

    sides: tuple[int, ...]
    link: float
    """Bytes a second from a device to a neighbour."""


class Cluster(NamedTuple):
    """Devices, their memory and their network."""

    name: str
    devices: int
    capacity: float
    """Bytes of memory of a device."""
    bandwidth: float
    """Bytes a second of this memory."""
    network: Machines | Torus


CLUSTERS = {
    "h100": Cluster("64 H100", 64, 80e9, 3.35e12, Machines(64, 8, 450e9, 50e9)),
    "v5p": Cluster("256 TPU v5p", 256, 95 * 2**30, 2.765e12, Torus((4, 8, 8), 100e9)),
}


class Counts(NamedTuple):
    """What is counted in a step, for a device."""

    sent: float
    """Bytes that collectives bring, its own included."""
    moved: float
    """Bytes that its memory reads and writes."""
    collectives: float


@dataclass(frozen=True)
class ScaleFlags(Flags):
    """Flags of this experiment."""

    users: int = 10**9
    """Rows of the table of users."""
    items: int = 10**8
    """Rows of the table of items."""
    dim: int = 128
    """Width of both."""
    pairs: int = 2**14
    """Of a device in a step."""
    per_user: int = 100
    """Pairs of a user in a pass."""
    start_us: float = 0.0
    """Microseconds until a collective begins to send."""
    h100_price: float | None = None
    """Of an hour of an H100."""
    v5p_price: float | None = None
    """Of an hour of a chip."""


def main(flags: ScaleFlags, results: Results) -> None:
    """Count, predict, check."""
    users, items, each = (2000, 1000, 64) if flags.smoke else (flags.users, flags.items, flags.pairs)
    size = f"{users:.0e} users, {items:.0e} items, {flags.dim} wide"
    for name, cluster in list(CLUSTERS.items())[: 1 if flags.smoke else None]:
        part = f"count {users} {items} {flags.dim} {each}"
        told, seconds = measured(__file__, part, 2 if flags.smoke else cluster.devices)
        counts = Counts(told.pop("sent"), told.pop("moved"), told.pop("collectives"))
        figures = (
            predicted(cluster, counts, each, flags.start_us) | tables(cluster, users, items, flags.dim) | told
        )
        hours = cluster.devices * users * flags.per_user / figures["pairs per second"] / 3600
        figures["device-hours of a pass"] = hours
        if (price := getattr(flags, f"{name}_price")) is not None:
            figures["price of a pass"] = hours * price
        protocol = f"{each:,} pairs a device, predicted"
        with results.together():
            for metric, value in figures.items():
                results.put("MF", f"{size}, {cluster.name}", protocol, metric, value, seconds=seconds)
    rows = 1000 if flags.smoke else 10**6
    key = "MF", f"{rows:.0e} users and items, one CPU device", "a step"
    parts.put(results, __file__, key, f"cpu {rows} {flags.dim} {each}")
    results.finish()


def exchange_seconds(sent: float, network: Machines | Torus) -> float:
    """Seconds in which each device sends `sent` bytes, evenly to all devices, itself included.

    On machines, what goes to the own machine and what goes to others take different ways at the same time. On
    a torus half of all devices send half of their bytes through the middle of the longest side, which two
    layers of links cross, as it is a ring.
    """
    if isinstance(network, Machines):
        one = sent / network.devices
        outside = network.devices - network.each
        return max(one * (network.each - 1) / network.inside, one * outside / network.outside)
    longest = max(network.sides)
    devices = math.prod(network.sides)
    return devices / 2 * sent / 2 / (2 * devices / longest * network.link)


def predicted(cluster: Cluster, counts: Counts, pairs_each: int, start_us: float = 0.0) -> Figures:
    """Times of a step, and what it makes in a second."""
    memory = counts.moved / cluster.bandwidth
    network = exchange_seconds(counts.sent, cluster.network) + counts.collectives * start_us / 1e6
    return {
        "MB sent": counts.sent / 1e6,
        "MB of memory": counts.moved / 1e6,
        "collectives": counts.collectives,
        "ms of network": 1e3 * network,
        "ms of memory": 1e3 * memory,
        "ms at best": 1e3 * max(memory, network),
        "ms": 1e3 * (memory + network),
        "pairs per second": cluster.devices * pairs_each / (memory + network),
    }


def tables(cluster: Cluster, users: int, items: int, dim: int) -> Figures:
    """Memory of a device's rows: a vector, Adagrad's number and a number of scratch; the items' bias, too."""
    row = 4 * (dim + 2)
    own = (users * row + items * (row + 4 * 3)) / cluster.devices
    return {"GB of tables": own / 1e9, "share of memory": own / cluster.capacity}


def measure(part: str) -> Figures:
    """A measurement, in this process."""
    kind, *sizes = part.split(" ")
    return cpu(*map(int, sizes)) if kind == "cpu" else count(*map(int, sizes))


def count(users: int, items: int, dim: int, each: int) -> Figures:
    """`Counts` of a step over all devices of this process, and what they are of those that they should be."""
    devices = jax.device_count()

    def of(users: int, items: int) -> Counts:
        given = problem(users, items, dim, each)
        program = compiled(given)
        moved = memory_bytes(given.step, given.state, given.batch, devices=devices)
        return Counts(sent_bytes(program), moved, collectives(program))

    told, small = of(users, items), of(10**4, 10**4)
    route = sum(ALL_TO_ALL.sent(each, width, devices) for width in (dim, dim, 1)) * devices / (devices - 1)
    return {
        **told._asdict(),
        "bytes sent over those of 1e4 rows": told.sent / small.sent,
        "bytes of memory over those of 1e4 rows": told.moved / small.moved,
        "bytes sent over those of the route": told.sent / route,
    }


def cpu(rows: int, dim: int, each: int) -> Figures:
    """A step on this CPU beside its bound."""
    model, objective, optimizers = factorization(rows, rows, dim)
    step, batch = row_sparse.make_step(objective, *optimizers), pairs(rows, rows, each)
    state = row_sparse.init_state(jax.random.key(0), model, *optimizers, batch)
    moved = memory_bytes(step, state, batch)
    program = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    numbers = jnp.zeros(2**26)
    copy = jax.jit(lambda x: x + 1, donate_argnums=0).lower(numbers).compile()
    steps, copies = [], []
    for _ in range(12):
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(program(state, batch))
        middle = time.perf_counter()
        numbers = jax.block_until_ready(copy(numbers))
        copies.append(time.perf_counter() - middle)
        steps.append(middle - begin)
    bandwidth = 2 * numbers.nbytes / float(np.median(copies[2:]))
    took, bound = float(np.median(steps[2:])), moved / bandwidth
    return {
        "MB of memory": moved / 1e6,
        "GB per second": bandwidth / 1e9,
        "ms at best": 1e3 * bound,
        "ms": 1e3 * took,
    }


if __name__ == "__main__":
    if part := parts.asked():
        parts.answer(measure, part)
    else:
        main(*start(__file__, __doc__, ScaleFlags))
