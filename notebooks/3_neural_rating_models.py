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
# # 3 · Neural rating models
#
# **What you will learn**
#
# - three networks in the place of, or beside, the inner product: MLP, NeuMF and NFM;
# - when a dot product (点积) is enough, and why the larger model is then not the better one;
# - how side features (辅助特征) such as age, hour and category come in, and how to see which of them count;
# - what a network can learn that pairs of columns cannot.
#
# You need notebook 2 and a first idea of neural networks (神经网络). Everything runs on the simulated shop.

# %%
import time

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
from rezoo.models import FM, GMF, MF, MLP, NFM, NeuMF, Popularity
from rezoo.models.baselines import popularity
from rezoo.nn.interaction import bi_interaction
from rezoo.studies import sweep

plt.style.use("rezoo.studies.pictures")

config = shop.ShopConfig(
    shoppers=400,
    products=200,
    ratings_per_shopper=40,
    impressions=25_000,
    sessions=100,
    cold_shoppers=0.0,
    affinity=2.0,
)
made = shop_builder.draw(config)
users, items = config.shoppers + 1, config.products + 1

# %% [markdown]
# ## 1 A network in the place of the inner product
#
# Matrix factorization scores a pair by $\langle p_u, q_i\rangle + b_i$. *Neural collaborative filtering*
# (神经协同过滤; He 2017) asks: why this function, and not one that is learnt? It offers three:
#
# - **GMF** weighs the factors: $h^\top (p_u \circ q_i)$, where $\circ$ multiplies entry by entry
#   (逐元素相乘);
# - **MLP**, a multilayer perceptron (多层感知机): $h^\top
#   \text{network}([p_u ; q_i])$, which can be any function;
# - **NeuMF** puts both side by side, with embeddings of their own.
#
# The task is implicit feedback (隐式反馈): rank what a shopper will buy. For each purchase we draw four
# products that the shopper did not buy, *negative samples* (负采样), and learn a yes and four noes by the
# logistic loss (对数损失). After every epoch we rank the whole catalogue, purchases of the past left out,
# and measure NDCG@10 (notebook 4 explains it; 1 would be perfect). Each model has the learning rate, of
# 0.01 and 0.03, that suited it on a shop of another seed.

# %%
known, asked = made.ratings


data = pairs(known["user"], known["item"])
shoppers = np.arange(1, users)
query = queries(shoppers)
bought = jnp.asarray(padded(shoppers, known["user"], known["item"])[0], jnp.int32)
target = jnp.asarray(padded(shoppers, asked["user"], asked["item"])[0], jnp.int32)
draw = sampling.reject_positives(
    sampling.uniform(items), sampling.positives_by_user(known["user"], known["item"], users), items
)


def ndcg(model, variables):
    """NDCG@10 over all shoppers and the whole catalogue."""
    ranked = evaluation.evaluate(model, variables, query, target, exclude=bought, block=400)
    return {"ndcg": ranked["ndcg@10"]}


def trainer(model, rate):
    """`key -> (variables, NDCG@10 after each epoch)`."""

    def train(key):
        objective = objectives.l2(objectives.sampled(model, losses.logistic, draw, 4), 0.003)
        optimizer = optax.adam(rate)
        state = training.init_state(key, model, optimizer, data)
        step = training.make_step(objective, optimizer)
        state, history = training.fit(
            step, state, data, lambda variables: ndcg(model, variables), num_epochs=8, batch_size=512
        )
        return state.variables, history["ndcg"]

    return train


models = {
    "MF": (MF(users, items, 8), 0.03),
    "MLP": (MLP(users, items, (32, 16, 8)), 0.03),
    "NeuMF": (NeuMF(users, items, 8, (32, 16, 8)), 0.01),
}
trained = {name: sweep.study(trainer(*settings), sweep.keys(2)) for name, settings in models.items()}

# %%
by_sales = jax.jit(lambda variables: ndcg(Popularity(items), variables)["ndcg"])
best_sellers = by_sales(popularity.fit(known["item"], items))
row = jnp.arange(len(shoppers))[:, None]
fresh = jnp.ones((len(shoppers), items), bool).at[row, bought].set(False).at[:, 0].set(False)
truth = shop.preference(made.world, config.affinity, query.user)
rank = metrics.target_ranks(truth, target, where=fresh, counted=target > 0)
oracle = float(metrics.ndcg(rank, where=target > 0, k=10).mean())

figure, axis = plt.subplots(figsize=(6.5, 4.2))
for (name, (_, history)), style in zip(trained.items(), ("o-", "s--", "^:"), strict=True):
    summary = sweep.summarise(history.T)
    epochs = np.arange(1, len(summary.mean) + 1)
    axis.errorbar(
        epochs, summary.mean, summary.standard_error, fmt=style, color="black", capsize=2, label=name
    )
axis.axhline(oracle, color="0.5", linestyle="-", label="oracle")
axis.axhline(float(best_sellers), color="0.5", linestyle=":", label="popularity")
axis.set(xlabel="epoch", ylabel="NDCG@10, higher is better (2 seeds ± s.e.)")
axis.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.05))
plt.show()

# %% [markdown]
# ## 2 When a dot product is enough
#
# In this shop the truth *is* an inner product: $\ln P(i \mid u) = \ln w_i + a \langle t_u, v_i\rangle$. MF
# has just this form. The MLP must spend data on learning to multiply, which is a hard function for layers
# that add, and stays behind. NeuMF holds an inner product too, and its second half buys nothing over MF's.
# More freedom is worth something only where the truth lies outside the smaller model; elsewhere it is more
# to learn from the same evidence.
#
# Is the shop a fair example? Rendle and others (2020) looked at NCF's own data: a well-tuned inner product
# beat MLP and NeuMF there too. The lesson is not "no networks", it is: *tune the simple one first*.
#
# And a dot product has a gift that a network has not. The best of $N$ items for a user are the nearest
# vectors to one vector: one matrix product, or an index for nearest neighbours (最近邻检索), instead of $N$
# runs of a network. Models with `encode` and `table` are such *retrievers* (召回模型) here.

# %%
print("         numbers learnt   scores of the whole catalogue for all shoppers")
for name, (model, _) in models.items():
    variables = jax.tree.map(lambda leaf: leaf[0], trained[name][0])
    size = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    score = jax.jit(lambda variables, model=model: evaluation.score_all(model, variables, query))
    score(variables).block_until_ready()  # compiled before the clock starts
    start = time.perf_counter()
    for _ in range(5):
        score(variables).block_until_ready()
    kind = "one product" if hasattr(model, "encode") else "a network"
    print(f"{name:8} {size:14,}   {(time.perf_counter() - start) / 5 * 1e3:8.1f} ms, {kind}")

# %% [markdown]
# ## 3 Side features
#
# The same shop logs *impressions* (曝光): a product was shown to a shopper at some hour, and was clicked or
# not. Whether somebody clicks depends on more than two ids. Every row has columns: user, item, age, gender,
# hour, category, price. A *factorization machine* (因子分解机, FM) gives each value of each column a
# vector, and lets all pairs of columns meet:
#
# $$\hat y = w_0 + \sum_f w_f + \sum_{f<g} \langle v_f, v_g \rangle .$$
#
# With user and item alone it is biased matrix factorization. **NFM** (He and Chua 2017) does not add up the
# entries of $\sum_{f<g} v_f \circ v_g$ at once, but hands this vector to a network.
#
# We measure AUC (曲线下面积): the probability that a clicked row scores higher than one that was not. 0.5
# is guessing. And we look at two worlds with the same rows:
#
# - **pairs**: the shop as it is. Its clicks depend on taste × product, age × category and hour × category;
# - **triples**: we draw the clicks anew from a rule of three,
#   $\text{logit} = 2\, s_\text{age}\, s_\text{hour}\, s_\text{category}$ with random signs $s = \pm 1$. If
#   you know only two of the three, you know nothing.

# %%
shown, shown_later = made.impressions
rng = np.random.default_rng(0)
sign_age, sign_hour, sign_category = (  # as many + as -, and 0 for the unknown
    np.append(0.0, rng.permutation(np.resize([-1.0, 1.0], n - 1)))
    for n in (len(shop.AGES), len(shop.DAYPARTS), len(shop.NOUNS) + 1)
)


def triple(columns):
    """The logit of the world of triples."""
    age = made.shoppers["age"][columns["user"]]
    category = made.products["category"][columns["item"]]
    return 2 * sign_age[age] * sign_hour[columns["hour"]] * sign_category[category]


def impressions(columns):
    """Shown products with all columns, and the labels of both worlds, `[2 rows]`."""
    features = {name: jnp.asarray(column[columns["user"]]) for name, column in made.shoppers.items()}
    features["hour"] = jnp.asarray(columns["hour"])
    drawn = rng.random(len(columns["user"])) < 1 / (1 + np.exp(-triple(columns)))
    labels = jnp.asarray(np.stack([columns["click"], drawn]), jnp.float32)
    return pairs(columns["user"], columns["item"], features=features), labels


clicks, click_labels = impressions(shown)
later, later_labels = impressions(shown_later)
catalogue = {name: jnp.asarray(column) for name, column in made.products.items()}
sizes = {
    "user": users,
    "item": items,
    "age": len(shop.AGES),
    "gender": len(shop.GENDERS),
    "hour": len(shop.DAYPARTS),
    "category": len(shop.NOUNS) + 1,
}


def click_trainer(model, with_features=True):
    """`(key, world) -> (variables, AUC on later impressions)`."""

    def chosen(batch, labels):
        batch = batch._replace(label=labels)
        return batch if with_features else batch._replace(query=batch.query._replace(features={}))

    def train(key, world):
        objective = objectives.l2(objectives.pointwise(model, losses.logistic), {"user": 3e-3, "item": 3e-3})
        optimizer = optax.adam(0.01)
        learnt, tested = chosen(clicks, click_labels[world]), chosen(later, later_labels[world])
        constants = {"catalogue": catalogue} if with_features else {}
        state = training.init_state(key, model, optimizer, learnt, constants=constants)
        step = training.make_step(objective, optimizer)
        state, _ = training.fit(step, state, learnt, num_epochs=6, batch_size=512)
        return state.variables, evaluation.evaluate_clicks(model, state.variables, tested)["auc"]

    return train


nfm = NFM(sizes, dim=12, widths=(32, 16))
worlds = {"world": jnp.arange(2)}
of_clicks = {
    "FM, ids alone": sweep.study(click_trainer(FM(sizes, 12), with_features=False), sweep.keys(2), worlds),
    "linear, all columns": sweep.study(click_trainer(FM(sizes, 0)), sweep.keys(2), worlds),
    "FM, all columns": sweep.study(click_trainer(FM(sizes, 12)), sweep.keys(2), worlds),
    "NFM, all columns": sweep.study(click_trainer(nfm), sweep.keys(2), worlds),
}
truths = [jnp.asarray(shown_later["logit"]), jnp.asarray(triple(shown_later), jnp.float32)]
limit = [float(metrics.auc(logit, label)) for logit, label in zip(truths, later_labels, strict=True)]

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), sharey=True)
for world, (axis, title) in enumerate(
    zip(axes, ("world of pairs (the shop)", "world of triples"), strict=True)
):
    for place, (_, auc) in enumerate(of_clicks.values()):
        summary = sweep.summarise(auc[world])
        axis.errorbar(summary.mean, place, xerr=summary.standard_error, fmt="o", color="black", capsize=3)
        axis.annotate(
            f"{summary.mean:.3f}", (summary.mean, place), (0, 7), textcoords="offset points", ha="center"
        )
    axis.axvline(limit[world], color="0.5", linestyle="--", label=f"oracle {limit[world]:.3f}")
    axis.axvline(0.5, color="0.5", linestyle=":", label="guessing")
    axis.set(xlabel="AUC, higher is better (2 seeds ± s.e.)", title=title, ylim=(len(of_clicks) - 0.5, -0.9))
    axis.grid(axis="y", color="0.9")
    axis.legend(frameon=False, loc="lower center", ncols=2, fontsize=8, bbox_to_anchor=(0.5, 1.1))
axes[0].set_yticks(range(len(of_clicks)), of_clicks)
plt.show()

# %% [markdown]
# On the left the features pay: hour and age hold what ids cannot know. The network does not pay: FM *is*
# the form of this world. On the right all that is built of pairs is blind, and the network sees. A network
# earns its place where three or more things must come together, and where there are enough rows to show it.
#
# ## 4 Which columns count?
#
# *Permutation importance* (置换重要性): deal a column's values out anew among the rows and see how much AUC
# is lost. It needs nothing but a trained model.

# %%
variables = jax.tree.map(lambda leaf: leaf[0, 0], of_clicks["NFM, all columns"][0])
importance = explain.permutation_importance(
    nfm, variables, later._replace(label=later_labels[0]), metrics.auc, jax.random.key(0), repeats=3
)
explain.draw_importance(importance, metric="AUC")

# %% [markdown]
# The product leads, by its id and by its category, and then what meets the category in the shop's formula:
# age, hour and the shopper. Price plays no part in clicks, and nothing is lost without it. A caution: of
# two columns that tell the same, such as an id and what follows from it, each can stand in for the other,
# and each alone seems to matter less than it does.
#
# ## Exercises
#
# 1. Which parameters of GMF make it plain matrix factorization without item biases? Set them and check.
# 2. FM sums over all pairs of columns. Show that it can do without: for vectors $v_1 \dots v_F$,
#    $\sum_{f<g} v_f \circ v_g = \tfrac12\big((\sum_f v_f)^2 - \sum_f v_f^2\big)$. Check `bi_interaction`
#    against the double sum. How does the cost grow with $F$?
# 3. A catalogue has a million items, embeddings are 64 wide, and an MLP has layers of 128, 64, 32. How many
#    multiplications does it take to score all items for one user, by the MLP and by an inner product?

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. h = 1 and b = 0.
gmf = GMF(users, items, 8)
params = gmf.init(jax.random.key(0), data.query, data.item)["params"]
plain = {**params, "output": {"kernel": jnp.ones((8, 1)), "bias": jnp.zeros(1)}}
p, q = params["gmf_user"]["embedding"][data.query.user], params["gmf_item"]["embedding"][data.item]
assert jnp.allclose(gmf.apply({"params": plain}, data.query, data.item), (p * q).sum(-1), atol=1e-4)

# 2. (Σ v)² holds every pair twice, and the squares once. O(F D) instead of O(F² D).
v = jax.random.normal(jax.random.key(0), (7, 5))
double_sum = sum(v[f] * v[g] for f in range(7) for g in range(f + 1, 7))
assert jnp.allclose(bi_interaction(v), double_sum, atol=1e-4)

# 3. The first layer takes [p ; q], 128 numbers; the user's half of it can be computed once for all items.
per_item = 64 * 128 + 128 * 64 + 64 * 32 + 32
assert per_item == 18_464
print(f"3. {per_item * 10**6:,} against {64 * 10**6:,} multiplications: {per_item / 64:.0f} times as many")

# %% [markdown]
# ## Read on
#
# - He, Liao, Zhang, Nie, Hu, Chua 2017, *Neural collaborative filtering*,
#   [arXiv:1708.05031](https://arxiv.org/abs/1708.05031)
# - Rendle, Krichene, Zhang, Anderson 2020, *Neural collaborative filtering vs. matrix factorization
#   revisited*, [arXiv:2005.09683](https://arxiv.org/abs/2005.09683)
# - He, Chua 2017, *Neural factorization machines for sparse predictive analytics*,
#   [arXiv:1708.05027](https://arxiv.org/abs/1708.05027)
# - Rendle 2010, *Factorization machines*,
#   [doi:10.1109/ICDM.2010.127](https://doi.org/10.1109/ICDM.2010.127)
# - Ferrari Dacrema, Cremonesi, Jannach 2019, *Are we really making much progress?*,
#   [arXiv:1907.06902](https://arxiv.org/abs/1907.06902)
#
# In the library: [neumf.py](../rezoo/models/rating/neumf.py), [nfm.py](../rezoo/models/rating/nfm.py).
# Next: [4 · Evaluation without fooling oneself](4_evaluation.ipynb)
