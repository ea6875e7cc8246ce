"""Star ratings of MovieLens by SVD++, 5-fold cross-validation.

    python experiments/movielens_svdpp.py --record --data-dir FOLDER  # holds ml-100k.zip and ml-1m.zip

Koren 2008, https://doi.org/10.1145/1401890.1401944. N(u) is what u rated in the training fold. In
each fold the strength of regularisation is chosen on a tenth of the training fold; then every seed
is fitted to the whole training fold, and the test fold is looked at once. The other settings were
chosen on a tenth of the first training fold. A value is the mean over the seeds of a fold. One
program is compiled and run for each seed in turn: on a CPU, scattering into tables that `vmap` has
stacked takes several times as long. "Published" is Surprise's.

RMSE, 5 seeds × 5 folds, on 2 busy CPU cores:

    ml-100k   SVDpp 0.902 (Surprise 0.919)    5 minutes
    ml-1m     SVDpp 0.847 (Surprise 0.862)    9 minutes
"""

import statistics
import time

import common
from protocols.ratings import GIVEN, RANDOM, folds
from protocols.svdpp import SETTINGS, tuned


def main() -> None:
    flags, results = common.start(__file__, __doc__, data=("ml-100k*", "ml-1m*"))
    real = [("ml-100k", RANDOM), ("ml-1m", RANDOM), ("ml-100k", GIVEN)]
    for dataset, protocol in [("synthetic", RANDOM)] if flags.smoke else real:
        at = SETTINGS[dataset]
        published = at.published if protocol == RANDOM else None
        row = {"dataset": dataset, "protocol": protocol, "metric": "rmse"}
        for n, fold in enumerate(folds(dataset, flags.data_dir, protocol)):
            if n == len(results.values("SVDpp", **row)):
                start = time.monotonic()
                values, strength = tuned(fold, at, flags.seeds)
                value, seconds = statistics.fmean(values), time.monotonic() - start
                results.add("SVDpp", **row, values=value, seconds=seconds, published=published)
                print(
                    f"{dataset} fold {n + 1}: SVDpp {value:.4f}, strength {strength}, {seconds:.0f} s",
                    flush=True,
                )
    results.finish()


if __name__ == "__main__":
    main()
