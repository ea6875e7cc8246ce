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
# # 6 · Several tasks at once
#
# **What you will learn**
#
# - why a shop predicts several things about one impression (曝光, a product that is shown to somebody), and
#   how one network does it: shared bottom (共享底层), mixture of experts (专家混合; MMoE) and PLE;
# - why a model that learns from clicked rows alone is biased, *sample selection bias* (样本选择偏差), and
#   what ESMM does about it;
# - how to weigh the losses of several tasks (损失加权), by hand and by rules;
# - how to see whether two tasks help or hinder one another: the angle between their gradients
#   (梯度冲突, gradient conflict).
#
# You need notebooks 3 and 5. The simulated shop also tells us the truth, which a real log does not hold.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from rezoo import losses, metrics, objectives, training
from rezoo.datasets import shop_builder
from rezoo.datasets.shop import ShopConfig, purchase_logit
from rezoo.models import ESMM, PLE, MMoE, SharedBottom
from rezoo.models.ranking.esmm import both
from rezoo.objectives import weighting
from rezoo.studies import sweep
from rezoo.types import Target

plt.style.use("rezoo.studies.pictures")

config = ShopConfig(shoppers=300, products=150, impressions=40_000, sessions=100, cold_shoppers=0.0)
shop = shop_builder.draw(config)
train_rows, test_rows = shop.impressions

# %% [markdown]
# ## 1 A funnel of labels
#
# A product is shown. Some shoppers click, and some of those buy:
#
# $$\text{impression} \xrightarrow{\;p(\text{click}\mid x)\;} \text{click}
# \xrightarrow{\;p(\text{buy}\mid\text{click},x)\;} \text{purchase}$$
#
# The first probability is the *click-through rate* (点击率, CTR), the second the *conversion rate* (转化率,
# CVR). The conversion label exists only where there was a click: nobody knows what would have been bought
# if everything had been clicked. In `rezoo` a batch holds a `Target(label, where)` for each task, and `where`
# marks the rows whose label is known.


# %%
def with_tasks(rows):
    """Impressions with the labels of three tasks."""
    batch, purchase = shop.impression_batch(rows), jnp.asarray(rows["purchase"], jnp.float32)
    tasks = {
        "click": Target(batch.label, batch.where),
        "purchase": Target(purchase, batch.where),
        "conversion": Target(purchase, batch.label > 0),  # known after a click only
    }
    return batch._replace(tasks=tasks)


train, test = with_tasks(train_rows), with_tasks(test_rows)
for name, target in train.tasks.items():
    count, rate = int(target.where.sum()), float(target.label[target.where].mean())
    print(f"{name:10}: {count:6,} labels, {rate:.0%} of them 1")

# %% [markdown]
# The shop also tells us the *true* conversion rate of every impression, clicked or not. Are clicked
# impressions like the others?

# %%
true_rate = jax.nn.sigmoid(purchase_logit(shop.world, test.query.user, test.item))
clicked = np.asarray(test.label > 0)
bins = np.linspace(0, 1, 26)
figure, axis = plt.subplots(figsize=(6, 3.2))
axis.hist(true_rate, bins, density=True, color="0.8", label="all impressions")
axis.hist(true_rate[clicked], bins, density=True, histtype="step", color="C0", linewidth=2, label="clicked")
axis.axvline(float(true_rate.mean()), color="0.4", linestyle="--", label="mean of all")
axis.axvline(float(true_rate[clicked].mean()), color="C0", linestyle="--", label="mean of clicked")
axis.set(xlabel="true probability of a purchase after a click", ylabel="density")
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# No: people click on what they like. A model of conversion that is trained on clicked rows sees only the blue
# distribution, and is then used for the grey one. That is sample selection bias.
#
# So we measure conversion twice: the AUC **on clicks**, which can be measured on a real log, and the
# **unbiased** AUC over all impressions, with purchases drawn from their true probability. AUC is the
# probability that a positive is scored above a negative (notebook 4). The oracle (理论最优) scores by the
# true probabilities.

# %%
would_buy = (jax.random.uniform(jax.random.key(1), true_rate.shape) < true_rate).astype(jnp.float32)
on_clicks = test.tasks["conversion"]
oracle = {
    "click": metrics.auc(jnp.asarray(test_rows["logit"]), test.label),
    "on clicks": metrics.auc(true_rate, on_clicks.label, where=on_clicks.where),
    "unbiased": metrics.auc(true_rate, would_buy),
}
print("oracle:", ", ".join(f"AUC {name} {float(value):.3f}" for name, value in oracle.items()))

# %% [markdown]
# ## 2 One bottom, several towers
#
# **Shared bottom** (Caruana 1997): one network $f$ for all tasks and a small tower $h_k$ for each,
#
# $$\hat y_k = h_k(f(x)), \qquad L = \sum_k w_k L_k .$$
#
# Each $L_k$ is the logistic loss over the rows whose label is known. The weights $w_k$ are numbers, so
# `vmap` can run over them: one compiled program trains every mixture of the two tasks, from conversion
# alone (click weight 0, conversion weight 1) to clicks alone.

# %%
sizes, task_names, num_epochs = shop.table_rows, ("click", "conversion"), 12


def study(model, tasks, grid=None, weights=None):
    """AUCs on the test part after each epoch, `[points epochs]` with a grid, and the last variables."""

    def aucs(variables):
        score = model.apply(variables, test.query, test.item, method="tasks")
        return {
            "click": metrics.auc(score["click"], test.label),
            "on clicks": metrics.auc(score["conversion"], on_clicks.label, where=on_clicks.where),
            "unbiased": metrics.auc(score["conversion"], would_buy),
        }

    def run(key, share=None):
        weigh = weights if share is None else {"click": share, "conversion": 1 - share}
        objective = objectives.multi_task(model, dict.fromkeys(tasks, losses.logistic), weigh)
        objective, optimizer = objectives.l2(objective, 2e-3), optax.adam(0.01)
        state = training.init_state(key, model, optimizer, train, constants={"catalogue": shop.catalogue})
        if weights is weighting.uncertainty:
            state = weighting.with_log_variances(state, optimizer, tasks)
        step = training.make_step(objective, optimizer)
        state, history = training.fit(step, state, train, aucs, num_epochs=num_epochs, batch_size=2048)
        return history, state.variables

    histories, variables = jax.device_get(sweep.study(run, sweep.keys(1), grid))
    return {name: values[..., 0, :] for name, values in histories.items()}, variables


shares = jnp.array([0.0, 0.2, 0.5, 0.8, 1.0])
bottom = SharedBottom(sizes, task_names, 8, (32,), (16,))
mixtures, _ = study(bottom, task_names, {"share": shares})

# %% [markdown]
# Two rules set the weights during training:
#
# - **uncertainty** (不确定性加权; Kendall 2018): $L = \sum_k L_k / \sigma_k^2 + \ln \sigma_k$ with learnt
#   $\sigma_k$, so that a noisy task counts less;
# - **equal gradients** (after GradNorm, 梯度归一化; Chen 2018): $w_k$ such that each task's gradient has the
#   same size at the shared parameters.

# %%
rules = {"uncertainty": weighting.uncertainty, "equal gradients": weighting.gradient_norm()}
by_rule = {name: study(bottom, task_names, weights=rule)[0] for name, rule in rules.items()}

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True)
panels = {"click": ("clicks", slice(1, None)), "unbiased": ("conversion, unbiased", slice(0, -1))}
for axis, (metric, (title, used)) in zip(axes, panels.items(), strict=True):
    axis.plot(shares[used], mixtures[metric][used, -1], marker="o", label="fixed weights")
    for (name, history), (colour, style) in zip(by_rule.items(), (("C1", "--"), ("C2", "-.")), strict=True):
        axis.axhline(history[metric][-1], color=colour, linestyle=style, label=name)
    axis.set(title=title, xlabel="weight of the click task", ylabel="AUC after the last epoch")
axes[0].legend()
plt.show()

# %% [markdown]
# Clicks gain from more weight, as one expects. But conversion gains from the weight of *clicks* too: it has
# labels for a third of the rows only, while the shared embeddings learn the shoppers' taste from all
# impressions. The rules save the search for a weight. Equal gradients are level with the best fixed weight on
# conversion and a little behind it on clicks. (One seed: differences below 0.01 mean nothing.)
#
# ## 3 Experts and gates
#
# Where tasks differ, one bottom is a compromise. **MMoE** (Ma 2018) has several experts $f_i$ and for each
# task a gate (门控) that mixes them:
#
# $$\hat y_k = h_k\Big(\sum_i g_k(x)_i\, f_i(x)\Big), \qquad g_k(x) = \operatorname{softmax}(W_k x).$$
#
# **PLE** (Tang 2020) gives each task experts of its own beside the shared ones. It was designed against the
# *seesaw* (跷跷板现象), where one task gains what the other loses.

# %%
mmoe = MMoE(sizes, task_names, 8, experts=4, widths=(16,), tower=(16,))
mmoe_aucs, variables = study(mmoe, task_names)
ple = PLE(sizes, task_names, 8, levels=1, num_task_experts=2, num_shared_experts=2, widths=(16,), tower=(16,))
ple_aucs, _ = study(ple, task_names)


@jax.jit
def gates(variables, batch):
    """The mean weight of every expert in each task's gate."""
    _, captured = mmoe.apply(
        variables,
        batch.query,
        batch.item,
        method="tasks",
        mutable=["intermediates"],
        capture_intermediates=lambda module, _: module.name == "gate",
    )
    logits = {task: captured["intermediates"][f"{task}_gate"]["gate"]["__call__"][0] for task in task_names}
    return {task: jax.nn.softmax(value).mean(axis=0) for task, value in logits.items()}


weight = gates(jax.tree.map(lambda leaf: leaf[0], variables), test)
place = np.arange(4)
figure, axis = plt.subplots(figsize=(6, 3))
for task, shift in zip(task_names, (-0.2, 0.2), strict=True):
    axis.bar(place + shift, weight[task], 0.4, label=task)
axis.set_xticks(place, [f"expert {i + 1}" for i in place])
axis.set(ylabel="mean weight in the gate")
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Conversion relies most on expert 1, clicks on expert 3, and both use the last one equally. Nobody assigned
# them.
#
# ## 4 ESMM: learn from everything that was shown
#
# The *entire space multi-task model* (全空间多任务模型; Ma 2018) has no loss for conversion itself. Of every
# impression we know whether it led to a purchase, and the probability of that is a product:
#
# $$\underbrace{p(\text{click, buy}\mid x)}_{\text{label: purchase}} =
# \underbrace{p(\text{click}\mid x)}_{\text{label: click}} \cdot
# \underbrace{p(\text{buy}\mid\text{click}, x)}_{\text{no label}}$$
#
# Both losses are over all impressions. Conversion is the second factor; it is learnt from all rows and not
# from a selection.

# %%
esmm_aucs, _ = study(ESMM(sizes, 8, (32, 16)), ("purchase", "click"))
aucs = {
    "conversion alone": {metric: values[0] for metric, values in mixtures.items()},
    "shared bottom": {metric: values[2] for metric, values in mixtures.items()},
    "MMoE": mmoe_aucs,
    "PLE": ple_aucs,
    "ESMM": esmm_aucs,
}

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
for axis, metric in zip(axes, ("on clicks", "unbiased"), strict=True):
    for (name, history), mark in zip(aucs.items(), "os^vD", strict=True):
        axis.plot(range(1, num_epochs + 1), history[metric], marker=mark, label=name)
    axis.set(title=f"{metric} (oracle {float(oracle[metric]):.3f})", xlabel="epoch")
axes[0].set_ylabel("AUC of conversion")
axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
for name, history in aucs.items():
    print(f"{name:17} on clicks {history['on clicks'][-1]:.3f}   unbiased {history['unbiased'][-1]:.3f}")

# %% [markdown]
# The right picture is what counts in the shop. ESMM ends above all others there; it needs some epochs,
# because it learns conversion only as a factor of a product. Conversion alone does not improve after its
# first epoch. The left picture is what a real log shows: there the shared bottom ends level with ESMM, and
# nobody could see that ESMM is better on the rows that were not clicked. (One run each; at full size, over
# five seeds, ESMM's gain is 0.025 ± 0.008.)
#
# ## 5 Do the gradients of the tasks point in one direction?
#
# At the shared parameters $\theta$ each task has a gradient $g_k = \nabla_\theta L_k$. If
#
# $$\cos(g_a, g_b) = \frac{\langle g_a, g_b\rangle}{|g_a|\,|g_b|} < 0,$$
#
# a step that lowers the loss of one task raises that of the other (Yu 2020). `weighting.conflict` measures
# this cosine. Here it is, before training and after every epoch, for the three pairs of click, purchase and
# conversion.

# %%
three = SharedBottom(sizes, ("click", "purchase", "conversion"), 8, (32,), (16,))
task_losses = dict.fromkeys(three.task_names, losses.logistic)
some = jax.tree.map(lambda column: column[:4096], test)


@jax.jit
def cosines_of_run(key):
    """The cosine of each pair of tasks before training and after each epoch."""
    optimizer = optax.adam(0.01)
    state = training.init_state(key, three, optimizer, train, constants={"catalogue": shop.catalogue})
    step = training.make_step(objectives.multi_task(three, task_losses), optimizer)

    def cosines(variables):
        return weighting.conflict(three, task_losses, variables, jax.random.key(2), some)

    first = cosines(state.variables)
    _, history = training.fit(step, state, train, cosines, num_epochs=num_epochs, batch_size=2048)
    return {name: jnp.append(first[name], history[name]) for name in first}


figure, axis = plt.subplots(figsize=(6, 3.2))
for name, values in cosines_of_run(jax.random.key(1)).items():
    axis.plot(values, marker="o", label=name.removeprefix("cosine "))
axis.axhline(0, color="0.6", linewidth=1)
axis.set(xlabel="epoch", ylabel="cosine of two gradients")
axis.legend()
plt.show()

# %% [markdown]
# After the first epoch the gradient of purchase is opposed to both others, with cosines near -0.6; later it
# mostly agrees with them. Click and conversion are nearly at right angles: a step for one hardly changes the
# other. Both depend on the same taste in this shop. Where cosines stay below 0, tasks need experts of their
# own, or networks of their own.
#
# ## Exercises
#
# 1. ESMM multiplies probabilities but computes with logits: `both(a, b)` is the logit of
#    $\sigma(a)\,\sigma(b)$. Check it against the definition, also for $a = b = -60$, where the naive
#    way fails.
# 2. What is the average conversion rate over all impressions? Estimate it from *clicked* rows alone: once by
#    their plain mean, once by *inverse propensity weighting* (逆倾向加权), where each clicked row counts
#    $1 / p(\text{click} \mid x)$. Compare with the truth.
# 3. An impression that was *not* clicked still moves ESMM's conversion logit $b$. Let
#    $L = -\ln(1 - \sigma(a)\sigma(b))$. Derive $\partial L / \partial b$ and check it with `jax.grad`. When
#    is it small?

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. The odds of p are p / (1 - p); with p = σ(a) σ(b) their logarithm is -ln(e⁻ᵃ + e⁻ᵇ + e⁻ᵃ⁻ᵇ).
a, b = jnp.array([0.3, -2.0]), jnp.array([1.0, 0.5])
p = jax.nn.sigmoid(a) * jax.nn.sigmoid(b)
assert jnp.allclose(both(a, b), jnp.log(p / (1 - p)), atol=1e-5)
assert jnp.isclose(both(jnp.array(-60.0), jnp.array(-60.0)), -120.0)
assert float(jax.nn.sigmoid(jnp.float32(-60.0)) ** 2) == 0.0  # whose logarithm is -∞

# 2. Each row is among the clicked ones with probability p(click | x), so it counts as 1 / p(click | x) rows.
rate = jax.nn.sigmoid(purchase_logit(shop.world, train.query.user, train.item)).mean()
click, bought = train_rows["click"], train_rows["purchase"]
weight = click / jax.nn.sigmoid(train_rows["logit"])
plain = bought.sum() / click.sum()
weighted = (bought * weight).sum() / weight.sum()
print(f"2. truth {rate:.3f}, mean of clicked rows {plain:.3f}, weighted {weighted:.3f}")
assert abs(weighted - rate) < 0.02 < plain - rate


# 3. ∂L/∂b = σ(a) σ(b) (1 - σ(b)) / (1 - σ(a) σ(b)): small where a click was improbable.
def loss(b, a):
    return -jnp.log(1 - jax.nn.sigmoid(a) * jax.nn.sigmoid(b))


p, q = jax.nn.sigmoid(1.0), jax.nn.sigmoid(0.5)
assert jnp.isclose(jax.grad(loss)(0.5, 1.0), p * q * (1 - q) / (1 - p * q), rtol=1e-4)
assert jax.grad(loss)(0.5, -5.0) < 0.01

# %% [markdown]
# ## Read on
#
# - Caruana 1997, *Multitask learning*, [doi:10.1023/A:1007379606734](https://doi.org/10.1023/A:1007379606734)
# - Ma, Zhao, Yi, Chen, Hong, Chi 2018, *Modeling task relationships in multi-task learning with multi-gate
#   mixture-of-experts*, [doi:10.1145/3219819.3220007](https://doi.org/10.1145/3219819.3220007)
# - Tang, Liu, Zhao, Gong 2020, *Progressive layered extraction (PLE)*,
#   [doi:10.1145/3383313.3412236](https://doi.org/10.1145/3383313.3412236)
# - Ma et al. 2018, *Entire space multi-task model*, [arXiv:1804.07931](https://arxiv.org/abs/1804.07931)
# - Kendall, Gal, Cipolla 2018, *Multi-task learning using uncertainty to weigh losses*,
#   [arXiv:1705.07115](https://arxiv.org/abs/1705.07115)
# - Chen, Badrinarayanan, Lee, Rabinovich 2018, *GradNorm*,
# [arXiv:1711.02257](https://arxiv.org/abs/1711.02257)
# - Yu, Kumar, Gupta, Levine, Hausman, Finn 2020, *Gradient surgery for multi-task learning*,
#   [arXiv:2001.06782](https://arxiv.org/abs/2001.06782)
#
# In the library: [esmm.py](../rezoo/models/ranking/esmm.py), [mmoe.py](../rezoo/models/ranking/mmoe.py),
# [weighting.py](../rezoo/objectives/weighting.py); at full size
# [shop_conversion.py](../experiments/shop_conversion.py).
# Next: [7 · Sessions](7_sessions.ipynb)
