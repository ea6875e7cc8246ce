"""Several processes as one: each holds devices of its own, and all run the same program.

    processes.connect("10.0.0.1:8476", num_processes=2, process_id=0)    # on each host, before JAX computes
    processes.agree({"code": fingerprint.source(__file__), "data": …})
    mesh = jax.make_mesh((jax.device_count(),), ("data",))

From there on `jax.devices()` are those of all processes, `rezoo.devices.sharding` spreads batches and
tables over them, and `rezoo.storage.checkpoint` writes and reads with all of them. When a process dies or
stops, the others end with an error instead of waiting for it; start all of them again to go on from the
last checkpoint.
"""

import json
import socket
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from rezoo.errors import DataError

ROOM = 4096
"""Bytes of what a process tells the others."""


def connect(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: int = 30,
) -> None:
    """`jax.distributed.initialize`, with collectives for CPUs, and an end when a process is gone.

    Without arguments JAX asks the cluster that it finds itself on: SLURM, Kubernetes, MPI, or TPUs.

    Args:
      coordinator: address and port of process 0, which listens there.
      num_processes: how many there are.
      process_id: this one's number, from 0.
      timeout: seconds without a sign of life after which a process counts as gone, and the others end; they
        wait five times as long for each other at the start.

    Raises:
      DataError: if some of the three are missing, or the number is not one of these processes.

    >>> connect("localhost:8476", num_processes=2)
    Traceback (most recent call last):
        ...
    rezoo.errors.DataError: process_id missing: give all of coordinator, num_processes, process_id, or none
    """
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    absent = [name for name, value in given.items() if value is None]
    if 0 < len(absent) < len(given):
        raise DataError(f"{' and '.join(absent)} missing: give all of {', '.join(given)}, or none")
    if num_processes is not None and not 0 <= (process_id or 0) < num_processes:
        raise DataError(
            f"process_id={process_id} is none of num_processes={num_processes}: they are counted from 0"
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        heartbeat_timeout_seconds=timeout,
        initialization_timeout=5 * timeout,
        shutdown_timeout_seconds=timeout,
    )


def agree(parts: Mapping[str, str]) -> None:
    """Compare these parts, such as digests of code, arguments and data, with those of all processes.

    Every process calls it, and where one differs from process 0, every process raises the same error.

    Raises:
      DataError: if any part differs; names the part, the hosts and their values.

    >>> agree({"code": "0.1.0", "data": "5f3a"})
    """
    of_0, *others = map(json.loads, gathered(json.dumps({"host": socket.gethostname(), **parts})))
    for number, other in enumerate(others, 1):
        for name in sorted({*of_0, *other} - {"host"}):
            if of_0.get(name) != other.get(name):
                raise DataError(
                    f"{name} of process {number} on host {other['host']} is {other.get(name)!r}, but that of "
                    f"process 0 on host {of_0['host']} is {of_0.get(name)!r}: start all processes with the "
                    "same code, arguments and data"
                )


def gathered(text: str) -> list[str]:
    """The text of each process, in their order, on all of them.

    >>> gathered("here")
    ['here']

    Raises:
      ValueError: if it is longer than `ROOM` bytes.
    """
    said = text.encode()
    if len(said) > ROOM:
        raise ValueError(f"{len(said)} bytes are more than a process can tell the others, {ROOM}")
    if jax.process_count() == 1:
        return [text]
    every = np.asarray(multihost_utils.process_allgather(np.frombuffer(said.ljust(ROOM), np.uint8)))
    return [row.tobytes().decode().rstrip() for row in every]


def first() -> bool:
    """Whether this is process 0, which alone prints and writes what is written once.

    >>> first()
    True
    """
    return jax.process_index() == 0


def as_first(whether: bool) -> bool:
    """What process 0 says, on all of them.

    >>> as_first(True)
    True
    """
    return (
        bool(multihost_utils.broadcast_one_to_all(np.asarray(whether)))
        if jax.process_count() > 1
        else whether
    )


def wait_for_all(name: str) -> None:
    """Go on when all processes are here; a name for each place.

    >>> wait_for_all("the log is written")
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
