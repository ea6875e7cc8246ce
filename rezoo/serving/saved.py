"""A trained model with all that it needs to be asked by raw ids, in a folder.

    save("runs/film", Saved(model, state.variables, log.users, log.items))
    film = load("runs/film")                          # in any process, without the training data

`rezoo.serving.answers` asks it.

The folder holds `saved.json` (format, version, model, scale), `arrays.npz` (variables, raw ids and names, the
features and histories of known users) and a JSON file for each feature set. It takes its name when it is
complete, and one that it replaces can be loaded until then.

A folder from a stranger is safe to load: there is no pickle in it, it can name models of `rezoo.models`
and the functions that their fields' types name, and nothing else, and sizes are compared with what is in
the files before memory is taken.
"""

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.data import features, typed
from rezoo.data.ids import Ids
from rezoo.data.scale import Scale
from rezoo.errors import DataError
from rezoo.serving import npz
from rezoo.serving.bundle import PAST, SETS, Link, Saved
from rezoo.serving.checks import check
from rezoo.serving.folder import place, version
from rezoo.serving.model_json import describe, longest, rebuild, write
from rezoo.storage import durable

FORMAT = 5
"""The version that is written. 4 (no columns of events), 3 (items have no names), 2 (names of arrays are not
quoted) and 1 (no histories) can be read too."""
FILES = {"saved.json", "arrays.npz", *(f"{name}.json" for name in SETS)}
COLUMNS = "variables/", "user_columns/", "history_columns/"
"""How the names of other arrays than ids and histories begin."""
MOST = 2**22
"""Bytes of `saved.json`."""


def save(folder: str | Path, saved: Saved) -> None:
    """Write the folder, in the place of a saved model of that name.

    Raises:
      DataError: if something else stands there, the model cannot be rebuilt from its fields, the parts do
        not fit together, or the folder cannot be written; what was there is then as it was.

    >>> import tempfile
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/shop", shop)
    ...     loaded = load(f"{folder}/shop")
    >>> type(loaded.model).__name__, loaded.items.raw.tolist()
    ('Popularity', ['hat', 'tea'])
    """
    check(saved)
    content = {
        "format": FORMAT,
        "rezoo": importlib.metadata.version("rezoo"),
        "model": describe(saved.model, longest(saved.variables)),
        "link": write(saved.link, Link, "link"),
        "scale": write(list(saved.scale), tuple[float, float], "scale"),
        "clip": write(saved.clip, tuple[float, float] | None, "clip"),
    }
    named = npz.flat(saved.variables, "variables") | npz.flat(saved.user_columns, "user_columns")
    named |= npz.flat(saved.history_columns, "history_columns")
    named |= {"users": saved.users.raw, "items": saved.items.raw}
    if saved.items.names is not None:
        named["item_names"] = saved.items.names
    for name, dtype in PAST.items():
        if (past := getattr(saved, name)) is not None:
            named[name] = np.asarray(past, dtype)
    try:
        with durable.folder(place(folder, FILES)) as partial:
            content["types"] = npz.write(partial / "arrays.npz", named)
            for name in SETS:
                getattr(saved, name).save(partial / f"{name}.json")
            (partial / "saved.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error}); what was there is as it was") from error


def load(folder: str | Path) -> Saved:
    """Read what `save` wrote.

    Raises:
      DataError: if the folder is missing, damaged, of a newer format, or does not fit this rezoo.

    >>> import tempfile
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/shop", Saved(Popularity(3), variables, Ids(np.array([8])), Ids(np.array([4, 5]))))
    ...     load(folder + "/shop").users.raw.tolist()
    [8]
    """
    for _ in range(100):
        where = durable.survivor(folder)
        found = version(where)
        try:
            saved = _read(where)
            check(saved)
        except (DataError, OSError) as error:
            if version(where) == found:  # otherwise it was replaced meanwhile
                raise DataError(f"{folder}: {error}") from error
        else:
            if version(where) == found:
                return saved._replace(variables=jax.tree.map(jnp.asarray, saved.variables))
    raise DataError(f"{folder} is being replaced all the time: load it later")


def _read(folder: Path) -> Saved:
    """What is stored, its variables as NumPy's arrays; whether they fit is still to be checked."""
    if not (folder / "saved.json").exists():
        raise DataError("there is no saved model (no saved.json in it); write one with serving.saved.save")
    content = typed.from_file(folder / "saved.json", MOST)
    written = content.get("format") if isinstance(content, dict) else None
    if type(written) is int and not 1 <= written <= FORMAT:
        raise DataError(
            f"it has format {written}, of rezoo {content.get('rezoo')}; this reads 1 … {FORMAT}: "
            "install that version, or save the model again"
        )
    if type(written) is not int or set(content) - {"types"} != {
        "format",
        "rezoo",
        "model",
        "link",
        "scale",
        "clip",
    }:
        raise DataError("saved.json is damaged: it does not hold what was saved; save the model again")
    types = typed.read({"mapping": content.get("types", {})}, Mapping[str, str], "types")
    stored = npz.read(folder / "arrays.npz", types)
    plain = {name for name in stored if not name.startswith(COLUMNS)}
    if not {"users", "items"} <= plain <= {"users", "items", "item_names", *PAST}:
        raise DataError(f"arrays.npz is damaged: it holds {sorted(plain)[:9]}; save the model again")
    variables = npz.nested(stored, "variables", quoted=written > 2)
    sets = {name: features.load(folder / f"{name}.json") for name in SETS[: 3 if written < 5 else 4]}
    return Saved(
        rebuild(content["model"], longest(variables)),
        variables,
        Ids(stored["users"]),
        Ids(stored["items"], stored.get("item_names")),
        npz.nested(stored, "user_columns", quoted=written > 2),
        **sets,
        link=typed.read(content["link"], Link, "link"),
        scale=Scale(*typed.read(content["scale"], tuple[float, float], "scale")),
        clip=typed.read(content["clip"], tuple[float, float] | None, "clip"),
        history=stored.get("history"),
        history_rating=stored.get("history_rating"),
        history_columns=npz.nested(stored, "history_columns", quoted=True),
    )
