"""Writes a saved model as programs and arrays that jax and numpy alone can ask."""

import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.errors import DataError, needed
from rezoo.serving import event_columns, npz
from rezoo.serving.bundle import PAST, Saved
from rezoo.serving.checks import check
from rezoo.serving.export import load, programs
from rezoo.serving.folder import place
from rezoo.storage import durable

MARK = "manifest.json"
FILES = {MARK, "load.py", "ids.npz", "variables.npz", *(f"{name}.jax" for name in load.PROGRAMS)}


def save(folder: str | Path, saved: Saved, *, k: int = 100, length: int = 50) -> None:
    """Write the folder, in the place of an exported model of that name.

    Args:
      folder: where.
      saved: the model.
      k: the longest list that can be asked for.
      length: newest events of a live session that are kept.

    Raises:
      DataError: if something else stands there, the parts of the model do not fit together, `k` or `length`
        is below 1, or the folder cannot be written; what was there is then as it was.
      ModuleNotFoundError: without flatbuffers (`pip install 'rezoo[export]'`).

    >>> import tempfile
    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/shop", shop, k=2)
    ...     load.Model(f"{folder}/shop").recommend(["ann"], k=2)
    [[('hat', 3.0), ('tea', 1.0)]]
    """
    check(saved)
    for name, number in {"k": k, "length": length}.items():
        if number < 1:
            raise DataError(f"{name} = {number}: give 1 or more")
    needed("flatbuffers")
    model, k = programs.parts(saved), min(k, saved.items.size)
    made = programs.programs(model, k, length)
    try:
        with durable.folder(place(folder, FILES, MARK, "an exported model")) as partial:
            types = npz.write(partial / "variables.npz", model.variables)
            npz.write(partial / "ids.npz", of_ids(saved))
            for name, content in programs.exported(made):
                (partial / f"{name}.jax").write_bytes(content)
            (partial / "load.py").write_bytes(Path(load.__file__).read_bytes())
            content = _manifest(model, made, k) | {"types": types, "files": _sums(partial)}
            (partial / MARK).write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error}); what was there is as it was") from error


def of_ids(saved: Saved) -> dict[str, np.ndarray]:
    """Raw ids, and the features and histories of users, in the types that programs take."""

    def past(values: Any, kind: Any) -> np.ndarray:
        array = np.asarray(values, kind)  # programs take no histories of no events
        return array if array.shape[1] else np.zeros((len(array), 1, *array.shape[2:]), kind)

    stored = {"users": saved.users.raw, "items": saved.items.raw}
    if saved.items.names is not None:
        stored["item_names"] = saved.items.names
    for name, column in saved.user_columns.items():
        stored[f"user_columns/{name}"] = np.asarray(jnp.asarray(column))
    for name, kind in PAST.items():
        if (values := getattr(saved, name)) is not None:
            stored[name] = past(values, kind)
    for name, like in event_columns.nothing(saved, 1, 1).items() if saved.history is not None else ():
        stored[f"history_columns/{name}"] = past(saved.history_columns[name], like.dtype)
    return stored


def shapes_of(arrays: programs.Tree, axes: int = 0) -> dict[str, Any]:
    """Type and shape of each array, without its first axes."""
    return {name: [x.dtype.name, list(x.shape[axes:])] for name, x in arrays.items()}


def _manifest(model: programs.Parts, made: dict[str, programs.Program], k: int) -> dict[str, Any]:
    observe = made.get("observe")
    return {
        "about": "load.py shows how to ask this model; it needs jax, numpy and flatbuffers. Programs are "
        "StableHLO as jax.export serialises it; what each of them takes stands in programs, below.",
        "format": load.FORMAT,
        "rezoo": importlib.metadata.version("rezoo"),
        "jax": jax.__version__,
        "model": type(model.saved.model).__name__,
        "platforms": programs.PLATFORMS,
        "k": k,
        "reads_history": model.reads_history,
        "rates_history": model.rates_history,
        "features": shapes_of(model.features),
        "events": shapes_of(model.events),
        "sessions": shapes_of(observe.takes[1], 1) if observe else {},
        "variables": shapes_of(model.variables),
        "programs": {name: _takes(one) for name, one in made.items()},
    }


def _takes(program: programs.Program) -> list[Any]:
    """Types and shapes of a program's arguments; what the first one holds stands in `variables`."""
    rest = jax.tree.map(lambda x: f"{x.dtype.name}[{', '.join(map(str, x.shape))}]", program.takes[1:])
    return ["variables and table", *rest] if rest else ["variables"]


def _sums(folder: Path) -> dict[str, Any]:
    found = {}
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        found[file.name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return found
