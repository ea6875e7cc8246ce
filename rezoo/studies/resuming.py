"""What parts of a study leave in a folder, so that one that was killed goes on where it was."""

import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.errors import DataError
from rezoo.storage import checkpoint

_log = logging.getLogger(__name__)


class Record(NamedTuple):
    """How far a search is, beside the states."""

    alive: np.ndarray
    units: np.ndarray
    history: np.ndarray


def resume(
    folder: Path | None, record: Record, state: Any, seeds: int, sizes: list[int]
) -> tuple[int, Record, Any]:
    """Rungs done, the record and the survivors' states, from the newest rung in `folder` that is whole."""
    for rung in range(len(sizes) - 1, 0, -1):
        place = folder and folder / f"rung-{rung}"
        if place is None or not place.is_dir():
            continue
        members = sizes[rung] * seeds
        template = jax.tree.map(lambda leaf, n=members: jnp.zeros((n, *leaf.shape[1:]), leaf.dtype), state)
        alive = record._replace(alive=record.alive[: sizes[rung]])
        try:
            found = checkpoint.restore(place, {**alive._asdict(), "state": template})
        except DataError:
            _log.warning("%s is damaged: going on from the rung before", place)
            continue
        if found:
            # Copies, as what was read may not be written to.
            return rung, Record(*(np.array(found[0][name]) for name in Record._fields)), found[0]["state"]
    return 0, record, None


def save(folder: Path | None, rung: int, record: Record, state: Any) -> None:
    """Keep the survivors of a rung, and those of the rung before in case that these get damaged."""
    if folder is None:
        return
    checkpoint.save(folder / f"rung-{rung}", rung, {**record._asdict(), "state": state})
    shutil.rmtree(folder / f"rung-{rung - 2}", ignore_errors=True)


def once(program: Any, part: Any, folder: Path | None) -> Any:
    """The program's result for a part, or what an earlier run has kept of it."""
    if folder is None:
        return program(*part)
    template = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), program.out_info)
    try:
        if found := checkpoint.restore(folder, template):
            return found[0]
    except DataError:
        _log.warning("%s is damaged: computing its members again", folder)
    result = program(*part)
    checkpoint.save(folder, 0, result)
    return result
