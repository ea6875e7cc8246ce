"""Users that no model was trained on: autoencoders and item graphs beside EASE, iALS, item-kNN.

    python experiments/strong_generalisation.py --record --data-dir FOLDER  # holds ml-1m.zip, citeulike-a.zip

The protocol of Liang et al. 2018, https://arxiv.org/abs/1802.05814, section 4.2, on smaller data: a
tenth of the users for validation, a tenth for testing, all others for training. Of a held-out user
80% of the items, drawn at random, are known to the model, and the others are to be found among all
items but the known ones; items that no training user took are left out. recall@k is over the
smaller of k and the items to be found, as in the paper.

Every model has the same budget: three configurations (`MODELS`, `OF_DATASET`), of which
the one with the best ndcg@100 on the validation users is measured on the test users; models that
start at random for every seed. iALS solves for a held-out user's vector, the others read the history.

Test users; seconds are those of all three configurations and seeds, on one busy CPU core:

                 ml-1m, standard errors of three seeds ≤ .003     citeulike-a, one seed
                 recall@20   recall@50   ndcg@100   seconds       recall@20   recall@50   ndcg@100   seconds
    Popularity        .178        .250       .224         2            .013        .027       .021         4
    FISM              .312        .450       .386      1045            .203        .326       .224       787
    ItemKNN           .318        .438       .392        13            .330        .438       .328       697
    RP3beta           .346        .468       .408         7            .353        .469       .346         7
    MultVAE           .346        .483       .415       238            .344        .450       .337      1935
    GFCF              .356        .485       .426        24            .347        .462       .342       117
    SLIM              .360        .476       .428        53            .355        .479       .354       219
    MultDAE           .354        .489       .430       205            .337        .447       .335      1142
    LocalEASE         .370        .484       .431        37            .353        .476       .355       119
    BSPM              .361        .492       .434        22            .372        .487       .357        68
    EASE              .373        .489       .436        58            .368        .473       .361       519
    IALS              .368        .499       .436        23            .362        .487       .353        98

citeulike-a is sparser and has no popular articles, and width tells: of 128, 256 and 512 factors iALS is best
on the validation users with the most. Mult-VAE has no hidden layers there and 400 latent units. With hidden
layers it is behind the neighbours (40 to 100 epochs, rates of .001 and .003, batches of 125 to 32, 200 to 600
hidden and 100 and 200 latent units, β from .1 to 1, dropout of .2 to .5).

`SIZES` and `OF_DATASET` come of such trials on the validation users, of which iALS and Mult-VAE had more than
the others. Some test users were measured before with other settings: ml-1m's Mult-VAE and Mult-DAE at a
constant rate of .001 in batches of 125, and citeulike-a's EASE with λ 100, the least of its candidates then.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from protocols import lists
from protocols.histories import (
    Data,
    Fitted,
    Held,
    Sizes,
    asked,
    citeulike,
    mult_vae,
    multinomial,
    of_ease,
    of_popularity,
)
from protocols.ratings import synthetic

from rezoo import evaluation, losses, metrics, objectives, sampling, training
from rezoo.data import batches, split
from rezoo.data.interactions import Interactions
from rezoo.data.packing import padded
from rezoo.datasets import movielens
from rezoo.models import FISM, GFCF, IALS, SLIM, ItemKNN, LocalEASE, MultDAE, RP3beta
from rezoo.models.factorization import gfcf, ials, item_knn, local_ease, rp3beta, slim
from rezoo.types import Batch, Query, Variables

PROTOCOL = (
    "strong generalisation: 10% of users for validation and 10% for test (seed 0), of each 80% of the items "
    "known and 20% to be found by full ranking"
)
PROTOCOLS = {
    "ml-1m": f"{PROTOCOL}; ratings ≥ 4, users with ≥ 5",
    "citeulike-a": f"{PROTOCOL}; users with ≥ 5",
    "synthetic": PROTOCOL,
}
NUMBERS = ("recall@20", "recall@50", "ndcg@100")


@dataclass(frozen=True)
class Flags(common.Flags):
    """Which data sets and models."""

    dataset: tuple[str, ...] = ("ml-1m", "citeulike-a")
    """Any of ml-1m, citeulike-a."""
    models: tuple[str, ...] = ()
    """Names of the table; all if none is given. Rows of others stay as they are."""


SIZES = {
    "ml-1m": Sizes(200, 100, 40, 50, 128),
    "citeulike-a": Sizes(200, 200, 60, 32, 512),
    "synthetic": Sizes(16, 8, 10, 32, 16),
}


def mult_dae(data: Data, at: Sizes, seed: int, dropout: float, rate: float = 3e-3) -> Fitted:
    """The paper's one hidden layer."""
    return multinomial(MultDAE(data.num_items, at.hidden, dropout=dropout), None, data, at, seed, rate)


def of_fism(data: Data, at: Sizes, seed: int, alpha: float) -> Fitted:
    """BPR on every purchase beside four items drawn uniformly; a user's history is looked up by row."""
    model = FISM(data.num_items, at.latent, alpha=alpha)
    history = jnp.asarray(data.history)
    row, column = np.nonzero(data.history)
    rows = batches.pairs(row, data.history[row, column])
    bpr = objectives.l2(objectives.sampled(model, losses.bpr, sampling.uniform(data.num_items), 4), 1e-4)

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> Any:
        query = batch.query._replace(history=history[batch.query.user])
        return bpr(variables, key, batch._replace(query=query))

    optimizer = optax.adam(3e-3)
    state = training.init_state(jax.random.key(seed), model, optimizer, rows)
    step = training.make_step(objective, optimizer)
    run = jax.jit(lambda state, rows: training.fit(step, state, rows, num_epochs=8, batch_size=1024)[0])
    variables = run(state, rows).variables
    return lambda known: (model, variables, asked(known))


def of_ials(data: Data, at: Sizes, seed: int, unobserved: float, l2: float) -> Fitted:
    row, column = np.nonzero(data.history)
    size, weights = (len(data.history) + 1, data.num_items), ials.Weights(unobserved, l2)
    key = jax.random.key(seed)
    variables = ials.fit(key, row + 1, data.history[row, column], *size, at.factors, weights=weights)

    def serve(known: jax.Array) -> tuple[Any, Variables, Query]:
        user = jnp.arange(1, len(known) + 1, dtype=jnp.int32)
        solved = ials.with_users(variables, known, weights=weights)
        return IALS(len(known) + 1, data.num_items, at.factors), solved, asked(known)._replace(user=user)

    return serve


def of_item_knn(data: Data, at: Sizes, seed: int, neighbours: int, weighting: item_knn.Weighting) -> Fitted:
    neighbours = min(neighbours, data.num_items)
    variables = item_knn.fit(data.history, data.num_items, neighbours=neighbours, weighting=weighting)
    return lambda known: (ItemKNN(data.num_items), variables, asked(known))


def of_history(fit: Callable[..., tuple[nn.Module, Variables]], *kind: Any) -> Callable[..., Fitted]:
    """A model that reads the history, by a function of `protocols.lists`."""

    def of(data: Data, at: Sizes, seed: int, **how: Any) -> Fitted:
        model, variables = fit(*kind, data.history, data.num_items, **how)
        return lambda known: (model, variables, asked(known))

    return of


class Entry(NamedTuple):
    """A model of the table."""

    fit: Callable[..., Fitted]
    configurations: Sequence[dict[str, Any]] = ({},)
    random: bool = False
    """Whether seeds differ."""


MODELS = {
    "Popularity": Entry(of_popularity),
    "ItemKNN": Entry(
        of_item_knn,
        (
            {"neighbours": 50, "weighting": item_knn.equal},
            {"neighbours": 200, "weighting": item_knn.equal},
            {"neighbours": 200, "weighting": item_knn.tf_idf},
        ),
    ),
    "EASE": Entry(of_ease, tuple({"l2": l2} for l2 in (100.0, 300.0, 1000.0))),
    "LocalEASE": Entry(
        of_history(lists.fitted, LocalEASE, local_ease.fit),
        tuple({"l2": l2, "candidates": 200} for l2 in (30.0, 100.0, 300.0)),
    ),
    "SLIM": Entry(
        of_history(lists.fitted, SLIM, slim.fit),
        tuple(
            {"l1": l1, "l2": l2, "candidates": 200} for l1, l2 in ((1.0, 100.0), (1.0, 300.0), (5.0, 100.0))
        ),
    ),
    "RP3beta": Entry(
        of_history(lists.fitted, RP3beta, rp3beta.fit),
        tuple(
            {"alpha": alpha, "beta": beta, "neighbours": 200, "per_target": True}
            for alpha, beta in ((0.5, 0.1), (0.7, 0.3), (0.7, 0.5))
        ),
    ),
    "GFCF": Entry(
        of_history(lists.fitted, GFCF, gfcf.fit),
        tuple({"factors": 200, "alpha": alpha} for alpha in (0.1, 0.3, 1.0)),
    ),
    "BSPM": Entry(
        of_history(lists.sharpened),
        tuple(
            {"factors": 200, "user_exponent": user, "item_exponent": item, "beta": beta, "sharpening": time}
            for user, item, beta, time in ((0.5, 0.5, 0.2, 2.5), (0.3, 0.4, 0.1, 2.0), (0.2, 0.45, 0.5, 1.5))
        ),
    ),
    "MultVAE": Entry(mult_vae, tuple({"beta_max": beta} for beta in (0.1, 0.2, 0.4)), True),
    "IALS": Entry(
        of_ials,
        ({"unobserved": 0.1, "l2": 0.003}, {"unobserved": 0.3, "l2": 0.003}, {"unobserved": 0.1, "l2": 0.01}),
        True,
    ),
    "FISM": Entry(of_fism, tuple({"alpha": alpha} for alpha in (0.4, 0.7, 1.0)), True),
    "MultDAE": Entry(
        mult_dae, tuple({"dropout": d, "rate": r} for d, r in ((0.5, 1e-3), (0.7, 1e-3), (0.5, 3e-3))), True
    ),
}
AFFINE = {"rate": 2e-3, "hidden": None, "latent": 400, "batch_size": 100}
OF_DATASET: dict[str, dict[str, Sequence[dict[str, Any]]]] = {
    "citeulike-a": {
        "MultVAE": tuple(AFFINE | {"beta_max": beta} for beta in (0.1, 0.2, 0.5)),
        "MultDAE": tuple({"dropout": dropout} for dropout in (0.3, 0.5, 0.7)),
        "EASE": tuple({"l2": l2} for l2 in (3.0, 10.0, 30.0)),
        "LocalEASE": tuple({"l2": l2, "candidates": 200} for l2 in (10.0, 30.0, 100.0)),
        "SLIM": tuple(
            {"l1": l1, "l2": l2, "candidates": 200} for l1, l2 in ((0.01, 10.0), (0.01, 30.0), (0.1, 30.0))
        ),
        "GFCF": tuple({"factors": 512, "alpha": alpha} for alpha in (0.1, 0.3, 1.0)),
        "BSPM": tuple(
            {"factors": 512, "user_exponent": user, "item_exponent": item, "beta": beta, "sharpening": time}
            for user, item, beta, time in ((0.5, 0.5, 0.2, 2.5), (0.3, 0.4, 0.1, 2.0), (0.3, 0.45, 0.2, 1.5))
        ),
        "IALS": (
            {"unobserved": 0.03, "l2": 0.001},
            {"unobserved": 0.03, "l2": 0.0003},
            {"unobserved": 0.1, "l2": 0.001},
        ),
    },
}
"""Configurations of a data set's own, where the best of `MODELS` is at the edge."""


def measure(fitted: Fitted, held: Held) -> dict[str, float]:
    """The table's numbers over the users who have something to be found."""
    model, variables, query = fitted(held.known)

    @jax.jit
    def numbers(variables: Variables, query: Query, held: Held) -> dict[str, jax.Array]:
        rank = evaluation.ranks(model, variables, query, held.target, exclude=held.known)
        where = held.target > 0
        values = {"ndcg@100": metrics.ndcg(rank, where=where, k=100)}
        for k in (20, 50):
            found = jnp.where(where, rank <= k, False).sum(axis=1)
            values[f"recall@{k}"] = found / jnp.clip(where.sum(axis=1), 1, k)
        return {name: metrics.mean_over_users(v, where.any(axis=1))[0] for name, v in values.items()}

    return {name: float(value) for name, value in numbers(variables, query, held).items()}


def tuned(entry: Entry, data: Data, at: Sizes) -> tuple[dict[str, Any], Fitted]:
    """The configuration that is best on the validation users, and its fit with seed 0."""
    best: tuple[float, dict[str, Any], Fitted] | None = None
    for configuration in entry.configurations:
        fitted = entry.fit(data, at, 0, **configuration)
        value = measure(fitted, data.valid)["ndcg@100"] if len(entry.configurations) > 1 else 0.0
        print(f"  validation ndcg@100 {value:.4f}  {configuration}", flush=True)
        if best is None or value > best[0]:
            best = value, configuration, fitted
    assert best is not None
    return best[1:]


def read(dataset: str, data_dir: Path | None) -> Interactions:
    """Who took what: one row per pair, users with at least five."""
    if dataset == "synthetic":
        log = synthetic()
    elif dataset == "ml-1m":
        log = movielens.load("ml-1m", manual_dir=data_dir).ratings
        log = log.take(np.asarray(log.rating) >= 4)
    else:
        log = citeulike(data_dir)
    return log.take(np.bincount(log.user, minlength=log.num_users)[log.user] >= 5)


def prepare(log: Interactions) -> Data:
    """The three parts, by users."""
    parts = split.cold_users(log, valid=0.1, test=0.1).of(log)
    train, valid, test = split.refit_ids(*parts)
    history = padded(np.unique(train.user), train.user, train.item)[0]

    def held(users: Interactions, items: Interactions) -> Held:
        rows = users._replace(item=items.item).take(items.item > 0)
        known, _, target = split.ratio_per_user(rows, test=0.2).of(rows)
        who = np.unique(rows.user)
        return Held(*(jnp.asarray(padded(who, part.user, part.item)[0]) for part in (known, target)))

    # refit_ids makes all held-out users one: who they are is in `parts`
    return Data(history, train.num_items, held(parts[1], valid), held(parts[2], test))


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("ml-1m*", "citeulike-a*"))
    common.check_names("models", flags.models, MODELS, all_by_none=True)
    models = {name: MODELS[name] for name in flags.models or MODELS}
    for dataset in ("synthetic",) if flags.smoke else flags.dataset:
        data, at = prepare(read(dataset, flags.data_dir)), SIZES[dataset]
        print(f"{dataset}: {len(data.history)} training users, {data.num_items - 1} items, ", end="")
        print(f"{len(data.valid.known)} + {len(data.test.known)} held out", flush=True)
        for name, entry in models.items():
            row = name, dataset, PROTOCOLS[dataset]
            if results.values(*row, NUMBERS[-1]):
                continue
            start = time.monotonic()
            tried = OF_DATASET.get(dataset, {}).get(name, entry.configurations)
            tried = tried[:1] if flags.smoke else tried
            chosen, fitted = tuned(entry._replace(configurations=tried), data, at)
            numbers = [measure(fitted, data.test)]
            for seed in range(1, flags.seeds if entry.random and not flags.smoke else 1):
                numbers.append(measure(entry.fit(data, at, seed, **chosen), data.test))
            seconds = time.monotonic() - start
            note = {key: getattr(value, "__name__", value) for key, value in chosen.items()}
            with results.together():
                for metric in NUMBERS:
                    values = [one[metric] for one in numbers]
                    results.add(*row, metric, values, seconds=seconds, configuration=note)
            print(f"{dataset} {name}: {numbers[0]}, {seconds:.0f} s", flush=True)
    results.finish()


if __name__ == "__main__":
    main()
