"""Who likes which movie, from what is known of both: models of feature interactions on ML-1M.

    python experiments/movielens_ctr.py --data-dir FOLDER     # holds ml-1m.zip

As in AutoInt, https://arxiv.org/abs/1810.11921, section 5.1: ratings of 3 are dropped, higher ones are
positive, and the 739,012 rows left are split 8:1:1 at random. Columns: user, age, gender, occupation,
the first two digits of the zip code; movie, genres, year. All models are tuned, stopped and tested as
in `frappe_ctr.py`, with the same embeddings, network and budget.
"""

from pathlib import Path
from typing import Any

import common
import jax.numpy as jnp
import numpy as np
from frappe_ctr import Budget, Data, Setting, compare, pairs, synthetic, zoo

from rezoo.data import features, movielens, split
from rezoo.data.features import Categorical, MultiValued, Quantile

MODELS = ("FM", "DNN", "WideDeep", "DCNv2", "AutoInt", "AFM")


REAL = Budget((Setting(0.003, 1e-5), Setting(0.003, 1e-4)), 2048, 6)


def likes(folder: Path | None) -> Data:
    """ML-1M's three parts; what is known of movies is in the catalogue."""
    ml = movielens.load("ml-1m", manual_dir=folder)
    log = ml.ratings.take(np.asarray(ml.ratings.rating) != 3)
    about_users = {**ml.users, "zip": np.array([str(code)[:2] for code in ml.users["zip"]])}
    of_users = features.fit(dict.fromkeys(("age", "gender", "occupation", "zip"), Categorical()), about_users)
    of_items = features.fit({"genres": MultiValued(), "year": Quantile(20)}, ml.items)
    users, items = of_users.transform(about_users), of_items.transform(ml.items)

    def part(rows: Any) -> Any:
        columns = {"user": rows.user, "item": rows.item, **{n: c[rows.user] for n, c in users.items()}}
        return pairs(columns, (np.asarray(rows.rating) > 3).astype(np.float32))

    train, valid, test = map(part, split.ratio(log, valid=0.1, test=0.1).of(log))
    sizes = {"user": log.num_users, "item": log.num_items, **of_users.sizes, **of_items.sizes}
    catalogue = {name: jnp.asarray(column) for name, column in items.items()}
    protocol = "rating > 3, without 3; random 8:1:1 (seed 0)"
    return Data(train, valid, test, sizes, {"catalogue": catalogue}, "ml-1m", protocol)


def main() -> None:
    flags, results = common.start(__file__, __doc__)
    data = synthetic() if flags.smoke else likes(flags.data_dir)
    dim, widths = (4, (8,)) if flags.smoke else (16, (64, 32))
    chosen = {entry.name: entry for entry in zoo(data.sizes, dim, widths, 0.2)}
    # What the zoo of `frappe_ctr` compares with was published for Frappe.
    entries = [chosen[name]._replace(published={}) for name in (("DNN",) if flags.smoke else MODELS)]
    budget = Budget((Setting(0.02, 1e-4),), 256, 3) if flags.smoke else REAL
    compare(entries, data, budget, flags.seeds, results)
    results.finish()


if __name__ == "__main__":
    main()
