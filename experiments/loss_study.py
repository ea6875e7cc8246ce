"""One ranker under every loss: which loss is best for which metric?

    python experiments/loss_study.py --record --data-dir FOLDER  # holds ml-1m.zip

The ranker is matrix factorization (score = b_i + ⟨p_u, q_i⟩, 32 wide). Relevance is graded: 5, 4 and 3
stars are grades 3, 2 and 1; fewer stars, and what was never rated, are grade 0. Of each user's
ratings 10 random ones are for testing, 5 for validation and the others for training. Lists to learn
from are a user with a window of 8 rated items and 16 that were not rated, drawn for each step;
in-batch losses see two rated items a user, among those of the other users.

Every loss has the same budget: four rates (Adam) are tried with the first seed, for the same number of
steps of as many users; the rate and, in each run, the number of steps (six are looked at) are those
with the best NDCG@10 on the validation ratings. The test ratings are then ranked once among the
whole catalogue but what the user rated in training and validation. Runs come one after the other by
one compiled program, which on a CPU is faster than side by side.

ndcg@10 has gains 2^grade - 1; mrr@10, recall@50 and auc have as targets what is graded above 0. A
paired t-test over users, of the mean over seeds, compares each loss with the best one in each metric,
which is the best on these same users; `*` in the table and a filled mark in the picture: not
significantly worse, p ≥ 0.05 divided by the number of comparisons.

What came out, five seeds; 6 minutes for the shop and 19 for ML-1M on one core beside another busy one:

                            shop                            ml-1m
                            ndcg@10 mrr@10 recall@50 auc    ndcg@10 mrr@10 recall@50 auc
    Popularity              .126    .408   .358      .747   .093    .230   .225      .869
    approx ndcg             .260    .498   .490      .832   .114    .247   .257      .879
    logistic                .298    .555   .529      .843   .126    .274   .298      .912
    in-batch softmax        .171    .363   .363      .735   .077    .197   .200      .693
    in-batch softmax, log Q .284    .593   .532      .843   .134    .315   .336      .899
    top1                    .306    .595   .532      .834   .155    .329   .339      .881
    bpr                     .309    .575   .543      .856   .148    .317   .328      .917
    sampled softmax, log Q  .309    .606   .541      .850   .179    .388   .385      .917
    Oracle                  .425    .779   .634      .896

The sampled softmax with log Q is best or as good as the best everywhere but in the shop's auc; it is also
the only one whose unrated items are drawn by popularity, and so harder to tell from rated ones. Among those
that see uniform ones the order of pairs is ahead: `bpr` in auc, `top1` in mrr. Losses
of relevance, made for lists that were ranked before, are behind, at a temperature of 0.1 as at 1;
`approx mrr` is behind popularity.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import Flags, Results, keep, start
from rich.console import Console
from rich.table import Table

from rezoo import evaluation, losses, metrics, objectives, sampling, training
from rezoo.data import batches
from rezoo.data.packing import padded
from rezoo.datasets import movielens, shop, shop_builder
from rezoo.errors import needed
from rezoo.models import MF, Popularity
from rezoo.models.baselines import popularity
from rezoo.storage import durable
from rezoo.studies import significance, sweep
from rezoo.types import Batch, Loss, Objective, Query

needed("matplotlib").use("Agg")

HELD_TEST, HELD_VALID = 10, 5
RATED, UNRATED = 8, 16
METRICS = ("ndcg@10", "mrr@10", "recall@50", "auc")
MARKS = {"cross entropy": "o", "order": "s", "relevance": "^"}
PROTOCOL = f"{HELD_TEST} ratings a user held out, grades 0-3, full ranking"


class Budget(NamedTuple):
    """What every loss may spend."""

    rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03)
    stages: int = 6
    """Looks at the validation part."""
    epochs: int = 10
    """Between two looks; one is a list for each user."""
    users: int = 256
    """Lists in a step."""
    dim: int = 32
    valid_users: int = 1500


class Log(NamedTuple):
    """Who rated what how, in three parts."""

    name: str
    sizes: tuple[int, int]
    """Rows of the users' and of the items' tables."""
    parts: list[tuple[np.ndarray, ...]]
    """Training, validation, test: user, item, grade; a user's ratings side by side, in random order."""
    oracle: Callable[[Query], jax.Array] | None
    """The truth's scores of all items."""


class Rows(NamedTuple):
    """The training ratings of each user on the device."""

    first: jax.Array
    count: jax.Array
    item: jax.Array
    grade: jax.Array


class Way(NamedTuple):
    """A loss with its kind and what makes an objective of it."""

    kind: str
    objective: Callable[[nn.Module, Log, Rows], Objective]


def main(flags: Flags, results: Results) -> None:
    """Train by every loss, test once, compare."""
    budget = Budget((0.01, 0.03), stages=2, epochs=2, users=32, dim=8) if flags.smoke else Budget()
    small = dict(shoppers=60, products=80, ratings_per_shopper=24, impressions=100, sessions=20)
    config = shop.ShopConfig(**small) if flags.smoke else shop.ShopConfig()
    logs = [of_shop(config, results.out)] + ([] if flags.smoke else [of_movielens(flags.data_dir)])
    for log in logs:
        compare(log.name, study(log, budget, 2 if flags.smoke else flags.seeds, results), results)
    results.finish()
    picture(results, results.json.with_suffix(".png"))


def study(log: Log, budget: Budget, seeds: int, results: Results) -> dict[str, np.ndarray]:
    """Test metrics by user of every loss, `{loss: [metric, user]}`, kept on disk as they come."""
    rows, measured = device_rows(log), {}
    judge = Judge.of(log, log.parts[2], log.parts[:2])
    for name, (model, variables) in baselines(log).items():
        add(results, log, name, "no loss", np.asarray(judge.metrics(model, variables))[None], 0.0)
    for name, way in (SMALL if budget.dim < 32 else LOSSES).items():
        file = results.out / f"{log.name} {name}.npy"
        if not file.exists():
            begun = time.monotonic()
            rate, values = by_loss(way, log, rows, budget, seeds)
            seconds = time.monotonic() - begun
            add(results, log, f"MF, {name}", way.kind, values, seconds, rate=rate)
            with durable.file(file) as partial, partial.open("wb") as out:
                np.save(out, values.mean(axis=0))
            print(f"{log.name}, {name}: rate {rate}, NDCG@10 {np.nanmean(values[:, 0]):.4f}, {seconds:.0f} s")
        measured[f"MF, {name}"] = np.load(file)
    return measured


def add(
    results: Results, log: Log, name: str, kind: str, values: np.ndarray, seconds: float, **notes: Any
) -> None:
    """A row for each metric from values `[seed, metric, user]`, unless it is there."""
    for metric, by_user in zip(METRICS, values.transpose(1, 0, 2), strict=True):
        if not results.values(name, log.name, PROTOCOL, metric):
            means = np.nanmean(by_user, axis=1).tolist()
            results.add(name, log.name, PROTOCOL, metric, means, seconds=seconds, kind=kind, **notes)


def by_loss(way: Way, log: Log, rows: Rows, budget: Budget, seeds: int) -> tuple[float, np.ndarray]:
    """The rate chosen on the validation part, and test metrics `[seed, metric, user]` at that rate."""
    model = MF(*log.sizes, budget.dim)
    judge = Judge.of(log, log.parts[1], log.parts[:1], budget.valid_users)
    train = jax.jit(partial(fit, model, way.objective(model, log, rows), judge, log, budget))
    keys = sweep.keys(seeds)
    tried = [train(keys[0], rate) for rate in budget.rates]
    best = int(np.nanargmax([float(score) for score, _ in tried]))
    members = [tried[best], *(train(key, budget.rates[best]) for key in keys[1:])]
    measure = jax.jit(partial(Judge.of(log, log.parts[2], log.parts[:2]).metrics, model))
    return budget.rates[best], np.stack([measure(variables) for _, variables in members])


def fit(
    model: nn.Module,
    objective: Objective,
    judge: "Judge",
    log: Log,
    budget: Budget,
    key: jax.Array,
    rate: jax.Array,
) -> tuple[jax.Array, Any]:
    """The best validation NDCG@10 of a run, and the variables that had it."""
    judge = jax.lax.optimization_barrier(judge)  # or the compiler computes with it for seconds
    optimizer = optax.adam(rate)
    users = jnp.asarray(np.unique(log.parts[0][0]), jnp.int32)
    one = jnp.ones(len(users), jnp.int32)
    data = Batch(ask(users), one, one.astype(jnp.float32), one > 0)
    step = training.make_step(objective, optimizer)
    state = training.init_state(key, model, optimizer, data)

    def stage(carry: Any, _: None) -> tuple[Any, None]:
        state, best, kept = carry
        state = training.fit(step, state, data, num_epochs=budget.epochs, batch_size=budget.users)[0]
        score = jnp.nanmean(judge.metrics(model, state.variables)[0])
        kept = jax.tree.map(lambda new, old: jnp.where(score > best, new, old), state.variables, kept)
        return (state, jnp.maximum(score, best), kept), None

    (_, best, kept), _ = jax.lax.scan(stage, (state, jnp.float32(0), state.variables), length=budget.stages)
    return best, kept


class Judge(NamedTuple):
    """A part of the ratings, to be ranked for."""

    query: Query
    target: jax.Array
    grade: jax.Array
    exclude: jax.Array
    others: jax.Array
    """How many items are neither targets nor excluded."""

    @classmethod
    def of(cls, log: Log, part: Any, seen: Any, users: int | None = None) -> "Judge":
        """The users of `part`, or some of them, and what they have `seen`."""
        user, item, grade = part
        who = np.unique(user)
        who = who if users is None else np.random.default_rng(0).permutation(who)[:users]
        known = [np.concatenate([rows[column] for rows in seen]) for column in (0, 1)]
        target, grades, exclude = (padded(who, *rows)[0] for rows in ((user, item), (user, grade), known))
        others = log.sizes[1] - 1 - (exclude > 0).sum(1) - (grades > 0).sum(1)
        return cls(ask(jnp.asarray(who, jnp.int32)), *map(jnp.asarray, (target, grades, exclude, others)))

    def metrics(self, model: nn.Module, variables: Any) -> jax.Array:
        """`[metric, user]`, in the order of METRICS; NaN for a user without a target."""
        where = self.grade > 0
        rank = evaluation.ranks(model, variables, self.query, self.target, exclude=self.exclude)
        targets = where.sum(1)
        mean_rank = jnp.where(where, rank, 0).sum(1) / targets
        gain = losses.exponential_gain(self.grade)
        values = jnp.stack(
            [
                metrics.ndcg(rank, where=where, k=10, gain=gain),
                metrics.mrr(rank, where=where, k=10),
                metrics.recall(rank, where=where, k=50),
                1 - (mean_rank - (targets + 1) / 2) / self.others,
            ]
        )
        return jnp.where((targets > 0)[None], values, jnp.nan)


def listed(loss: Loss, log_q: bool = False) -> Callable[[nn.Module, Log, Rows], Objective]:
    """Lists of RATED rated and UNRATED sampled items for each user; with `log_q`, sampled by popularity."""

    def make(model: nn.Module, log: Log, rows: Rows) -> Objective:
        users, items = log.sizes
        count = np.bincount(log.parts[0][1], minlength=items)
        draw = sampling.popularity(count) if log_q else sampling.uniform(items)
        draw = sampling.reject_positives(
            draw, sampling.positives_by_user(log.parts[0][0], log.parts[0][1], users), items
        )
        table = sampling.log_popularity(count) + np.log(UNRATED)

        def objective(variables: Any, key: jax.Array, batch: Batch) -> Any:
            window_key, sample_key, model_key = jax.random.split(key, 3)
            rated, grade, real = window(rows, window_key, batch.query.user, RATED)
            drawn = draw(sample_key, batch.query, batch.item, UNRATED)
            slate = jnp.concatenate([rated, drawn], axis=1)
            label = jnp.pad(grade, ((0, 0), (0, UNRATED)))
            where = jnp.pad(real, ((0, 0), (0, UNRATED)), constant_values=True) & batch.where[:, None]
            chosen = loss if not log_q else partial(loss, log_q=table[slate].at[:, :RATED].set(0.0))
            return objectives.pointwise(model, chosen)(
                variables, model_key, Batch(batch.query, slate, label, where)
            )

        return objective

    return make


def in_batch(loss: Loss, log_q: bool = False) -> Callable[[nn.Module, Log, Rows], Objective]:
    """Two rated items of each user of the batch, among all users'; the grade does not count."""

    def make(model: nn.Module, log: Log, rows: Rows) -> Objective:
        relevant = log.parts[0][1][log.parts[0][2] > 0]
        table = sampling.log_popularity(np.bincount(relevant, minlength=log.sizes[1]), 1.0) if log_q else None
        among = objectives.in_batch(model, loss, log_q=table)

        def objective(variables: Any, key: jax.Array, batch: Batch) -> Any:
            window_key, model_key = jax.random.split(key)
            item, grade, real = window(rows, window_key, batch.query.user, 2)
            where = (real & (grade > 0) & batch.where[:, None]).ravel()
            query = ask(batch.query.user.repeat(2))
            return among(variables, model_key, Batch(query, item.ravel(), grade.ravel(), where))

        return objective

    return make


def window(
    rows: Rows, key: jax.Array, user: jax.Array, length: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`length` ratings of each user, side by side in a random order: items, grades, and which are real."""
    count = rows.count[user][:, None]
    begin = jax.random.randint(key, (len(user), 1), 0, jnp.maximum(count, 1))
    step = jnp.arange(length)[None]
    place = rows.first[user][:, None] + (begin + step) % jnp.maximum(count, 1)
    return rows.item[place], rows.grade[place], step < count


def share(loss: Loss) -> Loss:
    """The loss with grades as shares of the highest one, for losses of labels in [0, 1]."""
    return lambda score, label, *, where: loss(score, label / 3, where=where)


def gbce(model: nn.Module, log: Log, rows: Rows) -> Objective:
    """`listed`, with the sampling rate of the log's catalogue."""
    return listed(share(partial(losses.gbce, rate=UNRATED / RATED / log.sizes[1])))(model, log, rows)


def top(loss: Callable[..., jax.Array]) -> Callable[[nn.Module, Log, Rows], Objective]:
    """`listed`, of pairs that begin with a rated item."""
    return listed(partial(loss, positives=RATED))


LOSSES = {
    "logistic": Way("cross entropy", listed(share(losses.logistic))),
    "gbce": Way("cross entropy", gbce),
    "softmax": Way("cross entropy", listed(losses.softmax_cross_entropy)),
    "listnet": Way("cross entropy", listed(losses.listnet)),
    "sampled softmax, log Q": Way("cross entropy", listed(losses.sampled_softmax, log_q=True)),
    "in-batch softmax": Way("cross entropy", in_batch(losses.softmax_cross_entropy)),
    "in-batch softmax, log Q": Way("cross entropy", in_batch(losses.sampled_softmax, log_q=True)),
    "bpr": Way("order", top(losses.bpr)),
    "hinge": Way("order", top(losses.hinge)),
    "smooth auc": Way("order", top(losses.smooth_auc)),
    "warp": Way("order", top(losses.warp)),
    "top1": Way("order", top(losses.top1)),
    "top1-max": Way("order", top(losses.top1_max)),
    "bpr-max": Way("order", top(losses.bpr_max)),
    "list mle": Way("order", listed(losses.list_mle)),
    "lambda rank": Way("relevance", listed(losses.lambda_rank)),
    "approx ndcg": Way("relevance", listed(losses.approx_ndcg)),
    "approx ndcg, τ = 0.1": Way("relevance", listed(partial(losses.approx_ndcg, temperature=0.1))),
    "approx mrr": Way("relevance", listed(losses.approx_mrr)),
    "approx mrr, τ = 0.1": Way("relevance", listed(partial(losses.approx_mrr, temperature=0.1))),
    "smooth rank": Way("relevance", listed(losses.smooth_rank)),
    "smooth rank, τ = 0.1": Way("relevance", listed(partial(losses.smooth_rank, temperature=0.1))),
    "smooth(recall@8)": Way("relevance", listed(losses.smooth(metrics.recall, k=RATED))),
    "bound(ndcg)": Way("relevance", listed(losses.bound(metrics.ndcg, gain=losses.exponential_gain))),
}

SMALL = {name: LOSSES[name] for name in ("in-batch softmax, log Q", "bpr", "approx ndcg")}


def of_movielens(data_dir: Path | None) -> Log:
    """ML-1M."""
    log = movielens.load("ml-1m", manual_dir=data_dir).ratings
    columns = log.user, log.item, np.asarray(log.rating)
    return Log("ml-1m", (log.num_users, log.num_items), split(*columns), None)


def of_shop(config: shop.ShopConfig, out: Path) -> Log:
    """The simulated shop, without its cold shoppers; the truth ranks by P(i | u) × the mean grade."""
    made = shop_builder.load(config, data_dir=out / "shop")
    both = [np.concatenate([part[name] for part in made.ratings]) for name in ("user", "item", "stars")]
    known = np.isin(both[0], made.ratings.train["user"])
    item = jnp.arange(config.products + 1)[None]

    def truth(query: Query) -> jax.Array:
        stars = shop.mean_stars(made.world, config.noise, query.user[:, None], item)
        return shop.preference(made.world, config.affinity, query.user) + jnp.log(
            jnp.maximum(stars - 2, 0.01)
        )

    sizes = config.shoppers + 1, config.products + 1
    return Log("shop", sizes, split(*(column[known] for column in both)), truth)


def split(user: np.ndarray, item: np.ndarray, stars: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Each user's ratings in a random order: the first for testing, the next for validation, the rest."""
    order = np.lexsort((np.random.default_rng(0).random(len(user)), user))
    user, item = user[order], item[order]
    grade = np.maximum(stars[order] - 2, 0).astype(np.float32)
    place = np.arange(len(user)) - np.searchsorted(user, user)
    part = np.where(place < HELD_TEST, 2, np.where(place < HELD_TEST + HELD_VALID, 1, 0))
    return [(user[part == n], item[part == n], grade[part == n]) for n in range(3)]


def device_rows(log: Log) -> Rows:
    """The training ratings, to draw windows from."""
    user, item, grade = log.parts[0]
    first = np.searchsorted(user, np.arange(log.sizes[0] + 1))
    return Rows(*map(jnp.asarray, (first[:-1], np.diff(first), item.astype(np.int32), grade)))


def ask(user: jax.Array) -> Query:
    return batches.queries(user)


class Truth(nn.Module):
    """The oracle as a model."""

    num_items: int
    scores: Callable[[Query], jax.Array]

    def __call__(self, query: Query, item: jax.Array) -> jax.Array:
        return jnp.take_along_axis(self.scores(query), item, axis=1)


def baselines(log: Log) -> dict[str, tuple[nn.Module, Any]]:
    """Baselines without a loss: popularity, and the truth where it is known."""
    items = log.sizes[1]
    known: dict[str, tuple[nn.Module, Any]] = {
        "Popularity": (Popularity(items), popularity.fit(log.parts[0][1], items))
    }
    return known if log.oracle is None else known | {"Oracle": (Truth(items, log.oracle), {})}


def compare(dataset: str, measured: dict[str, np.ndarray], results: Results) -> None:
    """Note in every row the p-value against the best loss of its metric, and print the table."""
    table = Table(title=f"{dataset}: best loss of each metric in brackets, * not significantly worse")
    table.add_column("loss")
    cells: dict[str, list[str]] = {name: [] for name in measured}
    for n, metric in enumerate(METRICS):
        table.add_column(metric, justify="right")
        best = max(measured, key=lambda name: np.nanmean(measured[name][n]))
        for name, values in measured.items():
            counts = ~np.isnan(values[n])
            test = significance.paired_t(values[n][counts], measured[best][n][counts])
            p = 1.0 if name == best else test.p
            no_worse = p >= 0.05 / (len(measured) - 1)
            results.add(name, dataset, PROTOCOL, metric, [], seconds=0, p=p, no_worse=bool(no_worse))
            figure = f"{np.nanmean(values[n]):.4f}"
            cells[name].append(f"[{figure}]" if name == best else figure + ("*" if no_worse else " "))
    for name, row in cells.items():
        table.add_row(name, *(cell.replace("[", "\\[") for cell in row))
    Console(width=120).print(table)


def picture(results: Results, file: Path) -> None:
    """Every loss in every metric, beside the baselines."""
    import matplotlib.pyplot as plt

    datasets = list(dict.fromkeys(row["dataset"] for row in results.rows))
    size = len(datasets), len(METRICS)
    figure, axes = plt.subplots(*size, figsize=(13, 5.2 * len(datasets)), layout="constrained", squeeze=False)
    for (r, c), axis in np.ndenumerate(axes):
        rows = [row for row in results.rows if (row["dataset"], row["metric"]) == (datasets[r], METRICS[c])]
        trained = [row for row in rows if row["kind"] in MARKS]
        names = [row["model"].removeprefix("MF, ") for row in trained]
        for place, row in enumerate(trained):
            face = "black" if row["no_worse"] else "white"
            style = dict(fmt=MARKS[row["kind"]], color="black", markerfacecolor=face, markersize=7, capsize=3)
            axis.errorbar(row["mean"], place, xerr=row["sem"], **style)
        for row in rows:
            if row["kind"] == "no loss":
                line = "--" if row["model"] == "Oracle" else ":"
                axis.axvline(row["mean"], color="0.5", linestyle=line)
        axis.set_yticks(range(len(names)), names if c == 0 else [""] * len(names))
        axis.set(title=f"{datasets[r]}: {METRICS[c]}", ylim=(len(names) - 0.5, -0.5))
        axis.grid(axis="y", color="0.9")
    drawn = [(kind, dict(marker=mark, linestyle="", mfc="white")) for kind, mark in MARKS.items()]
    drawn += [("filled: not significantly worse than the best", dict(marker="o", linestyle=""))]
    drawn += [("Popularity", dict(linestyle=":")), ("Oracle", dict(linestyle="--"))]
    line: Any = plt.Line2D
    handles = [line([], [], color="black", label=label, **style) for label, style in drawn]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    keep(figure, file)
    plt.close(figure)
    print(f"picture: {file}")


if __name__ == "__main__":
    main(*start(__file__, __doc__, data=("ml-1m*",)))
