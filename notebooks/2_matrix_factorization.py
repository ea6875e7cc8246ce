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
# - what SVD++ adds: *what* somebody rated tells something, whatever the rating was;
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
from rezoo.datasets import movielens, shop, shop_builder
from rezoo.models import BiasedMF, SVDpp
from rezoo.models.factorization import biases
from rezoo.studies import sweep
from rezoo.training import bucketed

tfds.disable_progress_bar()
plt.style.use("rezoo.studies.pictures")

config = shop.ShopConfig(
    shoppers=600, products=300, ratings_per_shopper=60, impressions=1_000, sessions=100, cold_shoppers=0.0
)
made = shop_builder.draw(config)
known, asked = made.ratings
users, items = config.shoppers + 1, config.products + 1
mean = float(known["stars"].mean())
print(
    f"{len(known['user']):,} ratings to learn from, {len(asked['user']):,} to be tested on, mean {mean:.2f}"
)

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
# The term with $\lambda$ is regularisation: it pulls what the data does not ask for to zero.
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
user, item, rating = (jnp.asarray(known[name]) for name in ("user", "item", "stars"))
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


test_user, test_item, test_rating = (jnp.asarray(asked[name]) for name in ("user", "item", "stars"))


def epoch(params, key):
    """All ratings in a new order; then RMSE on what was learnt and on what was not."""
    order = jax.random.permutation(key, len(user))
    rows = user[order], item[order], rating[order]
    params, _ = jax.lax.scan(lambda params, row: (visit(params, row, 0.02), None), params, rows)
    learnt = metrics.rmse(predict(params, user, item), rating)
    tested = metrics.rmse(predict(params, test_user, test_item), test_rating)
    return params, (learnt, tested)


by_sgd, (learnt, tested) = jax.jit(partial(jax.lax.scan, epoch))(
    params, jax.random.split(jax.random.key(1), 25)
)


# %% [markdown]
# How good is that? Two lines to compare with: what the biases alone reach, which costs nothing, and the
# oracle (理论最优), who knows how the shop makes its ratings. Between them lies all that can be won.


# %%
data, test = pairs(user, item, rating), pairs(test_user, test_item, test_rating)
fitted = biases.fit(data, users, items)
easy = float(metrics.rmse(biases.score(fitted, test.query, test.item), test.label))
truth = shop.mean_stars(made.world, config.noise, test_user, test_item)
oracle = float(metrics.rmse(truth, test.label))

figure, axis = plt.subplots(figsize=(6.5, 4))
epochs = np.arange(1, len(learnt) + 1)
axis.plot(epochs, learnt, "s-", color="0.6", markersize=4, label="on the ratings it learns from")
axis.plot(epochs, tested, "o-", color="black", markersize=4, label="on the test ratings")
axis.axhline(easy, color="black", linestyle="--", label="biases alone, test")
axis.axhline(oracle, color="0.5", linestyle=":", label="oracle, test")
axis.set(xlabel="epoch", ylabel="RMSE (stars), lower is better", title="Matrix factorization by our own SGD")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# At first the model learns the biases. Then the factors grow. The gap between the curves grows too: the
# model begins to learn the noise in its ratings by heart. Only the black curve shows what is of use.
#
# ## 4 The same with the library, and how much regularisation
#
# `rezoo` has the pieces: the model `BiasedMF`, the loss `losses.squared`, the penalty `objectives.l2`. One
# `train` is a pure function of a key and of λ, so that `sweep.study` can run it for many of both as *one*
# program. We hold out a part of the training ratings for choosing λ, the validation part (验证集). Notebook
# 4 says why it must not be the test part.

# %%
held = np.random.default_rng(0).random(len(user)) < 0.15
rest, valid = data._replace(where=jnp.asarray(~held)), data._replace(where=jnp.asarray(held))


def fit(key, l2, seen, evaluate=None):
    """A trained BiasedMF's variables and history."""
    model = BiasedMF(users, items, 8, mean)
    weight = {"user": l2, "item": l2, "user_bias": 0.05, "item_bias": 0.05}
    objective = objectives.l2(objectives.pointwise(model, losses.squared), weight)
    optimizer = optax.adam(0.01)
    state = training.init_state(key, model, optimizer, seen)
    step = training.make_step(objective, optimizer)
    state, history = training.fit(step, state, seen, evaluate, num_epochs=20, batch_size=1024)
    return state.variables, history


model = BiasedMF(users, items, 8, mean)


def train(key, l2):
    """RMSE on the ratings learnt, on the validation part."""
    variables, _ = fit(key, l2, rest)
    return [evaluation.evaluate_ratings(model, variables, part)["rmse"] for part in (rest, valid)]


grid = {"l2": jnp.array([0.01, 0.03, 0.1, 0.2, 0.3, 0.6, 1.0])}
on_learnt, on_valid = sweep.study(train, sweep.keys(3), grid)
best = float(sweep.best(grid, -on_valid)["l2"][0])

figure, axis = plt.subplots(figsize=(6.5, 4))
for values, style, name in ((on_learnt, "s-", "learnt"), (on_valid, "o-", "validation")):
    summary = sweep.summarise(values)
    colour = "0.6" if name == "learnt" else "black"
    axis.errorbar(
        grid["l2"], summary.mean, summary.standard_error, fmt=style, color=colour, capsize=3, label=name
    )
axis.axvline(best, color="0.5", linestyle=":", label=f"chosen: λ = {best:g}")
axis.set_xscale("log")
axis.set(xlabel="λ", ylabel="RMSE (stars), 3 seeds ± s.e.", title="Too little, enough, too much")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# On the left the model learns by heart (*overfitting*, 过拟合); on the right it is not allowed to learn
# (*underfitting*, 欠拟合). The validation part tells the place in between.
#
# ## 5 SVD++: what was rated, not only how
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
rows = batches.by_user((known["user"], known["item"], known["stars"]))
rows_asked = batches.by_user(
    (asked["user"], asked["item"], asked["stars"]), (known["user"], known["item"], known["stars"])
)
svdpp = SVDpp(users, items, dim=8, mean=mean)


def rmse_over(variables, buckets):
    """RMSE over batches of different shapes."""
    score = [evaluation.predict(svdpp, variables, batch) for batch in buckets]
    error = [jnp.where(b.where, s - b.label, 0) for b, s in zip(buckets, score, strict=True)]
    return jnp.sqrt(sum(jnp.square(e).sum() for e in error) / sum(b.where.sum() for b in buckets))


def train_svdpp(key):
    """SVD++'s test RMSE; the same λ, rate and number of epochs as BiasedMF's."""
    weight = {"user": best, "item": best, "implicit": 0.01, "user_bias": 0.05, "item_bias": 0.05}
    objective = objectives.l2(objectives.pointwise(svdpp, losses.squared), weight)
    optimizer = optax.adam(0.01)
    state = training.init_state(key, svdpp, optimizer, rows[0])
    step = training.make_step(objective, optimizer)
    state, _ = bucketed.fit(step, state, rows, num_epochs=20, ratings_per_batch=1024)
    return rmse_over(state.variables, rows_asked)


def train_mf(key):
    """BiasedMF's variables and test RMSE, fitted to all training ratings with the λ chosen."""
    variables, _ = fit(key, best, data)
    return variables, evaluation.evaluate_ratings(model, variables, test)["rmse"]


variables, of_mf = sweep.study(train_mf, sweep.keys(3))
of_svdpp = sweep.study(train_svdpp, sweep.keys(3))

table = {
    "the mean μ": [float(metrics.rmse(jnp.full(len(test.label), mean), test.label))],
    "biases": [easy],
    "our own SGD": [float(tested[-1])],
    f"BiasedMF, λ = {best:g}": of_mf,
    "SVD++": of_svdpp,
    "oracle": [oracle],
}
figure, axis = plt.subplots(figsize=(6.5, 3.2))
for place, values in enumerate(table.values()):
    summary = sweep.summarise(values)
    error = np.nan_to_num(summary.standard_error)
    axis.errorbar(summary.mean, place, xerr=error, fmt="o", color="black", capsize=3)
    axis.annotate(
        f"{summary.mean:.3f}", (summary.mean, place), (0, 7), textcoords="offset points", ha="center"
    )
axis.set_yticks(range(len(table)), table)
axis.set(xlabel="RMSE on the test ratings (stars)", ylim=(len(table) - 0.5, -0.8))
axis.grid(axis="y", color="0.9")
plt.show()

# %% [markdown]
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


first = jax.tree.map(lambda leaf: leaf[0], variables)
vectors = np.asarray(first["params"]["item"]["embedding"])[1:]
sold = np.bincount(known["item"], minlength=items)[1:]
popular = np.argsort(-sold)[:150]
at = flat(vectors[popular])
category = made.products["category"][1:][popular]

letters = "SLKNBHOPRTGF"  # one for each noun
figure, axis = plt.subplots(figsize=(8, 6))
axis.scatter(*at.T, s=0)
for (x, y), kind in zip(at, category, strict=True):
    axis.annotate(letters[kind - 1], (x, y), ha="center", va="center", fontsize=8, color="0.2")
name_some(axis, at, [made.names[1 + n] for n in popular], 14, 9)
key = ", ".join(f"{letter} {noun}" for letter, noun in zip(letters, shop.NOUNS, strict=True))
axis.set(xlabel="first component", ylabel="second component")
axis.set_title(f"150 best sellers of the shop\n{key}", fontsize=8)
plt.show()

# %% [markdown]
# Letters of one kind keep together: products of a category were liked by the same people, and this is all
# that the model could know. In all eight dimensions we need no picture: the nearest neighbours by the
# cosine of the angle tell the same.

# %%
unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
for row in popular[:4]:
    near = np.argsort(-(unit @ unit[row]))[1:5]
    print(f"{made.names[1 + row]:22} is near {', '.join(made.names[1 + n] for n in near)}")
same = made.products["category"][1:]
hits = np.mean([np.mean(same[np.argsort(-(unit @ unit[row]))[1:5]] == same[row]) for row in popular])
chance = 1 / len(shop.NOUNS)
print(f"\nof four neighbours {hits:.0%} are of the same category; by chance it would be {chance:.0%}")

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
    for genre, mark in (("Drama", "o"), ("Action", "^"), ("Comedy", "s"), ("Children", "*")):
        rows_of = np.array([genre in g for g in genres])
        axis.scatter(*where[rows_of].T, marker=mark, facecolors="none", edgecolors="0.5", s=28, label=genre)
    name_some(axis, where, ml.items["title"][top], 26, 7)
    axis.set(
        xlabel="first component",
        ylabel="second component",
        title="The 300 most rated films of MovieLens 100k",
    )
    axis.legend(frameon=False, title="genre (a film may have several)")
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
ask = pairs(np.array([3, 4]), np.array([5, 6]), np.zeros(2))
tables = svdpp.init(jax.random.key(0), ask.query, ask.item)
without = {"params": {name: table for name, table in tables["params"].items() if name != "implicit"}}
assert jnp.allclose(svdpp.apply(tables, ask.query, ask.item), model.apply(without, ask.query, ask.item))
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
