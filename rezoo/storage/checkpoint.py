"""Save and restore a pytree with Orbax. A half-written or damaged checkpoint is never restored."""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from rezoo.errors import DataError
from rezoo.storage import fingerprint

_log = logging.getLogger(__name__)


def save(folder: str | Path, step: int, tree: Any, notes: Mapping[str, Any] | None = None) -> None:
    """Write `tree` as the checkpoint of `step`, with `notes` (anything JSON can hold) beside it.

    The checkpoint takes its name when it is complete, so that a process killed while it saves
    leaves the previous one valid. This one and the newest of an earlier step are kept.

    Raises:
      OSError: if it cannot be written; the checkpoints before are kept.
    """
    plain = jax.tree.map(_plain, tree)
    notes = dict(notes or {})
    about = {"notes": notes, "digest": _digest(plain, notes)}
    before = _steps(folder)
    for half in Path(folder).glob("*.orbax-checkpoint-tmp*"):  # of a save that was killed or found no space
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
    for other in set(before) - {step, kept}:
        shutil.rmtree(_place(folder, other))


def restore(folder: str | Path, template: Any) -> tuple[Any, dict[str, Any]] | None:
    """The newest checkpoint in `folder`: the tree, in the structure of `template`, and its notes.

    If that is damaged, the one before, and a line of the log says so. Returns None if there is no
    checkpoint.

    Raises:
      DataError: if none fits the template (another model or width), or all are damaged.
    """
    steps = _steps(folder)
    wanted = jax.tree.map(_plain, template)
    failure: Exception | None = None
    for step in steps:
        try:
            with _quiet():
                saved, notes = _load(folder, step, wanted)
        except Exception as error:
            failure = failure or error
            continue
        if failure:
            _log.warning(
                "%s: the checkpoint of step %d is damaged; going on from step %d", folder, steps[0], step
            )
        return jax.tree.map(_like, template, saved), notes
    if failure:
        raise DataError(
            f"the checkpoint in {folder} cannot be read as this run's state: it is of another "
            "model, width or number of seeds, or damaged. Give another folder, or delete this one."
        ) from failure
    return None


def _load(folder: str | Path, step: int, wanted: Any) -> tuple[Any, dict[str, Any]]:
    saved = ocp.load(_place(folder, step), wanted)
    about: Any = ocp.metadata(_place(folder, step)).custom_metadata
    if about["digest"] != _digest(saved, about["notes"]):
        raise ValueError(f"the checkpoint of step {step} is not what was written")
    return saved, about["notes"]


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


def _digest(plain: Any, notes: Mapping[str, Any]) -> str:
    """Of the parts that this process holds whole."""
    whole = [leaf for leaf in jax.tree.leaves(plain) if leaf.is_fully_addressable]
    return fingerprint.of(whole, json.dumps(notes))


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)


def _like(template: Any, saved: Any) -> Any:
    if _is_key(template):
        return jax.random.wrap_key_data(saved, impl=jax.random.key_impl(template))
    return saved
