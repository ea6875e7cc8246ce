"""Members of a study: all side by side where they fit into memory, else some at a time.

What a program takes is known once it is compiled, before it runs: the compiler has laid out its
arguments, results and intermediate arrays. So the whole study is compiled, and only if it asks for
more than there is, a program for fewer members is compiled in its place and called several times.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.devices.backend import free_memory, pick
from rezoo.storage import fingerprint
from rezoo.studies.resuming import once

_log = logging.getLogger(__name__)


def run_members(
    function: Callable[..., Any],
    *members: Any,
    at_once: int | None = None,
    memory: float | None = None,
    folder: str | Path | None = None,
    donate: bool = False,
) -> Any:
    """`function(*member)` for each member along the leading axis of `members`, compiled once.

    Args:
      function: pure.
      members: pytrees, every leaf with a leading axis of members.
      at_once: so many members side by side, then the next ones; all of them if not given. The
        results of parts that are done wait on the host.
      memory: bytes to plan with; what is free if not given. Members that do not fit side by side
        are run in parts, and a line of the log says so.
      folder: keep the result of every part here, in a folder of the study's fingerprint (its program,
        data, members and the number of them side by side), and go on after the last one that is there.
        A run killed at any moment and started again ends bit for bit where it would have ended;
        another study starts over, beside it, and a line of the log says so.
      donate: whether the first of `members` may be overwritten.

    Raises:
      ValueError: if `at_once` is less than 1.
      MemoryError: if one member alone does not fit, or the results of all do not.
      rezoo.storage.durable.BusyError: if another process runs this study in `folder`.
      OSError: if `folder` cannot be written to; what it held is kept.
    """
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once must be 1 or more, but is {at_once}")
    total = len(jax.tree.leaves(members)[0])
    size = min(at_once or total, total)
    program, size = _fitting(function, members, size, free_memory() if memory is None else memory, donate)
    if size == total and not folder:
        return program(*members)
    results = []
    with fingerprint.own(folder, partial(_parts, function, members, size)) as place:
        for start in range(0, total, size):
            index = np.minimum(np.arange(start, start + size), total - 1)
            part = jax.tree.map(lambda leaf, index=index: leaf[index], members)
            result = once(program, part, place and place / f"members-{start:06d}")
            results.append(jax.tree.map(_to_host, result))
    return jax.tree.map(lambda *leaves: _joined(leaves)[:total], *results)


def needed(program: Any) -> float:
    """Bytes that a compiled program takes for its arguments, results and intermediate arrays."""
    stats = program.memory_analysis()
    if stats is None:
        return 0.0
    whole = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
    return float(whole - stats.alias_size_in_bytes)


def _share(program: Any, total: int, budget: float) -> int:
    """Members that fit side by side, where `program` runs `total`; says so if these are fewer."""
    need = needed(program)
    if need <= budget:
        return total
    fewer = max(1, min(total - 1, int(budget * total / need)))
    _log.warning(
        "%d members side by side take %s, but %s are free: %d at a time",
        *(total, _bytes(need), _bytes(max(budget, 0.0)), fewer),
    )
    return fewer


def _fitting(
    function: Callable[..., Any], members: Any, size: int, budget: float, donate: bool
) -> tuple[Any, int]:
    """A compiled program for as many of `size` members as fit, and their number."""
    total = len(jax.tree.leaves(members)[0])
    while True:
        program = _compiled(function, members, size, donate)
        results = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(program.out_info))
        waiting = pick(cpu=results / size * (total - size), accelerator=0.0)
        if needed(program) + waiting <= budget:
            return program, size
        if size == 1:
            raise MemoryError(
                f"one member takes {_bytes(needed(program))} and the results of the others "
                f"{_bytes(waiting)}, but {_bytes(budget)} are free: return less from the function, "
                "or take a smaller batch or a narrower model"
            )
        size = _share(program, size, budget - waiting)


def _compiled(function: Callable[..., Any], members: Any, size: int, donate: bool) -> Any:
    """A program for `size` members; that for one has no batch axis inside, which a CPU runs faster."""

    def alone(*members: Any) -> Any:
        result = function(*jax.tree.map(lambda leaf: leaf[0], members))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], result)

    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), members)
    whole = alone if size == 1 else jax.vmap(function)
    return jax.jit(whole, donate_argnums=(0,) if donate else ()).lower(*shapes).compile()


def _parts(function: Callable[..., Any], members: Any, size: int) -> dict[str, str]:
    """The fingerprint of a study."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), members)
    return fingerprint.program(function, *one) | {
        "members": fingerprint.of(members),
        "members at once": str(size),
        "versions": fingerprint.versions(),
    }


def _to_host(leaf: Any) -> Any:
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)


def _joined(leaves: Any) -> Any:
    return (np if isinstance(leaves[0], np.ndarray) else jnp).concatenate(leaves)


def _bytes(number: float) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"
