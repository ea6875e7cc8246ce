"""Models of rezoo as contenders: a turn is an epoch of training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from turns import Turn

from protocols.bench_data import Log, positives
from protocols.contest import DIM, epochs
from rezoo import losses, objectives, sampling
from rezoo.models import MF, LightGCN, NeuMF
from rezoo.models.factorization import lightgcn


def ours_bpr(log: Log, batch: int) -> Turn:
    """MF with BPR; a negative is uniform over the items, as plain torch draws it."""
    num_users, num_items = int(log.user.max()) + 1, int(log.item.max()) + 1
    model = MF(num_users, num_items, DIM)
    objective = objectives.sampled(model, losses.bpr, sampling.uniform(num_items), 1)
    return epochs(model, objective, positives(log), batch)


def ours_neumf(log: Log, batch: int) -> Turn:
    """RecBole's NeuMF: half of a batch's rows are its negatives, layers 128 and 64."""
    num_users, num_items = int(log.user.max()) + 1, int(log.item.max()) + 1
    model = NeuMF(num_users, num_items, DIM, widths=(128, 64), dropout=0.1)
    known = sampling.positives_by_user(log.user, log.item, num_users)
    sampler = sampling.reject_positives(sampling.uniform(num_items), known, num_items)
    return epochs(model, objectives.sampled(model, losses.logistic, sampler, 1), positives(log), batch // 2)


def ours_lightgcn(log: Log, batch: int, steps: int) -> Turn:
    """LightGCN of three layers with BPR, its negatives not among the user's own, as RecBole's.

    A turn is so many steps over the graph of the whole log.
    """
    num_users, num_items = int(log.user.max()) + 1, int(log.item.max()) + 1
    model = LightGCN(num_users, num_items, DIM)
    known = sampling.positives_by_user(log.user, log.item, num_users)
    sampler = sampling.reject_positives(sampling.uniform(num_items), known, num_items)
    objective = objectives.l2(objectives.sampled(model, losses.bpr, sampler, 1), 1e-5 / 2)
    graph = jax.device_put(lightgcn.graph(log.user, log.item, num_users, num_items))
    some = np.random.default_rng(0).permutation(len(log.user))[: batch * steps]
    data = jax.tree.map(lambda column: column[some], positives(log))
    return epochs(model, objective, data, batch, {"graph": graph})


def clicks(log: Log, batch: int, make: Callable[[dict[str, int]], Any]) -> Turn:
    """A model of likes (4 stars or more) by age, gender, occupation, year and genres."""
    sizes = {name: int(column.max()) + 1 for name, column in (log.users | log.items).items()}
    sizes |= {"user": int(log.user.max()) + 1, "item": int(log.item.max()) + 1}
    model = make(sizes)
    features = {name: jnp.asarray(column[log.user]) for name, column in log.users.items()}
    data = positives(log)
    label = jnp.asarray(log.rating >= 4, jnp.float32)
    data = data._replace(query=data.query._replace(features=features), label=label)
    catalogue = {name: jnp.asarray(column) for name, column in log.items.items()}
    objective = objectives.pointwise(model, losses.logistic)
    return epochs(model, objective, data, batch, {"catalogue": catalogue})
