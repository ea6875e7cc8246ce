"""MIND, Microsoft's news: what was shown to whom, and what was clicked.

Wu et al.: MIND: A Large-scale Dataset for News Recommendation, ACL 2020. `behaviors.tsv` of
https://msnews.github.io has a row for each page: its number, the user, the time ("11/11/2019 9:05:58 AM"),
the news clicked before, and the news shown, with -1 where clicked and -0 where not.
"""

from pathlib import Path

import numpy as np

from rezoo.data import files
from rezoo.data.interactions import Interactions, from_columns
from rezoo.errors import DataError

NAMES = ("impression", "user", "time", "history", "item")


def read(path: str | Path) -> Interactions:
    """A row for each news article shown: rating 1 if it was clicked, 0 if not; each page is a session.

    `extra["history"]` holds the news clicked before, oldest first, between blanks. The test file, which
    does not say what was clicked, has no ratings.

    Raises:
      DataError: if the file is none of MIND's; it names the row.
    """
    table = files.read_table(path, names=NAMES, delimiter="\t", quotes=False, text=NAMES[1:], explode="item")
    name = Path(path).name
    parts = np.array([item.rpartition("-") for item in table["item"].tolist()])
    marked = np.isin(parts[:, 2], ("0", "1")) & (parts[:, 0] != "")
    if marked.any():
        if not marked.all():
            row = int(np.flatnonzero(~marked)[0])
            raise DataError(
                f"{name}: {table['item'][row].item()!r} has no -1 or -0 behind it, as others have"
            )
        table["item"], table["rating"] = parts[:, 0], parts[:, 2].astype(np.float32)
    return from_columns(table, session="impression", time_format="%m/%d/%Y %I:%M:%S %p", source=name)
