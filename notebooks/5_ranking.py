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
# - pointwise (逐点), pairwise (成对) and listwise (列表) losses: what each of them pushes, and where;
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
from rezoo.datasets import shop, shop_builder
from rezoo.evaluation import explain
from rezoo.models import AFM, DIN, DNN, FM, MF, Popularity, WideDeep
from rezoo.models.baselines import popularity
from rezoo.models.ranking import afm
from rezoo.studies import sweep

plt.style.use("rezoo.studies.pictures")

config = shop.ShopConfig(
    shoppers=400,
    products=200,
    ratings_per_shopper=40,
    impressions=15_000,
    sessions=100,
    cold_shoppers=0.0,
    affinity=2.0,
)
made = shop_builder.draw(config)
users, items = config.shoppers + 1, config.products + 1

# %% [markdown]
# ## 1 Three kinds of losses
#
# A recommender shows the *top* of a list. So it is the order that counts, not the score. How can a loss say
# that? Take a list with scores $s$ and labels $y$:
#
# - *pointwise*: each element is a yes or a no, whatever the others are. Logistic loss:
#   $-y \ln \sigma(s) - (1-y) \ln \sigma(-s)$;
# - *pairwise*: of two elements the better should be above. BPR (贝叶斯个性化排序):
#   $-\ln \sigma(s_i - s_j)$; hinge: $\max(0,\, 1 - (s_i - s_j))$;
# - *listwise*: one choice out of the whole list. Softmax cross entropy (交叉熵):
#   $-\ln \big(e^{s_i} / \sum_j e^{s_j} \big)$.
#
# For a list of just one good and one bad element, with the scores $m/2$ and $-m/2$, all of them can be
# drawn over the margin $m$.

# %%
margin = jnp.linspace(-4, 4, 81)
two = jnp.stack([margin / 2, -margin / 2], axis=1)
label = jnp.broadcast_to(jnp.array([[1.0, 0.0]]), two.shape)
curves = {
    "logistic (pointwise, sum of both)": losses.logistic(two, label).sum(axis=1),
    "bpr (pairwise)": losses.bpr(two, label),
    "hinge (pairwise)": losses.hinge(two, label),
    "top1 (pairwise)": losses.top1(two, label),
    "wrong order (what we mean)": (margin < 0).astype(jnp.float32),
}
figure, axis = plt.subplots(figsize=(6.5, 4))
looks = (("--", "black"), ("-", "black"), ("-.", "black"), (":", "black"), ("-", "0.7"))
for (name, value), (style, colour) in zip(curves.items(), looks, strict=True):
    axis.plot(margin, value, style, color=colour, linewidth=3 if colour == "0.7" else 1.5, label=name)
axis.set(xlabel=r"margin $m = s_{good} - s_{bad}$", ylabel="loss")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# The step that we mean has no slope, so nothing to descend. The others are slopes that lead to it. (TOP1
# turns up again on the right: its second term holds the scores of bad elements near 0, on both sides.)
#
# The kinds differ more in longer lists. Below is a list of 20 by falling score, whose only good element
# stands on place 8. How strongly does each loss push each element? Up is a push up. LambdaRank weighs every
# pair by what its exchange would do to NDCG.

# %%
scores = jnp.linspace(2, -2, 20)
good = 8
labels = jnp.zeros(20).at[good - 1].set(1.0)
compared = {"bpr": losses.bpr, "softmax": losses.softmax_cross_entropy, "lambda rank": losses.lambda_rank}
figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), sharey=True)
for axis, (name, loss) in zip(axes, compared.items(), strict=True):
    push = -jax.grad(lambda s, loss=loss: loss(s, labels))(scores)
    push = push / push[good - 1]
    bars = axis.bar(np.arange(1, 21), push, color="0.75", edgecolor="black", linewidth=0.5)
    bars[good - 1].set_hatch("////")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(title=name, xlabel="place in the list", xticks=[1, 5, 8, 10, 15, 20])
axes[0].set_ylabel("push, as a share of that\non the good one (hatched)")
plt.show()

# %% [markdown]
# BPR pushes down whatever it meets, those far below the good one too. Softmax pushes those with high
# scores: the competitors. LambdaRank pushes hardest at the first places, where a change of order moves NDCG
# most.
#
# ## 2 Losses side by side
#
# Which one is best here? A fair comparison gives every loss the learning rate that suits it, chosen on a
# validation part (notebook 4). In `rezoo` a loss is a function, so the *choice* of a loss can be a number
# like any other, and losses × rates × seeds are one program: 5 × 2 × 2 = 20 runs, compiled once.
#
# The task: rank the purchases to come. Each purchase known is put in a list with 4 products drawn at
# random.

# %%
known, asked = made.ratings


def by_shopper(user, item):
    """The products of each shopper, one row each, filled up with 0."""
    return jnp.asarray(padded(np.arange(1, users), user, item)[0], jnp.int32)


held = np.random.default_rng(0).random(len(known["user"])) < 0.15
learnt_user, learnt_item = known["user"][~held], known["item"][~held]
data = pairs(learnt_user, learnt_item)
query = queries(np.arange(1, users))
seen, bought = by_shopper(learnt_user, learnt_item), by_shopper(known["user"], known["item"])
wanted_valid = by_shopper(known["user"][held], known["item"][held])
wanted_test = by_shopper(asked["user"], asked["item"])
draw = sampling.reject_positives(
    sampling.uniform(items), sampling.positives_by_user(known["user"], known["item"], users), items
)

contestants = {  # with one good element in a list, pairs begin with it: 5 of them instead of 25
    "logistic": losses.logistic,
    "bpr": partial(losses.bpr, positives=1),
    "hinge": partial(losses.hinge, positives=1),
    "warp": partial(losses.warp, positives=1),
    "softmax": losses.softmax_cross_entropy,
}
mf = MF(users, items, 8)


def train(key, loss, rate):
    """NDCG@10 on the validation part and on the test part of an MF trained by the loss of that number."""

    def chosen(score, label, *, where):
        values = [one(score, label, where=where) for one in contestants.values()]
        values = [v.sum(axis=1) if v.ndim == 2 else v for v in values]  # pointwise: sum over the list
        return jnp.stack(values)[loss]

    objective = objectives.l2(objectives.sampled(mf, chosen, draw, 4), 0.01)
    optimizer = optax.adam(rate)
    state = training.init_state(key, mf, optimizer, data)
    step = training.make_step(objective, optimizer)
    state, _ = training.fit(step, state, data, num_epochs=8, batch_size=1024)
    parts = ((wanted_valid, seen), (wanted_test, bought))
    return [
        evaluation.evaluate(mf, state.variables, query, wanted, exclude=past, block=400)["ndcg@10"]
        for wanted, past in parts
    ]


grid = sweep.product(loss=range(len(contestants)), rate=[0.03, 0.1])
on_valid, on_test = sweep.study(train, sweep.keys(2), grid)


# %%
@jax.jit
def by_popularity(variables):
    """The test NDCG@10 of showing everybody what sells most."""
    ranked = evaluation.evaluate(Popularity(items), variables, query, wanted_test, exclude=bought, block=400)
    return ranked["ndcg@10"]


best_sellers = by_popularity(popularity.fit(learnt_item, items))
fresh = (
    jnp.ones((users - 1, items), bool)
    .at[jnp.arange(users - 1)[:, None], bought]
    .set(False)
    .at[:, 0]
    .set(False)
)
rank = metrics.target_ranks(
    shop.preference(made.world, config.affinity, query.user),
    wanted_test,
    where=fresh,
    counted=wanted_test > 0,
)
oracle = float(metrics.ndcg(rank, where=wanted_test > 0, k=10).mean())

figure, axis = plt.subplots(figsize=(6.5, 3.4))
for number in range(len(contestants)):
    rows = np.flatnonzero(grid["loss"] == number)
    row = rows[int(on_valid[rows].mean(axis=1).argmax())]
    summary = sweep.summarise(on_test[row])
    axis.errorbar(summary.mean, number, xerr=summary.standard_error, fmt="o", color="black", capsize=3)
    note = f"{summary.mean:.3f}, rate {float(grid['rate'][row]):g}"
    axis.annotate(note, (summary.mean, number), (0, 6), textcoords="offset points", ha="center", fontsize=8)
axis.axvline(float(best_sellers), color="0.5", linestyle=":", label="popularity")
axis.axvline(oracle, color="0.5", linestyle="--", label="oracle")
axis.set_yticks(range(len(contestants)), contestants)
axis.set(xlabel="NDCG@10 on the test part (2 seeds ± s.e.), higher is better", ylim=(4.5, -0.8))
axis.grid(axis="y", color="0.9")
axis.legend(frameon=False, loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1.0))
plt.show()

# %% [markdown]
# Most of the way from popularity to the oracle can be gone with more than one loss. Look at the error bars
# before you call one of them better: two seeds are few. And had we given all of them the same rate, we would
# have compared rates as much as losses. [experiments/loss_study.py](../experiments/loss_study.py) does this
# for 21 losses on MovieLens 1M, with five seeds and paired tests.
#
# ## 3 Wide & Deep
#
# Now click-through rate (点击率): a product is shown, is it clicked? Some rules are narrow, "shoppers under
# 25 do not click on knives", and can be *memorised* (记忆) as a weight of their own for the crossed feature
# (交叉特征) age × category. Others are smooth: those who like tea like kettles. A network over embeddings
# *generalises* (泛化) to pairs that it never saw. Wide & Deep (Cheng 2016) adds the two:
#
# $$\text{logit} = w^\top [x ; \phi(x)] + \text{MLP}([e_1 ; e_2 ; \dots]) ,$$
#
# with $\phi$ the crosses. The fewer rows there are, the more a good cross is worth: the network must find
# it out first. So we train on 1,000, 3,000 and 12,000 impressions, all in one program again: rows beyond
# the number are masked.

# %%
shown, shown_later = made.impressions


def impressions(columns):
    """Shown products with the shopper's features and the hour; the label is the click."""
    features = {name: jnp.asarray(column[columns["user"]]) for name, column in made.shoppers.items()}
    features["hour"] = jnp.asarray(columns["hour"])
    return pairs(columns["user"], columns["item"], columns["click"], features=features)


clicks, later = impressions(shown), impressions(shown_later)
catalogue = {name: jnp.asarray(column) for name, column in made.products.items()}
sizes = {
    "user": users,
    "item": items,
    "age": len(shop.AGES),
    "gender": len(shop.GENDERS),
    "hour": len(shop.DAYPARTS),
    "category": len(shop.NOUNS) + 1,
}


def click_trainer(model):
    """`(key, rows) -> (variables, AUC on later impressions)`."""

    def train(key, rows):
        learnt = clicks._replace(where=jnp.arange(len(clicks.item)) < rows)
        penalty = {"user": 3e-3, "item": 3e-3}
        objective = objectives.l2(objectives.pointwise(model, losses.logistic), penalty)
        optimizer = optax.adam(0.005)
        state = training.init_state(key, model, optimizer, learnt, constants={"catalogue": catalogue})
        step = training.make_step(objective, optimizer)
        state, _ = training.fit(step, state, learnt, num_epochs=8, batch_size=512)
        return state.variables, evaluation.evaluate_clicks(model, state.variables, later)["auc"]

    return train


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
limit = float(metrics.auc(jnp.asarray(shown_later["logit"]), later.label))

figure, axis = plt.subplots(figsize=(6, 4))
for (name, values), style in zip(auc.items(), ("x:", "s--", "o-"), strict=True):
    summary = sweep.summarise(values)
    axis.errorbar(
        rows["rows"], summary.mean, summary.standard_error, fmt=style, color="black", capsize=3, label=name
    )
axis.axhline(limit, color="0.5", linestyle="--", label="oracle")
axis.set_xscale("log")
axis.set_xticks([1_000, 3_000, 12_000], ["1,000", "3,000", "12,000"])
axis.minorticks_off()
axis.set(xlabel="impressions to learn from", ylabel="AUC on later impressions (2 seeds ± s.e.)")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 4 Attention to columns
#
# AFM (Xiao 2017) is a factorization machine that gives each pair of columns a weight $a_{fg}$, the weights
# of a row adding up to 1: attention (注意力). They can be looked at. We draw the mean over 2,000 rows as a
# matrix.

# %%
attentive = AFM(sizes, dim=8, attention_width=8)
variables, of_afm = jax.jit(click_trainer(attentive))(jax.random.key(0), 12_000)
some = jax.tree.map(lambda column: column[:2_000], later)
pair_names, weight = afm.attention(attentive, variables, some.query, some.item)
names = sorted({name for pair in pair_names for name in pair})
square = np.zeros((len(names), len(names)))
for (f, g), value in zip(pair_names, np.asarray(weight.mean(axis=0)), strict=True):
    square[names.index(f), names.index(g)] = square[names.index(g), names.index(f)] = value
alike = 1 / len(pair_names)
print(f"AUC {float(of_afm):.3f}; if all {len(pair_names)} pairs were alike, each would have {alike:.3f}")
explain.draw_attention(square, names, names, xlabel="column", ylabel="column")

# %% [markdown]
# Be careful in reading it. You may find pairs with the price among the dark ones, though price plays no
# part in this shop's clicks. A weight says how much of the sum a pair makes up, not how good it is; a pair
# with long vectors and a small weight may do as much as one with short vectors and a large weight.
# Permutation importance (notebook 3) measures what the model would *lose*.
#
# ## 5 Attention to the past
#
# DIN (Zhou 2018) reads the shopper's history: here up to 12 products that they bought and gave four stars
# or more. It asks of each, *given the product to be ranked*, how much it has to do with it. The weights are
# not normalised and may be negative: it is their differences that speak.

# %%
liked = known["stars"] >= 4
history = by_shopper(known["user"][liked], known["item"][liked])[:, :12]
history = jnp.pad(history, ((1, 0), (0, 0)))  # row 0: nobody


def with_history(batch):
    """The impressions with each shopper's history in the place of their id's embedding."""
    return batch._replace(query=batch.query._replace(history=history[batch.query.user]))


din = DIN({name: rows for name, rows in sizes.items() if name != "user"}, dim=8, widths=(32, 16))
read, read_later = with_history(clicks), with_history(later)


@jax.jit
def train_din(key):
    """DIN's variables and its AUC on later impressions."""
    objective = objectives.l2(objectives.pointwise(din, losses.logistic), {"item": 1e-3})
    optimizer = optax.adam(0.005)
    state = training.init_state(key, din, optimizer, read, constants={"catalogue": catalogue})
    step = training.make_step(objective, optimizer)
    state, _ = training.fit(step, state, read, num_epochs=8, batch_size=512)
    return state.variables, evaluation.evaluate_clicks(din, state.variables, read_later)["auc"]


variables, of_din = train_din(jax.random.key(0))
shopper = int(jnp.argmax((history > 0).sum(axis=1)))
mine = np.asarray(history[shopper])
category = made.products["category"]
wanted = [
    int(np.flatnonzero((category == kind) & ~np.isin(np.arange(items), mine))[0]) for kind in range(1, 9)
]
one = with_history(pairs(np.array([shopper]), np.array([1]))).query
one = one._replace(features={name: column[:1] for name, column in read.query.features.items()})
weight = din.apply(variables, one, jnp.asarray([wanted]), method="attention")[0]
print(f"AUC {float(of_din):.3f} without an id of the shopper")
explain.draw_attention(
    np.asarray(weight), [made.names[i] for i in mine if i], [made.names[i] for i in wanted]
)

# %% [markdown]
# Read it row by row: for this candidate (left), which of the past purchases (below) speak, and how loudly?
# The darker, the more. Columns that are dark throughout are events that tell much of the shopper in
# general; rows that differ show what DIN is made for, an interest that depends on the product at hand.
#
# ## Exercises
#
# 1. For a list of one good and one bad element, softmax cross entropy and BPR are the same function. Prove
#    it on paper, and check it.
# 2. `losses.smooth_auc` takes a temperature. What does it become as the temperature goes to 0? Check it
#    against `metrics.auc` on random scores.
# 3. How much more does LambdaRank care about an exchange of places 1 and 2 than about one of 9 and 10? Work
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
