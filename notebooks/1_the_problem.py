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
# # 1 · The problem
#
# **What you will learn**
#
# - what a recommender system (推荐系统) is given, and what it is asked for;
# - why *sparsity* (稀疏性), *cold start* (冷启动) and *popularity bias* (流行度偏差) make this hard, each
#   shown in a picture and as a number;
# - how to tell how far a model still is from the best that anybody could do.
#
# You need to read Python and know what a matrix is. Everything runs on a simulated shop, without
# network. If the environment variable `REZOO_DATA` names a folder that holds MovieLens 100k
# ([grouplens.org](https://grouplens.org/datasets/movielens/100k/)), some pictures show it too.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import tensorflow_datasets as tfds

from rezoo import evaluation, losses, metrics, objectives, sampling, training
from rezoo.data.batches import pairs, queries
from rezoo.data.packing import padded
from rezoo.datasets import movielens, shop, shop_builder
from rezoo.models import MF, BiasedMF, FeatureMF, Popularity
from rezoo.models.baselines import popularity
from rezoo.models.factorization import biases
from rezoo.studies import sweep

tfds.disable_progress_bar()
plt.style.use("rezoo.studies.pictures")

# %% [markdown]
# ## 1 A shop and its log
#
# Our shop sells 300 products to 600 shoppers. Nature (here: a random number generator) has given
# every shopper a taste and every product a character. We do not get to see them. We see a *log* of
# interactions (交互): who bought what, and how many stars they gave.
#
# - Stars are *explicit feedback* (显式反馈): the shopper tells us an opinion.
# - That a product was bought at all is *implicit feedback* (隐式反馈): it hints at an opinion, and
#   what was not bought may be disliked or simply unknown.
#
# One shopper in ten, and one product in ten, arrive only after the training data was collected.
# They are in the test part (测试集) alone.

# %%
config = shop.ShopConfig(
    shoppers=600,
    products=300,
    ratings_per_shopper=60,
    impressions=1_000,
    sessions=100,
    cold_shoppers=0.1,
    cold_products=0.1,
)
made = shop_builder.draw(config)
known, asked = made.ratings

for row in range(5):
    shopper, product, stars = (known[name][row] for name in ("user", "item", "stars"))
    print(f"shopper {shopper} gave {'★' * int(stars):5} to {made.names[product]}")
print(f"… {len(known['user']):,} rows to learn from, {len(asked['user']):,} to be tested on")

# %% [markdown]
# Lay the log out as a matrix with a row for each shopper and a column for each product. Most of it is
# empty. A recommender has two jobs:
#
# - *rating prediction* (评分预测): fill in an empty cell;
# - *top-N recommendation* (Top-N 推荐): order the empty cells of a row and show the first N.


# %%
def matrix(user, item, value, users, items):
    """The log as a dense matrix; 0 where nothing is known."""
    filled = np.zeros((users, items))
    filled[user, item] = value
    return filled[1:, 1:]  # id 0 is the unknown and has no row of its own


users, items = len(made.shoppers["age"]), len(made.products["category"])
stars = matrix(known["user"], known["item"], known["stars"], users, items)
corner = stars[:60, :120]

figure, axis = plt.subplots(figsize=(9, 4.5))
shown = axis.imshow(np.where(corner > 0, corner, np.nan), cmap="Greys", vmin=0, vmax=5, interpolation="none")
axis.set(xlabel="product id", ylabel="shopper id", title="A corner of the matrix: white is unknown")
figure.colorbar(shown, label="stars", ticks=range(1, 6))
plt.show()

# %% [markdown]
# ## 2 Sparsity
#
# *Density* (稠密度) is the share of the matrix that is known:
#
# $$\text{density} = \frac{\#\,\text{interactions}}{\#\,\text{users} \times \#\,\text{items}}.$$
#
# Our small shop is dense: real catalogues are thousands of times larger than what anybody can try.

# %%
density = {"this shop": (stars > 0).mean()}
if "REZOO_DATA" in os.environ:
    ml = movielens.load("ml-100k", data_dir="runs/the_problem")
    filled = matrix(
        ml.ratings.user, ml.ratings.item, ml.ratings.rating, ml.users["age"].size, ml.items["title"].size
    )
    density["MovieLens 100k"] = (filled > 0).mean()
for name, share in density.items():
    print(f"{name}: {share:.1%} of the matrix is known")

# %% [markdown]
# Why does it hurt? Because what is to be learnt stays the same while the evidence shrinks. Let us watch: we
# hide all but the first $n$ ratings of each shopper and predict the test ratings. The error is measured in
# stars, as root mean squared error (均方根误差),
#
# $$\text{RMSE} = \sqrt{\tfrac1n \textstyle\sum (\hat r_{ui} - r_{ui})^2}.$$
#
# Three predictors:
#
# - **Biases**: how strict is the shopper, how good is the product? It does not know any taste.
# - **BiasedMF**: matrix factorization (矩阵分解), which learns tastes too. It is the subject of notebook 2.
# - **Oracle** (理论最优): the formula that made the data, with all its secrets. What remains is pure
#   chance: no model can do better.
#
# `jax.vmap` trains one model for every $n$ and every random start, all in one program.


# %%
# Ids beyond these tables are strangers to a model: it reads row 0, the unknown.
old_users, old_items = int(known["user"].max()) + 1, int(known["item"].max()) + 1
data = pairs(known["user"], known["item"], known["stars"])
warm = (asked["user"] < old_users) & (asked["item"] < old_items)
test = pairs(asked["user"][warm], asked["item"][warm], asked["stars"][warm])

place = jnp.arange(len(known["user"])) - jnp.searchsorted(data.query.user, data.query.user)
truth = shop.mean_stars(made.world, config.noise, test.query.user, test.item)
oracle = float(metrics.rmse(truth, test.label))
penalty = {"user": 0.1, "item": 0.1, "user_bias": 0.05, "item_bias": 0.05}  # holds the model back


def train(key, shown):
    """RMSE of the biases and of BiasedMF that saw the first `shown` ratings of each shopper."""
    seen = data._replace(where=place < shown)
    mean = jnp.where(seen.where, seen.label, 0).sum() / seen.where.sum()
    fitted = biases.fit(seen, old_users, old_items)
    model = BiasedMF(old_users, old_items, 8, mean)
    objective = objectives.l2(objectives.pointwise(model, losses.squared), penalty)
    optimizer = optax.adam(0.02)
    state = training.init_state(key, model, optimizer, seen)
    step = training.make_step(objective, optimizer)
    state, _ = training.fit(step, state, seen, num_epochs=10, batch_size=1024)
    easy = metrics.rmse(biases.score(fitted, test.query, test.item), test.label)
    return easy, evaluation.evaluate_ratings(model, state.variables, test)["rmse"]


counts = jnp.array([1, 3, 6, 12, 24, 48])
easy, learnt = sweep.study(train, sweep.keys(3), {"shown": counts})

figure, axis = plt.subplots(figsize=(6.5, 4))
for name, values, style in (("Biases", easy, "s--"), ("BiasedMF, 3 seeds ± s.e.", learnt, "o-")):
    summary = sweep.summarise(values)
    axis.errorbar(
        counts, summary.mean, summary.standard_error, fmt=style, color="black", capsize=3, label=name
    )
axis.axhline(oracle, color="0.5", linestyle=":", label="Oracle")
axis.set_xscale("log")
axis.set_xticks(counts, [str(n) for n in counts])
axis.minorticks_off()
axis.set(xlabel="ratings known of each shopper", ylabel="RMSE (stars), lower is better")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# Read it from left to right. With a few ratings a shopper, taste cannot be told from chance, and
# factorization is even worse than averages: it takes chance for taste. Then every doubling of the
# evidence buys something, while the biases soon have nothing left to learn. The oracle's line is the floor.
#
# ## 3 Popularity bias
#
# A few products sell very often and most sell seldom: the *long tail* (长尾). Sort products by sales and
# ask which share of all sales the best x % make. If all sold alike, the curve would be the diagonal.

# %%
num_sold = np.bincount(known["item"], minlength=old_items)[1:]


def share_of_top(count):
    """The best sellers' share of the catalogue and of the sales, both from 0 to 1."""
    ordered = np.sort(count)[::-1]
    return np.arange(len(count) + 1) / len(count), np.concatenate([[0], np.cumsum(ordered) / ordered.sum()])


logs = {"this shop": num_sold}
if "REZOO_DATA" in os.environ:
    logs["MovieLens 100k"] = np.bincount(ml.ratings.item)[1:]

figure, axis = plt.subplots(figsize=(5.5, 4.2))
for (name, count), style in zip(logs.items(), ("-", "--"), strict=False):
    axis.plot(*share_of_top(count), style, color="black", label=name)
axis.plot([0, 1], [0, 1], ":", color="0.5", label="all alike")
axis.set(xlabel="share of the catalogue, best sellers first", ylabel="share of all interactions")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# Popularity is real information: a good seller is a good guess. But a model that mostly repeats it shows
# the same few products to everybody, so that these sell even more, and the next model learns *that*: a
# feedback loop (反馈循环). So let us measure what is shown. We train `MF` for ranking (how: notebook 5),
# let it and the popularity list recommend ten new products to every shopper, and compare with the oracle.
#
# - *coverage* (覆盖率): the share of the catalogue that is shown to anybody;
# - *Gini index* (基尼系数): 0 if all products are shown equally often, near 1 if one takes every place;
# - NDCG@10 (归一化折损累计增益): do the lists hold what was bought later? 1 would be perfect.


# %%
shoppers = np.unique(known["user"])
query = queries(shoppers)
bought = jnp.asarray(padded(shoppers, known["user"], known["item"])[0], jnp.int32)
target = jnp.asarray(padded(shoppers, test.query.user, test.item)[0], jnp.int32)


@jax.jit
def train_ranker(key):
    """The variables of an MF trained to rank what was bought above what was not."""
    model = MF(old_users, old_items, 8)
    draw = sampling.reject_positives(
        sampling.uniform(old_items),
        sampling.positives_by_user(known["user"], known["item"], old_users),
        old_items,
    )
    objective = objectives.l2(objectives.sampled(model, losses.bpr, draw, 4), 0.01)
    optimizer = optax.adam(0.02)
    state = training.init_state(key, model, optimizer, data)
    step = training.make_step(objective, optimizer)
    return training.fit(step, state, data, num_epochs=12, batch_size=1024)[0].variables


ranker, variables = MF(old_users, old_items, 8), train_ranker(jax.random.key(0))
by_sales = popularity.fit(known["item"], old_items)
rankers = {
    "Popularity": evaluation.score_all(Popularity(old_items), by_sales, query),
    "MF": evaluation.score_all(ranker, variables, query),
    "Oracle": shop.preference(made.world, config.affinity, query.user)[:, :old_items],
}


def lists(score):
    """The ten best products of each row that the shopper has not bought."""
    row = jnp.arange(len(score))[:, None]
    return jax.lax.top_k(score.at[row, bought].set(-jnp.inf).at[:, 0].set(-jnp.inf), 10)[1]


def ndcg(score):
    """NDCG@10 over the shoppers, whatever was bought before left out."""
    row = jnp.arange(len(score))[:, None]
    fresh = jnp.ones(score.shape, bool).at[row, bought].set(False).at[:, 0].set(False)
    rank = metrics.target_ranks(score, target, where=fresh, counted=target > 0)
    return metrics.mean_over_users(metrics.ndcg(rank, where=target > 0, k=10), (target > 0).any(1))[0]


shown = {name: lists(score) for name, score in rankers.items()}
print("              coverage   Gini   NDCG@10")
for name, ids in shown.items():
    figures = metrics.coverage(ids, old_items), metrics.gini(ids, old_items), ndcg(rankers[name])
    print(f"{name:12}" + "".join(f"{float(value):9.2f}" for value in figures))

# %%
figure, axis = plt.subplots(figsize=(5.5, 4.2))
axis.plot(*share_of_top(num_sold), color="0.6", linewidth=3, label="what was bought")
for (name, ids), style in zip(shown.items(), (":", "-", "--"), strict=True):
    exposure = np.bincount(np.asarray(ids).ravel(), minlength=old_items)[1:]
    axis.plot(*share_of_top(exposure), style, color="black", label=f"shown by {name}")
axis.set(xlabel="share of the catalogue, most shown first", ylabel="share of all places in the lists")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# The popularity list gives all places to a handful of products. MF spreads them, and is the better
# recommender for it: knowing tastes lets it show different things to different people. Even the oracle
# concentrates more than the purchases do: a list of the ten *most probable* products is not a sample of
# what people buy.
#
# ## 4 Cold start
#
# What of the shoppers and products that training never saw? A model of ids alone knows nothing about them
# and falls back to what it believes of the unknown. A model that also reads features (特征), here age,
# gender, category and price, can place a stranger among those who are alike. `FeatureMF` does so, and it
# practises: in training it is now and then not told the id.

# %%
catalogue = {
    "category": jnp.asarray(made.products["category"]),
    "log_price": jnp.asarray(made.products["log_price"]),
}
mean = float(known["stars"].mean())


def with_features(user, item, label):
    """Pairs with the shopper's features; ids that training did not know stay as they are."""
    columns = {name: jnp.asarray(column[user]) for name, column in made.shoppers.items()}
    return pairs(user, item, label, features=columns)


strangers_too = with_features(asked["user"], asked["item"], asked["stars"])
featured = with_features(known["user"], known["item"], known["stars"] - mean)


@jax.jit
@jax.vmap
def train_both(key):
    """Predictions for every test row: BiasedMF's and FeatureMF's."""
    optimizer = optax.adam(0.02)

    def predictions(model, batch, constants, penalty):
        objective = objectives.l2(objectives.pointwise(model, losses.squared), penalty)
        state = training.init_state(key, model, optimizer, batch, constants=constants)
        step = training.make_step(objective, optimizer)
        state, _ = training.fit(step, state, batch, num_epochs=10, batch_size=1024)
        return evaluation.predict(model, state.variables, strangers_too)

    ids_only = BiasedMF(old_users, old_items, 8, mean)
    by_features = FeatureMF(
        old_users,
        old_items,
        {"age": len(shop.AGES), "gender": len(shop.GENDERS)},
        {"category": len(shop.NOUNS) + 1, "log_price": None},
        dim=8,
        id_dropout=0.2,
    )
    return predictions(ids_only, data, {}, penalty), mean + predictions(
        by_features, featured, {"catalogue": catalogue}, 0.1
    )


guesses = dict(
    zip(("BiasedMF (ids)", "FeatureMF (ids and features)"), train_both(sweep.keys(3)), strict=True)
)
guesses["Oracle"] = shop.mean_stars(made.world, config.noise, strangers_too.query.user, strangers_too.item)[
    None
]

new_user, new_item = asked["user"] >= old_users, asked["item"] >= old_items
groups = {
    "both known": ~new_user & ~new_item,
    "new product": ~new_user & new_item,
    "new shopper": new_user & ~new_item,
    "both new": new_user & new_item,
}

figure, axis = plt.subplots(figsize=(7, 4))
for (name, guess), mark in zip(guesses.items(), ("s", "o", "*"), strict=True):
    rmse = [
        [metrics.rmse(one, strangers_too.label, where=jnp.asarray(rows)) for one in guess]
        for rows in groups.values()
    ]
    summary = sweep.summarise(rmse)
    error = np.nan_to_num(summary.standard_error)
    style = dict(markersize=9, markerfacecolor="white" if mark == "o" else "black", color="black", capsize=3)
    axis.errorbar(range(4), summary.mean, error, fmt=mark, label=name, **style)
axis.set_xticks(range(4), [f"{name}\n{rows.sum():,} rows" for name, rows in groups.items()])
axis.set(ylabel="RMSE (stars), lower is better", xlim=(-0.5, 3.5))
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# Where shopper and product are known, ids carry a model far. Where one of them is new, features are all
# there is, and they tell but a part: the distance to the oracle grows to the right, and with both new
# little is left but the mean. The rest has to be earned by showing something and watching, which is another
# field, exploration (探索).
#
# ## Exercises
#
# 1. The shop doubles its catalogue and its number of shoppers, while every shopper still rates as many
#    products. What happens to the density?
# 2. Which share of all purchases goes to the best-selling tenth of the products?
# 3. A stranger comes: user id 0, no features. What does `MF` recommend, and why? Predict the order of the
#    whole catalogue from `variables`, then check it.
#
# Try them in a cell of your own before you unfold the answers.

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. Interactions double, cells are four times as many: the density halves.
rows, cells = len(known["user"]), (old_users - 1) * (old_items - 1)
assert np.isclose((2 * rows) / (4 * cells), 0.5 * rows / cells)

# 2. Point (0.1, y) of the curve above.
catalogue_share, sales_share = share_of_top(num_sold)
top_tenth = np.interp(0.1, catalogue_share, sales_share)
tenth = len(num_sold) // 10
assert np.isclose(top_tenth, np.sort(num_sold)[-tenth:].sum() / num_sold.sum())
print(f"2. the best-selling tenth makes {top_tenth:.0%} of the purchases")

# 3. Row 0 of the user table is zero, so ⟨p_0, q_i⟩ = 0 and only the item bias is left: what MF has learnt of
#    popularity. Every stranger gets the same list.
stranger = evaluation.score_all(ranker, variables, queries(rows=1))[0]
item_bias = variables["params"]["item_bias"]["embedding"][:, 0]
assert np.array_equal(np.argsort(-stranger[1:]), np.argsort(-item_bias[1:]))
rank_agreement = np.corrcoef(np.argsort(np.argsort(item_bias[1:])), np.argsort(np.argsort(num_sold)))[0, 1]
assert rank_agreement > 0.8
print(f"3. rank correlation of the item bias with sales: {rank_agreement:.2f}")

# %% [markdown]
# ## Read on
#
# - Schein, Popescul, Ungar, Pennock 2002, *Methods and metrics for cold-start recommendations*,
#   [doi:10.1145/564376.564421](https://doi.org/10.1145/564376.564421)
# - Volkovs, Yu, Poutanen 2017, *DropoutNet: addressing cold start in recommender systems*,
#   [papers.nips.cc/paper/7081](https://papers.nips.cc/paper/7081)
# - Abdollahpouri, Mansoury, Burke, Mobasher 2019, *The unfairness of popularity bias in recommendation*,
#   [arXiv:1907.13286](https://arxiv.org/abs/1907.13286)
# - Harper, Konstan 2015, *The MovieLens datasets: history and context*,
#   [doi:10.1145/2827872](https://doi.org/10.1145/2827872)
#
# Next: [2 · Matrix factorization from nothing](2_matrix_factorization.ipynb)
