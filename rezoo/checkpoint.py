"""Saving a pytree and getting it back, by Orbax. A half-written checkpoint is never seen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp


def save(folder: str | Path, step: int, tree: Any, notes: Mapping[str, Any] | None = None) -> None:
    """Write `tree` as the checkpoint of `step`, with `notes` (anything JSON can hold) beside it.

    The checkpoint takes its name when it is complete, so that a process killed while it saves
    leaves the one before in force. The newest two are kept.
    """
    with _checkpointer(folder) as checkpointer:
        plain = jax.tree.map(_plain, tree)
        checkpointer.save(step, plain, custom_metadata=dict(notes or {}), force=True, overwrite=True)


def restore(folder: str | Path, template: Any) -> tuple[Any, dict[str, Any]] | None:
    """The newest checkpoint in `folder`: the tree, in the structure of `template`, and its notes.

    Returns None if there is no checkpoint.

    Raises:
      ValueError: if the checkpoint does not fit the template (another model or width).
    """
    if not Path(folder).is_dir():
        return None
    with _checkpointer(folder) as checkpointer:
        if checkpointer.latest is None:
            return None
        try:
            saved = checkpointer.load(None, jax.tree.map(_plain, template))
        except Exception as error:
            raise ValueError(
                f"the checkpoint in {folder} cannot be read as this run's state: it is of another "
                "model, width or number of seeds, or damaged. Give another folder, or delete this one."
            ) from error
        notes = checkpointer.metadata(None).custom_metadata
    return jax.tree.map(_like, template, saved), dict(notes or {})


def _checkpointer(folder: str | Path) -> ocp.training.Checkpointer:
    newest: Any = ocp.training.preservation_policies.LatestN(2)
    return ocp.training.Checkpointer(str(Path(folder).absolute()), preservation_policy=newest)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)


def _like(template: Any, saved: Any) -> Any:
    if _is_key(template):
        return jax.random.wrap_key_data(saved, impl=jax.random.key_impl(template))
    return saved
