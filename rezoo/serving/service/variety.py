"""Lists in which no more than so many items have one value of a column."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rezoo.serving.service.offer import Offer

Found = tuple[np.ndarray, np.ndarray]
"""Ids and scores, `[k]`, best first; 0 and -inf where there is none."""


def varied(
    found: Found, again: Callable[[np.ndarray], Found], offer: Offer, k: int, at_most: Mapping[str, int]
) -> Found:
    """The k best items, the best ones of each value: of one column what `two_stage.at_most` leaves.

    Where a list has not enough of them it is asked for again without what it had, and without values of which
    there are enough: k are found if there are k. An item without a value counts for none, one with several
    for each.

    Args:
      found: the best items.
      again: gives the best items but for some, bool `[N]`.
      offer: what stands in the columns.
      k: places.
      at_most: how many items of each value, by column.

    Raises:
      DataError: if there is no such column.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> from rezoo.serving.bundle import Saved
    >>> from rezoo.serving.service.catalogue import Catalogue
    >>> saved = Saved(Popularity(4), {}, Ids(np.array(["ann"])), Ids(np.array([1, 2, 3])))
    >>> offer = Offer(saved, 4, Catalogue.read({"item": [1, 2, 3], "kind": ["tea", "tea", "cup"]}))
    >>> best = np.array([1, 2]), np.array([9.0, 8.0])
    >>> again = lambda blocked: (np.array([3, 0]), np.array([1.0, -np.inf]))
    >>> ids, scores = varied(best, again, offer, 2, {"kind": 1})
    >>> ids.tolist(), scores.tolist()
    ([1, 3], [9.0, 1.0])
    """
    chosen: list[tuple[int, float]] = []
    counts: Counter[tuple[str, Any]] = Counter()
    blocked = np.zeros_like(offer.base)
    while True:
        listed = found[0][found[0] > 0]
        columns = [[_pairs(column, one) for one in offer.values(column, listed)] for column in at_most]
        for n, (item, score) in enumerate(zip(listed.tolist(), found[1].tolist(), strict=False)):
            mine = set[tuple[str, Any]]().union(*(pairs[n] for pairs in columns))
            if len(chosen) < k and all(counts[one] < at_most[one[0]] for one in mine):
                chosen.append((item, score))
                counts.update(mine)
        if len(chosen) == k or len(listed) < len(found[0]):
            return np.array([one for one, _ in chosen], np.int32), np.array(
                [one for _, one in chosen], np.float32
            )
        blocked[listed] = True
        for column, most in at_most.items():
            full = [value for (of, value), count in counts.items() if of == column and count >= most]
            if full:
                blocked |= offer.with_values(column, full)
        found = again(blocked)


def _pairs(column: str, value: Any) -> set[tuple[str, Any]]:
    """The values of one item, with their column."""
    return {(column, one) for one in (value if isinstance(value, list) else [value]) if one is not None}
