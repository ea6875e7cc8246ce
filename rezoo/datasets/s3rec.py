"""The sequences of S3-Rec (Zhou 2020, https://arxiv.org/abs/2008.07873): Beauty, Sports, Toys, Yelp, LastFM.

Each user's items in the order of time. Fetch `data/` of https://github.com/RUCAIBox/CIKM2020-S3Rec,
whose licences are those of Amazon, Yelp and Last.fm: name its folder, or a zip of it, `s3rec.zip`.
"""

from pathlib import Path

import numpy as np

from rezoo.arrays import offsets_of
from rezoo.data.formats import read_sequences
from rezoo.data.ids import dense
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
