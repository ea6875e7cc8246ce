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
# - what *session-based recommendation* (基于会话的推荐) asks: the next click of a visitor of whom nothing is
#   known but the clicks so far;
# - three networks that read a session: GRU4Rec (循环神经网络, a recurrent network), NARM (注意力,
#   attention) and STAMP (short-term memory, 短期记忆), beside what costs nothing: the follower of the last
#   click, and neighbours;
# - how to train on every prefix of a session in one pass;
# - how a list changes click by click, followed in one live session, state by state.
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
from rezoo.datasets import shop, shop_rows
from rezoo.models import NARM, STAMP, VSKNN, CoOccurrence, GRU4Rec, Popularity
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.models.session import neighbours
from rezoo.nn import sequence
from rezoo.types import Batch, Query

plt.style.use("rezoo.studies.pictures")

config = shop.ShopConfig(shoppers=500, products=200, sessions=8_600, session_length=10)
world_key, session_key, train_key = jax.random.split(jax.random.key(0), 3)
world = shop.world(world_key, config)
shopper, clicks = map(np.asarray, shop_rows.draw_sessions(session_key, world, config, config.sessions))
names, items = shop.product_names(np.asarray(world.category)), config.products + 1

# %% [markdown]
# ## 1 What happens in a session
#
# In this shop a session has a hidden intent (意图), say "something for the kitchen", drawn by the shopper's
# taste. It moves on with probability 0.15 after a click. A click is drawn from the products that fit the
# intent, popular ones more often. Here are two sessions:

# %%
for row in clicks[[3, 5]]:
    print(" → ".join(names[item] for item in row if item))

# %% [markdown]
# The task is the next click $s_{t+1}$ given $s_1 \dots s_t$, ranked among all products. A session of
# $n$ clicks holds $n - 1$ such questions, one for each *prefix* (前缀). Real ids start at 1, and 0 pads a
# row at its end.
#
# There is no need to write every prefix out for training. A model that reads from left to right
# (a *causal* model, 因果模型) has a state $h_t$ after each click, and $h_t$ must foretell click $t + 1$:
#
# | state after | $s_1$ | $s_2$ | $s_3$ | … |
# | --- | --- | --- | --- | --- |
# | `history` | $s_1$ | $s_2$ | $s_3$ | … |
# | `item` (target) | $s_2$ | $s_3$ | $s_4$ | … |
#
# One pass over the row trains all of its prefixes.

# %%
known, asked = clicks[:8000], clicks[8000:]


def rows(clicks):
    """Every session as its clicks but the last, and the click that follows each of them."""
    history, target = jnp.asarray(clicks[:, :-1]), jnp.asarray(clicks[:, 1:])
    query = Query(jnp.zeros(len(clicks), jnp.int32), jnp.where(target > 0, history, 0), {})
    return Batch(query, target, (target > 0).astype(jnp.float32), target > 0)


data = rows(known)
print(f"{len(known):,} sessions, {int(data.where.sum()):,} questions to learn from")

# %% [markdown]
# ## 2 Three readers
#
# All three score product $i$ by an inner product of a state and the product's vector $v_i$, and learn by
# the softmax over the whole catalogue (交叉熵, cross entropy): $L = -\ln \operatorname{softmax}_{s_{t+1}}
# \langle h_t, v_i\rangle$.
#
# **GRU4Rec** (Hidasi 2016) carries a state through a gated recurrent unit (门控循环单元):
#
# $$z = \sigma(W_z x_t + U_z h_{t-1}), \quad r = \sigma(W_r x_t + U_r h_{t-1}), \quad
# h_t = (1 - z) \circ h_{t-1} + z \circ \tanh(W x_t + U (r \circ h_{t-1})).$$
#
# The update gate $z$ says how much of the past the new click replaces.
#
# **NARM** (Li 2017) lets the last state look back at all states so far, with attention weights $\alpha$:
#
# $$c_t = \Big[h_t \,;\, \sum_{j \le t} \alpha_{tj} h_j\Big], \qquad
# \alpha_{tj} = v^\top \sigma(A_1 h_t + A_2 h_j), \qquad \text{score}_i = v_i^\top B\, c_t .$$
#
# **STAMP** (Liu 2018) has no recurrence at all. A memory $m$ of the session, an attention over its clicks,
# meets the last click:
# $\text{score}_i = \langle \tanh(W_s m + b_s) \circ \tanh(W_t x_t + b_t),\; v_i\rangle$.

# %%
models = {"GRU4Rec": GRU4Rec(items, 32), "NARM": NARM(items, 32, 32), "STAMP": STAMP(items, 32)}


def trained(model):
    """(variables, training loss after each epoch)."""
    optimizer = optax.adam(0.01)
    step = training.make_step(objectives.next_item_softmax(model), optimizer)

    @jax.jit
    def run(key, data):
        state = training.init_state(key, model, optimizer, data)
        state, history = training.fit(step, state, data, num_epochs=6, batch_size=256)
        return state.variables, history["loss"]

    return run(jax.random.clone(train_key), data)


fitted = {name: trained(model) for name, model in models.items()}
for name, (_, loss) in fitted.items():
    print(f"{name:8}: loss {loss[0]:.2f} after the first epoch, {loss[-1]:.2f} after the last")

# %% [markdown]
# ## 3 What must be beaten
#
# - **Popularity** (热门): the same list for everyone.
# - **Co-occurrence** (共现): what followed the last click most often. It has a memory of one click.
# - **VSKNN** (近邻): what was clicked in past sessions that share clicks with this one, late clicks
#   counting more. Nothing is trained, and in Ludewig and Jannach's comparison (2018) it was often ahead of
#   networks.
#
# The **oracle** knows the shop's parameters, though not the hidden intent, and computes the true
# probability of the next click by the forward algorithm (前向算法) of hidden Markov models.
#
# All are asked after every click of 600 new sessions. `recall@10` (召回率) is the share of questions whose
# answer is among the first 10 of 200 products, `mrr@10` (平均倒数排名) the mean of one over its place.

# %%
lengths = (asked > 0).sum(axis=1)
test = sessions.of_padded(asked, shopper[8000:])
history, target = sessions.prefixes(test, config.session_length - 1)
whose, seen = np.repeat(test.user, lengths - 1), (history > 0).sum(axis=1)
query = Query(jnp.zeros(len(history), jnp.int32), jnp.asarray(history), {})

past = sessions.of_padded(known)
following = cooccurrence.fit(known, items)
every = {
    "Popularity": (Popularity(items), popularity.fit(known, items)),
    "CoOccurrence": (CoOccurrence(items, len(following["params"]["follower"])), following),
    "VSKNN": (
        VSKNN(items, past.num_sessions + 1, recent=200, longest=10),
        neighbours.fit(past, items, recent=200, longest=10),
    ),
} | {name: (models[name], variables) for name, (variables, _) in fitted.items()}


def rank_of(model, variables, query):
    """The place of each prefix's next click in the whole catalogue."""
    run = jax.jit(lambda variables, query, target: evaluation.ranks(model, variables, query, target))
    return run(variables, query, jnp.asarray(target)[:, None])


rank = {name: rank_of(*entry, query) for name, entry in every.items()}
truth = jax.jit(shop.next_click)(world, jnp.asarray(whose), query.history)
rank["oracle"] = metrics.target_ranks(
    truth, jnp.asarray(target)[:, None], where=jnp.broadcast_to((jnp.arange(items) > 0)[None], truth.shape)
)

for name, place in rank.items():
    hit, reciprocal = metrics.recall(place, k=10), metrics.mrr(place, k=10)
    error = float(hit.std()) / len(hit) ** 0.5
    print(f"{name:13} recall@10 {hit.mean():.3f} ± {error:.3f}   mrr@10 {reciprocal.mean():.3f}")

# %%
styles = {
    "Popularity": "k:", "CoOccurrence": "k--x", "VSKNN": "k-.+", "GRU4Rec": "k-o",
    "NARM": "k-s", "STAMP": "k-^", "oracle": "k-",
}  # fmt: skip
figure, panel = plt.subplots(figsize=(7, 4))
for name, place in rank.items():
    hit = np.asarray(metrics.recall(place, k=10))
    by_length = [hit[seen == count].mean() for count in range(1, 10)]
    hollow = {"markerfacecolor": "white"} if name in ("NARM", "STAMP") else {}
    width = 3 if name == "oracle" else 1.2
    panel.plot(range(1, 10), by_length, styles[name], label=name, linewidth=width, markersize=5, **hollow)
panel.set(xlabel="clicks seen so far", ylabel="recall@10 of the next click", ylim=(0.15, 0.7))
panel.legend(ncols=2, loc="lower right")
plt.show()

# %% [markdown]
# All three networks come near the oracle (0.59 of 0.63), well ahead of the last click's followers (0.53), and
# differ from one another by less than their standard errors (标准误). The lead is memory: after one click
# co-occurrence is about as good, and with every further click it falls behind, since it still knows one.
# VSKNN has more recall than co-occurrence (0.55) and less MRR: it finds the neighbourhood, not the order in
# it. This shop was made for models with a state. On real clicks neighbours are harder to beat (Ludewig 2018).
# (Long prefixes come from long sessions alone: there are fewer of them, so that the right end is noisier.)
#
# ## 4 A live session, state by state
#
# A server need not read the whole session again at every click. GRU4Rec's state after a click depends on
# the state before and on the click alone: 32 numbers are all that is kept of a visitor. `method=` runs any
# function on a Linen module, so one step of the recurrence is three lines.

# %%
gru, variables = models["GRU4Rec"], fitted["GRU4Rec"][0]


def click(module, state, item):
    """One click: the state before it and the product in, the state after it out."""
    return module.layers[0](module.item(item[:, None]), state)[0]


step = jax.jit(lambda state, item: gru.apply(variables, state, item, method=click))
reread = jax.jit(lambda query: gru.apply(variables, query, method="encode"))
top = jax.jit(lambda query: evaluation.recommend(gru, variables, query, 4)[0])

visit = asked[lengths == 10][4]
state = jnp.zeros((1, gru.dim))
for number in range(1, 6):
    state = step(state, jnp.asarray(visit[number - 1 : number]))
    read = Query(
        jnp.zeros(1, jnp.int32), jnp.asarray(np.where(np.arange(9) < number, visit[:9], 0))[None], {}
    )
    assert jnp.allclose(state, reread(read)[:, :-1], atol=1e-4)  # the same as reading it all again
    print(f"click {number}: {names[visit[number - 1]]}")
    print(f"   list: {', '.join(names[item] for item in np.asarray(top(read)[0]))}")
print(f"then came: {names[visit[5]]}")

# %% [markdown]
# To see the whole list move, add the probabilities of all products of a category. Each column of the
# pictures is the forecast after one click; a cross marks the category that was clicked next.

# %%
whole = Query(jnp.zeros(1, jnp.int32), jnp.asarray(visit[None, :-1]), {})


@jax.jit
def forecasts(query):
    """The probability of every product after every click."""
    states = gru.apply(variables, query, method="prefixes")[0]
    return jax.nn.softmax((states @ gru.apply(variables, method="table").T)[:, 1:])


forecast = forecasts(whole)
one_by_one = jnp.asarray(np.tril(np.ones((9, 9), np.int32)) * visit[None, :-1])
who = jnp.full(9, shopper[8000:][lengths == 10][4])
best = jnp.exp(jax.jit(shop.next_click)(world, who, one_by_one)[:, 1:])
kind = jax.nn.one_hot(world.category[1:] - 1, len(shop.NOUNS))

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
for panel, (title, chance) in zip(axes, {"GRU4Rec": forecast, "oracle": best}.items(), strict=True):
    image = panel.imshow((chance @ kind).T, cmap="gray_r", vmin=0, vmax=0.6, aspect="auto")
    panel.plot(np.asarray(world.category)[visit[1:]] - 1, "x", color="black", markersize=11, mew=4)
    panel.plot(np.asarray(world.category)[visit[1:]] - 1, "x", color="white", markersize=9, mew=1.5)
    panel.set(title=title, xlabel="after click", xticks=range(9), xticklabels=range(1, 10))
axes[0].set_yticks(range(len(shop.NOUNS)), shop.NOUNS)
figure.colorbar(image, ax=axes, label="probability that the next click is of this category")
plt.show()

# %% [markdown]
# The first click, a lamp, tells the network little, and its forecast is spread over many categories. Two
# clicks on novels later it expects novels. One knife hardly moves it: the state has learnt that an intent
# lasts. The oracle knows whose session this is, so it begins with the shopper's taste, and no lamp misleads
# it.
#
# ## 5 Where NARM looks
#
# Row $t$ of the next picture is the moment after click $t$, column $j$ an earlier click. Shade is the mean
# share of click $j$ in the look back, $|\alpha_{tj}| / \sum_k |\alpha_{tk}|$, over all test sessions of ten
# clicks. (NARM's weights are not a softmax, so they need not be positive.)

# %%
narm, of_narm = models["NARM"], fitted["NARM"][0]


def attention(module, query):
    """α_tj of every event and every event before it."""
    states = module.states(query)
    pair = nn.sigmoid(module.of_query(states)[:, :, None] + module.of_key(states)[:, None])
    return jnp.where(sequence.past(sequence.segments(query)), module.weight(pair)[..., 0], 0.0)


long = jnp.asarray(asked[lengths == 10][:, :-1])
look = jax.jit(lambda query: narm.apply(of_narm, query, method=attention))
alpha = look(Query(jnp.zeros(len(long), jnp.int32), long, {}))
size = jnp.abs(alpha)
share = np.asarray((size / size.sum(axis=-1, keepdims=True)).mean(axis=0))

figure, panel = plt.subplots(figsize=(5, 4))
image = panel.imshow(np.where(np.tri(9), share, np.nan), cmap="gray_r", vmin=0)
ticks = {"xticks": range(9), "xticklabels": range(1, 10), "yticks": range(9), "yticklabels": range(1, 10)}
panel.set(xlabel="looks at click j", ylabel="after click t", **ticks)
figure.colorbar(image, label="mean share of the attention")
plt.show()

# %% [markdown]
# The look back goes to the first clicks more than to the late ones. That makes sense: the recurrent state
# holds the late clicks already, and attention brings back what it may have forgotten.
#
# ## Exercises
#
# 1. Training relies on $h_t$ knowing nothing of what comes later. Replace the last click of the test
#    sessions' histories by product 1 and check for all three networks that no earlier state moves.
# 2. Shuffle all clicks of each prefix but the last. For which models does no score change, and why?
# 3. What is the loss of a model that knows nothing? Check it on an untrained GRU4Rec.

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. A change at the last of nine places leaves the first eight states as they were.
for name, model in models.items():
    run = jax.jit(lambda query, m=model, v=fitted[name][0]: m.apply(v, query, method="prefixes"))
    before, after = (
        run(Query(jnp.zeros(len(long), jnp.int32), x, {})) for x in (long, long.at[:, -1].set(1))
    )
    assert jnp.allclose(before[:, :-1], after[:, :-1], atol=1e-5)
    assert not jnp.allclose(before[:, -1], after[:, -1], atol=1e-2)

# 2. Co-occurrence reads the last click alone, popularity nothing, and STAMP's memory is a sum over clicks
#    without their places. GRU4Rec and NARM read in order. (VSKNN weighs clicks by their place.)
rng = np.random.default_rng(0)
mixed = history.copy()
for row, count in zip(mixed, seen, strict=True):
    row[: count - 1] = rng.permutation(row[: count - 1])
other = Query(query.user, jnp.asarray(mixed), {})
for name in ("CoOccurrence", "STAMP", "GRU4Rec", "NARM"):
    moved = float((rank_of(*every[name], other) != rank[name]).mean())
    print(f"2. {name:12}: {moved:.1%} of the ranks change")
    assert moved < 0.01 if name in ("CoOccurrence", "STAMP") else moved > 0.1

# 3. All of 200 products are as likely: ln 200.
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
