"""Ta-Feng: the baskets of a grocery's customers, as prepared for next-basket recommendation.

Li, Jullien, Ariannezhad, de Rijke: A Next Basket Recommendation Reality Check, TOIS 2023,
https://doi.org/10.1145/3587153; `jsondata` of
https://github.com/liming-7/A-Next-Basket-Recommendation-Reality-Check, in a zip. Each file holds an object
`{customer: [[-1], basket, …, [-1]]}`, oldest basket first; `future` has each customer's last basket. Other
data sets of that repository are laid out alike.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rezoo.data import contents
from rezoo.data.interactions import Interactions, from_columns
from rezoo.datasets import folders
from rezoo.errors import DataError

URL = "https://github.com/liming-7/A-Next-Basket-Recommendation-Reality-Check (jsondata, as tafeng.zip)"


class Baskets(NamedTuple):
    """What customers bought, and what they bought next; the numbers of baskets are times."""

    train: Interactions
    test: Interactions
    """Each customer's last basket, with the ids of `train`; 0 for products that are not in it."""


def load(manual_dir: str | Path | None = None) -> Baskets:
    """The two files of Ta-Feng.

    Args:
      manual_dir: folder with `tafeng.zip`, or with a folder `tafeng` that has it.

    Raises:
      DataError: if it is not there, or holds something else.
    """
    archive = folders.find("tafeng.zip", manual_dir=manual_dir, below="tafeng", source=URL)
    return read(*(f"{archive}!tafeng/tafeng_{part}.json" for part in ("history", "future")))


def read(history: str | Path, future: str | Path) -> Baskets:
    """Two files of this layout.

    Raises:
      DataError: if one is not laid out like that; names the customer.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "old.json").write_text('{"7": [[-1], [5, 6], [5], [-1]]}')
    ...     _ = Path(folder, "new.json").write_text('{"7": [[-1], [6, 8], [-1]]}')
    ...     train, test = read(f"{folder}/old.json", f"{folder}/new.json")
    >>> train.items.decode(train.item).tolist(), train.timestamp.tolist(), test.item.tolist()
    ([5, 6, 5], [1, 1, 2], [2, 0])
    """
    train = from_columns(_columns(history), unit="order", source=Path(history).name)
    later = _columns(future)
    return Baskets(
        train,
        from_columns(later, unit="order", users=train.users, items=train.items, source=Path(future).name),
    )


def _columns(path: str | Path) -> dict[str, np.ndarray]:
    """A row for each product of each basket."""
    place = str(path)
    try:
        table = json.loads(contents.read(*contents.split(place)), object_pairs_hook=_once)
    except DataError as error:
        raise DataError(f"{place}, {error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON ({error})") from None
    if not isinstance(table, dict):
        raise DataError(f"{place} holds no object of customers: is it the right file?")
    rows: list[tuple[Any, int, int]] = []
    for customer, baskets in table.items():
        if not isinstance(baskets, list) or any(not _is_basket(basket) for basket in baskets):
            raise DataError(
                f"{place}, customer {customer!r}: give a list of baskets, each a list of whole numbers from "
                "0 on, or [-1] alone"
            )
        real = [basket for basket in baskets if basket != [-1]]
        rows += [(customer, item, n) for n, basket in enumerate(real, 1) for item in basket]
    user, item, number = zip(*rows, strict=True) if rows else ((), (), ())
    return {"user": np.array(user), "item": np.array(item), "time": np.array(number)}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The customers, none of whom comes twice."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        again = next(name for n, name in enumerate(names) if name in names[:n])
        raise DataError(f"customer {again!r} stands there twice: join the baskets")
    return table


def _is_basket(basket: Any) -> bool:
    real = isinstance(basket, list) and all(type(item) is int for item in basket)
    return real and (basket == [-1] or min(basket, default=0) >= 0)
