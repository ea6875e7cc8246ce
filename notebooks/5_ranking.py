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
# # 5 · Ranking
#
# **What you will learn**
#
# - pointwise (逐点), pairwise (成对) and listwise (列表) losses: which scores each of them moves, and how
#   much;
# - how to compare losses fairly, all of them in one compiled program;
# - Wide & Deep: why memorising and generalising go together;
# - how to look at attention weights (注意力权重): which columns, and which events of the past, a model
#   looks at.
#
# You need notebooks 3 and 4. Everything runs on the simulated shop.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from rezoo import evaluation, losses, metrics, objectives, sampling, training
from rezoo.data.batches import pairs, queries
from rezoo.data.packing import padded
from rezoo.datasets import shop_builder
from rezoo.datasets.shop import ShopConfig
from rezoo.evaluation import explain
from rezoo.models import AFM, DIN, DNN, FM, MF, Popularity, WideDeep
from rezoo.models.baselines import popularity
from rezoo.models.ranking import afm
from rezoo.studies import sweep

plt.style.use("rezoo.studies.pictures")

config = ShopConfig(
    shoppers=400,
    products=200,
    ratings_per_shopper=40,
    impressions=15_000,
    sessions=100,
    cold_shoppers=0.0,
    affinity=2.0,
)
shop = shop_builder.draw(config)
users, items = config.shoppers + 1, config.products + 1  # id 0 is the unknown

# %% [markdown]
# ## 1 Three kinds of losses
#
# A recommender shows the *top* of a list. So it is the order that counts, not the score. How can a loss
# express that? Take a list with scores $s$ and labels $y$:
#
# - *pointwise*: each element is a yes or a no, whatever the others are. Logistic loss:
#   $-y \ln \sigma(s) - (1-y) \ln \sigma(-s)$;
# - *pairwise*: of two elements, the better one $i$ should score higher than the other, $j$. BPR
#   (贝叶斯个性化排序): $-\ln \sigma(s_i - s_j)$; hinge: $\max(0,\, 1 - (s_i - s_j))$;
# - *listwise*: the good element $i$ is one choice out of the whole list. Softmax cross entropy (交叉熵):
#   $-\ln \big(e^{s_i} / \sum_j e^{s_j} \big)$.
#
# For a list of one good and one bad element with the scores $m/2$ and $-m/2$, each loss is a function of the
# margin $m$ alone, which we can draw.

# %%
margin = jnp.linspace(-4, 4, 81)
two = jnp.stack([margin / 2, -margin / 2], axis=1)
label = jnp.broadcast_to(jnp.array([[1.0, 0.0]]), two.shape)
curves = {
    "logistic (pointwise, sum of both)": losses.logistic(two, label).sum(axis=1),
    "bpr (pairwise)": losses.bpr(two, label),
    "hinge (pairwise)": losses.hinge(two, label),
    "top1 (pairwise)": losses.top1(two, label),
}
figure, axis = plt.subplots()
for name, value in curves.items():
    axis.plot(margin, value, label=name)
step = [-4, 0, 0, 4], [1, 1, 0, 0]
axis.plot(*step, color="0.7", linestyle="-", linewidth=3, label="1 if the order is wrong")
axis.set(xlabel=r"margin $m = s_{good} - s_{bad}$", ylabel="loss")
axis.legend()
plt.show()

# %% [markdown]
# What we really want to minimise is the grey step: 1 if the order is wrong. But it is flat on both sides, so
# gradient descent gets no direction from it. The losses are smooth substitutes whose slope leads to a
# positive margin. (TOP1 rises again on the right: its second term pulls the scores of bad elements towards 0
# from either side.)
#
# The kinds differ more in longer lists. Below is a list of 20 elements by falling score, whose only good
# element is at place 8. How strongly does each loss push each element? A bar above 0 is a push up.
# LambdaRank weighs every pair by how much NDCG would change if the two changed places.

# %%
scores = jnp.linspace(2, -2, 20)
good = 8
labels = jnp.zeros(20).at[good - 1].set(1.0)
compared = {"bpr": losses.bpr, "softmax": losses.softmax_cross_entropy, "lambda rank": losses.lambda_rank}
figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), sharey=True)
for axis, (name, loss) in zip(axes, compared.items(), strict=True):
    push = -jax.grad(lambda s, loss=loss: loss(s, labels))(scores)
    bars = axis.bar(np.arange(1, 21), push / push[good - 1], color="C0")
    bars[good - 1].set_color("C1")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(title=name, xlabel="place in the list", xticks=[1, 5, 8, 10, 15, 20])
axes[0].set_ylabel("push, relative to that\non the good element (red)")
plt.show()

# %% [markdown]
# BPR pushes all bad elements down, even those far below the good one. Softmax pushes mainly those with high
# scores, the competitors. LambdaRank pushes hardest at the first places, where a change of order changes
# NDCG most.
#
# ## 2 Losses side by side
#
# Which one is best here? A fair comparison gives every loss the learning rate that suits it, chosen on a
# validation part (notebook 4). In `rezoo` a loss is a function, so the *choice* of a loss can be a number
# like any other hyper-parameter: 5 losses × 2 rates × 2 seeds are 20 runs of one compiled program.
#
# The task: rank each shopper's future purchases. Every purchase in the training part is put in a list with 4
# products drawn at random.

# %%
log, test = shop.ratings
in_valid = np.random.default_rng(0).random(len(log["user"])) < 0.15
train, valid = ({name: column[rows] for name, column in log.items()} for rows in (~in_valid, in_valid))
shoppers = np.arange(1, users)


def by_shopper(rows):
    """The products of each shopper, one row each, filled up with 0."""
    return jnp.asarray(padded(shoppers, rows["user"], rows["item"])[0], jnp.int32)


purchases, query = pairs(train["user"], train["item"]), queries(shoppers)
on_valid = {"target": by_shopper(valid), "exclude": by_shopper(train)}
on_test = {"target": by_shopper(test), "exclude": by_shopper(log)}
draw = sampling.reject_positives(
    sampling.uniform(items), sampling.positives_by_user(log["user"], log["item"], users), items
)

candidates = {  # with one good element in a list, pairs begin with it: 5 of them instead of 25
    "logistic": losses.logistic,
    "bpr": partial(losses.bpr, positives=1),
    "hinge": partial(losses.hinge, positives=1),
    "warp": partial(losses.warp, positives=1),
    "softmax": losses.softmax_cross_entropy,
}
mf = MF(users, items, 8)


def ndcg(model, variables, part):
    """NDCG@10 over all shoppers and the whole catalogue."""
    return evaluation.evaluate(model, variables, query, **part, block=400)["ndcg@10"]


def mf_trainer(key, loss, rate):
    """NDCG@10, on validation and on test, of an MF trained with the `loss`-th of the candidates."""

    def chosen(score, label, *, where):
        values = [one(score, label, where=where) for one in candidates.values()]
        values = [v.sum(axis=1) if v.ndim == 2 else v for v in values]  # pointwise: sum over the list
        return jnp.stack(values)[loss]

    objective = objectives.l2(objectives.sampled(mf, chosen, draw, 4), 0.01)
    optimizer = optax.adam(rate)
    state = training.init_state(key, mf, optimizer, purchases)
    step = training.make_step(objective, optimizer)
    state, _ = training.fit(step, state, purchases, num_epochs=8, batch_size=1024)
    return ndcg(mf, state.variables, on_valid), ndcg(mf, state.variables, on_test)


grid = sweep.product(loss=range(len(candidates)), rate=[0.03, 0.1])
valid_ndcg, test_ndcg = sweep.study(mf_trainer, sweep.keys(2), grid)

# %% [markdown]
# For comparison: popularity (热门), and the oracle (理论最优) of notebook 3, an MF whose tables hold the
# shop's own vectors. Each loss is drawn with the rate that was better on the validation part.

# %%
secrets = {
    "user": config.affinity * shop.world.taste,
    "item": shop.world.vector,
    "item_bias": shop.world.log_popularity[:, None],
}
truth = {"params": {name: {"embedding": table} for name, table in secrets.items()}}
oracle = float(ndcg(MF(users, items, config.dim), truth, on_test))
best_sellers = float(ndcg(Popularity(items), popularity.fit(train["item"], items), on_test))

figure, axis = plt.subplots(figsize=(6.5, 3.4))
for number in range(len(candidates)):
    rows = np.flatnonzero(grid["loss"] == number)
    row = rows[int(valid_ndcg[rows].mean(axis=1).argmax())]
    summary = sweep.summarise(test_ndcg[row])
    axis.errorbar(summary.mean, number, xerr=summary.standard_error, fmt="o", color="C0")
    note = f"{summary.mean:.3f}, rate {float(grid['rate'][row]):g}"
    axis.annotate(note, (summary.mean, number), (0, 6), textcoords="offset points", ha="center", fontsize=8)
axis.axvline(best_sellers, color="0.5", linestyle=":", label="popularity")
axis.axvline(oracle, color="0.5", linestyle="--", label="oracle")
axis.set_yticks(range(len(candidates)), candidates)
axis.set(xlabel="NDCG@10 on the test part (2 seeds ± s.e.), higher is better", ylim=(4.5, -0.8))
axis.grid(axis="y", color="0.9")
axis.legend(loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1.0))
plt.show()

# %% [markdown]
# More than one loss covers most of the distance from popularity to the oracle. Look at the error bars before
# you call one of them better: two seeds are few. And with one rate for all of them we would have compared
# rates as much as losses. [experiments/loss_study.py](../experiments/loss_study.py) does this for 21 losses
# on MovieLens 1M, with five seeds and paired tests.
#
# ## 3 Wide & Deep
#
# Now click-through rate (点击率): a product is shown, is it clicked? Some rules are narrow, such as "shoppers
# under 25 do not click on knives". They can be *memorised* (记忆): the crossed feature (交叉特征)
# age × category gets a weight for each combination. Others are smooth: those who like tea like kettles. A
# network over embeddings *generalises* (泛化) to pairs that it never saw. Wide & Deep (Cheng 2016) adds the
# two:
#
# $$\text{logit} = w^\top [x ; \phi(x)] + \text{MLP}([e_1 ; e_2 ; \dots]) ,$$
#
# with $\phi$ the crosses. How much each part is worth depends on how many rows there are. So we train on
# 1,000, 3,000 and 12,000 impressions, again in one program: the rows beyond that number are masked.

# %%
train_rows, test_rows = shop.impressions
train_shown, test_shown = shop.impression_batch(train_rows), shop.impression_batch(test_rows)
sizes = shop.table_rows


def click_trainer(model):
    """`(key, rows) -> (variables, AUC on the test impressions)`."""

    def run(key, rows):
        first = train_shown._replace(where=jnp.arange(len(train_shown.item)) < rows)
        penalty = {"user": 3e-3, "item": 3e-3}
        objective = objectives.l2(objectives.pointwise(model, losses.logistic), penalty)
        optimizer = optax.adam(0.005)
        state = training.init_state(key, model, optimizer, first, constants={"catalogue": shop.catalogue})
        step = training.make_step(objective, optimizer)
        state, _ = training.fit(step, state, first, num_epochs=8, batch_size=512)
        return state.variables, evaluation.evaluate_clicks(model, state.variables, test_shown)["auc"]

    return run


crosses = (("age", "category"), ("hour", "category"))
click_models = {
    "linear": FM(sizes, 0),
    "deep alone": DNN(sizes, 8, (32, 16)),
    "Wide & Deep": WideDeep(sizes, crosses, 1_000, 8, (32, 16)),
}
rows = {"rows": jnp.array([1_000, 3_000, 12_000])}
auc = {
    name: sweep.study(click_trainer(model), sweep.keys(2), rows)[1] for name, model in click_models.items()
}
limit = float(metrics.auc(jnp.asarray(test_rows["logit"]), test_shown.label))

figure, axis = plt.subplots(figsize=(6, 4))
for name, values in auc.items():
    summary = sweep.summarise(values)
    axis.errorbar(rows["rows"], summary.mean, summary.standard_error, marker="o", label=name)
axis.axhline(limit, color="0.5", linestyle="--", label="oracle")
axis.set_xscale("log")
axis.set_xticks([1_000, 3_000, 12_000], ["1,000", "3,000", "12,000"])
axis.minorticks_off()
axis.set(xlabel="impressions to learn from", ylabel="AUC on later impressions (2 seeds ± s.e.)")
axis.legend()
plt.show()

# %% [markdown]
# With 1,000 rows the linear model is ahead: it has the fewest parameters. With 12,000 rows Wide & Deep is
# ahead of both others. Its crosses age × category and hour × category are in this shop's truth, and the
# network alone has not found them in so few rows.
#
# ## 4 Attention to columns
#
# AFM (Xiao 2017) is a factorization machine that gives each pair of columns a weight $a_{fg}$; the weights
# of a row add up to 1. Such weights are called attention (注意力), and they can be looked at. We draw their
# mean over 2,000 rows as a matrix.

# %%
attentive = AFM(sizes, dim=8, attention_width=8)
variables, afm_auc = jax.jit(click_trainer(attentive))(jax.random.key(0), 12_000)
some = jax.tree.map(lambda column: column[:2_000], test_shown)
pair_names, weight = afm.attention(attentive, variables, some.query, some.item)
columns = sorted({name for pair in pair_names for name in pair})
square = np.zeros((len(columns), len(columns)))
for (f, g), value in zip(pair_names, np.asarray(weight.mean(axis=0)), strict=True):
    square[columns.index(f), columns.index(g)] = square[columns.index(g), columns.index(f)] = value
equal = 1 / len(pair_names)
print(f"AUC {float(afm_auc):.3f}; if all {len(pair_names)} pairs were equal, each would have {equal:.3f}")
explain.draw_attention(square, columns, columns, xlabel="column", ylabel="column")

# %% [markdown]
# Be careful when you read it. You may find pairs with the price among the dark ones, although the price plays
# no part in this shop's clicks. A weight says how much of the sum comes from a pair, not how useful the pair
# is; and a pair with long vectors and a small weight may contribute as much as one with short vectors and a
# large weight. Permutation importance (notebook 3) measures what the model would *lose*.
#
# ## 5 Attention to the past
#
# DIN (Zhou 2018) reads the shopper's history: here up to 12 products that they bought and gave four stars
# or more. For each of these it computes a weight that depends on the product *to be ranked*. The weights are
# not normalised and may be negative, so compare them with one another.

# %%
liked = {name: column[log["stars"] >= 4] for name, column in log.items()}
history = jnp.pad(by_shopper(liked)[:, :12], ((1, 0), (0, 0)))  # row 0: the unknown shopper


def with_history(batch):
    """The impressions with each shopper's history, which DIN reads instead of their id."""
    return batch._replace(query=batch.query._replace(history=history[batch.query.user]))


din = DIN({name: rows for name, rows in sizes.items() if name != "user"}, dim=8, widths=(32, 16))
train_read, test_read = with_history(train_shown), with_history(test_shown)


@jax.jit
def train_din(key):
    """DIN's variables and its AUC on the test impressions."""
    objective = objectives.l2(objectives.pointwise(din, losses.logistic), {"item": 1e-3})
    optimizer = optax.adam(0.005)
    state = training.init_state(key, din, optimizer, train_read, constants={"catalogue": shop.catalogue})
    step = training.make_step(objective, optimizer)
    state, _ = training.fit(step, state, train_read, num_epochs=8, batch_size=512)
    return state.variables, evaluation.evaluate_clicks(din, state.variables, test_read)["auc"]


variables, din_auc = train_din(jax.random.key(0))
shopper = int(jnp.argmax((history > 0).sum(axis=1)))
past = np.asarray(history[shopper])
category = shop.products["category"]
to_rank = [
    int(np.flatnonzero((category == kind) & ~np.isin(np.arange(items), past))[0]) for kind in range(1, 9)
]
row = int(np.flatnonzero(train_rows["user"] == shopper)[0])  # any impression of this shopper
query = jax.tree.map(lambda column: column[row : row + 1], train_read.query)
weight = din.apply(variables, query, jnp.asarray([to_rank]), method="attention")[0]
print(f"AUC {float(din_auc):.3f} without an id of the shopper")
explain.draw_attention(
    np.asarray(weight), [shop.names[i] for i in past if i], [shop.names[i] for i in to_rank]
)

# %% [markdown]
# Read it row by row: which of the past purchases (bottom) count for this candidate (left)? The darker, the
# more. A column that is dark throughout is a purchase that says much about the shopper in general; rows that
# differ show what DIN was made for, an interest that depends on the product to be ranked.
#
# ## Exercises
#
# 1. For a list of one good and one bad element, softmax cross entropy and BPR are the same function. Prove
#    it on paper, and check it.
# 2. `losses.smooth_auc` takes a temperature. What does it become as the temperature goes to 0? Check it
#    against `metrics.auc` on random scores.
# 3. How much more does an exchange of places 1 and 2 count for LambdaRank than one of places 9 and 10? Work
#    it out from the discount $1 / \log_2(r + 1)$ and check with `losses.ndcg_weights`.

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. -ln (e^a / (e^a + e^b)) = ln (1 + e^(b - a)) = -ln σ(a - b).
assert jnp.allclose(losses.softmax_cross_entropy(two, label), losses.bpr(two, label), atol=1e-6)

# 2. 1 - AUC: every wrong pair counts 1, every right one 0.
random = jax.random.normal(jax.random.key(1), (50,))
yes = (jax.random.uniform(jax.random.key(2), (50,)) < 0.3).astype(jnp.float32)
assert jnp.allclose(losses.smooth_auc(random, yes, temperature=1e-6), 1 - metrics.auc(random, yes), atol=1e-5)

# 3. (1/log₂ 2 - 1/log₂ 3) / (1/log₂ 10 - 1/log₂ 11): about thirty times as much.
by_hand = (1 - 1 / np.log2(3)) / (1 / np.log2(10) - 1 / np.log2(11))
ten = jnp.arange(10.0, 0.0, -1.0)
first_good = losses.ndcg_weights(ten, jnp.zeros(10).at[0].set(1.0))[0, 1]
ninth_good = losses.ndcg_weights(ten, jnp.zeros(10).at[8].set(1.0))[8, 9]
assert jnp.allclose(first_good / ninth_good, by_hand, rtol=1e-3)
print(f"3. {by_hand:.0f} times as much")

# %% [markdown]
# ## Read on
#
# - Rendle, Freudenthaler, Gantner, Schmidt-Thieme 2009, *BPR: Bayesian personalized ranking from implicit
#   feedback*, [arXiv:1205.2618](https://arxiv.org/abs/1205.2618)
# - Burges 2010, *From RankNet to LambdaRank to LambdaMART: an overview*,
#   [Microsoft](https://www.microsoft.com/en-us/research/wp-content/uploads/2016/02/MSR-TR-2010-82.pdf)
# - Cheng and others 2016, *Wide & deep learning for recommender systems*,
#   [arXiv:1606.07792](https://arxiv.org/abs/1606.07792)
# - Zhou and others 2018, *Deep interest network for click-through rate prediction*,
#   [arXiv:1706.06978](https://arxiv.org/abs/1706.06978)
# - Jain, Wallace 2019, *Attention is not explanation*, [arXiv:1902.10186](https://arxiv.org/abs/1902.10186)
#
# In the library: [losses](../rezoo/losses/__init__.py),
# [wide_deep.py](../rezoo/models/ranking/wide_deep.py), [din.py](../rezoo/models/ranking/din.py),
# [explain.py](../rezoo/evaluation/explain.py). Next: [6 · Several tasks at once](6_several_tasks.ipynb)
