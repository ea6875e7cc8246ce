"""The sequences of S3-Rec (Zhou 2020, https://arxiv.org/abs/2008.07873): Beauty, Sports, Toys, Yelp, LastFM.

Each user's items in the order of time, and the attributes of each item. Fetch `data/` of
https://github.com/RUCAIBox/CIKM2020-S3Rec, whose licences are those of Amazon, Yelp and Last.fm: name its
folder, or a zip of it, `s3rec.zip`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rezoo.arrays import offsets_of
from rezoo.data import contents
from rezoo.data.formats import read_sequences
from rezoo.data.ids import dense
from rezoo.data.packing import padded
from rezoo.data.sessions import Sessions
from rezoo.datasets import folders
from rezoo.errors import DataError

URL = "https://github.com/RUCAIBox/CIKM2020-S3Rec"


def load(name: str, manual_dir: str | Path | None = None) -> Sessions:
    """The users' sequences; user u is session u - 1, and item ids are the file's, from 1
    (one more than the file's where those start at 0, as `formats.read_sequences` says).

    Args:
      name: of the data set, such as "Beauty".
      manual_dir: the folder that holds `<name>.txt` or `s3rec.zip`, or a folder with a subfolder `s3rec`
        that does; the folder that REZOO_DATA names if not given.

    Raises:
      DataError: if the file is not there or damaged, or a line is not "user item item …".
    """
    file = folders.member(f"{name}.txt", "s3rec.zip", manual_dir=manual_dir, below="s3rec", source=URL)
    user, item = read_sequences(file)
    users, counts = np.unique(user, return_counts=True)
    if not np.array_equal(user, np.repeat(np.arange(1, len(users) + 1), counts)):
        raise DataError(f"{file}: users must be 1, 2, 3 … line by line")
    return Sessions(dense(item, str(file)), offsets_of(counts), dense(users, str(file)))


def attributes(name: str, num_items: int, manual_dir: str | Path | None = None) -> Int[np.ndarray, " N M"]:
    """The attributes of each item, such as its brand and categories: ids from 1, 0 = padding.

    Args:
      name: of the data set, such as "Beauty", whose users, items and attributes start at 1 in the file.
      num_items: rows of the catalogue, 0 included.
      manual_dir: as of `load`.

    Raises:
      DataError: if the file is not there or damaged, or an item or attribute is not a whole number from 1, or
        an item is beyond the catalogue.
    """
    member = f"{name}_item2attributes.json"
    file = folders.member(member, "s3rec.zip", manual_dir=manual_dir, below="s3rec", source=URL)
    try:
        told = json.loads(contents.read(*contents.split(file)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON ({error})") from None
    if not isinstance(told, dict):
        raise DataError(f"{file} holds no object of items: is it the right file?")
    for item, values in told.items():
        if not (item.isdecimal() and 0 < int(item) < num_items):
            raise DataError(f"{file}: item {item!r} is not a whole number from 1 to {num_items - 1}")
        if not isinstance(values, list) or not all(_is_id(value) for value in values):
            raise DataError(f"{file}, item {item}: give a list of whole numbers from 1")
    item = np.repeat(np.array([*map(int, told)], np.int32), [len(values) for values in told.values()])
    value = np.array([one for values in told.values() for one in values], np.int32)
    return padded(np.arange(num_items), item, value)[0]


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31
