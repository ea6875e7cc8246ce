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
# # 2 · Matrix factorization from nothing
#
# **What you will learn**
#
# - the formula of matrix factorization (矩阵分解), and how it is fitted by gradient descent (梯度下降);
# - how to take its gradient by hand, and how to check that against `jax.grad`;
# - what regularisation (正则化) is for, and how a whole study of it is one call;
# - what SVD++ adds: *which* items somebody rated is information too, whatever the ratings were;
# - how to look at the learnt embeddings (嵌入).
#
# You need notebook 1 and derivatives. The data is the simulated shop; with MovieLens 100k in the folder
# that `REZOO_DATA` names, you will also see films.

# %%
import os
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import tensorflow_datasets as tfds

from rezoo import evaluation, losses, metrics, objectives, training
from rezoo.data import batches
from rezoo.data.batches import pairs
from rezoo.datasets import movielens, shop_builder
from rezoo.datasets.shop import NOUNS, ShopConfig, mean_stars
from rezoo.models import BiasedMF, SVDpp
from rezoo.models.factorization import biases
from rezoo.studies import sweep
from rezoo.training import bucketed

tfds.disable_progress_bar()
plt.style.use("rezoo.studies.pictures")

config = ShopConfig(
    shoppers=600, products=300, ratings_per_shopper=60, impressions=1_000, sessions=100, cold_shoppers=0.0
)
shop = shop_builder.draw(config)
train, test = shop.ratings
users, items = config.shoppers + 1, config.products + 1  # id 0 is the unknown
mean = float(train["stars"].mean())
print(f"{len(train['user']):,} ratings to learn from, {len(test['user']):,} to be tested on, mean {mean:.2f}")

# %% [markdown]
# ## 1 The formula
#
# We want a number $\hat r_{ui}$ for every user $u$ and item $i$. Suppose that a few hidden traits decide
# (say: playful or sober, cheap or dear). Let $q_i \in \mathbb R^d$ say how much of each trait item $i$ has,
# and $p_u \in \mathbb R^d$ how much user $u$ likes each. Together with how good the item is for everybody
# and how generous the user, the *biases* (偏置),
#
# $$\hat r_{ui} = \mu + b_u + b_i + \langle p_u, q_i \rangle .$$
#
# All $\langle p_u, q_i\rangle$ together are the product of a tall and a wide matrix, $P Q^\top$: hence the
# name. Nobody tells us the traits. We look for the numbers that make the known ratings likely:
#
# $$L = \tfrac12 \sum_{(u,i)\ \text{known}} \Big( e_{ui}^2
#   + \lambda \big( b_u^2 + b_i^2 + |p_u|^2 + |q_i|^2 \big) \Big), \qquad e_{ui} = r_{ui} - \hat r_{ui}.$$
#
# The term with $\lambda$ is regularisation: it pulls to zero whatever the data does not hold in place.
#
# ## 2 The gradient, by hand
#
# Only terms with user $u$ hold $p_u$, and $\partial \hat r_{ui} / \partial p_u = q_i$. So
#
# $$\frac{\partial L}{\partial p_u} = \sum_i \big( -e_{ui}\, q_i + \lambda p_u \big), \qquad
#   \frac{\partial L}{\partial q_i} = \sum_u \big( -e_{ui}\, p_u + \lambda q_i \big),$$
# $$\frac{\partial L}{\partial b_u} = \sum_i \big( -e_{ui} + \lambda b_u \big), \qquad
#   \frac{\partial L}{\partial b_i} = \sum_u \big( -e_{ui} + \lambda b_i \big).$$
#
# Here are loss and gradient as code. `.at[user].add` is the sum over the ratings of each user.

# %%
user, item, rating = (jnp.asarray(train[name]) for name in ("user", "item", "stars"))
l2 = 0.1


def start(key, dim=8):
    """Small random factors and no biases."""
    p_key, q_key = jax.random.split(key)
    return {
        "p": 0.1 * jax.random.normal(p_key, (users, dim)),
        "q": 0.1 * jax.random.normal(q_key, (items, dim)),
        "b_u": jnp.zeros(users),
        "b_i": jnp.zeros(items),
    }


def predict(params, user, item):
    """μ + b_u + b_i + ⟨p_u, q_i⟩ for each pair."""
    match = (params["p"][user] * params["q"][item]).sum(-1)
    return mean + params["b_u"][user] + params["b_i"][item] + match


def loss(params):
    """L, written as above."""
    error = rating - predict(params, user, item)
    sizes = [jnp.square(params[name][ids]).sum() for name, ids in (("p", user), ("b_u", user))]
    sizes += [jnp.square(params[name][ids]).sum() for name, ids in (("q", item), ("b_i", item))]
    return 0.5 * (jnp.square(error).sum() + l2 * sum(sizes))


def gradient_by_hand(params):
    """∂L, written as above."""
    error = rating - predict(params, user, item)
    p, q, b_u, b_i = params["p"][user], params["q"][item], params["b_u"][user], params["b_i"][item]
    zeros = jax.tree.map(jnp.zeros_like, params)
    return {
        "p": zeros["p"].at[user].add(-error[:, None] * q + l2 * p),
        "q": zeros["q"].at[item].add(-error[:, None] * p + l2 * q),
        "b_u": zeros["b_u"].at[user].add(-error + l2 * b_u),
        "b_i": zeros["b_i"].at[item].add(-error + l2 * b_i),
    }


params = start(jax.random.key(0))
by_hand, by_jax = jax.jit(gradient_by_hand)(params), jax.jit(jax.grad(loss))(params)
for name in params:
    difference = float(jnp.abs(by_hand[name] - by_jax[name]).max())
    largest = float(jnp.abs(by_jax[name]).max())
    print(f"{name:4} largest entry {largest:8.3f}   largest difference {difference:.1e}")
    assert difference < 1e-2

# %% [markdown]
# They agree up to rounding. `jax.grad` applies the chain rule for us. From here on we write losses only.
#
# ## 3 Learning, one rating at a time
#
# *Stochastic gradient descent* (随机梯度下降) does not wait for the sum. It looks at one rating, takes a
# small step, and goes on to the next. For that rating the gradient is one line of the sums above:
#
# $$p_u \mathrel{+}= \eta\,(e_{ui}\, q_i - \lambda p_u), \qquad
#   q_i \mathrel{+}= \eta\,(e_{ui}\, p_u - \lambda q_i).$$
#
# This is how the method became known, in the Netflix prize of 2006. One pass over all ratings is an *epoch*
# (轮). `jax.lax.scan` is a loop that is compiled once.


# %%
def visit(params, row, rate):
    """One rating, one step."""
    u, i, r = row
    p, q, b_u, b_i = params["p"][u], params["q"][i], params["b_u"][u], params["b_i"][i]
    error = r - predict(params, u, i)
    return {
        "p": params["p"].at[u].add(rate * (error * q - l2 * p)),
        "q": params["q"].at[i].add(rate * (error * p - l2 * q)),
        "b_u": params["b_u"].at[u].add(rate * (error - l2 * b_u)),
        "b_i": params["b_i"].at[i].add(rate * (error - l2 * b_i)),
    }


test_user, test_item, test_rating = (jnp.asarray(test[name]) for name in ("user", "item", "stars"))


def epoch(params, key):
    """All ratings in a new order; then RMSE on them and on the test ratings."""
    order = jax.random.permutation(key, len(user))
    rows = user[order], item[order], rating[order]
    params, _ = jax.lax.scan(lambda params, row: (visit(params, row, 0.02), None), params, rows)
    train_rmse = metrics.rmse(predict(params, user, item), rating)
    test_rmse = metrics.rmse(predict(params, test_user, test_item), test_rating)
    return params, (train_rmse, test_rmse)


by_sgd, (train_rmse, test_rmse) = jax.jit(partial(jax.lax.scan, epoch))(
    params, jax.random.split(jax.random.key(1), 25)
)


# %% [markdown]
# How good is that? Two lines to compare with: what the biases reach without any factors, and the oracle
# (理论最优), which knows how the shop makes its ratings. Between them lies all that can be won.


# %%
train_pairs, test_pairs = pairs(user, item, rating), pairs(test_user, test_item, test_rating)
fitted = biases.fit(train_pairs, users, items)
baseline = float(metrics.rmse(biases.score(fitted, test_pairs.query, test_pairs.item), test_rating))
truth = mean_stars(shop.world, config.noise, test_user, test_item)
oracle = float(metrics.rmse(truth, test_rating))

figure, axis = plt.subplots()
epochs = np.arange(1, len(train_rmse) + 1)
axis.plot(epochs, train_rmse, marker="o", label="ratings it learns from")
axis.plot(epochs, test_rmse, marker="o", label="test ratings")
axis.axhline(baseline, color="0.5", linestyle="--", label="biases alone, test")
axis.axhline(oracle, color="0.5", linestyle=":", label="oracle, test")
axis.set(xlabel="epoch", ylabel="RMSE (stars), lower is better", title="Matrix factorization by our own SGD")
axis.legend()
plt.show()

# %% [markdown]
# At first the model learns the biases. Then the factors grow. The gap between the curves grows too: the
# model begins to learn the noise in its ratings by heart. Only the curve of the test ratings shows what is
# of use.
#
# ## 4 The same with the library, and how much regularisation
#
# `rezoo` has the pieces: the model `BiasedMF`, the loss `losses.squared`, the penalty `objectives.l2`. A
# training run is a pure function of a key and of λ, so that `sweep.study` can run many of both as *one*
# program. We hold out a part of the training ratings for choosing λ, the validation part (验证集). Notebook
# 4 says why it must not be the test part.

# %%
held_out = np.random.default_rng(0).random(len(user)) < 0.15
fit_part = train_pairs._replace(where=jnp.asarray(~held_out))
valid_part = train_pairs._replace(where=jnp.asarray(held_out))
mf = BiasedMF(users, items, 8, mean)


def fit(key, l2, seen):
    """The variables of a BiasedMF trained on `seen`."""
    weight = {"user": l2, "item": l2, "user_bias": 0.05, "item_bias": 0.05}
    objective = objectives.l2(objectives.pointwise(mf, losses.squared), weight)
    optimizer = optax.adam(0.01)
    state = training.init_state(key, mf, optimizer, seen)
    step = training.make_step(objective, optimizer)
    state, _ = training.fit(step, state, seen, num_epochs=20, batch_size=1024)
    return state.variables


def rmse(variables, part):
    """RMSE of BiasedMF on a part of the ratings."""
    return evaluation.evaluate_ratings(mf, variables, part)["rmse"]


def fit_and_validate(key, l2):
    """RMSE on the ratings it was trained on, and on the validation part."""
    variables = fit(key, l2, fit_part)
    return rmse(variables, fit_part), rmse(variables, valid_part)


grid = {"l2": jnp.array([0.01, 0.03, 0.1, 0.2, 0.3, 0.6, 1.0])}
fit_rmse, valid_rmse = sweep.study(fit_and_validate, sweep.keys(3), grid)
best = float(sweep.best(grid, -valid_rmse)["l2"][0])

figure, axis = plt.subplots()
for name, values in {"ratings it learns from": fit_rmse, "validation ratings": valid_rmse}.items():
    summary = sweep.summarise(values)
    axis.errorbar(grid["l2"], summary.mean, summary.standard_error, marker="o", label=name)
axis.axvline(best, color="0.5", linestyle=":", label=f"chosen: λ = {best:g}")
axis.set_xscale("log")
axis.set(xlabel="λ", ylabel="RMSE (stars), 3 seeds ± s.e.", title="Too little, enough, too much")
axis.legend()
plt.show()

# %% [markdown]
# On the left the model learns by heart (*overfitting*, 过拟合); on the right it is not allowed to learn
# (*underfitting*, 欠拟合). The validation part finds the place in between.
#
# ## 5 SVD++: which items were rated, not only how
#
# Nobody rates products at random: one buys what one expects to like. So the mere fact of a rating is
# information. Koren (2008) lets each rated item $j$ add a vector $y_j$ of its own to the user's taste:
#
# $$\hat r_{ui} = \mu + b_u + b_i + \Big\langle q_i,\;
#   p_u + |N(u)|^{-1/2} \sum_{j \in N(u)} y_j \Big\rangle .$$
#
# $N(u)$ is all that $u$ rated; the square root keeps users with long and short histories comparable. The
# sum is the same for all ratings of a user. So `rezoo.training.bucketed` puts a user's ratings
# into one row, and the sum is taken once.

# %%
columns = [tuple(part[name] for name in ("user", "item", "stars")) for part in (train, test)]
train_rows = batches.by_user(columns[0])
test_rows = batches.by_user(columns[1], history=columns[0])
svdpp = SVDpp(users, items, dim=8, mean=mean)


def rmse_over(variables, buckets):
    """RMSE over batches of different shapes."""
    score = [evaluation.predict(svdpp, variables, batch) for batch in buckets]
    error = [jnp.where(b.where, s - b.label, 0) for b, s in zip(buckets, score, strict=True)]
    return jnp.sqrt(sum(jnp.square(e).sum() for e in error) / sum(b.where.sum() for b in buckets))


def svdpp_run(key):
    """SVD++'s test RMSE; the same λ, rate and number of epochs as BiasedMF's."""
    weight = {"user": best, "item": best, "implicit": 0.01, "user_bias": 0.05, "item_bias": 0.05}
    objective = objectives.l2(objectives.pointwise(svdpp, losses.squared), weight)
    optimizer = optax.adam(0.01)
    state = training.init_state(key, svdpp, optimizer, train_rows[0])
    step = training.make_step(objective, optimizer)
    state, _ = bucketed.fit(step, state, train_rows, num_epochs=20, ratings_per_batch=1024)
    return rmse_over(state.variables, test_rows)


def mf_run(key):
    """BiasedMF's variables and test RMSE, fitted to all training ratings with the λ chosen."""
    variables = fit(key, best, train_pairs)
    return variables, rmse(variables, test_pairs)


mf_variables, mf_rmse = sweep.study(mf_run, sweep.keys(3))
svdpp_rmse = sweep.study(svdpp_run, sweep.keys(3))

table = {
    "the mean μ": [float(metrics.rmse(jnp.full(len(test_rating), mean), test_rating))],
    "biases": [baseline],
    "our own SGD": [float(test_rmse[-1])],
    f"BiasedMF, λ = {best:g}": mf_rmse,
    "SVD++": svdpp_rmse,
    "oracle": [oracle],
}
figure, axis = plt.subplots(figsize=(6.5, 3.2))
for place, values in enumerate(table.values()):
    summary = sweep.summarise(values)
    error = np.nan_to_num(summary.standard_error)
    axis.errorbar(summary.mean, place, xerr=error, fmt="o", color="C0")
    axis.annotate(
        f"{summary.mean:.3f}", (summary.mean, place), (0, 7), textcoords="offset points", ha="center"
    )
axis.set_yticks(range(len(table)), table)
axis.set(xlabel="RMSE on the test ratings (3 seeds ± s.e.)", ylim=(len(table) - 0.5, -0.8))
axis.grid(axis="y", color="0.9")
plt.show()

# %% [markdown]
# The biases know who is strict and what is good. Factors add taste, and a well chosen λ keeps chance out of
# them. SVD++ comes nearest to the oracle: shoppers here buy what they like, so *which* products they rated
# says a good deal about their taste before a single star is read.
#
# ## 6 Looking at embeddings
#
# The rows of $Q$ are the products' *embeddings*. To see 8 dimensions on paper we turn the cloud so that we
# look at its broadest side: principal components (主成分分析), which is the singular value decomposition of
# the centred table. Nobody told the model what a product *is*, it saw stars alone. The letters are the
# categories, for our eyes.


# %%
def flat(vectors):
    """The two principal components of the rows."""
    centred = vectors - vectors.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T


def name_some(axis, at, names, count, size):
    """Write the names of the outermost points, of none that is too near to one that has its name already."""
    named = []
    for row in np.argsort(-np.abs(at).max(axis=1)):
        if len(named) < count and all(abs(at[row] - at[n]) @ [0.25, 1] > 0.12 for n in named):
            named.append(row)
            axis.annotate(names[row], at[row], (5, 4), textcoords="offset points", fontsize=size)


vectors = np.asarray(mf_variables["params"]["item"]["embedding"])[0, 1:]  # of the first seed
num_sold = np.bincount(train["item"], minlength=items)[1:]
popular = np.argsort(-num_sold)[:150]
at = flat(vectors[popular])
category = shop.products["category"][1:]

letters = "SLKNBHOPRTGF"  # one for each noun
figure, axis = plt.subplots(figsize=(8, 6))
axis.scatter(*at.T, s=0)
for (x, y), kind in zip(at, category[popular], strict=True):
    axis.annotate(letters[kind - 1], (x, y), ha="center", va="center", fontsize=9, color=f"C{kind}")
name_some(axis, at, [shop.names[1 + n] for n in popular], 14, 9)
key = ", ".join(f"{letter} {noun}" for letter, noun in zip(letters, NOUNS, strict=True))
axis.set(xlabel="first component", ylabel="second component")
axis.set_title(f"150 best sellers of the shop\n{key}", fontsize=8)
plt.show()

# %% [markdown]
# Letters of one kind keep together: products of a category were liked by the same people, and this is all
# that the model could know. In all eight dimensions we need no picture: the nearest neighbours by the
# cosine of the angle show the same.

# %%
unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
for row in popular[:4]:
    near = np.argsort(-(unit @ unit[row]))[1:5]
    print(f"{shop.names[1 + row]:22} is near {', '.join(shop.names[1 + n] for n in near)}")
hits = [np.mean(category[np.argsort(-(unit @ unit[row]))[1:5]] == category[row]) for row in popular]
print(f"\nof four neighbours {np.mean(hits):.0%} are of the same category (by chance: {1 / len(NOUNS):.0%})")

# %%
if "REZOO_DATA" in os.environ:
    ml = movielens.load("ml-100k", data_dir="runs/matrix_factorization")
    films = pairs(ml.ratings.user, ml.ratings.item, ml.ratings.rating)
    film_model = BiasedMF(ml.ratings.num_users, ml.ratings.num_items, 8, float(films.label.mean()))

    @jax.jit
    def train_films(key):
        """Item vectors after 10 epochs."""
        objective = objectives.l2(objectives.pointwise(film_model, losses.squared), 0.05)
        optimizer = optax.adam(0.01)
        state = training.init_state(key, film_model, optimizer, films)
        step = training.make_step(objective, optimizer)
        state, _ = training.fit(step, state, films, num_epochs=10, batch_size=2048)
        return state.params["item"]["embedding"]

    rated = np.bincount(ml.ratings.item, minlength=ml.ratings.num_items)
    top = np.argsort(-rated)[:300]
    where = flat(np.asarray(train_films(jax.random.key(0)))[top])
    genres = ml.items["genres"][top]

    figure, axis = plt.subplots(figsize=(9, 7))
    genre_marks = {"Drama": "o", "Action": "^", "Comedy": "s", "Children": "*"}
    for number, (genre, mark) in enumerate(genre_marks.items()):
        members = np.array([genre in g for g in genres])
        style = dict(marker=mark, facecolors="none", edgecolors=f"C{number}", s=28)
        axis.scatter(*where[members].T, **style, label=genre)
    name_some(axis, where, ml.items["title"][top], 26, 7)
    axis.set(
        xlabel="first component",
        ylabel="second component",
        title="The 300 most rated films of MovieLens 100k",
    )
    axis.legend(title="genre (a film may have several)", loc="lower left")
    plt.show()

# %% [markdown]
# ## Exercises
#
# 1. Hold everything fixed but one user's bias $b_u$. At which value is $L$ smallest? Derive it from the
#    gradient above, and check with `by_sgd` that the gradient vanishes there.
# 2. Turn all $p_u$ and all $q_i$ by the same rotation. What happens to the predictions? What does that mean
#    for giving a name to "the first trait"?
# 3. What does SVD++ predict for a user with an empty history?

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. 0 = Σ_i (-e_ui + λ b_u) with e_ui = left_ui - b_u gives b_u = Σ_i left_ui / (n (1 + λ)):
#    the mean of what the rest leaves over, shrunk by 1 + λ.
mine = user == 7
left = rating - predict({**by_sgd, "b_u": jnp.zeros(users)}, user, item)
solved = jnp.where(mine, left, 0).sum() / (mine.sum() * (1 + l2))
there = {**by_sgd, "b_u": by_sgd["b_u"].at[7].set(solved)}
assert abs(float(jax.grad(loss)(there)["b_u"][7])) < 1e-3

# 2. Nothing: ⟨Rp, Rq⟩ = ⟨p, q⟩. So a single axis of the factors has no meaning of its own, only angles and
#    lengths have. That is why we drew principal components, which are the same for every rotation.
rotation = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0], jnp.float32)
turned = {**by_sgd, "p": by_sgd["p"] @ rotation, "q": by_sgd["q"] @ rotation}
assert jnp.allclose(predict(turned, test_user, test_item), predict(by_sgd, test_user, test_item), atol=1e-4)

# 3. The sum over N(u) is empty: it is BiasedMF with the same tables.
two = pairs([3, 4], [5, 6])
tables = svdpp.init(jax.random.key(0), two.query, two.item)
without = {"params": {name: table for name, table in tables["params"].items() if name != "implicit"}}
assert jnp.allclose(svdpp.apply(tables, two.query, two.item), mf.apply(without, two.query, two.item))
print("all three hold")

# %% [markdown]
# ## Read on
#
# - Koren, Bell, Volinsky 2009, *Matrix factorization techniques for recommender systems*,
#   [doi:10.1109/MC.2009.263](https://doi.org/10.1109/MC.2009.263)
# - Koren 2008, *Factorization meets the neighborhood* (SVD++),
#   [doi:10.1145/1401890.1401944](https://doi.org/10.1145/1401890.1401944)
# - Salakhutdinov, Mnih 2007, *Probabilistic matrix factorization*,
#   [papers.nips.cc/paper/3208](https://papers.nips.cc/paper/3208-probabilistic-matrix-factorization)
# - Rendle, Zhang, Koren 2019, *On the difficulty of evaluating baselines*,
#   [arXiv:1905.01395](https://arxiv.org/abs/1905.01395)
#
# In the library: [mf.py](../rezoo/models/factorization/mf.py),
# [svdpp.py](../rezoo/models/factorization/svdpp.py). Next: [3 · Neural rating
# models](3_neural_rating_models.ipynb)
