# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4 · Evaluation without fooling oneself
#
# **What you will learn**
#
# - what ranking metrics (排序指标) measure, and what becomes of them when scores are tied;
# - how to split a log, and how information leaks (数据泄漏) from the test part into the model;
# - why a metric over 99 sampled items can prefer the worse model;
# - what a standard error (标准误) is, over seeds and over users, and what pairing buys;
# - how much "the best of many runs on the test part" flatters.
#
# None of these mistakes raises an error. Each makes the numbers *better*, which is why they survive. You
# need notebook 1. The data is the simulated shop; one section also takes MovieLens 100k if `REZOO_DATA`
# names its folder.

# %%
import os
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import tensorflow_datasets as tfds
from scipy import stats

from rezoo import evaluation, losses, metrics, objectives, sampling, training
from rezoo.data import leak, split
from rezoo.data.batches import pairs, queries
from rezoo.data.interactions import from_columns
from rezoo.data.packing import padded
from rezoo.datasets import movielens, shop_builder
from rezoo.datasets.shop import ShopConfig
from rezoo.errors import DataError
from rezoo.models import MF, CoOccurrence, ItemKNN, Popularity
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.models.factorization import biases, item_knn
from rezoo.studies import significance, sweep

tfds.disable_progress_bar()
plt.style.use("rezoo.studies.pictures")

config = ShopConfig(
    shoppers=500,
    products=500,
    ratings_per_shopper=40,
    impressions=1_000,
    sessions=3_000,
    cold_shoppers=0.0,
    affinity=2.0,
)
shop = shop_builder.draw(config)
users, items = config.shoppers + 1, config.products + 1  # id 0 is the unknown

# %% [markdown]
# ## 1 From scores to ranks to metrics
#
# A model scores every product. Sort them, and every product bought later, every *target*, has a rank
# $r = 1, 2, 3 \dots$ Metrics say how much a rank is worth:
#
# | metric | worth of a target at rank $r$, within the first $k$ | Chinese |
# | --- | --- | --- |
# | hit rate HR@k | 1 for the user if any target is there | 命中率 |
# | recall@k | its share of the user's targets | 召回率 |
# | MRR@k | $1 / r$, of the best target | 平均倒数排名 |
# | NDCG@k | $1 / \log_2 (r + 1)$, divided by the best possible sum | 归一化折损累计增益 |

# %%
k, r = 10, np.arange(1, 21)
where = jnp.ones((len(r), 1), bool)
figure, axis = plt.subplots(figsize=(6, 3.6))
worth = {"HR@10 and recall@10": metrics.hr, "NDCG@10": metrics.ndcg, "MRR@10": metrics.mrr}
for name, metric in worth.items():
    axis.plot(r, metric(jnp.asarray(r, jnp.float32)[:, None], where=where, k=k), marker="o", label=name)
axis.set(xlabel="rank of a user's only target", ylabel="worth", xticks=[1, 5, 10, 15, 20])
axis.legend()
plt.show()

# %% [markdown]
# ## 2 Ties
#
# What is the rank of an item whose score others have too? Take a model that is broken and gives 0 to
# everything. It knows nothing: chance would put its target among the first ten of 100 in 10 % of the cases.
# Four ways to count say:

# %%
score = np.zeros((1_000, 100))  # the target stands first in the list, as it often does in code
target_score = score[:, :1]
optimistic = 1 + (score > target_score).sum(axis=1)
pessimistic = (score >= target_score).sum(axis=1)
sorted_first = 1 + np.argmax(np.argsort(-score, axis=1, kind="stable") == 0, axis=1)
halved = metrics.target_ranks(jnp.asarray(score), jnp.zeros((1_000, 1), jnp.int32))[:, 0]
for name, rank in (
    ("better ones only (>)", optimistic),
    ("better or equal (≥)", pessimistic),
    ("place after a sort", sorted_first),
    ("rezoo: half of the ties", halved),
):
    print(f"{name:24} rank {float(rank[0]):5.1f}   HR@10 = {float((rank <= 10).mean()):.2f}")

# %% [markdown]
# The first and the third call the broken model *perfect*. Real models tie more often than one thinks: a
# network whose units have died, scores rounded to 16 bits, neighbour models that give 0 to most of the
# catalogue. `rezoo` counts half of the ties, which is the rank to be expected if chance decided them, here
# 50.5: no hit. It does so in one place, so that all metrics agree.
#
# ## 3 Splits and leaks
#
# The test part must be to the model what the future is to a shop: unknown. Ways to split (划分):
#
# | split | asks | beware of |
# | --- | --- | --- |
# | `split.ratio`: random rows | can you fill the gaps? | the model has seen the future of other rows |
# | `split.leave_one_out`: each user's last | what comes next for each? | the last rows differ in time |
# | `split.by_time`: all after a date | what will happen? | new users and items; that is the point |
# | `split.cold_users`, `cold_items` | and for strangers? | a model of ids cannot answer |
#
# A leak by statistics: we predict the next click of a session from counts of which product follows which
# (`CoOccurrence`): once from the training sessions, and once "from all data", test sessions included. That
# happens easily, for instance in a preprocessing script.


# %%
def next_click(counted):
    """Recall@10 of the last click of each test session, with counts from the sessions `counted`."""
    fitted = cooccurrence.fit(counted, items)
    model = CoOccurrence(items, len(fitted["params"]["follower"]))
    clicks = shop.sessions.test["items"].copy()
    last = (clicks > 0).sum(axis=1) - 1
    row = np.arange(len(clicks))
    wanted = jnp.asarray(clicks[row, last][:, None])
    clicks[row, last] = 0
    run = jax.jit(
        lambda fitted: evaluation.evaluate(model, fitted, queries(history=clicks), wanted, block=600)
    )
    return float(run(fitted)["recall@10"])


honest = next_click(shop.sessions.train["items"])
leaked = next_click(np.concatenate([shop.sessions.train["items"], shop.sessions.test["items"]]))
print(f"recall@10, counts of training sessions {honest:.3f}, counts of all sessions {leaked:.3f}")
print(f"the leak is worth {leaked / honest - 1:+.0%}, and would be gone on the first day in the shop")

# %% [markdown]
# A leak by a column: a feature that is the label under another name, such as "delivered" when you predict
# "bought". `leak.refuse_labels` looks for columns whose every value goes with one label:

# %%
impressions = shop.impressions.train
features = {"hour": impressions["hour"], "basket": 10 + 5 * impressions["click"]}
try:
    leak.refuse_labels(features, {"click": impressions["click"].astype(np.float64)})
except DataError as error:
    print("refused:", error)

# %% [markdown]
# A leak by time: the same model on the same log, split at random and by date. On MovieLens the second is
# harder. It is what you will meet in production.


# %%
if "REZOO_DATA" in os.environ:
    log = movielens.load("ml-100k", data_dir="runs/evaluation").ratings
    for name, parts in (("random rows", split.ratio(log)), ("by date", split.by_time(log))):
        train, _, test = parts.of(log)
        fitted = biases.fit(pairs(train.user, train.item, train.rating), log.num_users, log.num_items)
        wanted = pairs(test.user, test.item, test.rating)
        rmse = metrics.rmse(biases.score(fitted, wanted.query, wanted.item), wanted.label)
        new = np.mean(~np.isin(test.user, train.user))
        print(f"{name:12} RMSE of biases {float(rmse):.3f}   test rows of new users {new:.0%}")

# %% [markdown]
# ## 4 Sampled metrics
#
# To save time many papers rank the target among 99 random items instead of the whole catalogue. If the true
# rank among $N$ items is $r$, each sampled item is better than the target with probability $(r-1)/(N-1)$.
# So the sampled rank is $1 + \text{Binomial}(99, \tfrac{r-1}{N-1})$: about 100 neighbouring true ranks fall
# together when $N = 10{,}000$, and HR@10 becomes, roughly, "is it within the best tenth?".
#
# Take two models of a catalogue of 500. The *specialist* puts the target on rank 1 for 30 % of the users
# and on rank 250 for all others. The *plodder* puts it on rank 30 for everybody: never within ten.

# %%
number = np.array([10, 20, 50, 99, 200, 499])


def sampled_hr(rank, n, size=500, k=10):
    """The expected HR@k of a target of this true rank among n sampled items."""
    if n == size - 1:  # nothing is sampled: the whole catalogue
        return float(rank <= k)
    return stats.binom.cdf(k - 1, n, (rank - 1) / (size - 1))


specialist = [0.3 * sampled_hr(1, n) + 0.7 * sampled_hr(250, n) for n in number]
plodder = [sampled_hr(30, n) for n in number]

figure, axis = plt.subplots(figsize=(6, 3.8))
axis.plot(number, specialist, marker="o", label="specialist: rank 1 or 250")
axis.plot(number, plodder, marker="o", label="plodder: rank 30 always")
axis.set_xscale("log")
axis.set_xticks(number, [*(str(n) for n in number[:-1]), "all\n499"])
axis.minorticks_off()
axis.set(xlabel="items that the target is ranked among", ylabel="HR@10, higher is better")
axis.legend()
plt.show()

# %% [markdown]
# With 99 the plodder wins by far. In truth it never hits. Does it happen to real models? We take four, rank
# the shop's test purchases among 20, 50, 99 … items and among all, and look whether the order stays.
#
# First the models. `MF` is trained from 24 random starts at once; we need them below.

# %%
train, test = shop.ratings
purchases = pairs(train["user"], train["item"])
shoppers = np.arange(1, users)
bought = jnp.asarray(padded(shoppers, train["user"], train["item"])[0], jnp.int32)
target = jnp.asarray(padded(shoppers, test["user"], test["item"])[0], jnp.int32)
query = queries(shoppers, history=bought)  # MF reads the user, ItemKNN the history
mf = MF(users, items, 8)


def ndcg_by_user(model, variables):
    """NDCG@10 of each shopper over the whole catalogue, `[U]`."""
    rank = evaluation.ranks(model, variables, query, target, exclude=bought, block=500)
    return metrics.ndcg(rank, where=target > 0, k=10)


def train_mf(key):
    """MF by the BPR loss (notebook 5): its variables, and NDCG@10 of each shopper."""
    draw = sampling.reject_positives(
        sampling.uniform(items), sampling.positives_by_user(train["user"], train["item"], users), items
    )
    objective = objectives.l2(objectives.sampled(mf, losses.bpr, draw, 4), 0.01)
    optimizer = optax.adam(0.02)
    state = training.init_state(key, mf, optimizer, purchases)
    step = training.make_step(objective, optimizer)
    state, _ = training.fit(step, state, purchases, num_epochs=8, batch_size=1024)
    return state.variables, ndcg_by_user(mf, state.variables)


mf_variables, ndcg_of_seeds = sweep.study(train_mf, sweep.keys(24))
history = np.asarray(bought)
models = {
    "MF": (mf, jax.tree.map(lambda leaf: leaf[0], mf_variables)),
    "ItemKNN, 100 neighbours": (ItemKNN(items), item_knn.fit(history, items, shrink=10.0)),
    "ItemKNN, 3 neighbours": (ItemKNN(items), item_knn.fit(history, items, neighbours=3)),
    "Popularity": (Popularity(items), popularity.fit(train["item"], items)),
}

# %%
rng = np.random.default_rng(0)
others = np.ones((users, items), bool)  # products that a shopper never bought
others[train["user"], train["item"]] = others[test["user"], test["item"]] = others[:, 0] = False
order = np.argsort(np.where(others[1:], rng.random((len(shoppers), items)), 2), axis=1)
negatives = jnp.asarray(order[:, :400], jnp.int32)  # 400 of them in a random order
first = target[:, 0]
sampled_sizes = (20, 50, 99, 200, 400)


@partial(jax.jit, static_argnames="model")
def hit_rates(model, variables):
    """HR@10 of each shopper's first target among n sampled products, and among all."""
    curve = [
        evaluation.evaluate_sampled(model, variables, query, first, negatives[:, :n])["hr@10"]
        for n in sampled_sizes
    ]
    full = evaluation.evaluate(model, variables, query, first[:, None], exclude=bought, block=500)
    return jnp.stack([*curve, full["hr@10"]])


figure, axis = plt.subplots()
for name, (model, variables) in models.items():
    axis.plot([*sampled_sizes, 499], hit_rates(model, variables), marker="o", label=name)
axis.set_xscale("log")
axis.set_xticks([*sampled_sizes, 499], [*map(str, sampled_sizes), "\nall"])
axis.minorticks_off()
axis.set(xlabel="items that the target is ranked among", ylabel="HR@10, higher is better")
axis.legend()
plt.show()

# %% [markdown]
# The model with three neighbours gives 0 to most of the catalogue. Among 20 items Popularity is far ahead
# of it; among 50 or more it is behind: in the head of the list, which is all that is shown, the three
# neighbours know more. **Rank the whole catalogue.** If you must compare with a paper that sampled, say so
# in the metric's name, as `evaluate_sampled` does.
#
# ## 5 Standard errors
#
# A mean over $n$ users, whose values have the standard deviation $s$, has the standard error $s / \sqrt n$:
# by so much would it vary if other users like these were drawn. Half the error takes four times the users.

# %%
values = np.asarray(ndcg_of_seeds[0], np.float64)
sizes = np.array([10, 20, 50, 100, 200, 500])
spread = [rng.choice(values, (4_000, n)).mean(axis=1).std() for n in sizes]

figure, axis = plt.subplots(figsize=(5.5, 3.6))
axis.plot(sizes, values.std() / np.sqrt(sizes), color="0.5", label=r"$s / \sqrt{n}$")
axis.plot(sizes, spread, "o", color="C0", label="spread of 4,000 resampled means")
axis.set_xscale("log")
axis.set_yscale("log")
axis.set_xticks(sizes, [str(n) for n in sizes])
axis.set_yticks([0.01, 0.02, 0.05, 0.1], ["0.01", "0.02", "0.05", "0.10"])
axis.minorticks_off()
axis.set(xlabel="users", ylabel="standard error of NDCG@10")
axis.legend()
plt.show()

# %% [markdown]
# Another source of chance is the random start. The two answer different questions:
#
# - over *seeds*: would another run on this data do as well?
# - over *users*: would it do as well for other users?
#
# To compare two models, use the *same* users for both and look at the differences user by user: a *paired*
# test (配对检验). What makes a user hard is hard for both, and drops out.

# %%
over_seeds = sweep.summarise(ndcg_of_seeds.mean(axis=1))
print(f"MF: {over_seeds.mean:.4f} ± {over_seeds.standard_error:.4f} over {over_seeds.count} seeds")
a, b = values, np.asarray(ndcg_by_user(*models["ItemKNN, 100 neighbours"]), np.float64)
for name, by_user in (("MF, one seed", a), ("ItemKNN", b)):
    over_users = sweep.summarise(by_user)
    print(f"{name:13} {over_users.mean:.4f} ± {over_users.standard_error:.4f} over {len(by_user)} users")
tests = {"Student's t": significance.paired_t(a, b), "permutation": significance.permutation(a, b)}
for name, test in tests.items():
    interval = f"95 % from {test.low:+.4f} to {test.high:+.4f}"
    print(f"{name:12} difference {test.difference:+.4f}, {interval}, p {test.p:.3f}")

apart = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
paired = (a - b).std(ddof=1) / np.sqrt(len(a))
print(f"standard error of the difference: {apart:.4f} as if of different users, {paired:.4f} paired")

# %% [markdown]
# ## 6 Tuning on the test part
#
# You try $N$ settings, keep the one with the best test score, and report that score. What if all settings
# are equally good? Our 24 runs are: they differ by nothing but the random start. Yet one of them is always
# the best on the users at hand. We take 60 shoppers as "the test part" and the other 440 as the truth, pick
# the best of $N$ runs on the first and look at it on the second; again and again.

# %%
table = np.asarray(ndcg_of_seeds, np.float64)  # [runs, shoppers]
tries = np.array([1, 2, 4, 8, 16, 24])
reported, true = [], []
for n in tries:
    pick = [rng.permutation(table.shape[1]) for _ in range(1_000)]
    runs = [rng.permutation(len(table))[:n] for _ in pick]
    on_test = [table[rows][:, order[:60]].mean(axis=1) for rows, order in zip(runs, pick, strict=True)]
    winner = [rows[np.argmax(score)] for rows, score in zip(runs, on_test, strict=True)]
    reported.append(np.mean([score.max() for score in on_test]))
    true.append(np.mean([table[run, order[60:]].mean() for run, order in zip(winner, pick, strict=True)]))

figure, axis = plt.subplots(figsize=(6, 3.8))
axis.plot(tries, reported, marker="o", label="reported: best of N on 60 test shoppers")
axis.plot(tries, true, marker="o", label="true: the same run on the other 440")
axis.set(xlabel="N, runs tried", ylabel="NDCG@10", xticks=tries)
axis.legend()
plt.show()
print(f"the best of {tries[-1]} reports {reported[-1] / true[-1] - 1:+.0%}, and that part is not real")

# %% [markdown]
# So: choose on a validation part (验证集), and touch the test part (测试集) once. `sweep.study` and
# `sweep.best` are made for it: the study measures on the validation part, and only the chosen point is
# measured on the test part. [movielens_tuning.py](../experiments/movielens_tuning.py) shows it whole.
#
# ## Exercises
#
# 1. Write the rank with half of the ties in one line of NumPy for a list of scores, and check it against
#    `metrics.ranks` on `[3, 7, 3, 1, 3]`.
# 2. NDCG@10 has a standard deviation of 0.3 over users. How many users does it take for a standard error of
#    0.0025? How many if pairing reduces the deviation of the difference to 0.1?
# 3. Make a log of 100 rows with random times. Show that `split.by_time` trains on nothing that is newer
#    than any test row, and that `split.ratio` does.

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. One, plus those above, plus half of the others that are equal.
s = np.array([3.0, 7.0, 3.0, 1.0, 3.0])
mine = 1 + (s[None] > s[:, None]).sum(axis=1) + 0.5 * ((s[None] == s[:, None]).sum(axis=1) - 1)
assert mine.tolist() == metrics.ranks(jnp.asarray(s)).tolist() == [3.0, 1.0, 3.0, 5.0, 3.0]

# 2. n = (s / error)²: 14,400 and 1,600.
assert round((0.3 / 0.0025) ** 2) == 14_400 and round((0.1 / 0.0025) ** 2) == 1_600

# 3. The newest training row against the oldest test row.
log = from_columns(
    {"user": np.arange(100), "item": np.arange(100), "timestamp": rng.permutation(100) * 3600}, unit="s"
)
for cut, clean in ((split.by_time(log), True), (split.ratio(log), False)):
    train, _, test = cut.of(log)
    assert (train.timestamp.max() < test.timestamp.min()) == clean
print("all three hold")

# %% [markdown]
# ## Read on
#
# - Krichene, Rendle 2020, *On sampled metrics for item recommendation*,
#   [doi:10.1145/3394486.3403226](https://doi.org/10.1145/3394486.3403226)
# - Ji, Sun, Zhang, Li 2023, *A critical study on data leakage in recommender system offline evaluation*,
#   [doi:10.1145/3569930](https://doi.org/10.1145/3569930)
# - Ferrari Dacrema, Cremonesi, Jannach 2019, *Are we really making much progress?*,
#   [arXiv:1907.06902](https://arxiv.org/abs/1907.06902)
# - Järvelin, Kekäläinen 2002, *Cumulated gain-based evaluation of IR techniques*,
#   [doi:10.1145/582415.582418](https://doi.org/10.1145/582415.582418)
#
# In the library: [metrics](../rezoo/metrics), [evaluation](../rezoo/evaluation),
# [significance.py](../rezoo/studies/significance.py). Next: [5 · Ranking](5_ranking.ipynb)
