"""Where the files of published data sets are looked for."""

import os
from pathlib import Path
from typing import Any

from rezoo.errors import DataError


def find(*names: str, manual_dir: str | Path | None, below: str, source: str) -> Path:
    """What `search` finds.

    Raises:
      DataError: if nothing is found; it names the folders searched, and `source` to fetch it from.
    """
    if file := search(*names, manual_dir=manual_dir, below=below):
        return file
    raise DataError(
        f"{' or '.join(names)} is not in {searched(manual_dir)}: fetch it from {source} and name its folder "
        "as manual_dir or in REZOO_DATA"
    )


def member(name: str, archive: str, **place: Any) -> str:
    """`find` a file that may be in a zip: its path, or `ARCHIVE!NAME`, as readers take it."""
    file = find(name, archive, **place)
    return f"{file}!{name}" if file.name == archive else str(file)


def search(*names: str, manual_dir: str | Path | None, below: str) -> Path | None:
    """The first of the files `names` that is in the named folder, or in its subfolder `below`.

    The folder is `manual_dir`, or, if that is not given, what the environment variable REZOO_DATA names.
    """
    folders = (root / part for root in named(manual_dir) for part in ("", below))
    files = (folder / name for folder in folders for name in names)
    return next(filter(Path.is_file, files), None)


def searched(manual_dir: str | Path | None) -> str:
    """What an error calls the folders."""
    return " or ".join(map(str, named(manual_dir))) or "any folder, as none was named"


def named(manual_dir: str | Path | None) -> list[Path]:
    """The folder that is searched, if there is one: what is named is not replaced by another in silence."""
    return [Path(folder) for folder in (manual_dir or os.environ.get("REZOO_DATA"),) if folder]
