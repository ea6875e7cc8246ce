"""Predictions and recommendations of a saved model for the rows of a file.

    python experiments/predict.py RUN_FOLDER PAIRS.csv --out PREDICTIONS.parquet
    python experiments/predict.py RUN_FOLDER USERS.csv --k 10 --out LISTS.csv

RUN_FOLDER is what `rezoo.serving.saved.save` wrote. Columns of the file are the user, the item and,
for those that training did not know, their features; for models that read a history, also `history`
(ids such as 20|30, oldest first) and `history_rating`, unless the users' histories were saved with the
model. Ids are read as the model's are spelt; those that it does not know are counted. With --smoke a model
is trained on a few ratings, saved, and queried by this same program in another process; --out is then a
folder.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import optax
import tyro
from common import say

from rezoo import losses, objectives, training
from rezoo.data import batches, features, files
from rezoo.data.interactions import from_columns
from rezoo.data.scale import Scale
from rezoo.errors import DataError
from rezoo.models import FeatureMF
from rezoo.serving import bundle, saved, tables
from rezoo.serving.unknown import FATE, Unknown


@dataclass(frozen=True)
class Flags:
    """Flags of this experiment."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of the saved model."""
    file: Annotated[str | None, tyro.conf.Positional] = None
    """The questions: CSV, TSV, Parquet."""
    out: Path = Path("predictions.parquet")
    """Where the answers go, .parquet or .csv."""
    k: int | None = None
    """Recommend so many items to each user of the file, instead of predicting pairs."""
    user: str | None = None
    """Name of the user column, if it is not recognised."""
    item: str | None = None
    """Name of the item column, if it is not recognised."""
    separator: str | None = None
    """Between the ids of a history, if it is not |."""
    accept_unknown: bool = False
    """Answer although none of the users, of the items or of the histories is known to the model."""
    smoke: bool = False
    """Train, save, and ask in another process."""


def main(flags: Flags) -> None:
    """Answer a file."""
    if flags.smoke:
        return smoke(flags.out)
    if flags.run is None or flags.file is None:
        raise DataError("name the folder of the saved model and the file of questions")
    model = saved.load(flags.run)
    how: dict[str, Any] = {"user": flags.user, "separator": flags.separator}
    how["on_unknown"] = accepted if flags.accept_unknown else told
    if flags.k is None:
        answers = tables.predict_table(model, flags.file, item=flags.item, **how)
    else:
        answers = tables.recommend_table(model, flags.file, flags.k, **how)
    tables.write(answers, flags.out)
    rows = len(next(iter(answers.values())))
    print(f"{rows:,} rows in {flags.out}")


def told(unknown: Unknown) -> None:
    """Print what is unknown; not answered is a file of which nothing is known."""
    if unknown.nothing_known:
        raise DataError(
            f"{unknown}. Nothing is known of the {' and the '.join(unknown.nothing_known)}: are the ids "
            "spelt as in training, and is --separator what stands between those of a history? "
            "--accept-unknown answers with the prior, the answer for an unknown user or item"
        )
    accepted(unknown)


def accepted(unknown: Unknown) -> None:
    """Print what is unknown."""
    print(f"{unknown}. {FATE}")


def trained(steps: int = 60) -> bundle.Saved:
    """FeatureMF on ratings that the shopper's age and the product's kind decide, mean and all."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 40, 1500), rng.integers(0, 30, 1500)
    people = {"age": np.array(["young", "old"])[np.arange(40) % 2]}
    products = {"kind": np.array(["game", "book"])[np.arange(30) % 2], "price": np.linspace(1.0, 9.0, 30)}
    match = user % 2 == item % 2
    columns = {
        "user": [f"u{n}" for n in user],
        "item": [f"p{n}" for n in item],
        "rating": np.where(match, 4.5, 2.0),
    }
    log = from_columns(columns)

    def table(specs, raw, ids, letter):
        number = [int(one.removeprefix(letter)) for one in ids.raw]
        mine = {name: np.array([column[0], *column[number]]) for name, column in raw.items()}
        fitted = features.fit(specs, mine)
        made = fitted.transform(mine)
        for column in made.values():
            column[0] = 0
        return fitted, made, fitted.rows

    user_set, users, user_sizes = table({"age": features.Categorical()}, people, log.users, "u")
    item_specs = {"kind": features.Categorical(), "price": features.Numeric()}
    item_set, items, item_sizes = table(item_specs, products, log.items, "p")
    scale = Scale(float(np.mean(columns["rating"])), 1.0)
    model = FeatureMF(log.num_users, log.num_items, user_sizes, item_sizes, 4, id_dropout=0.5)
    label = scale.apply(np.asarray(columns["rating"]))
    of_users = {name: column[log.user] for name, column in users.items()}
    data = batches.pairs(log.user, log.item, label, features=of_users)
    optimizer = optax.adam(0.02)
    step = training.make_step(objectives.pointwise(model, losses.squared), optimizer)
    catalogue = jax.tree.map(jax.numpy.asarray, items)
    state = training.init_state(jax.random.key(0), model, optimizer, data, constants={"catalogue": catalogue})
    state, _ = jax.jit(lambda s: training.fit(step, s, data, num_epochs=steps, batch_size=256))(state)
    maps = log.users, log.items, users, user_set, item_set
    return bundle.Saved(model, state.variables, *maps, scale=scale, clip=(1.0, 5.0))


def smoke(folder: Path) -> None:
    """Train, save, ask in other processes, and check that new users are scored by their features."""
    folder.mkdir(parents=True, exist_ok=True)
    saved.save(folder / "run", trained())
    (folder / "pairs.csv").write_text(
        "user,item,age,kind,price\nu1,p1,,,\nu1,p2,,,\nnew,p1,old,,\nnew,p2,old,,\nu1,fresh,,book,3\n?,?,,,\n"
    )
    for extra in ([], ["--k", "5"]):
        file = folder / ("lists.csv" if extra else "predictions.parquet")
        given = [str(folder / "run"), str(folder / "pairs.csv"), "--out", str(file)]
        subprocess.run([sys.executable, __file__, *given, *extra], check=True)
    stars = files.read_table(folder / "predictions.parquet")["prediction"]
    print("stars:", stars.round(2).tolist())
    if not (np.isfinite(stars).all() and stars[0] > stars[1] + 1 and stars[2] > stars[3] + 1):
        raise SystemExit("the saved model does not answer as it was trained")


if __name__ == "__main__":
    sys.excepthook = say
    main(tyro.cli(Flags, description=__doc__))
