"""A trained model with all that it needs to be asked by raw ids, in a folder.

    save("runs/film", Saved(model, state.variables, log.users, log.items))
    film = load("runs/film")                          # in any process, without the training data

`rezoo.serving.answers` asks it.

The folder holds `saved.json` (format, version, model, scale), `arrays.npz` (variables, raw ids, the
features and histories of known users) and a JSON file for each feature set. There is no pickle in it.
It takes its name when it is complete.
"""

import importlib.metadata
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rezoo.data import features
from rezoo.data.errors import DataError
from rezoo.data.features import FeatureSet
from rezoo.data.ids import Ids
from rezoo.data.scale import Scale
from rezoo.serving.describe import decode, describe, encode, rebuild
from rezoo.serving.questions import PAST, SETS, check
from rezoo.types import Variables

FORMAT = 2
"""Written; read are this and 1, which had no histories."""
NONE = FeatureSet({})


def identity(score: Float[Array, " *S"]) -> Float[Array, " *S"]:
    """Scores as they are: stars."""
    return score


def probability(score: Float[Array, " *S"]) -> Float[Array, " *S"]:
    """σ(score), for models whose scores are logits."""
    return jax.nn.sigmoid(score)


class Saved(NamedTuple):
    """What is saved and loaded."""

    model: nn.Module
    variables: Variables
    """`catalogue`, if there is one, has a row for each id of `items`."""
    users: Ids
    """May be more than the model's table has: those are known by their features alone."""
    items: Ids
    user_columns: Mapping[str, np.ndarray] = {}
    """Features of users, fitted, a row for each dense id; row 0 is the unknown's."""
    user_features: FeatureSet = NONE
    """Make `user_columns` of raw columns; likewise `item_features` the catalogue."""
    item_features: FeatureSet = NONE
    context_features: FeatureSet = NONE
    """Of each question, such as the hour."""
    link: Callable[[Any], Any] = identity
    """From scores to predictions: `identity`, `probability`, or another function of rezoo."""
    scale: Scale = Scale(0.0, 1.0)
    """Brings predictions back to the original scale."""
    clip: tuple[float, float] | None = None
    """Lowest and highest prediction, on the original scale; not clipped if None."""
    history: np.ndarray | None = None
    """What each user did, `[U L]`: dense item ids, oldest first, padded with 0; row 0 is the unknown's."""
    history_rating: np.ndarray | None = None
    """The rating of each event of `history`, as in training (centred, if it was); for models that read it."""


def save(folder: str | Path, saved: Saved) -> None:
    """Write the folder, in the place of one of that name.

    Raises:
      DataError: if the model cannot be rebuilt from its fields, or the parts do not fit together.
    """
    check(saved)
    content = {
        "format": FORMAT,
        "rezoo": importlib.metadata.version("rezoo"),
        "model": describe(saved.model),
        "link": encode(saved.link, "link"),
        "scale": list(saved.scale),
        "clip": saved.clip,
    }
    arrays = {
        f"variables/{path}": np.asarray(leaf)
        for path, leaf in flax.traverse_util.flatten_dict(_plain(saved.variables), sep="/").items()
    }
    arrays |= {"users": saved.users.raw, "items": saved.items.raw}
    arrays |= {f"user_columns/{name}": np.asarray(column) for name, column in saved.user_columns.items()}
    arrays |= {
        name: np.asarray(past, dtype)
        for name, dtype in PAST.items()
        if (past := getattr(saved, name)) is not None
    }
    target = Path(folder)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.savez(partial / "arrays.npz", allow_pickle=False, **arrays)
    for name in SETS:
        getattr(saved, name).save(partial / f"{name}.json")
    (partial / "saved.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def load(folder: str | Path) -> Saved:
    """Read what `save` wrote.

    Raises:
      DataError: if the folder is missing, damaged, of a newer format, or does not fit this rezoo.
    """
    folder = Path(folder)
    if not (folder / "saved.json").is_file():
        raise DataError(
            f"{folder}: there is no saved model (no saved.json in it); write one with serving.saved.save"
        )
    try:
        content = json.loads((folder / "saved.json").read_text("utf-8"))
        written = content["format"]
        if written not in range(1, FORMAT + 1):
            raise DataError(
                f"{folder} has format {written}, of rezoo {content.get('rezoo')}; this reads 1 … {FORMAT}: "
                "install that version, or save the model again"
            )
        with (folder / "arrays.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        sets = {name: features.load(folder / f"{name}.json") for name in SETS}
        saved = Saved(
            rebuild(content["model"]),
            _below(arrays, "variables/"),
            Ids(arrays["users"]),
            Ids(arrays["items"]),
            {name: arrays[key] for key in arrays if (name := key.removeprefix("user_columns/")) != key},
            **sets,
            link=decode(content["link"]),
            scale=Scale(*content["scale"]),
            clip=tuple(content["clip"]) if content["clip"] else None,
            history=arrays.get("history"),
            history_rating=arrays.get("history_rating"),
        )
    except DataError as error:
        raise DataError(f"{folder}: {error}" if str(folder) not in str(error) else str(error)) from error
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            f"{folder} is damaged ({type(error).__name__}: {error}); save the model again"
        ) from error
    check(saved)
    return saved


def _plain(variables: Any) -> Any:
    """Nested dicts of arrays."""
    if isinstance(variables, Mapping):
        return {str(key): _plain(value) for key, value in variables.items()}
    return variables


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Any]:
    flat = {
        name.removeprefix(prefix): jnp.asarray(x) for name, x in arrays.items() if name.startswith(prefix)
    }
    return flax.traverse_util.unflatten_dict(flat, sep="/")
