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
# # 10 · Serving
#
# **What you will learn**
#
# - how to save a trained model together with everything that it needs to answer, and to load it elsewhere;
# - how to ask it by the shop's own ids, and to leave out what a customer has already;
# - what to do about customers that the model does not know (cold start, 冷启动): refuse, give the list for
#   everybody, or use their features (特征) or their clicks;
# - how to serve (在线服务) many open sessions at once, where every click changes the list.
#
# You need notebooks 2 and 7. Everything runs on the simulated shop.

# %%
import tempfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from rezoo import losses, objectives, recipes, sampling, training
from rezoo.data import features, sessions
from rezoo.data.batches import pairs, queries
from rezoo.data.interactions import from_columns
from rezoo.datasets import shop_builder
from rezoo.datasets.shop import AGES, GENDERS, ShopConfig
from rezoo.errors import DataError
from rezoo.models import FeatureMF
from rezoo.serving import answers, cold_start, live, saved
from rezoo.serving.bundle import Saved
from rezoo.serving.slots import FullError, Owner, Slots
from rezoo.studies import sweep

plt.style.use("rezoo.studies.pictures")

config = ShopConfig(
    shoppers=800,
    products=150,
    ratings_per_shopper=30,
    impressions=1_000,
    sessions=6_000,
    cold_shoppers=0.15,
    affinity=2.0,
)
shop = shop_builder.draw(config)
customers = np.array([f"C{number:04}" for number in range(config.shoppers + 1)])
products = np.array(shop.names)

# %% [markdown]
# ## 1 From a log to a model in a folder
#
# A shop does not know dense numbers such as user 17. Its log holds customer numbers and product names or
# codes. `from_columns` makes a log of them: it numbers all ids from 1 and keeps the two maps, `log.users` and
# `log.items`. Id 0 is for everything that the log does not hold.

# %%
train, test = shop.ratings
log = from_columns({"customer": customers[train["user"]], "product": products[train["item"]]})
print(f"{log.num_rows:,} purchases of {len(log.users.raw)} customers")
print("first row:", log.users.decode(log.user[:1])[0], "bought", log.items.decode(log.item[:1])[0])

# %% [markdown]
# A *recipe* (训练配方) trains a model with settings that work for most logs. `recipes.bpr` is a matrix
# factorization with the BPR loss (notebook 5).

# %%
mf = recipes.bpr(log, jax.random.key(0), dim=16, num_epochs=40, rate=0.01)
folder = Path(tempfile.mkdtemp()) / "purchases"
saved.save(folder, mf)
print(type(mf.model).__name__, "in", *sorted(path.name for path in folder.iterdir()))

# %% [markdown]
# A model's parameters alone cannot answer anything: row 17 of a table stands for a customer only together
# with the map of ids. So the recipe returns a `Saved`: the model, its variables, both maps, and features and
# histories where the model reads them. `save` writes all of it, and the process that answers needs neither
# the log nor the training code. The folder holds arrays and JSON but no pickle (Python's format for objects,
# which can run code when it is read). It gets its name only when it is complete, so a server that loads it at
# any moment finds either the old model or the new one.

# %%
mf = saved.load(folder)

# %% [markdown]
# ## 2 Lists for customers
#
# `answers.recommend` takes customers as the shop writes them and returns columns in which the products are
# written as in the log.

# %%
someone = "C0017"


def show(table):
    """Each customer's list on one line."""
    for customer in dict.fromkeys(table["user"]):
        print(f"{customer}: {', '.join(table['item'][table['user'] == customer])}")


table = answers.recommend(mf, [someone], 5)
show(table)
print("columns:", *table)

# %% [markdown]
# How many of these does the customer have already? BPR was trained to put purchases on top, so the old ones
# come first. Whether that is wanted depends on the shop: tea is bought again, a lamp rarely. Here we leave
# out what was bought. `exclude` takes a list of products for each customer.

# %%
bought = {customer: [] for customer in log.users.raw}
for user, item in zip(log.users.decode(log.user), log.items.decode(log.item), strict=True):
    bought[user].append(item)

print(f"bought already: {np.isin(table['item'], bought[someone]).sum()} of 5")
show(answers.recommend(mf, [someone], 5, exclude=[bought[someone]]))

# %% [markdown]
# ## 3 Customers that the model does not know
#
# A question with an unknown id has two possible reasons: a new customer, or an error, for example ids that
# have lost their leading zeros on the way through a spreadsheet. An error should not be answered with
# plausible lists. So `recommend` refuses a question if it knows none of the customers:

# %%
try:
    answers.recommend(mf, ["17", "18"], 3)
except DataError as error:
    print(error)

# %% [markdown]
# If it knows some of them, it warns and answers. The warning can be replaced by any function `on_unknown`:
# here it is `print`; in a shop it would count for the monitoring; and `answers.ignore` does nothing. An
# unknown customer has id 0, whose vector is 0, so only the products' biases count: the list is the same for
# everybody.

# %%
newcomers = np.setdiff1d(customers[test["user"]], log.users.raw)
show(answers.recommend(mf, [someone, *newcomers[:2]], 3, on_unknown=print))

# %% [markdown]
# Of a new customer the shop may know an age band and a gender. `FeatureMF` (notebook 1) adds vectors of
# features to that of the id, and in training hides the id from time to time, so that the features alone give
# useful lists too. There is no recipe for it, so we train it as in notebook 5 and make the `Saved` ourselves.
# `user_features` turns raw features to numbers, and `user_columns` holds those of the known customers.

# %%
age, gender = np.array(AGES)[shop.shoppers["age"]], np.array(GENDERS)[shop.shoppers["gender"]]
number = np.array([int(customer[1:]) for customer in log.users.raw])
known_columns = {"age": ["", *age[number]], "gender": ["", *gender[number]]}  # first the unknown customer
user_features = features.fit({"age": features.Categorical(), "gender": features.Categorical()}, known_columns)
user_columns = user_features.transform(known_columns)

model, optimizer = FeatureMF(log.num_users, log.num_items, user_features.sizes, {}, 16), optax.adam(0.01)
data = pairs(log.user, log.item, features={name: column[log.user] for name, column in user_columns.items()})
draw = sampling.reject_positives(
    sampling.uniform(log.num_items),
    sampling.positives_by_user(log.user, log.item, log.num_users),
    log.num_items,
)
objective = objectives.l2(objectives.sampled(model, losses.bpr, draw, 2), 2e-3)


@jax.jit
def trained(key):
    """The variables after 40 epochs."""
    state = training.init_state(key, model, optimizer, data)
    step = training.make_step(objective, optimizer)
    return training.fit(step, state, data, num_epochs=40, batch_size=864)[0].variables


feature_mf = Saved(model, trained(jax.random.key(0)), log.users, log.items, user_columns, user_features)

# %% [markdown]
# The features can come with the question (`columns`), or be added once by `cold_start.with_users`. After that
# the newcomer has an id like all other customers.

# %%
new_number = np.array([int(customer[1:]) for customer in newcomers])
new_columns = {"age": age[new_number], "gender": gender[new_number]}
feature_mf = cold_start.with_users(feature_mf, newcomers, new_columns)
rows = [0, 4, 7]
for row in rows:
    print(f"{newcomers[row]}: {new_columns['age'][row]}, {new_columns['gender'][row]}")
show(answers.recommend(feature_mf, newcomers[rows], 3))

# %% [markdown]
# Are these lists better than one list for everybody? We count how many of the ten products on each list the
# customer bought in the test part (precision@10, 精确率), for newcomers and for known customers.

# %%
bought_later = set(zip(customers[test["user"]], products[test["item"]], strict=True))


def precision(model, who, exclude=None):
    """The share of bought products on each customer's list of ten."""
    table = answers.recommend(model, who, 10, exclude=exclude, on_unknown=answers.ignore)
    hit = [pair in bought_later for pair in zip(table["user"], table["item"], strict=True)]
    return np.reshape(hit, (len(who), 10)).mean(axis=1)


known = log.users.raw[:200]
without_bought = [bought[customer] for customer in known]
measured = {
    "newcomers, MF (the list for everybody)": precision(mf, newcomers),
    "newcomers, FeatureMF (age and gender)": precision(feature_mf, newcomers),
    "known customers, MF": precision(mf, known, without_bought),
    "known customers, FeatureMF": precision(feature_mf, known, without_bought),
}
figure, axis = plt.subplots(figsize=(7.5, 2.6))
for name, values in measured.items():
    summary = sweep.summarise(values)
    axis.errorbar(summary.mean, name, xerr=2 * summary.standard_error, fmt="o", color="C0")
axis.set(xlabel="precision@10 (bars: ± 2 s.e.), higher is better")
axis.grid(axis="y", color="0.9")
axis.invert_yaxis()
plt.show()

# %% [markdown]
# Age and gender make the lists of newcomers better, and the features help with known customers too. (Compare
# within newcomers and within known customers only. A newcomer's list may hold products that they bought
# outside the test part, and these do not count.)
#
# ## 4 Visitors without a name
#
# Most visitors do not log in. All that the shop knows of them are the clicks of this visit, so it needs a
# model that reads a session (notebook 7). For the recipe, each visit in the log is a user of its own.

# %%
train_visits = sessions.of_padded(shop.sessions.train["items"])
visitor = np.repeat(np.arange(train_visits.num_sessions), train_visits.lengths)
visit_log = from_columns({"visitor": visitor, "product": products[train_visits.items]})
gru = recipes.gru4rec(visit_log, jax.random.key(0), dim=32, length=9, rate=5e-3)
saved.save(folder.parent / "visits", gru)
gru = saved.load(folder.parent / "visits")

# %% [markdown]
# The clicks come with the question, as `histories`. The visitor need not be known, because this model reads
# the history only.

# %%
visit = [products[item] for item in shop.sessions.test["items"][12] if item]
print("clicked:", ", ".join(visit[:3]))
show(answers.recommend(gru, ["visitor"], 4, histories=[visit[:3]], exclude=[visit[:3]]))

# %% [markdown]
# ## 5 Live sessions
#
# For a web site this would mean sending the whole history with every click, and the network would read it
# from the start each time. `rezoo.serving.live` keeps the state of every open session on the device instead:
#
# - `serve` prepares what all questions share, the variables and the table of product vectors;
# - `start` makes room for a fixed number of sessions, one *slot* (槽位) each. Arrays of a fixed shape are
#   compiled once, however many visitors come and go;
# - `begin` empties a slot for a new visitor, `observe` takes one click, `recommend` makes the list;
# - `Slots` remembers which visitor has which slot, and frees those that have been idle for half an hour;
# - `Owner` holds the arrays and lets one click after the other change them, whichever thread it comes from.
#
# The functions of `live` are pure functions of arrays, so they can be compiled together. The sessions are
# donated (`donate_argnums`): a click overwrites one row of the arrays instead of copying all of them.

# %%
num_slots = 1_000
served = live.serve(gru.model, gru.variables)
owner = Owner(Slots(num_slots, idle=1800), live.start(gru.model, served, num_slots))
begin = jax.jit(partial(live.begin, gru.model), donate_argnums=1)


@partial(jax.jit, donate_argnums=1)
def observe_and_recommend(served, open_sessions, slot, item):
    """The sessions after one more click, and a list of 4 products without those clicked already."""
    open_sessions = live.observe(gru.model, served, open_sessions, slot, item)
    clicked = live.queries(open_sessions, slot).history
    return open_sessions, live.recommend(gru.model, served, open_sessions, slot, 4, clicked)[0]


def click(visitor, product):
    """The list after this click."""

    def visit(open_sessions, slot, new):
        slot, item = jnp.array([slot]), jnp.asarray(gru.items.encode([product]))
        if new:
            open_sessions = begin(served, open_sessions, slot, queries(rows=1))
        return observe_and_recommend(served, open_sessions, slot, item)

    return gru.items.decode(np.asarray(owner.visit(visitor, visit)[0]))


# %% [markdown]
# Two visitors click in turn. Each has a state of their own, and after each click a new list:

# %%
visits = {
    name: [products[item] for item in shop.sessions.test["items"][row] if item]
    for name, row in (("Ann", 12), ("Bo", 4))
}
last_list = {}
for number in range(4):
    for visitor, visit in visits.items():
        last_list[visitor] = click(visitor, visit[number])
        print(f"{visitor} clicks {visit[number]}\n     → {', '.join(last_list[visitor])}")

# %% [markdown]
# Look at Ann's lists. After a puzzle the network expects lamps, after a second one headphones, with the plant
# pot the lamps are back, and the headphones lead on to tea. Bo clicks backpacks, and the kettle changes one
# place only: the state remembers the first three clicks.
#
# Each list is the same as if the whole history had been sent at once:

# %%
for visitor, visit in visits.items():
    at_once = answers.recommend(gru, [visitor], 4, histories=[visit[:4]], exclude=[visit[:4]])
    print(f"{visitor}: {', '.join(at_once['item'])}")
    assert at_once["item"].tolist() == last_list[visitor].tolist()

# %% [markdown]
# A real shop needs two things more. With millions of products, `rezoo.serving.two_stage` and
# `rezoo.serving.ivf` find candidates without scoring the whole catalogue. And the model is trained again, say
# every night, on a log with the new customers and products: `save` replaces the folder, and the server loads
# it.
#
# ## Exercises
#
# 1. A product is sold out. Keep it out of the lists of three customers without training again.
# 2. Check that a loaded model answers as it did before it was saved.
# 3. `Slots` takes a `clock`. Build one with two slots and a clock that you set by hand. What happens when a
#    third visitor comes after a minute, and what when they come after an hour?

# %% [markdown]
# ### Answers (folded: click on the dots or the arrow)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# 1. It is in the exclusion list of everybody.
three = ["C0001", "C0002", "C0003"]
sold_out = answers.recommend(mf, three, 1)["item"][0]
table = answers.recommend(mf, three, 5, exclude=[[sold_out]] * 3)
assert sold_out not in table["item"] and len(table["item"]) == 15

# 2.
saved.save(folder, feature_mf)
before, after = (answers.recommend(model, newcomers, 5) for model in (feature_mf, saved.load(folder)))
assert before["item"].tolist() == after["item"].tolist()
assert np.array_equal(before["score"], after["score"])

# 3. After a minute there is no room; after an hour both sessions are over, and the first visitor begins
# again.
minutes = 0.0
two = Slots(2, idle=1800, clock=lambda: 60 * minutes)
two.open("Ann"), two.open("Bo")
minutes = 1.0
try:
    two.open("Cy")
except FullError as error:
    print("3.", error)
else:
    raise AssertionError
minutes = 60.0
assert two.open("Cy")[1] and two.open("Ann")[1] and len(two) == 2

# %% [markdown]
# ## Read on
#
# - Covington, Adams, Sargin 2016, *Deep neural networks for YouTube recommendations*,
#   [doi:10.1145/2959100.2959190](https://doi.org/10.1145/2959100.2959190): candidates first, then ranking
# - Kula 2015, *Metadata embeddings for user and item cold-start recommendations*,
#   [arXiv:1507.08439](https://arxiv.org/abs/1507.08439)
# - Sculley and others 2015, *Hidden technical debt in machine learning systems*,
#   [NeurIPS](https://papers.nips.cc/paper/5656-hidden-technical-debt-in-machine-learning-systems)
#
# In the library: [saved.py](../rezoo/serving/saved.py), [answers.py](../rezoo/serving/answers.py),
# [cold_start.py](../rezoo/serving/cold_start.py), [live.py](../rezoo/serving/live.py); a live session in the
# terminal: [live_session.py](../experiments/live_session.py).
# Next: [11 · Beyond one device](11_beyond_one_device.ipynb)
