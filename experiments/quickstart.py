"""From an empty folder to recommendations: a simulated shop, four models, their baselines, the truth.

    python experiments/quickstart.py

generates the shop (about 2,000 shoppers and 600 products, no download), trains SVD++ on stars,
NeuMF on purchases, Wide & Deep on clicks and GRU4Rec on sessions, several seeds of each as one
program, and compares them with a baseline without training and with the oracle: the best that is
possible for somebody who knows how the shop works. Then it recommends: to a known shopper, to a stranger
known by features and two clicks, and to a visitor after each of three clicks.

Settings were chosen on a shop of another seed. Under three minutes on 2 CPU cores; checkpoints, the
picture and the figures are in runs/quickstart; with --record the last two are in experiments/results.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorflow_datasets as tfds
from common import Flags, Results, keep, start
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from rezoo import evaluation, losses, metrics, objectives, sampling, training
from rezoo.data import batches
from rezoo.data.batches import pairs, queries
from rezoo.data.packing import padded
from rezoo.datasets import shop, shop_builder
from rezoo.errors import needed
from rezoo.models import CoOccurrence, GRU4Rec, NeuMF, Popularity, SVDpp, WideDeep
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.models.factorization import biases
from rezoo.studies import sweep
from rezoo.training import bucketed, loop
from rezoo.types import Batch, Query

needed("matplotlib").use("Agg")
console = Console(width=120)


class Outcome(NamedTuple):
    """A task's figures and what it trained."""

    title: str
    model_name: str
    baseline_name: str
    metric: str
    baseline: float
    values: np.ndarray
    oracle: float
    run: loop.Run
    model: nn.Module


def main(flags: Flags, results: Results) -> None:
    """Generate, train, compare, recommend."""
    tfds.disable_progress_bar()
    size = dict(shoppers=300, products=100, ratings_per_shopper=20, impressions=4000, sessions=800)
    config = shop.ShopConfig(**size) if flags.smoke else shop.ShopConfig()
    made = shop_builder.load(config, data_dir=results.out / "shop")
    seeds = 2 if flags.smoke else flags.seeds
    outcomes = []
    with loop.progress_bar() as progress:
        train = Trainer(results.out, sweep.keys(seeds), flags.smoke, progress)
        for task in (stars, purchases, clicks, next_clicks):
            outcomes.append(task(made, train))
    for outcome in outcomes:
        report(results, outcome)
    results.finish()
    console.print(comparison(outcomes))
    show_lists(made, outcomes)
    picture(outcomes, results.json.with_suffix(".png"))


class Trainer(NamedTuple):
    """Trains every seed of a model at once, with a progress bar and checkpoints."""

    out: Path
    keys: jax.Array
    smoke: bool
    progress: Progress

    def __call__(
        self,
        model: nn.Module,
        objective: Callable[..., Any],
        data: Any,
        *,
        epochs: int,
        batch_size: int,
        rate: float,
        epoch: Callable[..., Any] = training.epoch,
        constants: Mapping[str, Any] | None = None,
    ) -> loop.Run:
        """A finished run whose leaves have a leading axis of seeds."""
        name = type(model).__name__
        epochs = 2 if self.smoke else epochs
        optimizer = optax.adam(rate)
        step = training.make_step(objective, optimizer)
        first = data[0] if isinstance(data, tuple) and not isinstance(data, Batch) else data

        def init(key: jax.Array) -> Any:
            return training.init_state(key, model, optimizer, first, constants=constants)

        one_epoch = jax.jit(jax.vmap(lambda state: epoch(step, state, data, batch_size)), donate_argnums=0)
        return loop.run(
            one_epoch,
            jax.vmap(init)(jax.random.clone(self.keys)),
            epochs,
            folder=self.out / name,
            progress=self.progress,
            description=name,
            rows=sum(int(batch.where.sum()) for batch in ((data,) if isinstance(data, Batch) else data)),
        )


def stars(made: shop_builder.Shop, train: Trainer) -> Outcome:
    """SVD++ predicts how many stars a shopper gives; a shopper new to the shop is id 0."""
    known, asked = made.ratings
    user = seen_in(known["user"], asked["user"])
    history = known["user"], known["item"], known["stars"]
    rows = batches.by_user(history)
    test = batches.by_user((user, asked["item"], asked["stars"]), history)
    model = SVDpp(*sizes(made), dim=8, mean=float(known["stars"].mean()))
    objective = objectives.l2(objectives.pointwise(model, losses.squared), 0.1)
    run = train(model, objective, rows, epochs=25, batch_size=2048, rate=0.005, epoch=bucketed.epoch)

    @jax.jit
    @jax.vmap
    def rmse(variables: Any) -> jax.Array:
        guesses = [evaluation.predict(model, variables, batch) for batch in test]
        errors = [
            jnp.where(batch.where, guess - batch.label, 0) for batch, guess in zip(test, guesses, strict=True)
        ]
        return jnp.sqrt(sum(jnp.square(error).sum() for error in errors) / len(user))

    fitted = biases.fit(pairs(known["user"], known["item"], known["stars"]), *sizes(made))
    easy = biases.score(fitted, queries(user), jnp.asarray(asked["item"]))
    rows_asked = jnp.asarray(asked["user"]), jnp.asarray(asked["item"])
    truth = shop.mean_stars(made.world, made.config.noise, *rows_asked)
    label = jnp.asarray(asked["stars"])
    error = [float(metrics.rmse(guess, label)) for guess in (easy, truth)]
    return Outcome("stars", "SVDpp", "Biases", "rmse", error[0], rmse(run.best), error[1], run, model)


def purchases(made: shop_builder.Shop, train: Trainer) -> Outcome:
    """NeuMF ranks the whole catalogue for each shopper; what they bought before is left out."""
    known, asked = made.ratings
    users, items = sizes(made)
    model = NeuMF(users, items, dim=16, widths=(32, 16), dropout=0.1)
    sampler = sampling.reject_positives(
        sampling.uniform(items), sampling.positives_by_user(known["user"], known["item"], users), items
    )
    objective = objectives.l2(objectives.sampled(model, losses.logistic, sampler, 4), 1e-3)
    data = pairs(known["user"], known["item"])
    run = train(model, objective, data, epochs=9, batch_size=1024, rate=0.003)
    shoppers = np.unique(known["user"]).astype(np.int32)
    query = queries(shoppers)
    target = by_user(shoppers, asked["user"], asked["item"])
    bought = by_user(shoppers, known["user"], known["item"])

    def ndcg(model: nn.Module, variables: Any) -> jax.Array:
        return evaluation.evaluate(model, variables, query, target, exclude=bought)["ndcg@10"]

    values = jax.jit(jax.vmap(lambda variables: ndcg(model, variables)))(run.best)
    easy = ndcg(Popularity(items), popularity.fit(known["item"], items))
    best = ndcg(*truth_of(items, lambda q: shop.preference(made.world, made.config.affinity, q.user)))
    return Outcome(
        "purchases", "NeuMF", "Popularity", "ndcg@10", float(easy), values, float(best), run, model
    )


def clicks(made: shop_builder.Shop, train: Trainer) -> Outcome:
    """Wide & Deep says who clicks on what, from ids, age, gender, time of day, category and price."""
    known, asked = made.impressions
    model = WideDeep(
        made.table_rows,
        crosses=(("age", "category"), ("hour", "category")),
        buckets=1000,
        dim=12,
        widths=(64, 32),
        dropout=0.1,
    )
    forgotten = np.random.default_rng(0).random(len(known["user"])) < 0.1
    data = impressions(made, known, np.where(forgotten, 0, known["user"]))
    test = impressions(made, asked, seen_in(known["user"], asked["user"]))
    objective = objectives.l2(objectives.pointwise(model, losses.logistic), {"user": 3e-3, "item": 1e-3})
    constants = {"catalogue": made.catalogue}
    run = train(model, objective, data, epochs=8, batch_size=2048, rate=0.003, constants=constants)
    auc = jax.jit(jax.vmap(lambda variables: evaluation.evaluate_clicks(model, variables, test)["auc"]))
    fitted = biases.fit(data, *sizes(made))
    easy = metrics.auc(biases.score(fitted, test.query, test.item), test.label)
    best = metrics.auc(jnp.asarray(asked["logit"]), test.label)
    return Outcome("clicks", "WideDeep", "Biases", "auc", float(easy), auc(run.best), float(best), run, model)


def next_clicks(made: shop_builder.Shop, train: Trainer) -> Outcome:
    """GRU4Rec ranks the next click of a session among all products."""
    known, asked = made.sessions
    items = sizes(made)[1]
    model = GRU4Rec(items, dim=48, dropout=0.2)
    objective = objectives.next_item(model, losses.softmax_cross_entropy)
    data = next_item_batch(known["items"])
    run = train(model, objective, data, epochs=10, batch_size=256, rate=0.005)
    length = (asked["items"] > 0).sum(axis=1)
    row = np.arange(len(length))
    target = jnp.asarray(asked["items"][row, length - 1][:, None])
    history = asked["items"].copy()
    history[row, length - 1] = 0
    query = batches.queries(asked["user"], history)

    def recall(model: nn.Module, variables: Any) -> jax.Array:
        return evaluation.evaluate(model, variables, query, target, k=(20,))["recall@20"]

    values = jax.jit(jax.vmap(lambda variables: recall(model, variables)))(run.best)
    fitted = cooccurrence.fit(known["items"], items)
    easy = recall(CoOccurrence(items, len(fitted["params"]["follower"])), fitted)
    best = recall(*truth_of(items, lambda q: shop.next_click(made.world, q.user, q.history)))
    return Outcome(
        "next click", "GRU4Rec", "CoOccurrence", "recall@20", float(easy), values, float(best), run, model
    )


class Truth(nn.Module):
    """The oracle as a model: scores of the whole catalogue by a function of the query."""

    num_items: int
    scores: Callable[[Query], jax.Array]

    def __call__(self, query: Query, item: jax.Array) -> jax.Array:
        return jnp.take_along_axis(self.scores(query), item, axis=1)


def truth_of(num_items: int, scores: Callable[[Query], jax.Array]) -> tuple[Truth, dict[str, Any]]:
    """An oracle and its (empty) variables."""
    return Truth(num_items, scores), {}


def sizes(made: shop_builder.Shop) -> tuple[int, int]:
    """Rows of the shoppers' and of the products' tables."""
    return len(made.shoppers["age"]), len(made.products["category"])


def seen_in(known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The ids, those that training never saw replaced by 0, the unknown."""
    return np.where(np.isin(ids, known), ids, 0).astype(np.int32)


def by_user(users: np.ndarray, user: np.ndarray, item: np.ndarray) -> jax.Array:
    """The items of each of `users`, one row each, filled up with 0."""
    rows = np.isin(user, users)
    return jnp.asarray(padded(users, user[rows], item[rows])[0], jnp.int32)


def impressions(made: shop_builder.Shop, columns: Mapping[str, np.ndarray], user: np.ndarray) -> Batch:
    """Impressions of these users, 0 for those who are known by their features alone."""
    batch = made.impression_batch(columns)
    return batch._replace(query=batch.query._replace(user=jnp.asarray(user, jnp.int32)))


def next_item_batch(items: np.ndarray) -> Batch:
    """Every session as its clicks but the last, and the click that follows each of them."""
    history, target = jnp.asarray(items[:, :-1]), jnp.asarray(items[:, 1:])
    query = batches.queries(history=history)
    return Batch(query, target, (target > 0).astype(jnp.float32), target > 0)


def report(results: Results, outcome: Outcome) -> None:
    """A row each for model, baseline and oracle."""
    protocol = f"{outcome.title}, held-out fifth"
    if results.values(outcome.model_name, "shop", protocol, outcome.metric):
        return
    key = ("shop", protocol, outcome.metric)
    with results.together():
        results.add(
            outcome.model_name, *key, np.asarray(outcome.values).tolist(), seconds=outcome.run.seconds
        )
        results.add(outcome.baseline_name, *key, outcome.baseline, seconds=0.0)
        results.add("Oracle", *key, outcome.oracle, seconds=0.0)


def comparison(outcomes: list[Outcome]) -> Table:
    """Baseline, model and oracle side by side, and how far the model comes from the one to the other."""
    table = Table(title="how far from the limit")
    for column in ("task", "model", "metric", "baseline", "model ± s.e.", "oracle", "of the way", "ahead by"):
        table.add_column(column, justify="left" if column in ("task", "model", "metric") else "right")
    for o in outcomes:
        summary = sweep.summarise(o.values)
        mean, error = float(summary.mean), float(summary.standard_error)
        way = (mean - o.baseline) / (o.oracle - o.baseline)
        ahead = np.sign(way) * abs(mean - o.baseline) / error
        cells = [o.title, f"{o.model_name} over {o.baseline_name}", o.metric, f"{o.baseline:.4f}"]
        cells += [f"{mean:.4f} ± {error:.4f}", f"{o.oracle:.4f}", f"{way:.0%}", f"{ahead:.0f} s.e."]
        table.add_row(*cells)
    return table


def show_lists(made: shop_builder.Shop, outcomes: list[Outcome]) -> None:
    """Ten products for a known shopper, for a stranger, and for a visitor after each click."""
    _, neumf, wide_deep, gru = outcomes
    first = {o.model_name: jax.tree.map(lambda leaf: leaf[0], o.run.best) for o in outcomes}
    count = sizes(made)[1]

    def named(ids: Any) -> list[str]:
        return [made.names[i] for i in np.asarray(ids).ravel()]

    shopper = int(made.ratings.train["user"][0])
    bought = by_user(np.array([shopper]), made.ratings.train["user"], made.ratings.train["item"])
    query = queries([shopper])
    ids, _ = evaluation.recommend(neumf.model, first["NeuMF"], query, 10, exclude=bought)
    console.print(f"\n[bold]Shopper {shopper}[/bold], who bought {', '.join(named(bought)[:6])} …")
    console.print(f"  NeuMF: {', '.join(named(ids))}")

    stranger = int(max(made.ratings.test["user"]))
    age, gender = int(made.shoppers["age"][stranger]), int(made.shoppers["gender"][stranger])
    clicked = made.sessions.test["items"][made.sessions.test["user"] == stranger][:1, :2]
    clicked = clicked if clicked.size else made.sessions.test["items"][:1, :2]
    query = batches.queries(history=clicked)
    near, _ = evaluation.recommend(
        gru.model, first["GRU4Rec"], query, min(50, count - 1), exclude=query.history
    )
    features = {"age": age, "gender": gender, "hour": 4}
    context = query._replace(
        features={name: jnp.array([value], jnp.int32) for name, value in features.items()}
    )
    asked = Batch(context, near, jnp.ones(near.shape), jnp.ones(near.shape, bool))
    score = evaluation.predict(wide_deep.model, first["WideDeep"], asked)
    ids = jnp.take_along_axis(near, jnp.argsort(-score, axis=1), axis=1)[:, :10]
    who = f"{shop.GENDERS[gender]}, {shop.AGES[age]}"
    console.print(f"\n[bold]A stranger[/bold], {who}, who clicked {', '.join(named(clicked))}")
    console.print(f"  GRU4Rec's 50 nearest, ranked by Wide & Deep: {', '.join(named(ids))}")

    visit = made.sessions.test["items"][(made.sessions.test["items"] > 0).sum(axis=1) > 3][0]
    table = Table(title="\nA live session: GRU4Rec's ten after each click")
    lists = []
    for clicks in (1, 2, 3):
        query = batches.queries(history=visit[None, :clicks])
        ids, _ = evaluation.recommend(gru.model, first["GRU4Rec"], query, 10)
        lists.append(named(ids))
        table.add_column(f"click {clicks}: {made.names[visit[clicks - 1]]}")
    for row in zip(*lists, strict=True):
        table.add_row(*row)
    console.print(table)
    console.print(f"then the visitor clicked {made.names[visit[3]]}")


def picture(outcomes: list[Outcome], file: Path) -> None:
    """Learning curves, and the way from baseline to oracle, as a PNG."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(13, 6), layout="constrained", height_ratios=(1, 1))
    for column, o in enumerate(outcomes):
        curves, bars = axes[0, column], axes[1, column]
        loss = o.run.history["loss"]
        epochs = np.arange(1, len(loss) + 1)
        curves.fill_between(epochs, loss.min(axis=1), loss.max(axis=1), color="0.8")
        curves.plot(epochs, loss.mean(axis=1), color="black")
        curves.set(title=f"{o.model_name}: {o.title}", xlabel="epoch", ylabel="training loss")
        names = [o.baseline_name, o.model_name, "oracle"]
        heights = [o.baseline, float(np.mean(o.values)), o.oracle]
        error = [0, float(sweep.summarise(o.values).standard_error), 0]
        drawn = bars.bar(names, heights, yerr=error, capsize=4, color=["0.75", "tab:blue", "0.35"])
        bars.bar_label(drawn, [f"{height:.3f}" for height in heights], padding=3)
        low, high = min(heights), max(heights)
        bars.set(ylabel=o.metric + (" (lower is better)" if o.metric == "rmse" else ""))
        bars.set_ylim(max(low - 0.6 * (high - low), 0), high + 0.25 * (high - low))
    keep(figure, file)
    plt.close(figure)
    console.print(f"picture: {file}")


if __name__ == "__main__":
    main(*start(__file__, __doc__))
