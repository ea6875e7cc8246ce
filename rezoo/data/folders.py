"""Where the files of published data sets are looked for."""

import os
from pathlib import Path

from rezoo.data.errors import DataError


def named(manual_dir: str | Path | None) -> list[Path]:
    """The folder `manual_dir` and the one that REZOO_DATA names, as far as there are any."""
    return [Path(folder) for folder in (manual_dir, os.environ.get("REZOO_DATA")) if folder]


def find(*names: str, manual_dir: str | Path | None, below: str, source: str) -> Path:
    """The first of the files `names` that is in a named folder, or in its subfolder `below`.

    Raises:
      DataError: if none is; it tells where it was looked for, and to fetch it from `source`.
    """
    roots = named(manual_dir)
    for folder in (root / part for root in roots for part in ("", below)):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise DataError(
        f"{' or '.join(names)} is not in {' or '.join(map(str, roots)) or 'any folder, as none was named'}: "
        f"fetch it from {source} and name its folder as manual_dir or in REZOO_DATA"
    )
