"""Versions of a served model beside each other, and a link that shows the newest.

    shop                 -> shop.versions/000002
    shop.versions/000001, 000001.json
    shop.versions/000002, 000002.json

A version is there before the link shows it, and the link is exchanged as a whole: a process that is killed
leaves the old version served, and the next one takes the next number.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezoo.errors import DataError
from rezoo.serving import saved as folders
from rezoo.serving.bundle import Saved
from rezoo.storage import durable

KEPT = 3
"""Versions that are kept."""


def publish(link: str | Path, saved: Saved, notes: Mapping[str, Any]) -> Path:
    """Save a version of a model, and let the link show it; older versions are deleted but for the last few.

    Args:
      link: what the service serves; made if it is not there.
      saved: the model.
      notes: what is to be known of the version, for `notes_of`; anything JSON can hold.

    Returns:
      The version's folder.

    Raises:
      DataError: if something else than a link stands there, or the folder cannot be written.
      rezoo.storage.durable.BusyError: if another process publishes.

    >>> import tempfile, jax.numpy as jnp, numpy as np
    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     publish(f"{folder}/shop", shop, {"last": 7}).name, notes_of(f"{folder}/shop")
    ('000001', {'last': 7})
    """
    link = Path(link)
    if link.exists() and not link.is_symlink():
        raise DataError(
            f"{link} is not a link: rename it, and let a link of its name show it (ln -s), so that another "
            "version can take its place at once"
        )
    versions = link.with_name(f"{link.name}.versions").absolute()
    try:
        with durable.lock(versions):
            number = max((int(one.name) for one in _numbered(versions)), default=0) + 1
            target = versions / f"{number:06}"
            folders.save(target, saved)
            with durable.file(target.with_suffix(".json")) as partial:
                partial.write_text(json.dumps(notes), "utf-8")
            show(link, target)
            for old in sorted(_numbered(versions))[:-KEPT]:
                shutil.rmtree(old)
                old.with_suffix(".json").unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{link}: no version can be published ({error}); what it shows is as it was"
        ) from error
    return target


def show(link: Path, target: Path) -> None:
    """Let a link show a folder, from one moment to the next."""
    made = link.with_name(f".{link.name}.{os.getpid()}.link")
    made.unlink(missing_ok=True)
    made.symlink_to(os.path.relpath(target, link.absolute().parent))
    os.replace(made, link)


def notes_of(link: str | Path) -> dict[str, Any]:
    """The notes of the version that a link shows; `{}` if `publish` has not made it.

    >>> notes_of("no/such/link")
    {}
    """
    file = Path(os.path.realpath(link)).with_suffix(".json")
    try:
        return json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}): delete it to learn all events again") from error


def _numbered(versions: Path) -> list[Path]:
    return [one for one in versions.iterdir() if one.is_dir() and one.name.isdecimal()]
