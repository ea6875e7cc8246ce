"""Rating models, autoencoders and FISM against RecBole's, and its loss."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, score_all
from peers.common import (
    HISTORY,
    ITEM,
    ITEMS,
    MARKS,
    USERS,
    agree,
    asked,
    put,
    put_dense,
    put_layers,
    speaking,
)
from peers.recbole import peer, rows

from rezoo import losses
from rezoo.models import FISM, GMF, MLP, MultDAE, MultVAE, NeuMF
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


def test_bpr_loss():
    import torch
    from recbole.model.loss import BPRLoss

    score = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    ours = losses.bpr(jnp.array(score), jnp.tile(jnp.array([1.0, 0.0]), (6, 1))).mean()
    theirs = BPRLoss()(*torch.as_tensor(score).T)
    assert abs(float(ours) - float(theirs)) < 1e-6
