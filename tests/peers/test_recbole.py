"""Rating models, autoencoders, FISM, SimpleX and LightGCN against RecBole's, and its losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, made, noisy, score_all
from peers.common import (
    HISTORY,
    ITEM,
    ITEMS,
    MARKS,
    USER,
    USERS,
    agree,
    asked,
    put,
    put_dense,
    put_layers,
    speaking,
)
from peers.recbole import drawn, peer, rows

from rezoo import losses, objectives, sampling
from rezoo.data.batches import pairs
from rezoo.models import FISM, GMF, MLP, LightGCN, MultDAE, MultVAE, NeuMF, SimpleX
from rezoo.models.factorization import lightgcn, simplex
from rezoo.models.rating.mult_vae import kl_from_standard_normal

pytestmark = MARKS


@pytest.mark.parametrize("name", ["NeuMF", "GMF", "MLP"])
def test_ncf(name):
    from recbole.model.general_recommender import NeuMF as Theirs

    model = {
        "NeuMF": NeuMF(USERS, ITEMS, 4, widths=(6, 5)),
        "GMF": GMF(USERS, ITEMS, 4),
        "MLP": MLP(USERS, ITEMS, (6, 5)),
    }
    model = model[name]
    variables, p = speaking(model)
    theirs = peer(
        Theirs,
        mf_embedding_size=4,
        mlp_embedding_size=3,
        mlp_hidden_size=[6, 5],
        dropout_prob=0.0,
        mf_train=name != "MLP",
        mlp_train=name != "GMF",
    )
    for part in ("mf", "mlp"):
        ours = "gmf" if part == "mf" else part
        for side in ("user", "item"):
            if f"{ours}_{side}" in p:
                put(getattr(theirs, f"{side}_{part}_embedding").weight, p[f"{ours}_{side}"]["embedding"])
    if "mlp" in p:
        first = {"kernel": p["mlp"]["kernel"], "bias": p["mlp"]["bias"]}
        layers = {"Dense_0": first, "Dense_1": p["mlp"]["MLP_0"]["Dense_0"]}
        put_layers([layer for layer in theirs.mlp_layers.mlp_layers if hasattr(layer, "weight")], layers)
    put_dense(theirs.predict_layer, p["output"])
    batch = rows()
    agree(apply(model, variables, asked(), ITEM), theirs.forward(batch["user"], batch["item"]))


def test_fism():
    from recbole.model.general_recommender import FISM as Theirs

    variables, p = speaking(model := FISM(ITEMS, 4, alpha=0.3))
    theirs = peer(Theirs, embedding_size=4, alpha=0.3, split_to=0, reg_weights=[0.0, 0.0])
    put(theirs.item_src_embedding.weight, p["taken"]["rows"]["embedding"])
    put(theirs.item_dst_embedding.weight, p["item"]["embedding"])
    put(theirs.item_bias, p["item_bias"]["embedding"][:, 0])
    agree(score_all(model, variables, asked()), theirs.full_sort_predict(rows()).reshape(4, ITEMS))


def test_mult_vae_and_its_loss():
    from recbole.model.general_recommender import MultiVAE

    variables, p = speaking(model := MultVAE(ITEMS, hidden=6, latent=4))
    theirs = peer(
        MultiVAE,
        mlp_hidden_size=[6],
        latent_dimension=8,
        dropout_prob=0.0,
        anneal_cap=0.2,
        total_anneal_steps=0,
    )
    bag = p["input"]
    put_dense(theirs.encoder[0], {"kernel": bag["Bag_0"]["rows"]["embedding"], "bias": bag["bias"]})
    put_dense(theirs.encoder[2], p["posterior"])
    put_dense(theirs.decoder[0], p["decoder"]["layers_0"])
    put_dense(
        theirs.decoder[2], {"kernel": p["output"]["embedding"].T, "bias": p["output_bias"]["embedding"][:, 0]}
    )
    matrix = theirs.get_rating_matrix(rows()["user"])
    matrix[:, 0] = 0  # its padding
    z, mean, log_variance = theirs.forward(matrix)
    twice = HISTORY.copy()
    twice[0, 3] = 0  # it knows an item once
    query = asked()._replace(history=jnp.array(twice))
    ours = score_all(model, variables, query)
    agree(ours, z)
    kl = kl_from_standard_normal(jnp.array(mean.detach()), jnp.array(log_variance.detach()))
    likelihood = losses.softmax_cross_entropy(ours, jnp.array(matrix))
    theirs.get_rating_matrix = lambda user: matrix
    assert abs(float((likelihood + 0.2 * kl).mean()) - float(theirs.calculate_loss(rows()))) < 1e-5


def test_mult_dae():
    from recbole.model.general_recommender import MultiDAE

    variables, p = speaking(model := MultDAE(ITEMS, 4))
    theirs = peer(MultiDAE, mlp_hidden_size=[], latent_dimension=4, dropout_prob=0.0)
    encoder = [layer for layer in theirs.encoder.mlp_layers if hasattr(layer, "weight")]
    put_dense(encoder[0], {"kernel": p["input"]["Bag_0"]["rows"]["embedding"], "bias": p["input"]["bias"]})
    put_dense(
        theirs.decoder[0], {"kernel": p["output"]["embedding"].T, "bias": p["output_bias"]["embedding"][:, 0]}
    )
    matrix = theirs.get_rating_matrix(rows()["user"])
    matrix[:, 0] = 0
    twice = HISTORY.copy()
    twice[0, 3] = 0
    agree(score_all(model, variables, asked()._replace(history=jnp.array(twice))), theirs.forward(matrix))


@pytest.mark.parametrize("name", ["mean", "user_attention", "self_attention"])
def test_simplex(name):
    from recbole.model.general_recommender import SimpleX as Theirs

    kinds = {
        "mean": simplex.Mean,
        "user_attention": simplex.UserAttention,
        "self_attention": simplex.SelfAttention,
    }
    _, p = speaking(model := SimpleX(USERS, ITEMS, 4, gamma=0.3, weights=kinds[name]))
    p["item"]["embedding"][0] = 0  # by which it knows padding
    variables = {"params": p}
    negatives = 3
    theirs = peer(
        Theirs,
        embedding_size=4,
        gamma=0.3,
        aggregator=name,
        margin=0.1,
        negative_weight=2.0,
        reg_weight=0.0,
        dropout_prob=0.0,
        train_neg_sample_args={"sample_num": negatives},
    )
    put(theirs.user_emb.weight, p["user"]["embedding"])
    put(theirs.item_emb.weight, p["item"]["embedding"])
    put_dense(theirs.UI_map, p["map"])
    if name != "mean":
        put_dense(theirs.W_k[0], p["weigh"]["key"])
    if name == "self_attention":
        put_dense(theirs.W_q, p["weigh"]["query"])
    agree(score_all(model, variables, asked()), theirs.full_sort_predict(rows()))
    slate = np.concatenate([ITEM[:, None], np.arange(1, 13).reshape(4, negatives) % ITEMS], axis=1)
    score = apply(model, variables, asked(), jnp.array(slate))
    label = jnp.zeros(score.shape).at[:, 0].set(1.0)
    ours = losses.ccl(score, label, margin=0.1, weight=2.0).mean()
    assert abs(float(ours) - float(theirs.calculate_loss(drawn(slate)))) < 1e-5


def test_lightgcn_and_its_loss(monkeypatch):
    from recbole.model.general_recommender import LightGCN as Theirs
    from scipy import sparse

    # Newer versions of SciPy have another name for it.
    update = lambda matrix, values: matrix._dict.update(values)  # noqa: E731
    monkeypatch.setattr(sparse.dok_matrix, "_update", update, raising=False)
    model = LightGCN(USERS, ITEMS, 4)
    graph = {"graph": lightgcn.graph(np.repeat(USER, HISTORY.shape[1]), HISTORY.ravel(), USERS, ITEMS)}
    params = noisy(made(model, graph, asked(), jnp.array(ITEM)), 0.5)
    theirs = peer(Theirs, embedding_size=4, n_layers=3, reg_weight=0.2, require_pow=True)
    for side in ("user", "item"):
        put(getattr(theirs, f"{side}_embedding").weight, params[side]["embedding"])
    variables = {"params": params, **graph}
    agree(score_all(model, variables, asked()), theirs.full_sort_predict(rows()).reshape(4, ITEMS))
    slate = np.stack([ITEM, ITEM[::-1]], axis=1)
    negatives = sampling.fixed(jnp.zeros((USERS, 1), jnp.int32).at[USER].set(slate[:, 1:]))
    objective = objectives.l2(objectives.sampled(model, losses.bpr, negatives, 1), 0.2 / 2)
    ours, _ = objective(variables, jax.random.key(0), pairs(USER, ITEM))
    assert abs(float(ours) - float(theirs.calculate_loss(drawn(slate)))) < 1e-5


def test_bpr_loss():
    import torch
    from recbole.model.loss import BPRLoss

    score = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    ours = losses.bpr(jnp.array(score), jnp.tile(jnp.array([1.0, 0.0]), (6, 1))).mean()
    theirs = BPRLoss()(*torch.as_tensor(score).T)
    assert abs(float(ours) - float(theirs)) < 1e-6
