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
# # 11 · Beyond one device
#
# **What you will learn**
#
# - why the embedding tables (嵌入表) of a recommender outgrow a device long before its networks do;
# - how to spread their rows over a mesh of devices (按行分片), and why by `id mod n`;
# - to read in the compiled program what the devices send to one another (通信量), and to see that it does not
#   grow with the tables;
# - to rank a catalogue where it lies;
# - to save a run on eight devices and go on with two.
#
# You need notebook 9. The eight devices are simulated on one processor: programs and results are those of
# eight real ones, speed is not.

# %%
import re
import tempfile

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax.sharding import AxisType

from rezoo import evaluation, losses, objectives, sampling, training
from rezoo.data.batches import pairs, queries
from rezoo.datasets import shop_builder
from rezoo.datasets.shop import ShopConfig
from rezoo.devices import sharding
from rezoo.models import MF
from rezoo.training import row_sparse

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
plt.style.use("rezoo.studies.pictures")


def mesh_of(devices):
    """The first of the devices, in a row."""
    return jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])


mesh = mesh_of(8)
print(mesh.devices)

# %% [markdown]
# ## 1 What does not fit
#
# A network of a recommender has some million parameters. Its tables have a row for every user and every item.
# How large are those of a matrix factorization for a billion users and a hundred million items, 128 wide?
# `jax.eval_shape` tells the shapes of the variables without making them, and `sharding.describe` where each
# would lie and how many bytes every device would hold.

# %%
example = pairs([1], [1])


def shapes(users, items, dim):
    """The variables of MF, without their numbers."""
    return jax.eval_shape(lambda: MF(users, items, dim).init(jax.random.key(0), example.query, example.item))


huge = shapes(1_000_000_000, 100_000_000, 128)
for devices in (1, 64):
    print(f"{devices} devices")
    print(sharding.describe(huge, sharding.rules(huge), devices))

# %% [markdown]
# 564 GB, and an optimizer such as Adam keeps twice as much again. No accelerator has that memory, but 64 of
# them do: 8.8 GB each.
#
# `sharding.rules` is a plain function from variables to a tree of `PartitionSpec`: tables by row, everything
# else whole on every device. What it returns can be printed, edited and tested like any other tree.
#
# ## 2 Which row on which device
#
# The shop of this notebook has 2,000 customers and 400 products. Ids are numbered by popularity, as most
# libraries do.

# %%
config = ShopConfig(
    shoppers=2_000, products=400, ratings_per_shopper=25, impressions=1_000, sessions=100, cold_shoppers=0.0
)
shop = shop_builder.draw(config)
bought = np.bincount(shop.ratings.train["item"], minlength=config.products + 1)
by_popularity = np.zeros(config.products + 1, np.int32)
by_popularity[1 + np.argsort(-bought[1:], kind="stable")] = np.arange(1, config.products + 1)
purchases = pairs(shop.ratings.train["user"], by_popularity[shop.ratings.train["item"]])
users, items = config.shoppers + 1, config.products + 1  # id 0 is the unknown

# %% [markdown]
# One could cut the table into eight blocks of consecutive rows, or deal the rows out like cards: row `id` to
# device `id mod 8`. Which share of all purchases would each device have to look up?

# %%
item, block = np.asarray(purchases.item), -(-items // 8)
holders = {"blocks of consecutive ids": item // block, "id mod 8": item % 8}

figure, axis = plt.subplots(figsize=(6.5, 3))
for number, (name, holder) in enumerate(holders.items()):
    share = np.bincount(holder, minlength=8) / len(holder)
    axis.bar(np.arange(8) + 0.4 * number - 0.2, share, width=0.4, label=f"{name}: at most {share.max():.0%}")
axis.axhline(1 / 8, color="0.6", linewidth=1, zorder=0)
axis.set(xlabel="device", ylabel="share of the lookups", xticks=range(8))
axis.legend()
plt.show()

# %% [markdown]
# In blocks the device with the popular products would work while the others wait. So rezoo deals: of a table
# `[N D]`, an array `[8 R D]` with R = ⌈N / 8⌉ is made, whose first axis lies along the devices.

# %%
model = MF(users, items, 16)
optimizers = optax.sgd(0.05), row_sparse.row_wise_adagrad(0.05)
state = row_sparse.init_state(jax.random.key(0), model, *optimizers, purchases)
specs = row_sparse.rules(state)
spread_state = sharding.sharded(state, specs, mesh)

table, spread_table = (one.params["item"]["embedding"] for one in (state, spread_state))
print(f"{table.shape} on one device, {spread_table.shape} on eight, of which one holds", end=" ")
print(spread_table.sharding.shard_shape(spread_table.shape))
print("row 77 is at [77 % 8, 77 // 8]:", bool((table[77] == spread_table[77 % 8, 77 // 8]).all()))

# %% [markdown]
# ## 3 The same training
#
# Model, objective and optimizers stay as they are. The step is told that the tables are spread
# (`row_sparse.spread_over`), and the batch is split over the same axis of the mesh. Each device then asks for
# the rows of its part of the batch, computes their gradients, and sends these back to where the rows are.

# %%
objective = objectives.sampled(model, losses.bpr, sampling.uniform(items), 4)
on_one = jax.jit(row_sparse.make_step(objective, *optimizers))
on_eight = jax.jit(row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(mesh)))

order = jax.random.permutation(jax.random.key(1), purchases.item.size)
loss = {"one device": [], "eight devices": []}
for start in range(0, len(order) - 511, 512):
    batch = training.take(purchases, order[start : start + 512])
    state, metrics = on_one(state, batch)
    loss["one device"].append(float(metrics["loss"]))
    spread_state, metrics = on_eight(spread_state, sharding.spread(batch, mesh))
    loss["eight devices"].append(float(metrics["loss"]))

together = sharding.whole(spread_state, specs, state)
difference = jax.tree.map(lambda a, b: np.abs(a - b).max(), *jax.device_get((state.params, together.params)))
print(
    f"after {len(loss['one device'])} steps: loss {loss['one device'][0]:.3f} → {loss['one device'][-1]:.3f}"
)
print("equal parameters:", max(map(float, jax.tree.leaves(difference))) < 1e-5)

figure, axis = plt.subplots(figsize=(6, 3))
axis.plot(loss["one device"], linewidth=4, alpha=0.35, label="one device")
axis.plot(loss["eight devices"], linewidth=1, label="eight devices")
axis.set(xlabel="step", ylabel="BPR loss")
axis.legend()
plt.show()

# %% [markdown]
# The two curves lie on one another. Sums are only added in another order, which changes the last bits.
#
# ## 4 What the devices send
#
# A compiled program tells what it will send before it has run: its *collectives* (集合通信) are instructions
# with shapes. Here are those of our step, in the order of their names:

# %%
collective = re.compile(r"= (.*?) (all-to-all|all-gather|all-reduce|reduce-scatter)(?:-start)?\(")
array = re.compile(r"(pred|s32|u32|f32)\[([\d,]*)\]")


def sent(program):
    """Name and bytes of each collective of a compiled program."""
    for result, name in collective.findall(program.as_text()):
        sizes = [
            np.prod([int(n) for n in shape.split(",") if n], dtype=int) for _, shape in array.findall(result)
        ]
        yield name, 4 * int(sum(sizes))


def compiled(users, items, route):
    """The step over eight devices by this route, for tables of these rows, which are not made."""
    model = MF(users, items, 16)
    objective = objectives.sampled(model, losses.bpr, sampling.uniform(items), 4)
    step = row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(mesh, routes=[route]))
    batch = sharding.spread(training.take(purchases, order[:512]), mesh)
    like = jax.eval_shape(lambda: row_sparse.init_spread(jax.random.key(0), model, *optimizers, batch, mesh))
    return jax.jit(step).lower(like, batch).compile()


for name, size in sorted(sent(compiled(users, items, sharding.gather_ids()))):
    print(f"{name:15} {size:7,} bytes")

# %% [markdown]
# This route tells all ids to all devices (`all-gather`); each adds the rows that it holds, and a
# `reduce-scatter` brings the sums to those who asked. It is simple, and good for few devices, because every
# device hears every id. The other route, `sharding.all_to_all`, asks each holder only for what it holds. A
# step takes the one by which fewer bytes are sent.
#
# Now the important question: what if the tables grow? Compare plain data parallel training (数据并行), where
# each device has a whole copy, and the gradients of whole tables are summed over the devices.

# %%
rows = (1_000, 10_000, 100_000, 1_000_000)
routes = {"gather ids": sharding.gather_ids(), "all to all": sharding.all_to_all()}
figure, axis = plt.subplots(figsize=(6, 3.4))
for name, route in routes.items():
    sizes = [sum(size for _, size in sent(compiled(number, number, route))) for number in rows]
    print(f"{name}: {', '.join(f'{size:,}' for size in sizes)} bytes")
    axis.plot(rows, sizes, marker="o", label=f"tables by row, {name}")
dense = [4 * sum(leaf.size for leaf in jax.tree.leaves(shapes(number, number, 16))) for number in rows]
axis.plot(rows, dense, marker="o", color="0.5", label="whole tables, gradients summed")
axis.set(xscale="log", yscale="log", xlabel="users, and items", ylabel="bytes of a step, a device")
axis.legend()
plt.show()

# %% [markdown]
# What is sent depends on the batch, and not on the number of rows. A hundred million rows more cost memory
# for themselves, and nothing else.
#
# ## 5 A catalogue is ranked where it lies
#
# For a list of ten, no device needs the whole catalogue: each finds the ten best of its own items, and the
# best of these eighty are the answer. `evaluation.recommend` does that when it is told the mesh.

# %%
query = queries([1, 2, 3])
ids, scores = evaluation.recommend(model, spread_state.variables, query, 10, mesh=mesh)
same_ids, _ = evaluation.recommend(model, state.variables, query, 10)
print(ids)
print("as on one device:", bool((ids == same_ids).all()))

# %% [markdown]
# `evaluation.evaluate` and `ranks`, the full softmax of session models (`objectives.next_item_softmax`), and
# live serving take the same `mesh=`.
#
# ## 6 Saved by eight, continued by two
#
# Machines come and go, and a run outlives them. A checkpoint (检查点) holds the rows in the order of ids,
# written by all devices together, none of which ever holds the whole. So any other number of devices can read
# it.

# %%
with tempfile.TemporaryDirectory() as folder:
    sharding.save(folder, 1, spread_state, specs, state)
    two = mesh_of(2)
    continued, _ = sharding.restore(folder, specs, state, two)
print(continued.params["item"]["embedding"].shape, "on", two.size, "devices")

on_two = jax.jit(row_sparse.make_step(objective, *optimizers, row_sparse.spread_over(two)))
batch = training.take(purchases, order[:512])
_, next_on_eight = on_eight(spread_state, sharding.spread(batch, mesh))
_, next_on_two = on_two(continued, sharding.spread(batch, two))
print(f"loss of the next step: {next_on_eight['loss']:.4f} by eight, {next_on_two['loss']:.4f} by two")

# %% [markdown]
# ## 7 Several machines
#
# With devices of several machines the program is the same, and it is started on each of them:
# `rezoo.devices.processes.connect` finds the others, and the mesh goes over all devices. Two things are new.
# The log is read in parts, each machine its share (`rezoo.data.stream_parts`), and a machine can die: the
# others then stop with an error within a minute, and all start again from the last checkpoint.
# [scale_out.py](../experiments/scale_out.py) does all of this. Try it with two processes on your own machine:
#
# ```bash
# python experiments/scale_out.py --smoke --coordinator localhost:8476 --num-processes 2 --process-id 0 &
# python experiments/scale_out.py --smoke --coordinator localhost:8476 --num-processes 2 --process-id 1
# ```
#
# ## Exercises
#
# 1. Let the item table be whole on every device, and only that of the users be spread. Which collectives
#    remain?
# 2. The route `all_to_all` keeps a fixed number of places for the ids that a device asks another for. What
#    happens when all customers of a batch are held by the same device, and is that better than going on?
# 3. Each device holds 51 items, but the list is to have 100. Is it still right?

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. The items' gradients are summed over all devices (all-reduce), as in data parallel training; ids and rows
#    of users still travel.
partly = row_sparse.init_state(jax.random.key(0), model, *optimizers, purchases, dense=["item", "item_bias"])
spread_partly = sharding.sharded(partly, row_sparse.rules(partly), mesh)
lowered = on_eight.lower(spread_partly, sharding.spread(batch, mesh))
kinds = [name for name, _ in sent(lowered.compile())]
print("1.", {kind: kinds.count(kind) for kind in sorted(set(kinds))})
assert "all-reduce" in kinds

# 2. The places do not suffice. Ids without a place are counted, and the step changes nothing and halts: a
#    gradient that is left out in silence would train another model.
narrow = row_sparse.spread_over(mesh, routes=[sharding.all_to_all(spare=0.0)])
step = jax.jit(row_sparse.make_step(objective, *optimizers, narrow))
same_holder = pairs(8 * np.arange(1, 129), np.arange(1, 129))
halted, metrics = step(spread_state, sharding.spread(same_holder, mesh))
print("2.", int(metrics["overflow"]), "ids without a place; halted:", bool(halted.halted))
assert halted.halted and metrics["overflow"] > 0

# 3. Yes: a device that has fewer items than the list gives all of them.
long_ids, _ = evaluation.recommend(model, spread_state.variables, query, 100, mesh=mesh)
assert (long_ids == evaluation.recommend(model, state.variables, query, 100)[0]).all()

# %% [markdown]
# ## Read on
#
# - Ivchenko et al. 2022, *TorchRec: a PyTorch domain library for recommendation systems*,
#   [pytorch.org](https://pytorch.org/blog/introducing-torchrec/)
# - Naumov et al. 2019, *Deep learning recommendation model*,
#   [arXiv:1906.00091](https://arxiv.org/abs/1906.00091)
# - Xu et al. 2021, *GSPMD: general and scalable parallelization for ML computation graphs*,
#   [arXiv:2105.04663](https://arxiv.org/abs/2105.04663)
#
# In the library: [sharding](../rezoo/devices/sharding/__init__.py),
# [row_sparse](../rezoo/training/row_sparse), [stream_parts.py](../rezoo/data/stream_parts.py); measured at
# full size in [bench_sharding.py](../experiments/bench_sharding.py). Back to the [README](../README.md)
