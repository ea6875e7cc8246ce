"""The state of a session model in a network for stars and for clicks: what does it add to the user's columns?

    python experiments/session_downstream.py --record --data-dir FOLDER  # holds ml-1m.zip

`shop`: products shown at random within the simulated shop's sessions, four in each, after 1 … n - 1 of its
clicks (`shop_rows.draw_session_impressions`); a click depends on the session's intent, so the oracle, which
knows every parameter, knows what the history says of it. Held out: a fifth of the sessions for the test, a
tenth of the others for validation. AUC of the click, and the share of (oracle - none) that a state wins.

`ml-1m`: each user's last 10 ratings in the order of time are the test, the 10 before validation; learnt are
the newest 15 of those before (all would take too long), each with the 15 events before it as its history.
RMSE of the stars, and AUC of likes (4 stars or more) by a model of its own.

All variants are one network over user, item and their columns. `none` has no history; `frozen` has the state
of a GRU4Rec that learnt the next item before, `end to end` one that learns the labels alone, `joint` the
labels and the next item of the history. Each seed keeps the epoch that is best on the validation part, and
the test is looked at once. The result file has the p of paired t-tests against `none` over users (squared
error or log loss, mean of the seeds) and over seeds. One setting by hand for each data set, the same for all
variants; validation chooses the epoch alone.

`shop`, means of three seeds; the differences to `none` have p < .002 over seeds and over users, and the
standard errors of the AUC are .003 at most:

    variant       AUC of the click   share of what the oracle wins
    none              .7382
    frozen            .8342              .6131
    end to end        .8140              .4842
    joint             .8245              .5511
    Oracle            .8947

What a session shows is told best by an encoder that learnt the next clicks, which are many, and left as it
was: labels alone teach it less.

`ml-1m`, three seeds: who a user is and what a film is says nearly all; p over users, and over seeds:

    variant       RMSE of stars                AUC of likes
    none              .9919                        .7368
    frozen            .9889   < .001   .19         .7399   < .001   .21
    end to end        .9910   .30      .66         .7385   < .001   .33
    joint             .9872   < .001   .06         .7393   < .001   .24
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import evaluation, losses, metrics, objectives, training
from rezoo.arrays import offsets_of, ranges
from rezoo.data import batches, features, sessions
from rezoo.data.features import Categorical
from rezoo.data.sessions import Sessions
from rezoo.datasets import movielens, shop, shop_builder, shop_rows
from rezoo.models import GRU4Rec, SessionRanker
from rezoo.studies import significance
from rezoo.training.loop import run
from rezoo.types import Batch, Loss, Scalars, Variables

VARIANTS = ("none", "frozen", "end to end", "joint")
HELD, TRAINED, KNOWN = 10, 15, 15
"""Of a user of MovieLens: ratings in the test and in validation, those learnt, events of a history."""


@dataclass(frozen=True)
class Flags(common.Flags):
    """Which data sets."""

    dataset: tuple[str, ...] = ("shop", "ml-1m")
    """Any of shop, ml-1m."""
    seeds: int = 3
    """Independent runs of each model."""


class Data(NamedTuple):
    """One task in three parts."""

    name: str
    protocol: str
    metric: str
    train: Batch
    valid: Batch
    test: Batch
    following: Batch
    """The next item after each event, of the training part alone."""
    sizes: Mapping[str, int]
    constants: Mapping[str, Any]
    loss: Loss
    mean: float
    truth: jax.Array | None = None
    """The oracle's scores of the test part."""


class Settings(NamedTuple):
    """Of all variants; each seed keeps the epoch that is best on the validation part."""

    dim: int = 32
    """Of the session model and of the columns."""
    rate: float = 5e-3
    l2: float = 0.0
    dropout: float = 0.1
    weight: float = 0.2
    """Of the second task."""
    newest: int = 2
    epochs: int = 8
    pretrained: int = 6
    """Epochs of the session model alone."""
    batch_size: int = 1024


def of_shop(smoke: bool) -> Iterator[tuple[Data, Settings]]:
    """Products shown at random within the shop's sessions."""
    small = dict(shoppers=100, products=50, ratings_per_shopper=5, impressions=100, sessions=300)
    made = shop_builder.draw(shop.ShopConfig(**(small if smoke else {"impressions": 1000})))
    known, asked = made.sessions
    held = np.arange(len(known["user"])) >= 0.9 * len(known["user"])
    own = {"train": ~held, "valid": held}
    parts = {name: {column: rows[where] for column, rows in known.items()} for name, where in own.items()}
    parts["test"] = asked
    catalogue, found, truth = made.catalogue, {}, None
    for number, (name, part) in enumerate(parts.items()):
        key = jax.random.fold_in(jax.random.key(21), number)
        drawn = shop_rows.draw_session_impressions(
            key, made.world, made.config, jnp.asarray(part["user"]), jnp.asarray(part["items"]), 4
        )
        # A shopper whom training does not know is id 0, but has an age and a gender.
        user = np.where(np.isin(drawn["user"], known["user"]), drawn["user"], 0)
        columns = {one: column[np.asarray(drawn["user"])] for one, column in made.shoppers.items()}
        columns["hour"] = np.asarray(drawn["hour"])
        found[name] = batches.pairs(
            user, drawn["item"], drawn["click"], history=drawn["history"], features=columns
        )
        truth = drawn["truth"]
    events = jnp.asarray(parts["train"]["items"])
    following = Batch(
        batches.queries(history=events[:, :-1]),
        events[:, 1:],
        (events[:, 1:] > 0).astype(jnp.float32),
        events[:, 1:] > 0,
    )
    protocol = "click on what is shown within a session, held-out fifth of the sessions"
    data = Data(
        "shop", protocol, "auc", found["train"], found["valid"], found["test"],
        following=following, sizes=made.table_rows,
        constants={"catalogue": catalogue}, loss=losses.logistic, mean=0.0, truth=truth,
    )  # fmt: skip
    yield data, Settings(epochs=2, pretrained=1) if smoke else Settings()


def of_movielens(smoke: bool, folder: Any) -> Iterator[tuple[Data, Settings]]:
    """Each user's ratings in the order of time: the newest are asked, those before are their history."""
    ml = movielens.load("ml-1m", manual_dir=folder)
    lives = sessions.by_gap(ml.ratings, 2**40)  # a user each, in the order of time; ties in that of the file
    order = np.lexsort((np.arange(len(ml.ratings.user)), np.asarray(ml.ratings.timestamp), ml.ratings.user))
    items, stars, user = (
        column[order] for column in (ml.ratings.item, np.asarray(ml.ratings.rating), ml.ratings.user)
    )
    rows = np.arange(len(items))
    place, left = (
        rows - lives.offsets[user - 1],
        lives.offsets[user] - rows,
    )  # events before, and from here on
    fitted = features.fit(
        {name: Categorical() for name in ("age", "gender", "occupation")},
        ml.users,
        np.append(False, np.ones(len(lives.lengths), bool)),
    )
    of_users = fitted.transform(ml.users)

    def part(low: int, high: int, label: np.ndarray) -> Batch:
        """Ratings `low + 1` to `high` from the end of each user's."""
        at = rows[(left > low) & (left <= high) & (place > 0)]
        start = np.maximum(lives.offsets[user[at] - 1], at - KNOWN)
        known = sessions.pad(Sessions(items[ranges(start, at - start)], offsets_of(at - start)), KNOWN)
        columns = {name: column[user[at]] for name, column in of_users.items()}
        return batches.pairs(user[at], items[at], label[at], history=known, features=columns)

    # Sessions of KNOWN + 1 events, one after the other, for the session model alone.
    learnt = rows[(left > 2 * HELD) & (left <= 2 * HELD + 3 * TRAINED)]
    block = user[learnt] * 1000 + (left[learnt] - 2 * HELD - 1) // (KNOWN + 1)
    cut = np.flatnonzero(np.append(True, block[1:] != block[:-1]))
    following = batches.next_items(Sessions(items[learnt], np.append(cut, len(learnt))), KNOWN)
    following = following._replace(query=following.query._replace(user=jnp.zeros_like(following.query.user)))
    sizes = {"user": ml.ratings.num_users, "item": ml.ratings.num_items, **fitted.sizes}
    sizes = {name: size for name, size in sizes.items() if size is not None}
    for metric, label, loss in (
        ("rmse", stars.astype(np.float32), losses.squared),
        ("auc", (stars >= 4).astype(np.float32), losses.logistic),
    ):
        bounds = {"test": (0, HELD), "valid": (HELD, 2 * HELD), "train": (2 * HELD, 2 * HELD + TRAINED)}
        parts = {name: part(*bound, label) for name, bound in bounds.items()}
        if smoke:
            parts = {name: jax.tree.map(lambda x: x[:2000], one) for name, one in parts.items()}
            following = jax.tree.map(lambda x: x[:500], following)
        protocol = f"each user's last {HELD} {'stars' if metric == 'rmse' else 'likes (4 stars or more)'}"
        protocol += f", learnt from the newest {TRAINED} of those before validation"
        mean = float(parts["train"].label.mean()) if metric == "rmse" else 0.0
        yield (
            Data(
                "ml-1m", protocol, metric, parts["train"], parts["valid"], parts["test"], 
                following=following, sizes=sizes, constants={},
                loss=loss, mean=mean,
            ),
            Settings(epochs=1, pretrained=1) if smoke else MOVIELENS,
        )  # fmt: skip


MOVIELENS = Settings(dim=32, rate=3e-3, l2=1e-4, newest=1, epochs=4, pretrained=3)


def measured(model: nn.Module, variables: Variables, part: Batch, metric: str) -> Scalars:
    if metric == "rmse":
        return evaluation.evaluate_ratings(model, variables, part, clip=(1.0, 5.0))
    return evaluation.evaluate_clicks(model, variables, part)


def pretrained(data: Data, at: Settings) -> Callable[[int], Any]:
    """`seed -> parameters` of the session model, which learnt the next item alone."""
    model = encoder(data, at)()
    steps = at.pretrained * training.num_steps(len(data.following.item), 128)
    optimizer = optax.adam(optax.linear_schedule(4e-3, 4e-4, steps))
    step = training.make_step(objectives.next_item_softmax(model), optimizer)
    fit = jax.jit(
        lambda state, rows: training.fit(step, state, rows, num_epochs=at.pretrained, batch_size=128)[0]
    )

    def learn(seed: int) -> Any:
        state = training.init_state(jax.random.key(1000 + seed), model, optimizer, data.following)
        return fit(state, data.following).params

    return learn


def encoder(data: Data, at: Settings) -> partial[GRU4Rec]:
    return partial(GRU4Rec, data.sizes["item"], at.dim, dropout=at.dropout)


def trainer(variant: str, data: Data, at: Settings, start: Callable[[int], Any]) -> Callable[[int], Any]:
    """`seed -> (model, run)`, compiled once."""
    model = SessionRanker(
        data.sizes, None if variant == "none" else encoder(data, at), at.dim // 2, mean=data.mean
    )
    objective = objectives.pointwise(model, data.loss)
    if variant == "joint":
        objective = objectives.with_next_item(model, data.loss, at.weight, newest=at.newest)
    objective = objectives.l2(objective, at.l2) if at.l2 else objective
    steps = at.epochs * training.num_steps(len(data.train.item), at.batch_size)
    optimizer = optax.adam(optax.cosine_decay_schedule(at.rate, steps))
    if variant == "frozen":
        optimizer = training.frozen(optimizer, "session")
    step = training.make_step(objective, optimizer)
    epoch = jax.jit(lambda state, rows: training.epoch(step, state, rows, at.batch_size))
    evaluate = jax.jit(lambda variables, part: measured(model, variables, part, data.metric))

    def fit(seed: int) -> Any:
        state = training.init_state(
            jax.random.key(seed), model, optimizer, data.train, constants=dict(data.constants)
        )
        if variant == "frozen":
            state = state._replace(params={**state.params, "session": start(seed)})
        sign = -1 if data.metric == "rmse" else 1
        watched = lambda m: sign * m[data.metric]  # noqa: E731
        return model, run(
            lambda state: epoch(state, data.train),
            state,
            at.epochs,
            evaluate=lambda variables: evaluate(variables, data.valid),
            monitor=watched,
            patience=3,
        )

    return fit


def errors(model: nn.Module, variables: Variables, data: Data) -> np.ndarray:
    """The squared error of the stars, or the log loss of the clicks, of each row of the test part."""
    score = evaluation.predict(model, variables, data.test)
    if data.metric == "rmse":
        return np.asarray(jnp.square(jnp.clip(score, 1, 5) - data.test.label))
    return np.asarray(losses.logistic(score, data.test.label, where=data.test.where))


def by_user(values: np.ndarray, user: np.ndarray) -> np.ndarray:
    """The mean of each user who is known."""
    count = np.bincount(user)
    seen = np.flatnonzero(count[1:]) + 1
    return np.bincount(user, values)[seen] / count[seen]


def compare(data: Data, at: Settings, seeds: int, results: common.Results) -> None:
    """Fit all variants, and test each against the one without a state."""
    key = data.name, data.protocol
    user, rows, found = np.asarray(data.test.query.user), {}, {}
    start = pretrained(data, at)
    for variant in VARIANTS:
        name = f"SessionRanker, {variant}"
        begun, fit = time.monotonic(), trainer(variant, data, at, start)
        values, valid, epochs, each = [], [], [], []
        for seed in range(seeds):
            model, done = fit(seed)
            values.append(float(measured(model, done.best, data.test, data.metric)[data.metric]))
            valid.append(float(done.history[data.metric][done.best_epoch - 1]))
            epochs.append(int(done.best_epoch))
            each.append(errors(model, done.best, data))
        rows[variant], found[variant] = np.mean(each, axis=0), values
        notes: dict[str, Any] = {"valid": float(np.mean(valid)), "epochs": epochs, **at._asdict()}
        if variant != "none" and seeds > 1:
            per_user = [by_user(rows[one], user) for one in (variant, "none")]
            notes["p over users"] = significance.paired_t(*per_user).p
            notes["p over seeds"] = significance.paired_t(values, found["none"]).p
        seconds = time.monotonic() - begun
        results.put(name, *key, data.metric, values, seconds=seconds, **notes)
        print(f"{data.name} {variant}: {values}, {notes}, {seconds:.0f} s", flush=True)
    if data.truth is not None:
        oracle = float(metrics.auc(data.truth, data.test.label))
        results.put("Oracle", *key, data.metric, oracle, seconds=0.0)
        for variant in VARIANTS[1:]:
            share = [(a - b) / (oracle - b) for a, b in zip(found[variant], found["none"], strict=True)]
            name = f"SessionRanker, {variant}"
            results.put(name, *key, "share of what the oracle wins", share, seconds=0.0)


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("ml-1m*",))
    common.check_names("dataset", flags.dataset, ("shop", "ml-1m"))
    if "shop" in flags.dataset:
        for data, at in of_shop(flags.smoke):
            compare(data, at, 2 if flags.smoke else flags.seeds, results)
    if "ml-1m" in flags.dataset and not flags.smoke:
        for data, at in of_movielens(flags.smoke, flags.data_dir):
            compare(data, at, flags.seeds, results)
    results.finish()


if __name__ == "__main__":
    main()
