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
# # 9 · Composing functionally
#
# **What you will learn**
#
# - to write a model and a loss (损失函数) of your own and to combine them with the parts of the library:
#   *composition of functions* (函数组合) instead of inheritance;
# - to run a whole study, learning rates (学习率) × seeds (随机种子), as one program by `vmap` (向量化);
# - to differentiate training itself;
# - to train embedding tables (嵌入表) so large that a step should touch only the rows of its batch;
# - to spread a step, a table or a study over a mesh of devices (设备网格), here 8 simulated ones.
#
# You need notebooks 2 and 5, and a little JAX.

# %%
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rezoo import evaluation, losses, objectives, sampling, training
from rezoo.data.batches import pairs, queries
from rezoo.data.packing import padded
from rezoo.datasets import shop_builder
from rezoo.datasets.shop import ShopConfig
from rezoo.models import MF
from rezoo.nn.embedding import Embed
from rezoo.nn.features import repeat_for_items
from rezoo.nn.inner import with_columns
from rezoo.studies import sweep
from rezoo.training import row_sparse

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)  # eight devices on one processor, for section 6
plt.style.use("rezoo.studies.pictures")

config = ShopConfig(
    shoppers=399, products=199, ratings_per_shopper=20, impressions=1_000, sessions=100, cold_shoppers=0.0
)
shop = shop_builder.draw(config)
users, items = config.shoppers + 1, config.products + 1  # id 0 is the unknown
shoppers = np.arange(1, users)
purchases = pairs(shop.ratings.train["user"], shop.ratings.train["item"])
bought, valid = (  # 16 and 4 products of each shopper
    jnp.asarray(padded(shoppers, part["user"], part["item"])[0], jnp.int32) for part in shop.ratings
)

# %% [markdown]
# ## 1 A model of your own
#
# A model is a Linen module with `__call__(query, item) -> score`. There is no base class and no registry.
# Here is a model that the library does not have: **collaborative metric learning** (度量学习; Hsieh 2017)
# scores by a distance instead of an inner product,
#
# $$s(u, i) = -\,|p_u - q_i|^2 .$$
#
# If it also has `encode` and `table` whose inner product is the score, it is a *retriever*, and a whole
# catalogue is scored by one matrix product. A distance can be written so:
# $-|p - q|^2 = \langle [2p,\, -|p|^2,\, 1],\; [q,\, 1,\, -|q|^2]\rangle$.


# %%
class CML(nn.Module):
    """Score = -|p_u - q_i|²."""

    num_users: int
    num_items: int
    dim: int = 16

    def setup(self):
        self.user = Embed(self.num_users, self.dim, nn.initializers.normal(0.2))
        self.item = Embed(self.num_items, self.dim, nn.initializers.normal(0.2))

    def __call__(self, query, item):
        return -jnp.square(repeat_for_items(self.user(query.user), item) - self.item(item)).sum(-1)

    def encode(self, query):
        p = self.user(query.user)
        return with_columns(2 * p, -jnp.square(p).sum(1, keepdims=True), 1.0)

    def table(self):
        q = self.item.table()
        return with_columns(q, 1.0, -jnp.square(q).sum(1, keepdims=True))


# %% [markdown]
# That is all: training, evaluation, recommendation, studies and meshes work with it as it is.
#
# ## 2 A loss of your own
#
# A loss is a function `(score, label, *, where) -> value`. The last axis is a list of candidates, the labels
# tell which should come first, and `where` is a mask. Ours is the squared hinge (平方合页损失) over the pairs
# of a list:
#
# $$L = \operatorname{mean}_{\,y_i > y_j} \max(0,\; 1 - (s_i - s_j))^2 .$$


# %%
def squared_hinge(score, label, *, where=None):
    """A value for each list."""
    above = label[..., :, None] > label[..., None, :]
    if where is not None:
        above &= where[..., :, None] & where[..., None, :]
    shortfall = jnp.maximum(1 - (score[..., :, None] - score[..., None, :]), 0)
    return jnp.where(above, jnp.square(shortfall), 0).sum((-2, -1)) / jnp.maximum(above.sum((-2, -1)), 1)


print(squared_hinge(jnp.array([0.5, 0.0, -2.0]), jnp.array([1.0, 0.0, 0.0])), "= (0.5² + 0²) / 2")

# %% [markdown]
# ## 3 Put together, and studied
#
# *Objective* = model × loss × sampler. *Step* = objective × optimizer. `fit` scans the step. The whole is a
# pure function (纯函数) of a key and a learning rate, so JAX can transform it:
#
# - `jax.vmap(train)` trains several members side by side, each with a rate and a seed,
# - `jax.jit` compiles them into one program.
#
# `sweep.study` does this for you, and splits what does not fit into memory. All members are on one axis,
# there as here: a `vmap` over seeds in a `vmap` over rates gives the same, but takes a CPU several times as
# long.


# %%
def trainer(model, loss):
    """`(key, rate) -> NDCG@10 on the validation items`."""

    def train(key, rate):
        objective = objectives.sampled(model, loss, sampling.uniform(items), 4)
        optimizer = optax.adam(rate)
        state = training.init_state(key, model, optimizer, purchases)
        step = training.make_step(objective, optimizer)
        state, _ = training.fit(step, state, purchases, num_epochs=8, batch_size=512)
        query = queries(shoppers)
        return evaluation.evaluate(model, state.variables, query, valid, exclude=bought)["ndcg@10"]

    return train


rates = jnp.array([3e-3, 1e-2, 3e-2, 1e-1])
models = {"MF": MF(users, items, 16), "CML": CML(users, items, 16)}
two_losses = {"BPR": losses.bpr, "squared hinge": squared_hinge}
seed, rate = jnp.tile(sweep.keys(3), len(rates)), jnp.repeat(rates, 3)
ndcg = {
    f"{model} × {loss}": jax.jit(jax.vmap(trainer(models[model], two_losses[loss])))(seed, rate)
    for model in models
    for loss in two_losses
}
print(f"{sum(values.size for values in ndcg.values())} runs in {len(ndcg)} programs")

figure, axis = plt.subplots(figsize=(6.5, 3.6))
for name, values in ndcg.items():
    summary = sweep.summarise(values.reshape(-1, 3))
    axis.errorbar(rates, summary.mean, 2 * summary.standard_error, marker="o", label=name)
axis.set(xscale="log", xlabel="learning rate", ylabel="NDCG@10, validation (3 seeds ± 2 s.e.)")
axis.legend()
plt.show()

# %% [markdown]
# The matrix factorization is ahead of the distance here, and BPR of our squared hinge. But look at the rates:
# the best one is 0.01 for MF and 0.03 for CML, and with 0.03 for both the two models would have seemed nearly
# equal. That is why a comparison tunes every contender with the same budget (notebook 4).
#
# ## 4 Training has a derivative
#
# `train` is a function like any other, so it can be differentiated (可微) too. How does the validation loss
# change with the penalty $\lambda$ (正则化) that the model was trained with? `jax.jvp` computes this
# derivative through every step of Adam.


# %%
def validation_loss(log_penalty):
    """Logistic loss of validation purchases against fixed other products, after six epochs with this λ."""
    # Adam divides by √v, whose slope at v = 0 is infinite; eps_root is added under the root.
    model, optimizer = MF(users, items, 8), optax.adam(0.03, eps_root=1e-8)
    objective = objectives.l2(
        objectives.sampled(model, losses.bpr, sampling.uniform(items), 2), jnp.exp(log_penalty)
    )
    state = training.init_state(jax.random.key(5), model, optimizer, purchases)
    step = training.make_step(objective, optimizer)
    state, _ = training.fit(step, state, purchases, num_epochs=6, batch_size=1600)
    slate = jnp.concatenate([valid, (valid + 50) % (items - 1) + 1], axis=1)
    label = jnp.broadcast_to(jnp.arange(8)[None] < 4, slate.shape).astype(jnp.float32)
    score = model.apply(state.variables, queries(shoppers), slate)
    return losses.logistic(score, label).mean()


value_and_slope = jax.jit(lambda log_penalty: jax.jvp(validation_loss, (log_penalty,), (1.0,)))
value, derivative = value_and_slope(jnp.log(0.1))
print(f"loss {value:.5f}, its derivative by ln λ {derivative:.5f}")

# %% [markdown]
# ## 5 Tables with many rows
#
# A batch of 1,024 pairs touches at most 1,024 rows of the users' table. A *dense* optimizer (稠密优化器)
# updates all rows at every step; `row_sparse` (行稀疏) reads and writes only those of the batch. The buffers
# must be *donated* (缓冲区捐赠) to the step with `donate_argnums=0`, or the table would be copied.


# %% tags=["timing"]
def milliseconds(step, state, batch):
    """Median time of a step after the first."""
    run = jax.jit(step, donate_argnums=0)
    state, _ = run(state, batch)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(run(state, batch))
        times.append(1e3 * (time.perf_counter() - start))
    return np.median(times)


sizes, times = (1_000, 20_000, 200_000), {"dense Adam": [], "row-sparse lazy Adam": []}
for rows in sizes:
    user = jax.random.randint(jax.random.key(1), (1024,), 1, rows)
    batch = pairs(user, purchases.item[:1024])
    model = MF(rows, items, 32)
    objective = objectives.sampled(model, losses.bpr, sampling.uniform(items), 1)
    adam, lazy = optax.adam(0.01), row_sparse.lazy_adam(0.01)
    dense = training.init_state(jax.random.key(2), model, adam, batch)
    times["dense Adam"].append(milliseconds(training.make_step(objective, adam), dense, batch))
    sparse = row_sparse.init_state(jax.random.key(2), model, adam, lazy, batch)
    step = row_sparse.make_step(objective, adam, lazy)
    times["row-sparse lazy Adam"].append(milliseconds(step, sparse, batch))

figure, axis = plt.subplots(figsize=(6, 3.4))
for name, values in times.items():
    axis.plot(sizes, values, marker="o", label=name)
axis.set(xscale="log", yscale="log", xlabel="rows of the users' table", ylabel="milliseconds per step")
axis.legend()
plt.show()

# %% [markdown]
# The time of a dense step grows with the table, that of a row-sparse one hardly does. Where the curves cross
# depends on the machine; for small tables dense is as fast. *Lazy* Adam is not Adam, though: see exercise 3.
#
# ## 6 A mesh of devices
#
# Nothing in the functions above says on which device an array is. That is a property of the data: put the
# arrays on a mesh and call the same step. The compiler splits the work and adds the communication (通信).

# %%
mesh = jax.make_mesh((8,), ("devices",), axis_types=(AxisType.Auto,))
split, copied = (NamedSharding(mesh, PartitionSpec(*axis)) for axis in (("devices",), ()))

model, optimizer = MF(users, items, 16), optax.adam(0.01)
objective = objectives.sampled(model, losses.bpr, sampling.uniform(items), 4)
step = jax.jit(training.make_step(objective, optimizer))
batch = training.take(purchases, jnp.arange(1024))
state = training.init_state(jax.random.key(3), model, optimizer, purchases)
on_one, _ = step(state, batch)


def difference(state, other):
    """The largest difference between the parameters of two states."""
    of_leaves = jax.tree.map(lambda a, b: np.abs(a - b).max(), *jax.device_get((state.params, other.params)))
    return max(map(float, jax.tree.leaves(of_leaves)))


# Data parallel (数据并行): an eighth of the batch on each device, the parameters on all.
data_parallel, _ = step(jax.device_put(state, copied), jax.device_put(batch, split))
print(f"data parallel: differs from one device by {difference(on_one, data_parallel):.0e}")

# Model parallel (模型并行): an eighth of each table's rows on each device.
placed = jax.tree.map(
    lambda leaf: jax.device_put(leaf, split if leaf.ndim == 2 and len(leaf) % 8 == 0 else copied), state
)
model_parallel, _ = step(placed, jax.device_put(batch, copied))
print(f"model parallel: differs from one device by {difference(on_one, model_parallel):.0e}")
table = placed.params["user"]["embedding"]
print(f"{len(table)} rows, {table.sharding.shard_shape(table.shape)[0]} on each of {len(jax.devices())}")

program = step.lower(jax.device_put(state, copied), jax.device_put(batch, split)).compile().as_text()
print(f"the data-parallel program has {program.count(' all-reduce(')} all-reduce operations")

# %% [markdown]
# A study spreads as easily, because its members do not communicate: eight seeds on eight devices.

# %%
train = trainer(MF(users, items, 16), losses.bpr)
seeds = jax.device_put(sweep.keys(8), split)
values = jax.jit(jax.vmap(lambda key: train(key, 0.01)), in_shardings=split, out_shardings=split)(seeds)
print("NDCG@10 of each seed:", ", ".join(f"{value:.3f}" for value in np.asarray(values)))
print("its device:", [shard.device.id for shard in values.addressable_shards])

# %% [markdown]
# On eight simulated devices of one processor none of this is faster. On eight real ones nothing else has to
# be changed.
#
# ## Exercises
#
# 1. Check that CML's `encode` and `table` give the scores of its `__call__`.
# 2. Write a *sampler* `(key, query, item, n) -> [B n]` of hard negatives (困难负样本): other products of the
#    positive's own category.
# 3. With plain SGD a row-sparse step gives the same parameters as a dense step; with Adam it does not. Show
#    both, and explain why.
# 4. Check the derivative of section 4 by finite differences (有限差分).

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1.
cml, query = CML(users, items, 16), queries(np.arange(1, 6))
slate = jnp.broadcast_to(jnp.arange(items)[None], (5, items))
variables = cml.init(jax.random.key(0), query, slate)
by_table = evaluation.score_all(cml, variables, query)
assert jnp.allclose(cml.apply(variables, query, slate), by_table, atol=1e-5)

# 2. Every product of the category has the same probability, the positive and all others have none.
category = shop.catalogue["category"]


def same_category(key, query, item, n):
    allowed = category[item][:, None] == category[None]
    allowed &= jnp.arange(items)[None] != item[:, None]
    return jax.random.categorical(key, jnp.where(allowed, 0.0, -1e9)[:, None], shape=(len(item), n))


item = purchases.item
drawn = same_category(jax.random.key(0), purchases.query, item, 3)
assert drawn.shape == (len(item), 3) and (drawn > 0).all() and (drawn != item[:, None]).all()
assert (category[drawn] == category[item][:, None]).all()


# 3. SGD moves a row by its gradient only, which is 0 if the row is not in the batch. Adam also moves such a
#    row, by its momentum.
def dense_and_sparse(dense, by_row):
    states = [
        training.init_state(jax.random.key(0), model, dense, purchases),
        row_sparse.init_state(jax.random.key(0), model, dense, by_row, purchases),
    ]
    steps = [training.make_step(objective, dense), row_sparse.make_step(objective, dense, by_row)]
    for start in (0, 64):
        batch = training.take(purchases, jnp.arange(start, start + 64))
        states = [jax.jit(step)(state, batch)[0] for step, state in zip(steps, states, strict=True)]
    return difference(*states)


assert dense_and_sparse(optax.sgd(0.1), row_sparse.sgd(0.1)) < 1e-6
assert dense_and_sparse(optax.adam(0.1), row_sparse.lazy_adam(0.1)) > 1e-2

# 4.
h = 0.1
high, low = (value_and_slope(jnp.log(0.1) + d)[0] for d in (h, -h))
print(f"4. derivative {derivative:.5f}, differences {(high - low) / (2 * h):.5f}")
assert abs((high - low) / (2 * h) - derivative) < 0.05 * abs(derivative)

# %% [markdown]
# ## Read on
#
# - Hsieh, Yang, Cui, Lin, Belongie, Estrin 2017, *Collaborative metric learning*,
#   [doi:10.1145/3038912.3052639](https://doi.org/10.1145/3038912.3052639)
# - Frostig, Johnson, Leary 2018, *Compiling machine learning programs via high-level tracing*,
#   [mlsys.org](https://mlsys.org/Conferences/doc/2018/146.pdf)
# - Bradbury et al., *JAX: composable transformations*, [docs.jax.dev](https://docs.jax.dev)
# - Franceschi, Donini, Frasconi, Pontil 2017, *Forward and reverse gradient-based hyperparameter
#   optimization*, [arXiv:1703.01785](https://arxiv.org/abs/1703.01785)
# - Naumov et al. 2019, *Deep learning recommendation model*,
# [arXiv:1906.00091](https://arxiv.org/abs/1906.00091)
#
# In the library: [training](../rezoo/training/__init__.py), [objectives](../rezoo/objectives/__init__.py),
# [row_sparse](../rezoo/training/row_sparse), [sweep.py](../rezoo/studies/sweep.py); measured at full size in
# [bench_embeddings.py](../experiments/bench_embeddings.py). How to add a model to the library: the
# [README](../README.md#contributing). Next: [10 · Serving](10_serving.ipynb)
