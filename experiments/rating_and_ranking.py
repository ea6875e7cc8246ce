"""Which films are watched, and how they are liked: both tasks by one model, or each by its own.

    python experiments/rating_and_ranking.py --record --data-dir FOLDER  # holds ml-1m.zip

Each user's ratings in the order of time: the latest fifth is the test, the tenth before it the validation. Of
the rest the latest n have their stars, n being log-uniform from 1 to all (seed 0), as few of those who watch
also rate. Two cases: training knows no other films of the user ("starred"), or it knows that they were
watched ("watched"). On 600 users of ML-1M, drawn with seed 1 (`--users`), and on the simulated shop,
of seed 1, where a purchase is what is watched and the ratings come in the order in which they were drawn; its
oracle knows the true mean of the stars, and true preferences.

Stars are learnt by squared error, watching by logistic loss beside two films drawn uniformly. `SharedMF` is
one factorization: both tasks weigh the same factors, and have biases of their own. `SharedBottom`, `MMoE` and
`PLE` (one level) have about as many parameters between embeddings and scores. They are compared with the
same factorization, or a `SharedBottom`, of each task alone.

Every contender, also each task alone, is tuned on the validation part for itself with seed 0: the penalty, of
a factorization that of its biases, and for two tasks the weight of the stars move by factors of four to a
better value until none of their neighbours is better, or sixteen settings were tried (`climb`): no optimum is
at the end of a grid. (Of all, the SharedMF of both tasks in the shop's second case used up the sixteen.)
Training ends after eight epochs, of the rows that say something of its tasks, without a better validation,
and the best epoch counts: nobody stops for want of steps. The goal of the validation is ndcg@10 - RMSE, of
which a model of one task has one term. The test part is measured with the chosen settings only.

RMSE of the test's stars; ndcg@10 and recall@10 of the films watched then, among all that the user did not
watch before; by how many stars of a user are known. A gain is the mean difference of the seeds to the
model of one task, with p of a paired t-test.

RMSE and ndcg@10 of all users, 3 seeds, 25 minutes on one busy CPU core:

                               shop, starred    shop, watched    ML-1M, starred   ML-1M, watched
    SharedMF, one task         0.857   0.152    0.857   0.225    1.038   0.104    1.038   0.104
    SharedMF                   0.854   0.160    0.758   0.233    1.037   0.095    1.039   0.103
    SharedBottom, one task     0.869   0.139    0.869   0.219    1.055   0.089    1.055   0.095
    SharedBottom               0.870   0.082    0.792   0.223    1.059   0.070    1.013   0.099
    MMoE                       0.881   0.131    0.803   0.220    1.049   0.091    1.020   0.097
    PLE                        0.881   0.136    0.805   0.219    1.045   0.061    1.011   0.099
    Oracle                     0.580   0.319    0.580   0.319

The joint model gains where it sees films whose stars are not known: what was watched says what is liked. In
the shop SharedMF gains 0.099 stars (p < 0.001), 0.104 for users with 1 to 4 stars and 0.085 with 17 or more;
the networks gain 0.064 to 0.076 (p ≤ 0.012). On ML-1M SharedBottom gains 0.042 (p = 0.004) and PLE 0.044
(p = 0.03), most for users with 17 stars or more (0.060 and 0.058), little with 1 to 4 (0.008 and 0.017);
MMoE's 0.035 is within noise (p = 0.13). The factorization gains none there (p = 0.34): its stars alone choose
the penalty 4, under which little but the biases is left.

Where both tasks see the same films the joint model gains next to nothing: SharedMF's 0.003 in the shop
(p = 0.12) and 0.001 on ML-1M (p = 0.40) are within noise. In the shop MMoE is 0.012 stars worse (p = 0.02).
SharedBottom loses 0.056 of ndcg@10 there (p = 0.01) and 0.019 on ML-1M (p = 0.05): its best epochs are the
first two, which are early for watching.

SharedMF gains 0.008 of ndcg@10 in both cases of the shop (p = 0.02); of all users, no other gain in ndcg@10
has a p below 0.05. There are 192 such tests, of three seeds each: what p = 0.05 says of one is little.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from rezoo import evaluation, losses, metrics, objectives, sampling, training
from rezoo.arrays import across
from rezoo.data import batches, split
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions, from_columns
from rezoo.datasets import movielens, shop, shop_builder
from rezoo.models import PLE, MMoE, SharedBottom
from rezoo.nn.embedding import Embed
from rezoo.studies import significance, sweep
from rezoo.types import Aux, Batch, Objective, Query, Target, Variables

TASKS = ("watch", "stars")
LOSSES = {"watch": losses.logistic, "stars": losses.squared}
CASES = {
    "starred": "of which training knows films with stars alone",
    "watched": "of which training knows films without stars too",
}
MODELS = ("SharedMF", "SharedBottom", "MMoE", "PLE")
ALONE = {"SharedMF": "SharedMF"}
"""What a model is compared with, for one task each; of the others it is `SharedBottom`."""
BUCKETS = ((1, 4), (5, 16), (17, 10**6))
"""Stars of a user that training has, from and to."""


class Setting(NamedTuple):
    """The settings that are chosen for each model."""

    l2: float
    bias: float = 1 / 64
    """Penalty of the biases of `SharedMF`."""
    stars: float = 1.0
    """Weight of the stars' loss beside that of watching."""


START = Setting(1 / 16)
"""Where the search for a setting starts."""


@dataclass(frozen=True)
class Budget:
    """Of each run."""

    dim: int = 16
    epochs: int = 60
    patience: int = 8
    batch_size: int = 512
    rate: float = 0.005
    negatives: int = 2
    better: float = 0.001
    """By how much a setting's goal must be better."""
    tries: int = 16
    """Settings of a model at most."""
    valid_users: int = 300
    test_users: int = 2000


class SharedMF(nn.Module):
    """score_k = b^k + b_u^k + b_i^k + Σ_d w_d^k p_ud q_id: each task k weighs the same factors."""

    num_users: int
    num_items: int
    task_names: Sequence[str]
    dim: int

    @nn.compact
    def tasks(self, query: Query, item: Int[Array, " B *C"]) -> dict[str, Float[Array, " B *C"]]:
        p = Embed(self.num_users, self.dim, name="user")(query.user)
        q = Embed(self.num_items, self.dim, name="item")(item)

        def score(task: str) -> Array:
            bias = self.param(f"{task}_bias", nn.initializers.zeros, (), jnp.float32)
            weight = self.param(f"{task}_weight", nn.initializers.ones, (self.dim,), jnp.float32)
            b_u = Embed(self.num_users, 1, name=f"{task}_user_bias")(query.user)[:, 0]
            b_i = Embed(self.num_items, 1, name=f"{task}_item_bias")(item)[..., 0]
            return bias + across(b_u, b_i) + b_i + jnp.einsum("bd,b...d->b...", p * weight[None], q)

        return {task: score(task) for task in self.task_names}

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return self.tasks(query, item)[self.task_names[0]]


class Held(NamedTuple):
    """What is asked of a part."""

    stars: Batch
    """Its rows, with stars less the mean of training."""
    lists: batches.HeldOut
    """Some of its users, whose films are to be found among all that they did not watch before."""


class Data(NamedTuple):
    """One case of one data set."""

    train: Batch
    """Watched films; `tasks["stars"].where` says whose stars are known."""
    valid: Held
    test: Held
    known: np.ndarray
    """Stars of each user that training has, `[U]`."""
    sizes: dict[str, int]
    mean: float
    """Of the known stars."""


def prepare(log: Interactions, case: str, at: Budget) -> Data:
    """Thin the stars of each user and, if the case is "starred", the films with them."""
    assert log.rating is not None and log.timestamp is not None
    log = log.take(np.lexsort((log.timestamp, log.user)))
    train, valid, test = split.latest_per_user(log, valid=0.1, test=0.2).of(log)
    counts = np.bincount(train.user, minlength=log.num_users)
    share = np.random.default_rng(0).random(log.num_users)
    known = np.ceil(np.maximum(counts, 1.0) ** share).astype(int)  # log-uniform from 1 to all
    ends = np.cumsum(counts)[train.user]
    starred = np.arange(train.num_rows) >= ends - known[train.user]
    assert train.rating is not None
    mean = float(np.mean(np.asarray(train.rating)[starred]))
    used = np.ones(train.num_rows, bool) if case == "watched" else starred
    pairs = batches.pairs(train.user[used], train.item[used], np.asarray(train.rating)[used] - mean)
    stars = Target(pairs.label, jnp.asarray(starred[used]))

    def held(before: Interactions, rows: Interactions, number: int) -> Held:
        some = np.random.default_rng(1).permutation(np.unique(rows.user))[:number]
        lists = batches.held_out(before, rows.take(np.isin(rows.user, some)))
        return Held(batches.pairs(rows.user, rows.item, np.asarray(rows.rating) - mean), lists)

    before = log.take(split.latest_per_user(log, test=0.2).train)
    return Data(
        pairs._replace(tasks={"stars": stars}),
        held(train, valid, at.valid_users),
        held(before, test, at.test_users),
        np.where(counts > 0, known, 0),
        {"user": log.num_users, "item": log.num_items},
        mean,
    )


def models(data: Data, at: Budget) -> dict[str, Callable[[Sequence[str]], nn.Module]]:
    """Of tasks; each of about as many parameters between embeddings and scores."""
    networks = {
        "SharedBottom": partial(SharedBottom, widths=(64,), tower=(16,)),
        "MMoE": partial(MMoE, experts=4, widths=(16,), tower=(16,)),
        "PLE": partial(PLE, levels=1, num_task_experts=2, num_shared_experts=1, widths=(12,), tower=(16,)),
    }
    made: dict[str, Callable[[Sequence[str]], nn.Module]] = {
        name: partial(network, data.sizes, dim=at.dim) for name, network in networks.items()
    }
    made["SharedMF"] = lambda tasks: SharedMF(data.sizes["user"], data.sizes["item"], tasks, at.dim)
    return made


def both_tasks(model: nn.Module, data: Data, tasks: Sequence[str], at: Budget, weight: Any) -> Objective:
    """Each watched film beside films that were not, whose stars are not known."""
    negatives = at.negatives if "watch" in tasks else 0
    draw = sampling.uniform(data.sizes["item"])
    weights = {"watch": 1.0, "stars": weight}
    whole = objectives.multi_task(
        model, {task: LOSSES[task] for task in tasks}, {task: weights[task] for task in tasks}
    )

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        draw_key, model_key = jax.random.split(key)
        slate = batch.item[:, None]
        if negatives:
            drawn = draw(draw_key, batch.query, batch.item, negatives)
            slate = jnp.concatenate([slate, drawn], axis=1)
        beside = ((0, 0), (0, negatives))
        stars = batch.tasks["stars"]
        label = jnp.pad(jnp.ones_like(slate[:, :1], jnp.float32), beside)
        where = jnp.broadcast_to(batch.where[:, None], slate.shape)
        targets = {
            "watch": Target(label, where),
            "stars": Target(jnp.pad(stars.label[:, None], beside), jnp.pad(stars.where[:, None], beside)),
        }
        return whole(variables, model_key, Batch(batch.query, slate, label, where, targets))

    return objective


def rows_of(data: Data, tasks: Sequence[str]) -> Batch:
    """The training rows that say something of the tasks."""
    if "watch" in tasks:
        return data.train
    return jax.tree.map(lambda x: x[np.flatnonzero(data.train.tasks["stars"].where)], data.train)


def measured(model: nn.Module, variables: Any, held: Held, tasks: Sequence[str]) -> dict[str, jax.Array]:
    """`error` of every row's stars, and `rank` of every film to be found."""
    found = {}
    if "stars" in tasks:
        found["error"] = evaluation.predict_tasks(model, variables, held.stars)["stars"] - held.stars.label
    if "watch" in tasks:
        query, target, exclude = held.lists
        found["rank"] = evaluation.ranks(model, variables, query, target, exclude=exclude)
    return found


def figures(found: dict[str, Any], held: Held) -> dict[str, jax.Array]:
    """RMSE, and the means over users of ndcg@10 and recall@10."""
    result = {}
    if "error" in found:
        result["rmse"] = jnp.sqrt(jnp.square(found["error"]).mean())
    if "rank" in found:
        where = held.lists.target > 0
        for name, metric in {"ndcg@10": metrics.ndcg, "recall@10": metrics.recall}.items():
            result[name] = metric(found["rank"], where=where, k=10).mean()
    return result


def fit(model: nn.Module, data: Data, tasks: Sequence[str], at: Budget) -> Callable[..., Any]:
    """`(key, setting) -> (variables of the best epoch, its validation goal, the epoch)`."""
    rows = rows_of(data, tasks)

    @jax.jit
    def train(key: jax.Array, setting: Setting) -> Any:
        optimizer = optax.adam(at.rate)
        weight: Any = setting.l2
        if isinstance(model, SharedMF):
            biases = (f"{task}_{of}_bias" for task in tasks for of in ("user", "item"))
            weight = {"user": weight, "item": weight} | dict.fromkeys(biases, setting.bias)
        objective = objectives.l2(both_tasks(model, data, tasks, at, setting.stars), weight)
        step = training.make_step(objective, optimizer)
        state = training.init_state(key, model, optimizer, rows)

        def epoch(carry: Any) -> Any:
            state, best, goal, at_epoch, number = carry
            state = training.epoch(step, state, rows, at.batch_size)[0]
            found = figures(measured(model, state.variables, data.valid, tasks), data.valid)
            signs = {"ndcg@10": 1.0, "rmse": -1.0}
            new = jnp.stack([sign * found[name] for name, sign in signs.items() if name in found]).sum()
            better = new > goal
            best = jax.tree.map(lambda a, b: jnp.where(better, a, b), dict(state.variables), best)
            number = number + 1
            return state, best, jnp.maximum(new, goal), jnp.where(better, number, at_epoch), number

        def goes_on(carry: Any) -> jax.Array:
            *_, at_epoch, number = carry
            return (number < at.epochs) & (number - at_epoch < at.patience)

        start = state, dict(state.variables), jnp.float32(-jnp.inf), jnp.int32(0), jnp.int32(0)
        return jax.lax.while_loop(goes_on, epoch, start)[1:4]

    return train


def climb(
    goal: Callable[[Setting], float], start: Setting, fields: Sequence[str], better: float, tries: int
) -> Setting:
    """From `start`, one field after the other, to a fourth or four times its value while `goal` is `better`.

    Ends where no neighbour is better, or after so many `tries`.
    """
    goals, at = {start: goal(start)}, None
    best = start
    while at != best:
        at = best
        for field, factor in itertools.product(fields, (4.0, 0.25)):
            while len(goals) < tries:
                new = best._replace(**{field: getattr(best, field) * factor})
                if new not in goals:
                    goals[new] = goal(new)
                if goals[new] < goals[best] + better:
                    break
                best = new
    if len(goals) >= tries:
        print(f"  {best} after {tries} tries: its neighbours may be better", flush=True)
    return best


def tried(model: nn.Module, data: Data, tasks: Sequence[str], at: Budget, seeds: int) -> tuple[Any, list]:
    """The setting that is best on the validation part with seed 0, and what each seed finds in the test."""
    train, keys, runs = fit(model, data, tasks, at), sweep.keys(seeds), {}

    def goal(setting: Setting) -> float:
        runs[setting] = train(keys[0], jax.tree.map(jnp.float32, setting))
        return float(runs[setting][1])

    fields = ["l2"] + ["bias"] * isinstance(model, SharedMF) + ["stars"] * (len(tasks) > 1)
    best = climb(goal, START, fields, at.better, at.tries)
    test = jax.jit(lambda variables: measured(model, variables, data.test, tasks))
    found = []
    for seed in range(seeds):
        run = runs[best] if seed == 0 else train(keys[seed], jax.tree.map(jnp.float32, best))
        name = f"{type(model).__name__} {', '.join(tasks)}"
        print(
            f"  {name}: {best}, {len(runs)} tries, valid {float(run[1]):.4f}, epoch {int(run[2])}", flush=True
        )
        found.append(jax.device_get(test(run[0])))
    return best, found


def protocol(case: str, users: str = "all users") -> str:
    return f"each user's latest fifth, {CASES[case]}, {users}"


def by_bucket(found: dict[str, Any], data: Data) -> dict[str, dict[str, float]]:
    """`figures` of all users, and of those of each bucket that has any."""
    result = {"all users": figures(found, data.test)}
    for low, high in BUCKETS:
        stars = data.known[data.test.stars.query.user]
        rows = (stars >= low) & (stars <= high)
        users = data.known[data.test.lists.query.user]
        lists = (users >= low) & (users <= high)
        if not (rows.any() and lists.any()):
            continue
        part = {name: value[rows if name == "error" else lists] for name, value in found.items()}
        held = jax.tree.map(lambda x, lists=lists: x[lists], data.test.lists)
        label = (
            f"users with {low} to {high} stars"
            if high < BUCKETS[-1][1]
            else f"users with {low} stars or more"
        )
        result[label] = figures(part, data.test._replace(lists=held))
    return {label: {name: float(value) for name, value in of.items()} for label, of in result.items()}


def add(
    name: str,
    dataset: str,
    case: str,
    found: list,
    data: Data,
    results: common.Results,
    *,
    seconds: float,
    **notes: Any,
) -> None:
    """The figures of every seed, in place of those that are there."""
    each = [by_bucket(one, data) for one in found]
    with results.together():
        for users, first in each[0].items():
            for metric in first:
                values = [one[users][metric] for one in each]
                results.put(name, dataset, protocol(case, users), metric, values, seconds=seconds, **notes)


def compare(
    name: str, dataset: str, case: str, data: Data, at: Budget, seeds: int, results: common.Results
) -> None:
    """A model of both tasks, and of one task each, unless they are there."""

    def missing(name: str) -> bool:
        return len(results.values(name, dataset, protocol(case), "rmse")) < seeds

    start, alone = time.monotonic(), ALONE.get(name, "SharedBottom")
    if missing(f"{alone}, one task"):
        make = models(data, at)[alone]
        runs = [tried(make((task,)), data, (task,), at, seeds) for task in TASKS]
        both = [watch | stars for watch, stars in zip(*(found for _, found in runs), strict=True)]
        notes = {
            f"{task}_{name}": value
            for task, (setting, _) in zip(TASKS, runs, strict=True)
            for name, value in setting._asdict().items()
            if name != "stars"
        }
        spent = time.monotonic() - start
        add(f"{alone}, one task", dataset, case, both, data, results, seconds=spent, **notes)
    start = time.monotonic()
    if missing(name):
        setting, found = tried(models(data, at)[name](TASKS), data, TASKS, at, seeds)
        notes = {"l2": setting.l2, "bias": setting.bias, "stars_weight": setting.stars}
        add(name, dataset, case, found, data, results, seconds=time.monotonic() - start, **notes)


def gains(results: common.Results) -> None:
    """Of each model over its tasks one by one: means of the seeds' differences, and p of a paired t-test."""
    joint = [r for r in results.rows if r["model"] in MODELS and not r["metric"].startswith("gain")]
    for row in joint:
        key = row["dataset"], row["protocol"]
        alone = ALONE.get(row["model"], "SharedBottom")
        other = results.values(f"{alone}, one task", *key, row["metric"])
        differences = np.subtract(row["values"], other).tolist()
        p = {"p": significance.paired_t(row["values"], other).p} if len(other) > 1 else {}
        results.put(row["model"], *key, f"gain in {row['metric']}", differences, seconds=0.0, **p)


def movie_log(folder: Path | None, users: int) -> Interactions:
    """The ratings of some users, with ids of their own."""
    log = movielens.load("ml-1m", manual_dir=folder).ratings
    some = 1 + np.random.default_rng(SEED).permutation(log.num_users - 1)[:users]
    log = log.take(np.isin(log.user, some))
    columns = {"user": log.user, "item": log.item, "rating": log.rating, "time": log.timestamp}
    return from_columns(columns, unit="order")


def shop_log(made: shop_builder.Shop) -> Interactions:
    """What each shopper bought, in the order in which it was drawn; ids are those of the truth."""
    parts = made.ratings
    columns = {name: np.concatenate([part[name] for part in parts]) for name in ("user", "item", "stars")}
    time = np.concatenate([np.arange(len(part["user"])) for part in parts])
    time[len(parts.train["user"]) :] += len(parts.train["user"])
    users, items = (Ids(np.arange(1, len(names))) for names in (made.shoppers["age"], made.names))
    return from_columns(columns | {"time": time}, rating="stars", unit="order", users=users, items=items)


def oracle(made: shop_builder.Shop, data: Data) -> dict[str, jax.Array]:
    """What the true mean of the stars and the true preferences find."""
    stars, (query, target, exclude) = data.test.stars, data.test.lists
    truth = shop.mean_stars(made.world, made.config.noise, stars.query.user, stars.item) - data.mean
    score = shop.preference(made.world, made.config.affinity, query.user)
    rows = jnp.arange(len(score), dtype=jnp.int32)[:, None]
    competes = jnp.ones(score.shape, bool).at[rows, exclude].set(False).at[:, 0].set(False)
    rank = metrics.target_ranks(score, target, where=competes, counted=target > 0)
    return {"error": truth - stars.label, "rank": rank}


@dataclass(frozen=True)
class Flags(common.Flags):
    """Which data sets."""

    seeds: int = 3
    """Independent runs of each model."""
    dataset: tuple[str, ...] = ("shop", "ml-1m")
    """Any of shop, ml-1m."""
    parts: tuple[str, ...] = tuple(CASES)
    """Any of starred, watched: see `CASES`."""
    models: tuple[str, ...] = MODELS
    """Any of the models of two tasks, each with those of one task that it is compared with."""
    users: int = 600
    """Users of ml-1m, at random."""


SMALL = shop.ShopConfig(80, 60, 40, impressions=50, sessions=20, cold_shoppers=0.0)
SEED = 1
"""Of the shop, and of which users of ml-1m are taken."""
SHOP = shop.ShopConfig(impressions=50, sessions=20, cold_shoppers=0.0)


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("ml-1m*",))
    at = Budget(4, 2, batch_size=256, tries=3, valid_users=20, test_users=50) if flags.smoke else Budget()
    for name, given, known in (
        ("dataset", flags.dataset, ("shop", "ml-1m")),
        ("parts", flags.parts, CASES),
        ("models", flags.models, MODELS),
    ):
        common.check_names(name, given, known)
    few = (("shop",), ("watched",), ("SharedMF",))
    datasets, cases, names = few if flags.smoke else (flags.dataset, flags.parts, flags.models)
    for dataset in datasets:
        made = shop_builder.draw(SMALL if flags.smoke else SHOP, SEED) if dataset == "shop" else None
        log = shop_log(made) if made else movie_log(flags.data_dir, flags.users)
        label = dataset if made else f"{dataset}, {log.num_users - 1:,} users"
        for case in cases:
            data = prepare(log, case, at)
            if made:
                add("Oracle", label, case, [oracle(made, data)], data, results, seconds=0.0)
            for name in names:
                compare(name, label, case, data, at, 2 if flags.smoke else flags.seeds, results)
    gains(results)
    results.finish()


if __name__ == "__main__":
    main()
