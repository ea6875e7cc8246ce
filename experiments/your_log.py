"""Your own purchase or click log: cleaned, split by time, five recommenders compared, the best one saved.

    python experiments/your_log.py FILE.csv --recommendations lists.csv

FILE is CSV, TSV, Parquet or whatever `rezoo.data.files` reads, with a user, an item and a time. Common
column names are recognised, and which were chosen is printed first; others are given with --user, --item,
--timestamp. Cancellations (a quantity ≤ 0) and rows without a user are dropped, and the report says so.
The last fifth of the rows by time is what is to be predicted, for each user known before, ranked in the
whole catalogue, as two jobs: anything that they buy then, which may be what they bought before, and what is
new to them, from lists without what they had. The first decides which recommender is best, with --hide-seen
the second. Without FILE a small synthetic log is read.

The time that all this takes is estimated first; where it is more than --minutes, fewer seeds are run. The
models come in the order of their cost. Whenever one is the best so far, it is fitted once more to the whole
log, and every user of the log gets a list as of its end. That model is saved, for `predict.py` and for
`rezoo.serving`. A run that is stopped goes on where it was.

The UCI set "Online Retail" (541,909 rows) takes about three minutes on 2 CPU cores.
"""

from functools import partial
from pathlib import Path

import jax
from common import Results, keep, start
from protocols import own_log
from protocols.own_log import LogFlags

from rezoo import recipes
from rezoo.errors import DataError
from rezoo.recipes.outcome import ANYTHING, NEW, Comparison
from rezoo.serving import saved
from rezoo.training import loop

CONTENDERS = [recipes.popularity, recipes.buy_again, recipes.co_occurrence, recipes.bpr, recipes.gru4rec]
PROTOCOL = "last fifth of the rows by time; whole catalogue"
METRICS = {ANYTHING: "ndcg@10", NEW: "ndcg@10, new to the customer"}
"""What is measured for each job."""


def main(flags: LogFlags, results: Results) -> None:
    """Read, clean, compare, fit the best to the whole log, save it, write lists."""
    file = flags.file or own_log.synthetic(results.out / "log.csv")
    lists = flags.recommendations or results.out / "recommendations.csv"
    folder, key = flags.save or results.out / "model", jax.random.key(0)
    core, everything = own_log.kept(own_log.read(file, flags), flags)
    job = NEW if flags.hide_seen else ANYTHING
    contenders = {one.__name__: one for one in CONTENDERS}
    if flags.smoke:
        contenders |= {name: partial(contenders[name], num_epochs=1) for name in ("bpr", "gru4rec")}

    def ready(found: Comparison, name: str) -> None:
        """Record one recipe; if it is the best so far, fit it to the whole log, save it, and write lists."""
        record(results, found, name, Path(file).stem)
        if job not in found.ndcg:
            raise DataError("no customer bought anything new in the last fifth of the log: no --hide-seen")
        if found.best(job) == name:
            best = contenders[name](everything, key)
            saved.save(folder, best)
            own_log.write_lists(lists, everything, best, flags.hide_seen)

    with loop.progress_bar() as progress:
        result = recipes.compare(
            core,
            contenders,
            key,
            seeds=min(flags.seeds, 2) if flags.smoke else flags.seeds,
            minutes=flags.minutes,
            folder=results.out / "fits",
            progress=progress,
            report=print,
            on_result=ready,
        )
    results.finish()
    print(result)
    keep(result.picture(), results.out / "comparison.png")
    print(f"picture: {results.out / 'comparison.png'}")
    print(
        f"the model is in {folder}; lists for other users: python experiments/predict.py {folder} USERS.csv"
    )


def record(results: Results, found: Comparison, name: str, data: str) -> None:
    """A row of the result file for each job: a value for each seed, and the error over users."""
    table = found.table()
    for job, recipe, error in zip(table["job"], table["recipe"], table["error"], strict=True):
        row = (found.models[name], data, PROTOCOL, METRICS[job])
        if recipe == name and not results.values(*row):
            values = found.ndcg[job][name].mean(axis=1).tolist()
            results.add(*row, values, seconds=found.seconds[name] * len(values), sem_over_users=error)


if __name__ == "__main__":
    main(*start(__file__, __doc__, LogFlags))
