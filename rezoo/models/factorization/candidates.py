"""Weights of each item's candidates: the few other items that it may be made of, solved for on their own.

An item of k candidates has a k × k Gramian, and many such problems are solved at once. So the seconds
of a fit grow with items × k³, and its bytes with items × k, besides those of what is worked on at once.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Array, Float

from rezoo.devices.backend import pick
from rezoo.models.factorization.item_lists import PAIRS, Matrix, on_both_sides, power, runs, shared

BYTES = 2**25, 2**30
"""Of the Gramians that are solved at once, on a CPU and on an accelerator; one is taken if it is larger."""
POPULAR = 2**28
"""Bytes of the table of what the most popular items share with all items; of one item if that is larger."""
Solve = Callable[[Float[np.ndarray, " B M M"], Float[np.ndarray, " B M"]], Float[Array, " B M"]]
"""`(Gramian of the candidates, what each shares with the item) -> weights`; 0 where there are fewer."""


def nearest(x: Matrix, most: int) -> Matrix:
    """The `most` other items of the largest cosine with each item, `[N N]`, of the binary matrix `[U N]`."""
    return shared(x, np.ones(x.shape[0]), on_both_sides(power(x.sum(axis=0), -0.5)), most=most)


def solved(x: Matrix, near: Matrix, solve: Solve) -> Matrix:
    """The weights (j, item) `[N N]` of the candidates j in each row of `near`, which is changed.

    >>> from scipy import sparse
    >>> x = sparse.csr_array(np.array([[0, 1, 1], [0, 1, 1], [0, 1, 0]]))
    >>> solved(x, nearest(x, 1), lambda gram, both: both * gram[:, :, 0]).toarray().astype(int).tolist()
    [[0, 0, 0], [0, 0, 6], [0, 4, 0]]
    """
    gramian = _gramians(x)
    for items, rows, width in _alike(np.diff(near.indptr)):
        gram, both = np.zeros((rows, width, width), np.float32), np.zeros((rows, width), np.float32)
        places = [slice(near.indptr[item], near.indptr[item + 1]) for item in items]
        for row, (item, place) in enumerate(zip(items, places, strict=True)):
            whole, size = gramian(np.append(near.indices[place], item)), place.stop - place.start
            gram[row, :size, :size], both[row, :size] = whole[:-1, :-1], whole[-1, :-1]
        for place, weight in zip(places, np.asarray(solve(gram, both)), strict=False):
            near.data[place] = weight[: place.stop - place.start]
    near.eliminate_zeros()
    return near.T.tocsr()


def _gramians(x: Matrix) -> Callable[[np.ndarray], np.ndarray]:
    """Gives the Gramian of some items, `[k] -> [k k]`.

    What the most popular items share with all others is counted once, since they are candidates of many items
    and their columns are the longest.
    """
    by_item, by_user = x.T.tocsr().astype(np.float32), x.astype(np.float32)
    popular = np.argsort(-np.diff(by_item.indptr), kind="stable")[: max(POPULAR // (4 * x.shape[1]), 1)]
    counted = np.zeros((len(popular), x.shape[1]), np.float32)
    for start, end in runs(np.full(len(popular), x.shape[1]), PAIRS):
        counted[start:end] = (by_item[popular[start:end]] @ by_user).toarray()
    row_of = np.full(x.shape[1], -1, np.int32)
    row_of[popular] = np.arange(len(popular))

    def gramian(items: np.ndarray) -> np.ndarray:
        whole, row = np.empty((len(items), len(items)), np.float32), row_of[items]
        many, few = np.flatnonzero(row >= 0), np.flatnonzero(row < 0)
        own = by_item[items[few]]
        whole[np.ix_(few, few)] = (own @ own.T).toarray()
        whole[many] = counted[np.ix_(row[many], items)]
        whole[:, many] = whole[many].T
        return whole

    return gramian


def _alike(count: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """Items whose numbers of candidates are alike; the rows and width of their arrays, of few shapes."""
    longest = int(count.max(initial=0))
    widths = np.minimum(2 ** np.ceil(np.log2(np.maximum(count, 1))).astype(int), longest)
    for width in np.unique(widths[count > 0]).tolist():
        items = np.flatnonzero((widths == width) & (count > 0))
        most = pick(cpu=BYTES[0], accelerator=BYTES[1]) // (4 * width**2)
        rows = min(max(most, 1), len(items))
        for first in range(0, len(items), rows):
            yield items[first : first + rows], rows, width
