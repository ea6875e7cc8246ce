"""What a fit of item lists takes as the catalogue grows to 100,000 items: seconds and memory.

    python experiments/bench_catalogues.py --record

Logs are drawn: as many users as items, ten events each, half of them among 500 items that are the user's own;
in both, the r-th item is taken in proportion to r^-0.8. LocalEASE has 64 candidates for an item. A fit is
timed once, with its compilation; the peak is that of the process, with JAX, the log and the fits before it.

    items    seconds   peak GiB
    10,000         4        .76
    100,000       32        .87
"""

import resource
import time

import common
import jax
import numpy as np

from rezoo.models.factorization import item_lists, local_ease

SIZES = (10_000, 100_000)
EVENTS, GROUP, CANDIDATES = 10, 500, 64


def drawn(items: int) -> np.ndarray:
    """Histories `[items, EVENTS]` of ids from 1 to items."""
    rng = np.random.default_rng(0)

    def ranks(most: int, shape: tuple[int, int]) -> np.ndarray:
        """From 0, of a density r^-0.8."""
        return (most * rng.random(shape) ** 5).astype(np.int32)

    half = (items, EVENTS // 2)
    place = rng.permutation(items)  # popular items are everywhere
    first = GROUP * rng.integers(0, items // GROUP, (items, 1))
    return 1 + place[np.concatenate([ranks(items, half), first + ranks(GROUP, half)], axis=1)].astype(
        np.int32
    )


def main(flags: common.Flags, results: common.Results) -> None:
    """Every size once, the smallest first."""
    for items in (1_000, 2_000) if flags.smoke else SIZES:
        row = "LocalEASE", "drawn", f"{items:,} items, {items * EVENTS:,} events"
        if results.values(*row, "seconds"):
            continue
        history, start = drawn(items), time.perf_counter()
        variables = local_ease.fit(history, items + 1, candidates=CANDIDATES)
        jax.block_until_ready(variables)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        with results.together():
            results.add(*row, "seconds", seconds, seconds=seconds, weights=item_lists.num_pairs(variables))
            results.add(*row, "peak GiB", peak, seconds=seconds)
        print(f"{row[2]}: {seconds:.0f} s, {peak:.2f} GiB", flush=True)
    results.finish()


if __name__ == "__main__":
    main(*common.start(__file__, __doc__))
