"""Save and restore a pytree with Orbax. A half-written or damaged checkpoint is never restored.

Of several processes (`rezoo.devices.processes`), all call `save` and `restore`, for a folder that they share.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from rezoo.devices import processes
from rezoo.errors import DataError
from rezoo.storage import fingerprint

_log = logging.getLogger(__name__)


def save(
    folder: str | Path,
    step: int,
    tree: Any,
    notes: Mapping[str, Any] | None = None,
    *,
    filled_up: Collection[int] = (),
) -> None:
    """Write `tree` as the checkpoint of `step`, with `notes` (anything JSON can hold) beside it.

    The checkpoint takes its name when it is complete, so that a process killed while it saves
    leaves the previous one valid. This one and the newest of an earlier step are kept.

    Args:
      folder: of the run.
      step: of the run.
      tree: of arrays.
      notes: whatever JSON can hold.
      filled_up: numbers of leaves that end with rows of 0, of which another number of devices needs another
        number.

    Raises:
      OSError: if it cannot be written; the checkpoints before are kept.
      ValueError: if `step` is no whole number of 0 or more.
    """
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
        raise ValueError(f"step = {step}: give 0 or more, a whole number")
    plain = jax.tree.map(_plain, tree)
    notes = dict(notes or {})
    summed = [n for n, leaf in enumerate(jax.tree.leaves(plain)) if n in filled_up or not _is_here(leaf)]
    about = {"notes": notes, "digest": _digest(plain, notes, summed), "summed": summed}
    processes.wait_for_all("checkpoint")
    before = _steps(folder)
    first = processes.first()
    if first:
        for half in Path(folder).glob(
            "*.orbax-checkpoint-tmp*"
        ):  # of a save that was killed or found no space
            shutil.rmtree(half)
    try:
        with _quiet():
            ocp.save(_place(folder, step), plain, custom_metadata=about, overwrite=step in before)
    except Exception as error:
        reason = str(error).partition("\n")[0] or repr(error)
        raise OSError(
            f"{folder}: the checkpoint of step {step} cannot be written, those before it are kept: {reason}"
        ) from error
    # One of a later step is damaged, or the run would have gone on from it.
    kept = max((other for other in before if other < step), default=None)
    if first:
        for other in set(before) - {step, kept}:
            shutil.rmtree(_place(folder, other))


def restore(
    folder: str | Path, template: Any, *, other_rows: bool = False
) -> tuple[Any, dict[str, Any]] | None:
    """The newest checkpoint in `folder`: the tree, in the structure of `template`, and its notes.

    If that is damaged, the one before, and a line of the log says so. Returns None if there is no
    checkpoint.

    Args:
      folder: of `save`.
      template: arrays, or shapes with the sharding that the arrays are to have; without one they are put on
        one device.
      other_rows: whether arrays may end with more or fewer rows of 0 than they were saved with.

    Raises:
      DataError: if none fits the template (another model or width), or all are damaged.
    """
    processes.wait_for_all("checkpoint")
    steps = _steps(folder)
    wanted = jax.tree.map(_plain, template)
    failure: Exception | None = None
    for step in steps:
        loaded, wrong = None, None
        try:
            with _quiet():
                loaded = _load(folder, step, wanted, other_rows)
        except Exception as error:
            wrong = error
        # Sums are of all processes: none begins them unless all have read.
        if not (_everywhere(loaded is not None) and loaded and _everywhere(_is_as_written(*loaded))):
            failure = failure or wrong or ValueError(f"the checkpoint of step {step} is not what was written")
            continue
        if failure:
            _log.warning(
                "%s: the checkpoint of step %d is damaged; going on from step %d", folder, steps[0], step
            )
        saved, about = loaded
        return jax.tree.map(_like, template, saved), about["notes"]
    if failure:
        raise DataError(
            f"the checkpoint in {folder} cannot be read as this run's state: it is of another "
            "model, width or number of seeds, or damaged. Give another folder, or delete this one."
        ) from failure
    return None


def _load(folder: str | Path, step: int, wanted: Any, other_rows: bool) -> tuple[Any, dict[str, Any]]:
    loading = ocp.options.ArrayOptions.Loading(enable_padding_and_truncation=other_rows)
    with ocp.Context(array_options=ocp.options.ArrayOptions(loading=loading)):
        saved = ocp.load(_place(folder, step), wanted)
    about: Any = ocp.metadata(_place(folder, step)).custom_metadata
    return saved, {"notes": about["notes"], "digest": about["digest"], "summed": about.get("summed", [])}


def _is_as_written(saved: Any, about: Mapping[str, Any]) -> bool:
    return about["digest"] == _digest(saved, about["notes"], about["summed"])


def _everywhere(whether: bool) -> bool:
    """Whether it is so in all processes."""
    return whether if jax.process_count() == 1 else bool(multihost_utils.process_allgather(whether).all())


def _steps(folder: str | Path) -> list[int]:
    """Newest first."""
    names = (path.name for path in Path(folder).glob("*"))
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def _place(folder: str | Path, step: int) -> str:
    return str(Path(folder).absolute() / str(step))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Orbax's log of the errors that it raises as well, one a thread."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _digest(plain: Any, notes: Mapping[str, Any], summed: list[int]) -> str:
    """The same for any number of processes and devices.

    Args:
      plain: a tree of arrays.
      notes: what JSON can hold.
      summed: the leaves that no process holds whole, or that are filled up.
    """
    leaves = jax.tree.leaves(plain)
    sums = [int(_sum(leaves[n])) for n in summed]
    whole = [np.asarray(leaf) for n, leaf in enumerate(leaves) if n not in summed]
    return fingerprint.of(whole, json.dumps(notes), *([sums] if summed else []))


def _is_here(leaf: jax.Array) -> bool:
    """Whether this process holds the whole."""
    return leaf.is_fully_addressable or leaf.is_fully_replicated


@jax.jit
def _sum(x: jax.Array) -> jax.Array:
    """Of the bits of each number times an odd number of its own: rows of 0 at the end add nothing."""
    bits = (
        x.astype(jnp.uint8) if x.dtype == bool else jax.lax.bitcast_convert_type(x, f"uint{8 * x.itemsize}")
    )
    place = jnp.arange(x.size, dtype=jnp.uint32).reshape(x.shape) * jnp.uint32(2654435761)
    return (bits.astype(jnp.uint32) * (place | 1)).sum(dtype=jnp.uint32)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    if not isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)
    data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    on = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=on)


def _like(template: Any, saved: Any) -> Any:
    if not _is_key(template):
        return saved
    shape = isinstance(template, jax.ShapeDtypeStruct)
    return jax.random.wrap_key_data(saved, impl=None if shape else jax.random.key_impl(template))
