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
# - why a shop asks several questions of one impression (曝光), and how one network answers them: shared
#   bottom (共享底层), mixture of experts (专家混合; MMoE) and PLE;
# - how a model that learns from clicks alone is misled, *sample selection bias* (样本选择偏差), and what
#   ESMM does about it;
# - how to weigh the losses of several tasks (损失加权), by hand and by rules;
# - how to see whether two tasks help or hinder one another: the angle between their gradients
#   (梯度冲突, gradient conflict).
#
# You need notebook 3 and notebook 5. The simulated shop knows the truth, which no real log can tell.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from rezoo import losses, metrics, objectives, training
from rezoo.data import batches
from rezoo.datasets import shop, shop_rows
from rezoo.models import ESMM, PLE, MMoE, SharedBottom
from rezoo.models.ranking.esmm import both
from rezoo.objectives import weighting
from rezoo.studies import sweep
from rezoo.types import Batch, Target

plt.style.use("rezoo.studies.pictures")

config = shop.ShopConfig(shoppers=300, products=150, impressions=40_000)
world_key, shown_key, buy_key, batch_key = jax.random.split(jax.random.key(0), 4)
world = shop.world(world_key, config)
shown = shop_rows.draw_impressions(shown_key, world, config, config.impressions)

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
# had it been clicked. In `rezoo` a batch holds a `Target(label, where)` for each task, and `where` says
# where the label is known.

# %%
sizes = {"user": config.shoppers + 1, "item": config.products + 1, "hour": len(shop.DAYPARTS)}
sizes |= {"age": len(shop.AGES), "gender": len(shop.GENDERS), "category": len(shop.NOUNS) + 1}
catalogue = {"category": world.category, "log_price": world.log_price}


def batch(rows):
    """Impressions with the labels of three tasks."""
    user, item, hour = (shown[name][rows] for name in ("user", "item", "hour"))
    click, purchase = (shown[name][rows].astype(jnp.float32) for name in ("click", "purchase"))
    features = {"hour": hour, "age": world.age[user], "gender": world.gender[user]}
    every = jnp.ones(len(user), bool)
    tasks = {
        "click": Target(click, every),
        "purchase": Target(purchase, every),
        "conversion": Target(purchase, click > 0),  # known after a click only
    }
    return Batch(batches.queries(user, features=features), item, click, every, tasks)


train, test = batch(slice(0, 32_000)), batch(slice(32_000, 40_000))
for name, target in train.tasks.items():
    known, rate = int(target.where.sum()), float(target.label[target.where].mean())
    print(f"{name:10}: {known:6,} labels, {rate:.0%} of them 1")

# %% [markdown]
# The shop also tells us the *true* conversion rate of every impression, clicked or not. Are clicked
# impressions like the others?

# %%
true_rate = jax.nn.sigmoid(shop.purchase_logit(world, test.query.user, test.item))
clicked = np.asarray(test.label > 0)
bins = np.linspace(0, 1, 26)
plt.figure(figsize=(6, 3.2))
plt.hist(true_rate, bins, density=True, color="0.85", edgecolor="0.3", label="all that was shown")
plt.hist(true_rate[clicked], bins, density=True, histtype="step", color="black", hatch="///", label="clicked")
for value, style in ((true_rate.mean(), "--"), (true_rate[clicked].mean(), "-")):
    plt.axvline(float(value), color="black", linestyle=style, linewidth=1.5)
plt.xlabel("true probability of a purchase after a click")
plt.ylabel("density")
plt.ylim(0, 2.6)
plt.legend(title="vertical lines: means (dashed: all)", loc="upper right")
plt.show()

# %% [markdown]
# No: who clicks likes the product already. A model of conversion that is trained on clicked rows sees the
# right side of this picture, and is then asked about all of it. That is sample selection bias.
#
# So we measure conversion twice: the AUC **on clicks**, which a real log can tell, and the **unbiased**
# AUC over all that was shown, with purchases drawn from their true probability. AUC is the probability
# that a positive is scored above a negative (notebook 4). The oracle (理论上限) scores by the truth itself.

# %%
would_buy = (jax.random.uniform(buy_key, true_rate.shape) < true_rate).astype(jnp.float32)
on_clicks = test.tasks["conversion"]
oracle = {
    "click": metrics.auc(shown["logit"][32_000:], test.label),
    "on clicks": metrics.auc(true_rate, on_clicks.label, where=on_clicks.where),
    "unbiased": metrics.auc(true_rate, would_buy),
}
print({name: round(float(value), 3) for name, value in oracle.items()})

# %% [markdown]
# ## 2 One bottom, several towers
#
# **Shared bottom** (Caruana 1997): one network $f$ for all tasks and a small tower $h_k$ for each,
#
# $$\hat y_k = h_k(f(x)), \qquad L = \sum_k w_k L_k .$$
#
# Each $L_k$ is the logistic loss over the rows whose label is known. The weights $w_k$ are numbers, so
# `vmap` can run over them: one compiled program trains every mixture of the two tasks, from conversion
# alone ($w = 0$) to clicks alone ($w = 1$).

# %%
HEADS, EPOCHS = ("click", "conversion"), 12


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
        state = training.init_state(key, model, optimizer, train, constants={"catalogue": catalogue})
        if weights is weighting.uncertainty:
            state = weighting.with_log_variances(state, optimizer, tasks)
        step = training.make_step(objective, optimizer)
        state, history = training.fit(step, state, train, aucs, num_epochs=EPOCHS, batch_size=2048)
        return history, state.variables

    histories, variables = jax.device_get(sweep.study(run, sweep.keys(1), grid))
    return {name: values[..., 0, :] for name, values in histories.items()}, variables


shares = jnp.array([0.0, 0.2, 0.5, 0.8, 1.0])
bottom = SharedBottom(sizes, HEADS, 8, (32,), (16,))
mixtures, _ = study(bottom, HEADS, {"share": shares})

# %% [markdown]
# Two rules set the weights by themselves:
#
# - **uncertainty** (不确定性加权; Kendall 2018): $L = \sum_k L_k / \sigma_k^2 + \ln \sigma_k$, the $\sigma_k$
#   being learnt: a noisy task counts less;
# - **equal gradients** (after GradNorm, 梯度归一化; Chen 2018): $w_k$ such that each task's gradient has the
#   same size at the shared parameters.

# %%
rules = {"uncertainty": weighting.uncertainty, "equal gradients": weighting.gradient_norm()}
ruled = {name: study(bottom, HEADS, weights=rule)[0] for name, rule in rules.items()}

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True)
panels = {"click": ("clicks", slice(1, None)), "unbiased": ("conversion, unbiased", slice(0, -1))}
for panel, (metric, (title, used)) in zip(axes, panels.items(), strict=True):
    panel.plot(shares[used], mixtures[metric][used, -1], "k-o", label="fixed weights")
    for (name, history), style in zip(ruled.items(), ("--", ":"), strict=True):
        panel.axhline(history[metric][-1], color="0.3", linestyle=style, label=name)
    panel.set(title=title, xlabel="weight of the click task", ylabel="AUC after the last epoch")
axes[0].legend()
plt.show()

# %% [markdown]
# Clicks gain by weight, as one expects. But conversion gains by the weight of *clicks*, too: it has labels
# for a third of the rows only and overfits when it is alone, while shared embeddings learn the shoppers'
# taste from everything shown. The rules spare a search; the best fixed weight is ahead of both here. (One
# seed: differences below 0.01 mean nothing.)
#
# ## 3 Experts and gates
#
# Where tasks differ, one bottom is a compromise. **MMoE** (Ma 2018) has several experts $f_i$ and for each
# task a gate (门控) that mixes them:
#
# $$\hat y_k = h_k\Big(\sum_i g_k(x)_i\, f_i(x)\Big), \qquad g_k(x) = \operatorname{softmax}(W_k x).$$
#
# **PLE** (Tang 2020) gives each task experts of its own beside the shared ones, so that what helps one task
# cannot spoil the other: it was made against the *seesaw* (跷跷板现象), where one task gains what the other
# loses.

# %%
experts = MMoE(sizes, HEADS, 8, experts=4, widths=(16,), tower=(16,))
by_gate, variables = study(experts, HEADS)
levels = PLE(sizes, HEADS, 8, levels=1, num_task_experts=2, num_shared_experts=2, widths=(16,), tower=(16,))
by_level, _ = study(levels, HEADS)


@jax.jit
def gates(variables, rows):
    """Each task's mean share of every expert."""
    _, seen = experts.apply(
        variables,
        rows.query,
        rows.item,
        method="tasks",
        mutable=["intermediates"],
        capture_intermediates=lambda module, _: module.name == "gate",
    )
    logits = {task: seen["intermediates"][f"{task}_gate"]["gate"]["__call__"][0] for task in HEADS}
    return {task: jax.nn.softmax(value).mean(axis=0) for task, value in logits.items()}


share = gates(jax.tree.map(lambda leaf: leaf[0], variables), test)
place = np.arange(4)
plt.figure(figsize=(5, 3))
for task, shift, hatch in zip(HEADS, (-0.2, 0.2), ("", "///"), strict=True):
    plt.bar(place + shift, share[task], 0.4, color="0.9", edgecolor="black", hatch=hatch, label=task)
plt.xticks(place, [f"expert {i + 1}" for i in place])
plt.ylabel("mean weight in the gate")
plt.legend()
plt.show()

# %% [markdown]
# Conversion leans on expert 1, clicks on experts 2 and 3; the last one serves both. Nobody assigned them.
#
# ## 4 ESMM: learn from everything that was shown
#
# The *entire space multi-task model* (全空间多任务模型; Ma 2018) never trains conversion by itself. It
# writes what *is* known of every impression, whether it led to a purchase, as a product:
#
# $$\underbrace{p(\text{click, buy}\mid x)}_{\text{label: purchase}} =
# \underbrace{p(\text{click}\mid x)}_{\text{label: click}} \cdot
# \underbrace{p(\text{buy}\mid\text{click}, x)}_{\text{no label}}$$
#
# Both losses are over all impressions. Conversion is the factor between them, learnt without selection.

# %%
entire, _ = study(ESMM(sizes, 8, (32, 16)), ("purchase", "click"))
scored = {
    "conversion alone": {metric: values[0] for metric, values in mixtures.items()},
    "shared bottom": {metric: values[2] for metric, values in mixtures.items()},
    "MMoE": by_gate,
    "PLE": by_level,
    "ESMM": entire,
}

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
for panel, metric in zip(axes, ("on clicks", "unbiased"), strict=True):
    for (name, history), style in zip(scored.items(), ("k:", "k-.", "k--^", "k--s", "k-o"), strict=True):
        hollow = {"markerfacecolor": "white", "markersize": 5}
        panel.plot(range(1, EPOCHS + 1), history[metric], style, label=name, **hollow)
    panel.set(
        title=f"{metric} (oracle {float(oracle[metric]):.3f})",
        xlabel="epoch",
        ylabel="AUC of conversion",
        ylim=(0.59, 0.695),
    )
axes[1].legend(ncols=2, loc="lower right")
plt.show()
for name, history in scored.items():
    print(f"{name:17} on clicks {history['on clicks'][-1]:.3f}   unbiased {history['unbiased'][-1]:.3f}")

# %% [markdown]
# Right, what counts: ESMM ends at 0.671 and so above what any other model reaches at any epoch. It needs
# time, as it learns conversion from a product. Conversion alone overfits from its first epoch on. Left,
# what a log shows: that first epoch has 0.687, as much as ESMM ever gets. Whoever chooses by clicked rows
# may well take it, and gets 0.654 in the shop. One run each; at full size, over five seeds, ESMM's gain is
# 0.025 ± 0.008.
#
# ## 5 Do the tasks pull in one direction?
#
# At the shared parameters $\theta$ each task has a gradient $g_k = \nabla_\theta L_k$. If
#
# $$\cos(g_a, g_b) = \frac{\langle g_a, g_b\rangle}{|g_a|\,|g_b|} < 0,$$
#
# a step for one task is a step against the other (Yu 2020). `weighting.conflict` measures it. Here it is,
# before training and after every epoch, for the three pairs of click, purchase and conversion.

# %%
three = SharedBottom(sizes, ("click", "purchase", "conversion"), 8, (32,), (16,))
each = dict.fromkeys(three.task_names, losses.logistic)
some = jax.tree.map(lambda column: column[:4096], test)


@jax.jit
def cosines(key):
    """The angles over one run."""
    optimizer = optax.adam(0.01)
    state = training.init_state(key, three, optimizer, train, constants={"catalogue": catalogue})
    step = training.make_step(objectives.multi_task(three, each), optimizer)

    def angles(variables):
        return weighting.conflict(three, each, variables, batch_key, some)

    first = angles(state.variables)
    _, history = training.fit(step, state, train, angles, num_epochs=EPOCHS, batch_size=2048)
    return {name: jnp.append(first[name], history[name]) for name in first}


figure, panel = plt.subplots(figsize=(6, 3.2))
for (name, values), style in zip(cosines(jax.random.key(1)).items(), ("-o", "--s", ":^"), strict=True):
    panel.plot(values, style, color="black", markersize=4, label=name.removeprefix("cosine "))
panel.axhline(0, color="0.6", linewidth=1)
panel.set(xlabel="epoch", ylabel="cosine of two gradients")
panel.legend()
plt.show()

# %% [markdown]
# In the first epochs click and purchase pull against each other, down to -0.5; then they agree, at about
# 0.6. Click and conversion are nearly at right angles: sharing costs little and helps a little. Both come
# of the same taste in this shop. Where angles stay below 0, tasks want experts of their own, or networks
# of their own.
#
# ## Exercises
#
# 1. ESMM multiplies probabilities but computes with logits: `both(a, b)` is the logit of
#    $\sigma(a)\,\sigma(b)$. Check it against the definition, also for $a = b = -60$, where the naive
#    way fails.
# 2. What is the average conversion rate over all that was shown? Estimate it from *clicked* rows alone:
#    once by their plain mean, once by *inverse propensity weighting* (逆倾向加权), where each clicked row
#    counts $1 / p(\text{click} \mid x)$. Compare with the truth.
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

# 2. Clicked rows are a sample in which each row stands with probability p(click | x): weigh it back.
rate = jax.nn.sigmoid(shop.purchase_logit(world, shown["user"], shown["item"])).mean()
bought, weight = shown["purchase"], shown["click"] / jax.nn.sigmoid(shown["logit"])
plain = bought.sum() / shown["click"].sum()
weighed = (bought * weight).sum() / weight.sum()
print(f"2. truth {rate:.3f}, mean of clicked rows {plain:.3f}, weighed {weighed:.3f}")
assert abs(weighed - rate) < 0.02 < plain - rate


# 3. ∂L/∂b = σ(a) σ(b) (1 - σ(b)) / (1 - σ(a) σ(b)): small where a click was unlikely anyway.
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
# - Chen, Badrinarayanan, Lee, Rabinovich 2018, *GradNorm*, [arXiv:1711.02257](https://arxiv.org/abs/1711.02257)
# - Yu, Kumar, Gupta, Levine, Hausman, Finn 2020, *Gradient surgery for multi-task learning*,
#   [arXiv:2001.06782](https://arxiv.org/abs/2001.06782)
#
# In the library: [esmm.py](../rezoo/models/ranking/esmm.py), [mmoe.py](../rezoo/models/ranking/mmoe.py),
# [weighting.py](../rezoo/objectives/weighting.py); at full size
# [shop_conversion.py](../experiments/shop_conversion.py).
# Next: [7 · Sessions](7_sessions.ipynb)
