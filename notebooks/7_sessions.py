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
# # 7 · Sessions
#
# **What you will learn**
#
# - the task of *session-based recommendation* (基于会话的推荐): predict the next click of an anonymous
#   visitor from the clicks of the session so far;
# - three networks that read a session: GRU4Rec (循环神经网络, a recurrent network), NARM (注意力,
#   attention) and STAMP (short-term memory, 短期记忆), compared with baselines that need no training;
# - how to train on every prefix of a session in one pass;
# - how the list and the state of the network change with every click of one session.
#
# You need notebook 4 (ranks and metrics). The shop is simulated, so the best possible figure is known.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import linen as nn

from rezoo import evaluation, metrics, objectives, training
from rezoo.data import sessions
from rezoo.data.batches import next_items, queries
from rezoo.datasets import shop_builder
from rezoo.datasets.shop import NOUNS, ShopConfig, next_click
from rezoo.models import NARM, STAMP, VSKNN, CoOccurrence, GRU4Rec, Popularity
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.models.session import neighbours
from rezoo.nn import sequence
from rezoo.studies import sweep

plt.style.use("rezoo.studies.pictures")

config = ShopConfig(
    shoppers=500, products=200, impressions=1_000, sessions=10_000, session_length=10, cold_shoppers=0.0
)
shop = shop_builder.draw(config)
names, items = shop.names, config.products + 1  # id 0 is padding
train_clicks, test_clicks = (part["items"] for part in shop.sessions)

# %% [markdown]
# ## 1 What happens in a session
#
# In this shop a session has a hidden intent (意图), say "something for the kitchen", which depends on the
# shopper's taste. After each click it changes with probability 0.15. A click is drawn from the products that
# fit the intent, popular ones more often. Here are two sessions:

# %%
for row in train_clicks[[3, 5]]:
    print(" → ".join(names[item] for item in row if item))

# %% [markdown]
# The task: given the clicks $s_1 \dots s_t$, rank all products so that the next click $s_{t+1}$ comes first.
# A session of $n$ clicks holds $n - 1$ such questions, one for each *prefix* (前缀). Real ids start at 1, and
# 0 pads a row at its end.
#
# There is no need to write every prefix out for training. A model that reads from left to right
# (a *causal* model, 因果模型) has a state $h_t$ after each click, and $h_t$ must predict click $t + 1$:
#
# | state after | $s_1$ | $s_2$ | $s_3$ | … |
# | --- | --- | --- | --- | --- |
# | `history` | $s_1$ | $s_2$ | $s_3$ | … |
# | `item` (target) | $s_2$ | $s_3$ | $s_4$ | … |
#
# One pass over the row trains all of its prefixes. `next_items` makes such a batch.

# %%
train, test = (sessions.of_padded(part["items"], part["user"]) for part in shop.sessions)
data = next_items(train, length=config.session_length - 1)
print(f"{train.num_sessions:,} sessions, {int(data.where.sum()):,} questions to learn from")

# %% [markdown]
# ## 2 Three networks
#
# All three score product $i$ by an inner product of a state and the product's vector $v_i$, and are trained
# by the softmax cross entropy (交叉熵) over the whole catalogue:
#
# $$L = -\ln \frac{\exp \langle h_t, v_{s_{t+1}}\rangle}{\sum_i \exp \langle h_t, v_i\rangle} .$$
#
# **GRU4Rec** (Hidasi 2016) carries a state through a gated recurrent unit (门控循环单元):
#
# $$z = \sigma(W_z x_t + U_z h_{t-1}), \quad r = \sigma(W_r x_t + U_r h_{t-1}), \quad
# h_t = (1 - z) \circ h_{t-1} + z \circ \tanh(W x_t + U (r \circ h_{t-1})).$$
#
# The update gate $z$ sets how much of the past the new click replaces.
#
# **NARM** (Li 2017) lets the last state look back at all states so far, with attention weights $\alpha$:
#
# $$c_t = \Big[h_t \,;\, \sum_{j \le t} \alpha_{tj} h_j\Big], \qquad
# \alpha_{tj} = v^\top \sigma(A_1 h_t + A_2 h_j), \qquad \text{score}_i = v_i^\top B\, c_t .$$
#
# **STAMP** (Liu 2018) has no recurrence at all. It combines a memory $m$ of the session, which is an
# attention over its clicks, with the last click $x_t$:
# $\text{score}_i = \langle \tanh(W_s m + b_s) \circ \tanh(W_t x_t + b_t),\; v_i\rangle$.

# %%
models = {"GRU4Rec": GRU4Rec(items, 32), "NARM": NARM(items, 32, 32), "STAMP": STAMP(items, 32)}


def trainer(model):
    """`key -> (variables, training loss after each epoch)`."""

    def run(key):
        optimizer = optax.adam(0.01)
        state = training.init_state(key, model, optimizer, data)
        step = training.make_step(objectives.next_item_softmax(model), optimizer)
        state, history = training.fit(step, state, data, num_epochs=6, batch_size=256)
        return state.variables, history["loss"]

    return run


trained = {name: jax.jit(trainer(model))(jax.random.key(1)) for name, model in models.items()}
for name, (_, loss) in trained.items():
    print(f"{name:8}: loss {loss[0]:.2f} after the first epoch, {loss[-1]:.2f} after the last")

# %% [markdown]
# ## 3 Baselines and the oracle
#
# - **Popularity** (热门): the same list for everyone.
# - **Co-occurrence** (共现): what followed the last click most often. It uses one click only.
# - **VSKNN** (近邻, neighbours): what was clicked in past sessions that share clicks with this one; late
#   clicks count more. Nothing is trained, and in Ludewig and Jannach's comparison (2018) it was often ahead
#   of networks.
#
# The **oracle** (理论最优) knows the shop's parameters, but not the hidden intent, and computes the true
# probability of the next click by the forward algorithm (前向算法) of hidden Markov models.
#
# Each of them ranks all 200 products after every click of 2,000 new sessions. `recall@10` (召回率) is the
# share of questions whose answer is among the first 10, and `mrr@10` (平均倒数排名) is the mean of one over
# its place (0 beyond the tenth).

# %%
history, target = sessions.prefixes(test, config.session_length - 1)
num_clicks = (history > 0).sum(axis=1)
shopper = np.repeat(test.user, test.lengths - 1)
query, target = queries(history=history), jnp.asarray(target)[:, None]

following = cooccurrence.fit(train_clicks, items)
contenders = {
    "Popularity": (Popularity(items), popularity.fit(train_clicks, items)),
    "CoOccurrence": (CoOccurrence(items, len(following["params"]["follower"])), following),
    "VSKNN": (
        VSKNN(items, train.num_sessions + 1, recent=200, longest=10),
        neighbours.fit(train, items, recent=200, longest=10),
    ),
} | {name: (models[name], variables) for name, (variables, _) in trained.items()}


def ranks(model, variables, query):
    """The place of each prefix's next click in the whole catalogue."""
    return jax.jit(lambda *args: evaluation.ranks(model, *args))(variables, query, target)


rank = {name: ranks(*contender, query) for name, contender in contenders.items()}
truth = jax.jit(next_click)(shop.world, jnp.asarray(shopper), query.history)
real = jnp.broadcast_to(jnp.arange(items) > 0, truth.shape)
rank["oracle"] = metrics.target_ranks(truth, target, where=real)

for name, place in rank.items():
    hit, reciprocal = sweep.summarise(metrics.recall(place, k=10)), metrics.mrr(place, k=10)
    print(f"{name:13} recall@10 {hit.mean:.3f} ± {hit.standard_error:.3f}   mrr@10 {reciprocal.mean():.3f}")

# %%
figure, axis = plt.subplots(figsize=(7.5, 4))
bounds = {"Popularity": {"color": "0.5", "linestyle": ":"}, "oracle": {"color": "0.5", "linestyle": "--"}}
for (name, place), mark in zip(rank.items(), ["", *"os^vD", ""], strict=True):
    hit = np.asarray(metrics.recall(place, k=10))
    by_length = [hit[num_clicks == count].mean() for count in range(1, 10)]
    axis.plot(range(1, 10), by_length, marker=mark, label=name, **bounds.get(name, {}))
axis.set(xlabel="clicks so far", ylabel="recall@10 of the next click")
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# All three networks come near the oracle (0.59 of 0.63) and are well ahead of co-occurrence (0.53). Among
# them the differences are about as small as the standard errors (标准误). They win by memory: after one click
# co-occurrence is as good, and with every further click it falls further behind, since it uses only the last
# one. VSKNN has more recall than co-occurrence (0.55) and less MRR: it finds the right group of products, but
# not the order in it. This shop suits models with a state; on real clicks neighbours are harder to beat
# (Ludewig 2018). (Only long sessions have long prefixes, so the right end of the picture is noisier.)
#
# ## 4 One session, click by click
#
# A server does not have to read the whole session again at every click. GRU4Rec's state after a click depends
# only on the state before it and on the click, so 32 numbers are all that has to be kept of a visitor. The
# model's method `step` computes one step of the recurrence, and `begin` the state before the first click.
# (Notebook 10 serves many visitors at once in this way.)

# %%
gru, variables = models["GRU4Rec"], trained["GRU4Rec"][0]
step = jax.jit(lambda states, item: gru.apply(variables, states, item, method="step"))
encode = jax.jit(lambda query: gru.apply(variables, query, method="encode"))
top = jax.jit(lambda query: evaluation.recommend(gru, variables, query, 4)[0])

row = np.flatnonzero(test.lengths == 10)[4]
visit = test_clicks[row]
states = gru.apply(variables, queries(rows=1), method="begin")
for number in range(1, 6):
    states = step(states, jnp.asarray(visit[number - 1 : number]))
    so_far = queries(history=[np.where(np.arange(9) < number, visit[:9], 0)])
    assert jnp.allclose(
        gru.apply(variables, states, method="state"), encode(so_far), atol=1e-4
    )  # the same as reading the whole session again
    print(f"click {number}: {names[visit[number - 1]]}")
    print(f"   list: {', '.join(names[item] for item in np.asarray(top(so_far)[0]))}")
print(f"next click: {names[visit[5]]}")

# %% [markdown]
# To see more than the first four products, add up the probabilities of all products of a category. Each
# column of the pictures is the prediction after one click; a cross marks the category of the next click.


# %%
@jax.jit
def next_probabilities(query):
    """The probability of every product after every click."""
    states = gru.apply(variables, query, method="prefixes")[0]
    return jax.nn.softmax((states @ gru.apply(variables, method="table").T)[:, 1:])


prefixes = jnp.asarray(np.tri(9, dtype=np.int32) * visit[None, :-1])
same_shopper = jnp.full(9, test.user[row])
predictions = {
    "GRU4Rec": next_probabilities(queries(history=visit[None, :-1])),
    "oracle": jnp.exp(jax.jit(next_click)(shop.world, same_shopper, prefixes)[:, 1:]),
}
category = shop.products["category"]
of_category = jax.nn.one_hot(category[1:] - 1, len(NOUNS))

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
for axis, (title, probability) in zip(axes, predictions.items(), strict=True):
    image = axis.imshow((probability @ of_category).T, vmin=0, vmax=0.6, aspect="auto")
    axis.plot(category[visit[1:]] - 1, "x", color="C1", markersize=9, markeredgewidth=2)
    axis.set(title=title, xlabel="after click", xticks=range(9), xticklabels=range(1, 10))
axes[0].set_yticks(range(len(NOUNS)), NOUNS)
figure.colorbar(image, ax=axes, label="probability of the category")
plt.show()

# %% [markdown]
# After two scarves both expect another scarf, but a backpack comes. One backpack leaves the network
# undecided; after the second it expects backpacks. The oracle expects them after the first already: it knows
# whose session this is, and so which intents are probable for this shopper.
#
# ## 5 Where NARM looks
#
# Row $t$ of the next picture is the moment after click $t$, and column $j$ is a click up to then. The shade
# is the share of click $j$ in the attention, $|\alpha_{tj}| / \sum_k |\alpha_{tk}|$, averaged over all test
# sessions of ten clicks. (NARM's weights are not a softmax, so they may be negative.)

# %%
narm, narm_variables = models["NARM"], trained["NARM"][0]


def attention(module, query):
    """α_tj of every click t and every click j up to it."""
    states = module.states(query)
    pair = nn.sigmoid(module.of_query(states)[:, :, None] + module.of_key(states)[:, None])
    return jnp.where(sequence.past(sequence.segments(query)), module.weight(pair)[..., 0], 0.0)


long = jnp.asarray(test_clicks[test.lengths == 10][:, :-1])
look_back = jax.jit(lambda query: narm.apply(narm_variables, query, method=attention))
size = jnp.abs(look_back(queries(history=long)))
share = np.asarray((size / size.sum(axis=-1, keepdims=True)).mean(axis=0))

figure, axis = plt.subplots(figsize=(5, 4))
image = axis.imshow(np.where(np.tri(9), share, np.nan), vmin=0)
ticks = {"xticks": range(9), "xticklabels": range(1, 10), "yticks": range(9), "yticklabels": range(1, 10)}
axis.set(xlabel="click j that is looked at", ylabel="after click t", **ticks)
figure.colorbar(image, label="mean share of the attention")
plt.show()

# %% [markdown]
# The early clicks get more attention than the late ones. That makes sense: the recurrent state holds the late
# clicks already, and attention brings back what it may have forgotten.
#
# ## Exercises
#
# 1. Training on all prefixes at once relies on $h_t$ not depending on later clicks. Replace the last click of
#    the test sessions' histories by product 1 and check for all three networks that no earlier state changes.
# 2. Shuffle all clicks of each prefix but the last. For which models does no score change, and why?
# 3. What is the loss of a model that has learnt nothing? Check it on an untrained GRU4Rec.

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. A change at the last of nine places leaves the first eight states as they were.
for name, model in models.items():
    run = jax.jit(lambda query, m=model, v=trained[name][0]: m.apply(v, query, method="prefixes"))
    before, after = (run(queries(history=clicks)) for clicks in (long, long.at[:, -1].set(1)))
    assert jnp.allclose(before[:, :-1], after[:, :-1], atol=1e-5)
    assert not jnp.allclose(before[:, -1], after[:, -1], atol=1e-2)

# 2. Co-occurrence reads the last click alone, popularity nothing, and STAMP's memory is a sum over clicks
#    without their places. GRU4Rec and NARM read in order. (VSKNN weighs clicks by their place.)
rng = np.random.default_rng(0)
shuffled = history.copy()
for row, count in zip(shuffled, num_clicks, strict=True):
    row[: count - 1] = rng.permutation(row[: count - 1])
for name in ("CoOccurrence", "STAMP", "GRU4Rec", "NARM"):
    moved = float((ranks(*contenders[name], queries(history=shuffled)) != rank[name]).mean())
    print(f"2. {name:12}: {moved:.0%} of the ranks change")
    assert moved < 0.01 if name in ("CoOccurrence", "STAMP") else moved > 0.1

# 3. All of 200 products are equally likely: ln 200.
untrained = jax.jit(gru.init)(jax.random.key(1), data.query, data.item)
loss, _ = jax.jit(objectives.next_item_softmax(gru))(untrained, jax.random.key(2), data)
print(f"3. {loss:.3f}, ln 200 = {np.log(200):.3f}")
assert abs(loss - np.log(200)) < 0.02

# %% [markdown]
# ## Read on
#
# - Hidasi, Karatzoglou, Baltrunas, Tikk 2016, *Session-based recommendations with recurrent neural
#   networks*, [arXiv:1511.06939](https://arxiv.org/abs/1511.06939)
# - Li, Ren, Chen, Ren, Lian, Ma 2017, *Neural attentive session-based recommendation*,
#   [arXiv:1711.04725](https://arxiv.org/abs/1711.04725)
# - Liu, Zeng, Mokhosi, Zhang 2018, *STAMP: short-term attention/memory priority model*,
#   [doi:10.1145/3219819.3219950](https://doi.org/10.1145/3219819.3219950)
# - Ludewig, Jannach 2018, *Evaluation of session-based recommendation algorithms*,
#   [arXiv:1803.09587](https://arxiv.org/abs/1803.09587)
# - Rabiner 1989, *A tutorial on hidden Markov models*, [doi:10.1109/5.18626](https://doi.org/10.1109/5.18626)
#
# In the library: [gru4rec.py](../rezoo/models/session/gru4rec.py),
# [narm.py](../rezoo/models/session/narm.py), [stamp.py](../rezoo/models/session/stamp.py); on real clicks
# [session_next_click.py](../experiments/session_next_click.py).
# Next: [8 · Autoencoders, CNNs and GANs](8_autoencoders_cnns_gans.ipynb)
