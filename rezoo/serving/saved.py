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
from rezoo.types import Query, Variables

FORMAT = 2
"""Written; read are this and 1, which had no histories."""
NONE = FeatureSet({})
SETS = ("user_features", "item_features", "context_features")
PAST = {"history": np.int32, "history_rating": np.float32}


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
    _check(saved)
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
    _check(saved)
    return saved


def reads_history(saved: Saved) -> bool:
    """Whether the history of who asks enters the model's score: told by tracing it, not by its name."""
    return _enters(lambda history: _score(saved, history), jnp.zeros((1, 1), jnp.int32))


def rates_history(saved: Saved) -> bool:
    """Whether a rating for each event of the history does, `query.features["history_rating"]`."""
    try:
        return _enters(
            lambda rating: _score(saved, jnp.zeros((1, 1), jnp.int32), history_rating=rating),
            jnp.zeros((1, 1)),
        )
    except Exception:
        return False  # The model reads every column, and was not trained with this one.


def _enters(function: Callable[[Array], Array], x: Array) -> bool:
    jaxpr = jax.make_jaxpr(function)(x).jaxpr
    return any(one is jaxpr.invars[0] for equation in jaxpr.eqns for one in equation.invars)


def _score(saved: Saved, history: Array, **features: Array) -> Any:
    """The model's answer to one question."""
    columns = {name: one.transform([None]) for name, one in saved.context_features.fitted.items()}
    columns |= {name: np.asarray(column)[:1] for name, column in saved.user_columns.items()}
    query = Query(jnp.zeros(1, jnp.int32), history, jax.tree.map(jnp.asarray, columns) | features)
    return saved.model.apply(_plain(saved.variables), query, jnp.zeros(1, jnp.int32))


def _check(saved: Saved) -> None:
    """One question to the model, without computing it: everything fits together, or it is said."""
    if saved.clip is not None and not saved.clip[0] < saved.clip[1]:
        raise DataError(f"clip={saved.clip}: the lowest prediction must be below the highest")
    tables = {"user_columns": (saved.user_columns, saved.users)}
    tables["catalogue"] = (saved.variables.get("catalogue", {}), saved.items)
    for name, (columns, ids) in tables.items():
        for column, values in columns.items():
            if len(values) != ids.size:
                raise DataError(
                    f"{name} has {len(values)} rows of {column!r} for {ids.size} ids, id 0 included"
                )
    for name in SETS[:2]:
        expected = getattr(saved.model, name, None)
        found = {column: one.size for column, one in getattr(saved, name).fitted.items()}
        if expected is not None and found and dict(expected) != found:
            raise DataError(f"{name} are {found}, but the model was trained on {dict(expected)}")
    _check_sizes(saved)
    try:
        jax.eval_shape(lambda: _score(saved, jnp.zeros((1, 1), jnp.int32)))
    except Exception as error:
        raise DataError(f"the variables do not fit {type(saved.model).__name__}: {error}") from error
    _check_past(saved)


def _check_sizes(saved: Saved) -> None:
    """Each column has as many values as the model has rows for it."""
    sizes = dict(getattr(saved.model, "sizes", {}))
    named = [dict(getattr(saved.model, name, {})) for name in SETS[:2]]
    expected = {column: rows for part in (*named, sizes) for column, rows in part.items()}
    for name in SETS:
        for column, one in getattr(saved, name).fitted.items():
            rows = expected.get(column, None if sizes else one.size)
            if one.size != rows:
                found, trained = (f"{n} rows" if n is not None else "no table" for n in (one.size, rows))
                raise DataError(
                    f"{name}: column {column!r} has {found}, but the model was trained with {trained}: "
                    "save the features that were fitted for its training"
                )


def _check_past(saved: Saved) -> None:
    """Histories are of these users and items, and rated if the model reads ratings."""
    if saved.history is None:
        if saved.history_rating is not None:
            raise DataError("history_rating is of no history: give history too")
        return
    history, users, items = np.asarray(saved.history), saved.users.size, saved.items.size
    if history.ndim != 2 or len(history) != users or history.dtype.kind not in "iu":
        raise DataError(
            f"history is {history.dtype} {list(history.shape)}: give item ids [{users} L], id 0 included"
        )
    if history.size and (history.min() < 0 or history.max() >= items):
        raise DataError(f"history has ids {history.min()} … {history.max()} of {items} items, id 0 included")
    model, rates = type(saved.model).__name__, rates_history(saved)
    if saved.history_rating is None:
        if rates:
            raise DataError(
                f"{model} weighs each event by its rating: give history_rating, as it was in training "
                "(1 for every event, if there were no ratings)"
            )
    elif not rates:
        raise DataError(f"{model} does not read history_rating: leave it out")
    elif np.shape(saved.history_rating) != history.shape:
        raise DataError(
            f"history_rating is {list(np.shape(saved.history_rating))} and history {list(history.shape)}: "
            "give one rating for each event"
        )


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
