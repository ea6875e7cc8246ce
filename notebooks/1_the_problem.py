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
from rezoo.datasets import movielens, shop_builder
from rezoo.datasets.shop import ShopConfig, mean_stars
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
config = ShopConfig(
    shoppers=600,
    products=300,
    ratings_per_shopper=60,
    impressions=1_000,
    sessions=100,
    cold_shoppers=0.1,
    cold_products=0.1,
)
shop = shop_builder.draw(config)
train, test = shop.ratings

for row in range(5):
    shopper, product, stars = (train[name][row] for name in ("user", "item", "stars"))
    print(f"shopper {shopper} gave {'★' * int(stars):5} to {shop.names[product]}")
print(f"… {len(train['user']):,} rows to learn from, {len(test['user']):,} to be tested on")

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


stars = matrix(train["user"], train["item"], train["stars"], config.shoppers + 1, config.products + 1)
corner = stars[:60, :120]

figure, axis = plt.subplots(figsize=(9, 4.5))
image = axis.imshow(np.where(corner > 0, corner, np.nan), vmin=0, vmax=5, interpolation="none")
axis.set(xlabel="product id", ylabel="shopper id", title="A corner of the matrix: white is unknown")
figure.colorbar(image, label="stars", ticks=range(1, 6))
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
# A model's tables have a row for every id of the training part. All later ids read row 0, the unknown.
num_users, num_items = int(train["user"].max()) + 1, int(train["item"].max()) + 1
train_pairs = pairs(train["user"], train["item"], train["stars"])
warm = (test["user"] < num_users) & (test["item"] < num_items)
test_pairs = pairs(test["user"][warm], test["item"][warm], test["stars"][warm])

truth = mean_stars(shop.world, config.noise, test_pairs.query.user, test_pairs.item)
oracle = float(metrics.rmse(truth, test_pairs.label))

# The rows of a shopper stand together: 0, 1, 2 … for each shopper's first, second, third rating.
number = jnp.arange(len(train["user"])) - jnp.searchsorted(train_pairs.query.user, train_pairs.query.user)
penalty = {"user": 0.1, "item": 0.1, "user_bias": 0.05, "item_bias": 0.05}  # regularisation: notebook 2


def baseline_and_mf(key, shown):
    """RMSE of the biases and of BiasedMF after the first `shown` ratings of each shopper."""
    seen = train_pairs._replace(where=number < shown)
    mean = jnp.where(seen.where, seen.label, 0).sum() / seen.where.sum()
    fitted = biases.fit(seen, num_users, num_items)
    baseline = metrics.rmse(biases.score(fitted, test_pairs.query, test_pairs.item), test_pairs.label)
    model = BiasedMF(num_users, num_items, 8, mean)
    objective = objectives.l2(objectives.pointwise(model, losses.squared), penalty)
    optimizer = optax.adam(0.02)
    state = training.init_state(key, model, optimizer, seen)
    step = training.make_step(objective, optimizer)
    state, _ = training.fit(step, state, seen, num_epochs=10, batch_size=1024)
    return baseline, evaluation.evaluate_ratings(model, state.variables, test_pairs)["rmse"]


counts = jnp.array([1, 3, 6, 12, 24, 48])
baseline_rmse, mf_rmse = sweep.study(baseline_and_mf, sweep.keys(3), {"shown": counts})

figure, axis = plt.subplots()
for name, values in {"Biases": baseline_rmse, "BiasedMF": mf_rmse}.items():
    summary = sweep.summarise(values)
    axis.errorbar(counts, summary.mean, summary.standard_error, marker="o", label=name)
axis.axhline(oracle, color="0.5", linestyle=":", label="Oracle")
axis.set_xscale("log")
axis.set_xticks(counts, [str(n) for n in counts])
axis.minorticks_off()
axis.set(xlabel="known ratings of each shopper", ylabel="RMSE (3 seeds ± s.e.), lower is better")
axis.legend()
plt.show()

# %% [markdown]
# Read it from left to right. With a few ratings a shopper, taste cannot be told from chance, and
# factorization is even worse than averages: it takes chance for taste. Then every doubling of the
# evidence lowers its error, while the biases soon have nothing left to learn. The oracle's line is the floor.
#
# ## 3 Popularity bias
#
# A few products sell very often and most sell seldom: the *long tail* (长尾). Sort products by sales and
# ask which share of all sales the best x % make. If all sold equally often, it would be the diagonal.

# %%
num_sold = np.bincount(train["item"], minlength=num_items)[1:]


def share_of_top(count):
    """The best sellers' share of the catalogue and of the sales, both from 0 to 1."""
    ordered = np.sort(count)[::-1]
    return np.arange(len(count) + 1) / len(count), np.concatenate([[0], np.cumsum(ordered) / ordered.sum()])


logs = {"this shop": num_sold}
if "REZOO_DATA" in os.environ:
    logs["MovieLens 100k"] = np.bincount(ml.ratings.item)[1:]

figure, axis = plt.subplots(figsize=(5.5, 4.2))
for name, count in logs.items():
    axis.plot(*share_of_top(count), label=name)
axis.plot([0, 1], [0, 1], ":", color="0.5", label="equal sales")
axis.set(xlabel="share of the catalogue, best sellers first", ylabel="share of all interactions")
axis.legend()
plt.show()

# %% [markdown]
# Popularity is real information: a good seller is a good guess. But a model that mostly repeats it shows
# the same few products to everybody, so that these sell even more, and the next model learns *that*: a
# feedback loop (反馈循环). So let us measure what is shown. We train `MF` for ranking (notebook 5 says how),
# let it and the popularity list recommend ten new products to every shopper, and compare with the oracle.
#
# - *coverage* (覆盖率): the share of the catalogue that is shown to anybody;
# - *Gini index* (基尼系数): 0 if all products are shown equally often, near 1 if one takes every place;
# - NDCG@10 (归一化折损累计增益): do the lists hold what was bought later? 1 would be perfect.


# %%
shoppers = np.unique(train["user"])
query = queries(shoppers)
bought = jnp.asarray(padded(shoppers, train["user"], train["item"])[0], jnp.int32)
target = jnp.asarray(padded(shoppers, test["user"][warm], test["item"][warm])[0], jnp.int32)
mf = MF(num_users, num_items, 8)


@jax.jit
def train_ranker(key):
    """The variables of an MF trained to rank what was bought above what was not."""
    draw = sampling.reject_positives(
        sampling.uniform(num_items),
        sampling.positives_by_user(train["user"], train["item"], num_users),
        num_items,
    )
    objective = objectives.l2(objectives.sampled(mf, losses.bpr, draw, 4), 0.01)
    optimizer = optax.adam(0.02)
    state = training.init_state(key, mf, optimizer, train_pairs)
    step = training.make_step(objective, optimizer)
    return training.fit(step, state, train_pairs, num_epochs=12, batch_size=1024)[0].variables


mf_variables = train_ranker(jax.random.key(0))
# Shoppers buy by ⟨taste, product vector⟩ and popularity. That is MF's formula, so the truth is an MF too.
secrets = {
    "user": config.affinity * shop.world.taste[:num_users],
    "item": shop.world.vector[:num_items],
    "item_bias": shop.world.log_popularity[:num_items, None],
}
rankers = {
    "Popularity": (Popularity(num_items), popularity.fit(train["item"], num_items)),
    "MF": (mf, mf_variables),
    "Oracle": (
        MF(num_users, num_items, config.dim),
        {"params": {name: {"embedding": table} for name, table in secrets.items()}},
    ),
}

shown = {}
print("              coverage   Gini   NDCG@10")
for name, (model, variables) in rankers.items():
    shown[name], _ = evaluation.recommend(model, variables, query, 10, exclude=bought)
    ndcg = evaluation.evaluate(model, variables, query, target, exclude=bought)["ndcg@10"]
    figures = metrics.coverage(shown[name], num_items), metrics.gini(shown[name], num_items), ndcg
    print(f"{name:12}" + "".join(f"{float(value):9.2f}" for value in figures))

# %%
figure, axis = plt.subplots(figsize=(5.5, 4.2))
for name, ids in shown.items():
    exposure = np.bincount(np.asarray(ids).ravel(), minlength=num_items)[1:]
    axis.plot(*share_of_top(exposure), label=f"shown by {name}")
axis.plot(*share_of_top(num_sold), color="0.6", linestyle="-", linewidth=3, label="what was bought")
axis.set(xlabel="share of the catalogue, most shown first", ylabel="share of all places in the lists")
axis.legend()
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
# practises: in training the id is now and then hidden from it.

# %%
mean = float(train["stars"].mean())


def with_features(rows):
    """Pairs with the shopper's age and gender; the label says how far the stars are from the mean."""
    features = {name: column[rows["user"]] for name, column in shop.shoppers.items()}
    return pairs(rows["user"], rows["item"], rows["stars"] - mean, features=features)


train_features, test_features = with_features(train), with_features(test)


@jax.jit
@jax.vmap
def predicted_stars(key):
    """Of every test row, by BiasedMF and by FeatureMF."""
    optimizer = optax.adam(0.02)

    def predict(model, penalty, constants):
        objective = objectives.l2(objectives.pointwise(model, losses.squared), penalty)
        state = training.init_state(key, model, optimizer, train_features, constants=constants)
        step = training.make_step(objective, optimizer)
        state, _ = training.fit(step, state, train_features, num_epochs=10, batch_size=1024)
        return mean + evaluation.predict(model, state.variables, test_features)

    by_id = BiasedMF(num_users, num_items, 8)
    by_features = FeatureMF(
        num_users,
        num_items,
        {name: shop.table_rows[name] for name in ("age", "gender")},
        {"category": shop.table_rows["category"], "log_price": None},
        dim=8,
        id_dropout=0.2,
    )
    return predict(by_id, penalty, {}), predict(by_features, 0.1, {"catalogue": shop.catalogue})


by_id, by_features = predicted_stars(sweep.keys(3))
truth = mean_stars(shop.world, config.noise, test_features.query.user, test_features.item)
predictions = {"BiasedMF (ids)": by_id, "FeatureMF (ids and features)": by_features, "Oracle": truth[None]}

new_user, new_item = test["user"] >= num_users, test["item"] >= num_items
groups = {
    "both known": ~new_user & ~new_item,
    "new product": ~new_user & new_item,
    "new shopper": new_user & ~new_item,
    "both new": new_user & new_item,
}

figure, axis = plt.subplots(figsize=(7, 4))
for (name, of_seeds), mark in zip(predictions.items(), ("s", "o", "*"), strict=True):
    rmse = [[metrics.rmse(one[rows], test["stars"][rows]) for one in of_seeds] for rows in groups.values()]
    summary = sweep.summarise(rmse)
    error = np.nan_to_num(summary.standard_error)
    axis.errorbar(range(4), summary.mean, error, fmt=mark, markersize=9, label=name)
axis.set_xticks(range(4), [f"{name}\n{rows.sum():,} rows" for name, rows in groups.items()])
axis.set(ylabel="RMSE (3 seeds ± s.e.), lower is better", xlim=(-0.5, 3.5))
axis.legend()
plt.show()

# %% [markdown]
# Where shopper and product are known, ids carry a model far. Where one of them is new, only features are
# left, and they explain a part of the taste: the distance to the oracle grows to the right, and with both
# new little is left but the mean. To learn the rest one has to show something and watch, which is a field of
# its own, exploration (探索).
#
# ## Exercises
#
# 1. The shop doubles its catalogue and its number of shoppers, while every shopper still rates as many
#    products. What happens to the density?
# 2. Which share of all purchases goes to the best-selling tenth of the products?
# 3. A stranger comes: user id 0, no features. What does `MF` recommend, and why? Predict the order of the
#    whole catalogue from `mf_variables`, then check it.
#
# Try them in a cell of your own before you unfold the answers.

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. Interactions double, cells are four times as many: the density halves.
rows, cells = len(train["user"]), (num_users - 1) * (num_items - 1)
assert np.isclose((2 * rows) / (4 * cells), 0.5 * rows / cells)

# 2. Point (0.1, y) of the curve above.
catalogue_share, sales_share = share_of_top(num_sold)
top_tenth = np.interp(0.1, catalogue_share, sales_share)
tenth = len(num_sold) // 10
assert np.isclose(top_tenth, np.sort(num_sold)[-tenth:].sum() / num_sold.sum())
print(f"2. the best-selling tenth makes {top_tenth:.0%} of the purchases")

# 3. Row 0 of the user table is zero, so ⟨p_0, q_i⟩ = 0 and only the item bias is left: what MF has learnt of
#    popularity. Every stranger gets the same list.
stranger = evaluation.score_all(mf, mf_variables, queries(rows=1))[0]
item_bias = mf_variables["params"]["item_bias"]["embedding"][:, 0]
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
