"""The survivors of each rung in a folder, so that a search that was killed goes on; for `rezoo.halving`."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rezoo import checkpoint, chunks


class Record(NamedTuple):
    """What a search is and how far it is, beside the states."""

    identity: dict[str, Any]
    alive: np.ndarray
    units: np.ndarray
    history: np.ndarray


def resume(
    folder: str | Path | None, record: Record, state: Any, sizes: list[int]
) -> tuple[int, Record, Any]:
    """Rungs done, the record and the survivors' states, from the newest rung in `folder`."""
    seeds = len(record.identity["seeds"])
    for rung in range(len(sizes) - 1, 0, -1):
        place = Path(folder) / f"rung-{rung}" if folder else None
        if place is None or not place.is_dir():
            continue
        members = sizes[rung] * seeds
        template = jax.tree.map(lambda leaf, n=members: jnp.zeros((n, *leaf.shape[1:]), leaf.dtype), state)
        alive = record._replace(alive=record.alive[: sizes[rung]])
        found = checkpoint.restore(place, {**alive._asdict(), "state": template})
        if not found:
            continue
        tree = found[0]
        if not chunks.same(tree["identity"], record.identity):
            raise ValueError(
                f"{folder} holds another search: other seeds, points, rungs or eta. "
                "Give another folder, or delete this one."
            )
        # Copies, as what was read may not be written to.
        alive, units, history = (np.array(tree[name]) for name in ("alive", "units", "history"))
        return rung, Record(record.identity, alive, units, history), tree["state"]
    return 0, record, None


def save(folder: str | Path | None, rung: int, record: Record, state: Any) -> None:
    """Keep the survivors of a rung; the rung before is then no longer needed."""
    if folder is None:
        return
    checkpoint.save(Path(folder) / f"rung-{rung}", rung, {**record._asdict(), "state": state})
    shutil.rmtree(Path(folder) / f"rung-{rung - 1}", ignore_errors=True)
