"""Weights of each item's candidates: the few other items that it may be made of, solved for on their own.

An item of k candidates has a k × k Gramian, and many such problems are solved at once. So the time of a fit
grows with items × k³ and its memory with items × k, beside a fixed share for what is solved at once.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Array, Float

from rezoo.devices.backend import pick
from rezoo.models.factorization.item_lists import Matrix, power, shared

BYTES = 2**25, 2**30
"""Of the Gramians that are solved at once, on a CPU and on an accelerator; one is taken if it is larger."""
Solve = Callable[[Float[np.ndarray, " B M M"], Float[np.ndarray, " B M"]], Float[Array, " B M"]]
"""`(Gramian of the candidates, what each shares with the item) -> weights`; 0 where there are fewer."""


def nearest(x: Matrix, most: int) -> Matrix:
    """The `most` other items of the largest cosine with each item, `[N N]`, of the binary matrix `[U N]`."""
    half = power(x.sum(axis=0), -0.5)
    return shared(x, np.ones(x.shape[0]), lambda i, j, both: half[i] * both * half[j], most=most)


def solved(x: Matrix, near: Matrix, solve: Solve) -> Matrix:
    """The weights (j, item) `[N N]` of the candidates j in each row of `near`, which is changed.

    >>> from scipy import sparse
    >>> x = sparse.csr_array(np.array([[0, 1, 1], [0, 1, 1], [0, 1, 0]]))
    >>> solved(x, nearest(x, 1), lambda gram, both: both * gram[:, :, 0]).toarray().astype(int).tolist()
    [[0, 0, 0], [0, 0, 6], [0, 4, 0]]
    """
    by_item = x.T.tocsr().astype(np.float32)
    for items, rows, width in _alike(np.diff(near.indptr)):
        gram, both = np.zeros((rows, width, width), np.float32), np.zeros((rows, width), np.float32)
        places = [slice(near.indptr[item], near.indptr[item + 1]) for item in items]
        for row, (item, place) in enumerate(zip(items, places, strict=True)):
            own = by_item[np.append(near.indices[place], item)]
            product, size = (own @ own.T).toarray(), own.shape[0] - 1
            gram[row, :size, :size], both[row, :size] = product[:-1, :-1], product[-1, :-1]
        for place, weight in zip(places, np.asarray(solve(gram, both)), strict=False):
            near.data[place] = weight[: place.stop - place.start]
    near.eliminate_zeros()
    return near.T.tocsr()


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
