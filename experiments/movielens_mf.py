"""Star ratings of MovieLens by biased matrix factorization, 5-fold cross-validation.

    python experiments/movielens_mf.py --record --data-dir FOLDER  # holds ml-100k.zip and ml-1m.zip

Koren 2009, https://doi.org/10.1109/MC.2009.263. In each fold λ is chosen on a tenth of the training
fold, all candidates in one program; then every seed is fitted to the whole training fold, again in
one program, and the test fold is looked at once. The other settings were chosen on a tenth of the
first training fold. A value is the mean over the seeds of a fold.

RMSE, 5 seeds × 5 folds, on 2 busy CPU cores:

    ml-100k   BiasedMF 0.908 (Surprise 0.934)    biases alone 0.944    2 minutes
    ml-1m     BiasedMF 0.850 (Surprise 0.873)    biases alone 0.909    8 minutes
"""

import statistics
import time

import common
import jax.numpy as jnp
from protocols.biased_mf import SETTINGS, tuned
from protocols.ratings import GIVEN, RANDOM, Fold, folds, pairs, squared_error

from rezoo.models.factorization import biases


def bias_only(fold: Fold) -> float:
    """RMSE on the test fold of the biases alone."""
    data, asked = pairs(fold.train), pairs(fold.test)
    sizes = fold.train.num_users, fold.train.num_items
    fitted = biases.fit(data, *sizes, user_damping=15.0, item_damping=10.0)
    return float(
        jnp.sqrt(squared_error(biases.score(fitted, asked.query, asked.item), asked) / len(asked.item))
    )


def main() -> None:
    flags, results = common.start(__file__, __doc__, data=("ml-100k*", "ml-1m*"))
    real = [("ml-100k", RANDOM), ("ml-1m", RANDOM), ("ml-100k", GIVEN)]
    for dataset, protocol in [("synthetic", RANDOM)] if flags.smoke else real:
        at = SETTINGS[dataset]
        published = at.published if protocol == RANDOM else {}
        row = {"dataset": dataset, "protocol": protocol, "metric": "rmse"}
        for n, fold in enumerate(folds(dataset, flags.data_dir, protocol)):
            if n == len(results.values("Biases", **row)):
                start = time.monotonic()
                value = bias_only(fold)
                seconds = time.monotonic() - start
                results.add("Biases", **row, values=value, seconds=seconds, published=published.get("Biases"))
            if n == len(results.values("BiasedMF", **row)):
                start = time.monotonic()
                values, l2 = tuned(fold, at, flags.seeds)
                value, seconds = statistics.fmean(values), time.monotonic() - start
                results.add(
                    "BiasedMF", **row, values=value, seconds=seconds, published=published.get("BiasedMF")
                )
                print(f"{dataset} fold {n + 1}: BiasedMF {value:.4f}, λ {l2}, {seconds:.0f} s", flush=True)
    results.finish()


if __name__ == "__main__":
    main()
