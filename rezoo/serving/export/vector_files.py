"""Writes a retriever's vectors for an index of nearest neighbours."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from rezoo import evaluation
from rezoo.data.ids import Ids
from rezoo.devices.meshes import in_blocks
from rezoo.errors import DataError
from rezoo.evaluation.scoring import compiled
from rezoo.serving.asking import queries
from rezoo.serving.bundle import Saved
from rezoo.serving.checks import check
from rezoo.serving.folder import place
from rezoo.serving.reads import reads_history
from rezoo.storage import durable

MARK = "vectors.json"
FILES = {MARK, *(f"{who}.{kind}" for who in ("items", "users") for kind in ("npy", "parquet"))}
BLOCK = 4096
"""Users that are encoded at once."""


def vectors(folder: str | Path, saved: Saved) -> None:
    """Write item vectors, and those of known users, whose inner product is the model's score.

    `items.npy` is float32 `[items D]`, in the order of the ids; `items.parquet` has the columns `item`,
    `name` if the items have names, and `vector`. Biases are columns of the vectors, so an index of inner
    products gives the lists of `answers.recommend`; an index of cosines does not. `users.npy` and
    `users.parquet` likewise, if the vectors follow from what is saved: those of a model that reads features
    of the context, or histories that were not saved, are computed by `encode` of what `save` writes.

    Raises:
      DataError: if the model has no item vectors, something else stands there, or the folder cannot be
        written.

    >>> import tempfile
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     vectors(f"{folder}/shop", shop)
    ...     (np.load(f"{folder}/shop/users.npy") @ np.load(f"{folder}/shop/items.npy").T).tolist()
    [[3.0, 1.0]]
    """
    check(saved)
    if not evaluation.is_retriever(saved.model):
        raise DataError(
            f"{type(saved.model).__name__} has no item vectors, as its score is no inner product: let it "
            "rank the candidates of a model that has them (rezoo.serving.two_stage)"
        )
    made = {"items": np.asarray(_table(saved.model, saved.variables))[1:]}
    if not saved.context_features.fitted and (saved.history is not None or not reads_history(saved)):
        made["users"] = _users(saved)
    ids = {"items": saved.items, "users": saved.users}
    content = {
        "about": "inner products of users' and items' vectors are the model's scores",
        "rezoo": importlib.metadata.version("rezoo"),
        "model": type(saved.model).__name__,
        "shapes": {name: list(array.shape) for name, array in made.items()},
    }
    try:
        with durable.folder(place(folder, FILES, MARK, "a folder of vectors")) as partial:
            for name, array in made.items():
                np.save(partial / f"{name}.npy", array, allow_pickle=False)
                pyarrow.parquet.write_table(_arrow(name, ids[name], array), partial / f"{name}.parquet")
            (partial / MARK).write_text(json.dumps(content, indent=1), "utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error}); what was there is as it was") from error


def _arrow(name: str, ids: Ids, array: np.ndarray) -> pa.Table:
    columns: dict[str, Any] = {name.removesuffix("s"): ids.raw[: len(array)]}
    if ids.names is not None:
        columns["name"] = ids.names[: len(array)]
    return pa.table(columns | {"vector": pa.FixedSizeListArray.from_arrays(array.ravel(), array.shape[1])})


def _users(saved: Saved) -> np.ndarray:
    """The vector of each known user, after the history that is saved."""
    each = np.arange(1, saved.users.size, dtype=np.int32)
    asked, query, _ = queries(saved, saved.users.raw, each, {}, None, None)
    return np.asarray(_encoded(saved.model, saved.variables, query, asked))


@compiled()
def _table(model: Any, variables: Any) -> jax.Array:
    return evaluation.apply(model, variables, method="table").astype(jnp.float32)


@compiled()
def _encoded(model: Any, variables: Any, query: Any, asked: Any) -> jax.Array:
    def of_block(rows: Any) -> tuple[jax.Array]:
        return (evaluation.apply(model, variables, query(rows[0]), method="encode").astype(jnp.float32),)

    return in_blocks(of_block, (asked,), BLOCK)[0]
