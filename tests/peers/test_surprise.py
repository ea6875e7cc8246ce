"""Biased MF and SVD++ against Surprise's, with the weights that it learnt."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import score_all
from peers.common import ITEMS, MARKS, USERS, agree

from rezoo.models import BiasedMF, SVDpp
from rezoo.types import Query

pytestmark = MARKS


@pytest.mark.parametrize("name", ["SVD", "SVDpp"])
def test_ratings(name):
    import pandas as pd
    import surprise

    rng = np.random.default_rng(0)
    pairs = [(user, item) for user in range(1, USERS) for item in range(1, ITEMS) if rng.random() < 0.7]
    frame = pd.DataFrame(pairs, columns=["user", "item"])
    frame["rating"] = rng.integers(1, 6, len(frame)).astype(float)
    data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
    theirs = getattr(surprise, name)(n_factors=4, n_epochs=3, lr_all=0.05, init_std_dev=0.5, random_state=0)
    theirs.fit(data)
    users = np.array([data.to_inner_uid(user) for user in range(1, USERS)])
    items = np.array([data.to_inner_iid(item) for item in range(1, ITEMS)])

    def table(rows):
        """With a row for the unknown before them."""
        rows = rows.reshape(len(rows), -1).astype(np.float32)
        return {"embedding": jnp.pad(rows, ((1, 0), (0, 0)))}

    params = {"user": table(theirs.pu[users]), "item": table(theirs.qi[items])}
    params |= {"user_bias": table(theirs.bu[users]), "item_bias": table(theirs.bi[items])}
    history = np.zeros((USERS - 1, ITEMS), np.int32)
    for user, taken in frame.groupby("user")["item"]:
        history[user - 1, : len(taken)] = taken
    if name == "SVDpp":
        params["implicit"] = table(theirs.yj[items])
    model = {"SVD": BiasedMF, "SVDpp": SVDpp}[name](USERS, ITEMS, 4, mean=float(data.global_mean))
    query = Query(jnp.arange(1, USERS, dtype=jnp.int32), jnp.array(history), {})
    expected = [[theirs.estimate(user, item) for item in items] for user in users]
    agree(score_all(model, {"params": params}, query)[:, 1:], expected)
