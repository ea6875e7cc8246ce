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
from rezoo.models import FM, GMF, MF, MLP, NFM, NeuMF, Popularity
from rezoo.models.baselines import popularity
from rezoo.nn.interaction import bi_interaction
from rezoo.studies import sweep

plt.style.use("rezoo.studies.pictures")

config = ShopConfig(
    shoppers=400,
    products=200,
    ratings_per_shopper=40,
    impressions=25_000,
    sessions=100,
    cold_shoppers=0.0,
    affinity=2.0,
)
shop = shop_builder.draw(config)
users, items = config.shoppers + 1, config.products + 1  # id 0 is the unknown

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
# and measure NDCG@10 (notebook 4 explains it; 1 would be perfect). Each model has the better of two learning
# rates, 0.01 and 0.03, as measured on a shop of another seed.

# %%
train, test = shop.ratings
purchases = pairs(train["user"], train["item"])
shoppers = np.arange(1, users)
query = queries(shoppers)
bought = jnp.asarray(padded(shoppers, train["user"], train["item"])[0], jnp.int32)
target = jnp.asarray(padded(shoppers, test["user"], test["item"])[0], jnp.int32)
draw = sampling.reject_positives(
    sampling.uniform(items), sampling.positives_by_user(train["user"], train["item"], users), items
)


def ndcg(model, variables):
    """NDCG@10 over all shoppers and the whole catalogue."""
    measured = evaluation.evaluate(model, variables, query, target, exclude=bought, block=400)
    return {"ndcg": measured["ndcg@10"]}


def trainer(model, rate):
    """`key -> (variables, NDCG@10 after each epoch)`."""

    def run(key):
        objective = objectives.l2(objectives.sampled(model, losses.logistic, draw, 4), 0.003)
        optimizer = optax.adam(rate)
        state = training.init_state(key, model, optimizer, purchases)
        step = training.make_step(objective, optimizer)
        state, history = training.fit(
            step, state, purchases, lambda variables: ndcg(model, variables), num_epochs=8, batch_size=512
        )
        return state.variables, history["ndcg"]

    return run


models = {
    "MF": (MF(users, items, 8), 0.03),
    "MLP": (MLP(users, items, (32, 16, 8)), 0.03),
    "NeuMF": (NeuMF(users, items, 8, (32, 16, 8)), 0.01),
}
trained = {name: sweep.study(trainer(*settings), sweep.keys(2)) for name, settings in models.items()}

# %% [markdown]
# What is the best that anybody could reach? In this shop the truth *is* an inner product,
#
# $$\ln P(i \mid u) = \ln w_i + a \langle t_u, v_i\rangle + \text{const},$$
#
# of the taste $t_u$ of a shopper and the vector $v_i$ of a product with popularity $w_i$. So the oracle
# (理论最优) is an MF whose tables hold the shop's secrets.

# %%
secrets = {
    "user": config.affinity * shop.world.taste,
    "item": shop.world.vector,
    "item_bias": shop.world.log_popularity[:, None],
}
truth = {"params": {name: {"embedding": table} for name, table in secrets.items()}}
oracle = float(ndcg(MF(users, items, config.dim), truth)["ndcg"])
best_sellers = float(ndcg(Popularity(items), popularity.fit(train["item"], items))["ndcg"])

figure, axis = plt.subplots(figsize=(7.5, 4))
for name, (_, history) in trained.items():
    summary = sweep.summarise(history.T)
    epochs = np.arange(1, len(summary.mean) + 1)
    axis.errorbar(epochs, summary.mean, summary.standard_error, marker="o", label=name)
axis.axhline(oracle, color="0.5", linestyle="--", label="oracle")
axis.axhline(best_sellers, color="0.5", linestyle=":", label="popularity")
axis.set(xlabel="epoch", ylabel="NDCG@10 (2 seeds ± s.e.), higher is better")
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## 2 When a dot product is enough
#
# MF has just the form of the truth. The MLP must spend data on learning to multiply, which is a hard
# function for layers that add, and stays behind. NeuMF holds an inner product too, and its second half adds
# nothing to MF's. More freedom is worth something only where the truth lies outside the smaller model;
# elsewhere it is more to learn from the same evidence.
#
# Is the shop a fair example? Rendle and others (2020) looked at NCF's own data: a well-tuned inner product
# beat MLP and NeuMF there too. The lesson is not "no networks", it is: *tune the simple one first*.
#
# And a dot product has an advantage that no network has. The best of $N$ items for a user are the nearest
# vectors to one vector: one matrix product, or an index for nearest neighbours (最近邻检索), instead of $N$
# runs of a network. Models with `encode` and `table` are such *retrievers* (召回模型) here. JAX tells how
# many multiplications and additions a program takes:

# %%
print("         parameters   operations to score the whole catalogue for all shoppers")
for name, (model, _) in models.items():
    variables = jax.tree.map(lambda leaf: leaf[0], trained[name][0])
    size = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    program = jax.jit(lambda variables, model=model: evaluation.score_all(model, variables, query))
    operations = program.lower(variables).cost_analysis()["flops"]
    kind = "one product" if evaluation.is_retriever(model) else "a network"
    print(f"{name:8} {size:10,}   {operations / 1e6:8.1f} million, {kind}")

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
# - **triples**: other clicks on the same rows, drawn by a rule of three,
#   $\text{logit} = 2\, s_\text{age}\, s_\text{hour}\, s_\text{category}$ with random signs $s = \pm 1$. If
#   you know only two of the three, you know nothing.

# %%
train_rows, test_rows = shop.impressions
rng = np.random.default_rng(0)
sign = {  # as many + as -, and 0 for the unknown
    name: np.append(0.0, rng.permutation(np.resize([-1.0, 1.0], shop.table_rows[name] - 1)))
    for name in ("age", "hour", "category")
}


def triple(rows):
    """The logit of the world of triples."""
    age, category = shop.shoppers["age"][rows["user"]], shop.products["category"][rows["item"]]
    return 2 * sign["age"][age] * sign["hour"][rows["hour"]] * sign["category"][category]


def labels(rows):
    """The clicks of both worlds, `[2 rows]`."""
    drawn = rng.random(len(rows["user"])) < 1 / (1 + np.exp(-triple(rows)))
    return jnp.asarray(np.stack([rows["click"], drawn]), jnp.float32)


# A row holds user, item and hour, and the age and gender of the user; category and price are constants.
train_shown, test_shown = shop.impression_batch(train_rows), shop.impression_batch(test_rows)
train_labels, test_labels = labels(train_rows), labels(test_rows)
sizes = shop.table_rows


def click_trainer(model, with_features=True):
    """`(key, world) -> (variables, AUC on the test impressions)`."""

    def of_world(batch, labels):
        batch = batch._replace(label=labels)
        return batch if with_features else batch._replace(query=batch.query._replace(features={}))

    def run(key, world):
        train = of_world(train_shown, train_labels[world])
        test = of_world(test_shown, test_labels[world])
        objective = objectives.l2(objectives.pointwise(model, losses.logistic), {"user": 3e-3, "item": 3e-3})
        optimizer = optax.adam(0.01)
        constants = {"catalogue": shop.catalogue} if with_features else {}
        state = training.init_state(key, model, optimizer, train, constants=constants)
        step = training.make_step(objective, optimizer)
        state, _ = training.fit(step, state, train, num_epochs=6, batch_size=512)
        return state.variables, evaluation.evaluate_clicks(model, state.variables, test)["auc"]

    return run


nfm = NFM(sizes, dim=12, widths=(32, 16))
worlds = {"world": jnp.arange(2)}
click_models = {
    "FM, ids alone": sweep.study(click_trainer(FM(sizes, 12), with_features=False), sweep.keys(2), worlds),
    "linear, all columns": sweep.study(click_trainer(FM(sizes, 0)), sweep.keys(2), worlds),
    "FM, all columns": sweep.study(click_trainer(FM(sizes, 12)), sweep.keys(2), worlds),
    "NFM, all columns": sweep.study(click_trainer(nfm), sweep.keys(2), worlds),
}
truths = jnp.asarray(test_rows["logit"]), jnp.asarray(triple(test_rows), jnp.float32)
limit = [float(metrics.auc(logit, label)) for logit, label in zip(truths, test_labels, strict=True)]

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), sharey=True)
for world, (axis, title) in enumerate(
    zip(axes, ("world of pairs (the shop)", "world of triples"), strict=True)
):
    for place, (_, auc) in enumerate(click_models.values()):
        summary = sweep.summarise(auc[world])
        axis.errorbar(summary.mean, place, xerr=summary.standard_error, fmt="o", color="C0")
        axis.annotate(
            f"{summary.mean:.3f}", (summary.mean, place), (0, 7), textcoords="offset points", ha="center"
        )
    axis.axvline(limit[world], color="0.5", linestyle="--", label=f"oracle {limit[world]:.3f}")
    axis.axvline(0.5, color="0.5", linestyle=":", label="guessing")
    axis.set(
        xlabel="AUC (2 seeds ± s.e.), higher is better", title=title, ylim=(len(click_models) - 0.5, -0.9)
    )
    axis.grid(axis="y", color="0.9")
    axis.legend(loc="lower center", ncols=2, fontsize=8, bbox_to_anchor=(0.5, 1.1))
axes[0].set_yticks(range(len(click_models)), click_models)
plt.show()

# %% [markdown]
# On the left the features help: hour and age hold what ids cannot know. The network does not help: FM *is*
# the form of this world. On the right all models of pairs are near guessing, and the network is near the
# oracle. A network earns its place where three or more things must come together, and where there are enough
# rows to show it.
#
# ## 4 Which columns count?
#
# *Permutation importance* (置换重要性): permute the values of one column among the rows and see how much AUC
# is lost. It needs nothing but a trained model.

# %%
variables = jax.tree.map(lambda leaf: leaf[0, 0], click_models["NFM, all columns"][0])
importance = explain.permutation_importance(
    nfm, variables, test_shown._replace(label=test_labels[0]), metrics.auc, jax.random.key(0), repeats=3
)
explain.draw_importance(importance, metric="AUC")

# %% [markdown]
# The product leads, by its id and by its category, and then what meets the category in the shop's formula:
# age, hour and the shopper. Price plays no part in clicks, and nothing is lost without it. A caution: of
# two columns with the same information, such as an id and what follows from it, each can replace the other,
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
params = gmf.init(jax.random.key(0), purchases.query, purchases.item)["params"]
plain = {**params, "output": {"kernel": jnp.ones((8, 1)), "bias": jnp.zeros(1)}}
p = params["gmf_user"]["embedding"][purchases.query.user]
q = params["gmf_item"]["embedding"][purchases.item]
assert jnp.allclose(gmf.apply({"params": plain}, purchases.query, purchases.item), (p * q).sum(-1), atol=1e-4)

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
