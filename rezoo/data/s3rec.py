"""The sequences of S3-Rec (Zhou 2020, https://arxiv.org/abs/2008.07873): Beauty, Sports, Toys, Yelp, LastFM.

Each user's items in the order of time. Fetch `data/` of https://github.com/RUCAIBox/CIKM2020-S3Rec,
whose licences are those of Amazon, Yelp and Last.fm: name its folder, or a zip of it, `s3rec.zip`.
"""

import os
import zipfile
from pathlib import Path

import numpy as np

from rezoo.data.errors import DataError
from rezoo.data.sessions import Sessions, offsets_of


def load(name: str, data_dir: str | Path | None = None) -> Sessions:
    """The users' sequences; user u is session u - 1, and item ids are the file's, from 1.

    Args:
      name: of the data set, such as "Beauty".
      data_dir: the folder that holds `<name>.txt` or `s3rec.zip`, or a folder with a subfolder `s3rec`
        that does; the folder that REZOO_DATA names if not given.

    Raises:
      DataError: if the file is not there or damaged, or a line is not "user item item …".
    """
    root = data_dir or os.environ.get("REZOO_DATA")
    for folder in (Path(root) / sub for sub in ("", "s3rec")) if root else ():
        if (file := folder / f"{name}.txt").is_file():
            return parse(file.read_text(), str(file))
        if (file := folder / "s3rec.zip").is_file():
            try:
                return parse(zipfile.ZipFile(file).read(f"{name}.txt").decode(), f"{file}/{name}.txt")
            except (zipfile.BadZipFile, KeyError) as error:
                raise DataError(f"{file}: damaged, or without {name}.txt ({error})") from error
    raise DataError(
        f"{name}.txt is not in {root or 'any folder, as none was named'}: fetch it from "
        "https://github.com/RUCAIBox/CIKM2020-S3Rec and name its folder as data_dir or in REZOO_DATA"
    )


def parse(text: str, source: str) -> Sessions:
    r"""Lines of "user item item …".

    >>> parse("1 5 6 7\n2 5\n", "here").items.tolist()
    [5, 6, 7, 5]
    """
    try:
        rows = [np.array(line.split(), np.int32) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(
            f"{source}: {error}; each line must be a user and items, all of them numbers"
        ) from error
    user = np.array([row[0] for row in rows], np.int32)
    items = np.concatenate([row[1:] for row in rows]) if rows else np.zeros(0, np.int32)
    if not np.array_equal(user, np.arange(1, len(rows) + 1)) or (items < 1).any():
        raise DataError(f"{source}: users must be 1, 2, 3 … line by line, and items 1 or more")
    return Sessions(items, offsets_of(np.array([len(row) - 1 for row in rows], np.int64)), user)
