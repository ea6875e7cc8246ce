"""The folder of a saved model: where one may be written, and whether it was replaced meanwhile."""

import os
from pathlib import Path

from rezoo.errors import DataError


def place(folder: str | Path, files: set[str], mark: str = "saved.json", what: str = "a saved model") -> Path:
    """Where what has these files may be written: nothing is there, or an empty folder, or such a one.

    Args:
      folder: the place.
      files: all that it may hold.
      mark: the file that it always has.
      what: how an error calls it.

    Raises:
      DataError: if something else is there, or it is the working folder or one above it.
    """
    target = Path(os.path.realpath(folder))
    if target in (here := Path.cwd(), *here.parents):
        raise DataError(f"{folder} is the working folder or one above it: name a folder for the model alone")
    if not target.exists():
        return target
    found = {path.name for path in target.iterdir()} if target.is_dir() else {"a file"}
    if found and not (mark in found and found <= files):
        others = ", ".join(sorted(found - files or found)[:3])
        raise DataError(f"{folder} is not {what}, but holds {others}: name another, or delete it")
    return target


def version(folder: Path) -> tuple[int, ...] | None:
    """Another one whenever another folder has this name; None if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns
