"""Rating, autoencoding and session models against RecBole's."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, score_all
from peers.common import (
    HISTORY,
    ITEM,
    ITEMS,
    LENGTH,
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

from rezoo import losses
from rezoo.models import FISM, GMF, MLP, NARM, STAMP, Caser, MultDAE, MultVAE, NeuMF, NextItNet
from rezoo.models.rating.mult_vae import kl_from_standard_normal
from rezoo.models.session import stamp

pytestmark = MARKS


class Config(dict):
    """RecBole's settings: None for what is not among them."""

    device = "cpu"

    def __missing__(self, name):
        return None


class Data:
    """What its models ask a data set for."""

    user_num = USERS

    def num(self, field):
        return {"user": USERS, "item": ITEMS}[field]

    def history_item_matrix(self):
        import torch

        ids = torch.zeros(USERS, HISTORY.shape[1], dtype=torch.long)
        ids[USER] = torch.as_tensor(HISTORY).long()
        return ids, (ids > 0).float(), (ids > 0).sum(1)


def peer(kind, **settings):
    fields = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "LIST_SUFFIX": "_list", "NEG_PREFIX": "neg_"}
    more = {"ITEM_LIST_LENGTH_FIELD": "length", "loss_type": "CE", "MAX_ITEM_LIST_LENGTH": HISTORY.shape[1]}
    return kind(Config({**fields, **more, **settings}), Data()).eval()


def rows():
    """Our rows as RecBole's batch."""
    import torch

    columns = {"user": USER, "item": ITEM, "item_list": HISTORY, "length": LENGTH}
    return {name: torch.as_tensor(column).long() for name, column in columns.items()}


@pytest.mark.parametrize("name", ["NeuMF", "GMF", "MLP"])
def test_ncf(name):
    from recbole.model.general_recommender import NeuMF as Theirs

    model = {
        "NeuMF": NeuMF(USERS, ITEMS, 4, (6, 5)),
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

    variables, p = speaking(model := FISM(ITEMS, 4, 0.3))
    theirs = peer(Theirs, embedding_size=4, alpha=0.3, split_to=0, reg_weights=[0.0, 0.0])
    put(theirs.item_src_embedding.weight, p["taken"]["rows"]["embedding"])
    put(theirs.item_dst_embedding.weight, p["item"]["embedding"])
    put(theirs.item_bias, p["item_bias"]["embedding"][:, 0])
    agree(score_all(model, variables, asked()), theirs.full_sort_predict(rows()).reshape(4, ITEMS))


def test_mult_vae_and_its_loss():
    from recbole.model.general_recommender import MultiVAE

    variables, p = speaking(model := MultVAE(ITEMS, 6, 4))
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


def test_stamp():
    """RecBole has the authors' m_a + m_s and the paper's biases. It attends to padding: its rows are full."""
    import torch
    from recbole.model.sequential_recommender import STAMP as Theirs

    full = np.where(HISTORY > 0, HISTORY, 4)
    variables, p = speaking(model := STAMP(ITEMS, 4, memory=stamp.plus_mean))
    theirs = peer(Theirs, embedding_size=4)
    put(theirs.item_embedding.weight, p["item"]["embedding"])
    for part, ours in (
        ("w1", "of_event"),
        ("w2", "of_last"),
        ("w0", "weight"),
        ("mlp_a", "session"),
        ("mlp_b", "last"),
    ):
        put_dense(getattr(theirs, part), p[ours])
    put(theirs.w3.weight, p["of_mean"]["kernel"].T)
    put(theirs.b_a, p["of_mean"]["bias"])
    batch = {**rows(), "item_list": torch.as_tensor(full).long(), "length": torch.full((4,), 5)}
    query = asked()._replace(history=jnp.array(full))
    agree(score_all(model, variables, query), theirs.full_sort_predict(batch))


def test_narm():
    """With the encoder of rezoo's equation in torch in the place of torch's own, which has another."""
    from peers.cells import hidasi
    from recbole.model.sequential_recommender import NARM as Theirs

    variables, p = speaking(model := NARM(ITEMS, 4, 5))
    theirs = peer(Theirs, embedding_size=4, hidden_size=5, n_layers=1, dropout_probs=[0.0, 0.0])
    theirs.gru = hidasi(p["gru"])
    put(theirs.item_embedding.weight, p["item"]["embedding"])
    for part, ours in (("a_1", "of_key"), ("a_2", "of_query"), ("v_t", "weight")):
        put_dense(getattr(theirs, part), p[ours])
    both = p["bilinear"]["kernel"]
    put(theirs.b.weight, np.concatenate([both[5:], both[:5]]).T)  # it has [c ; h]
    agree(score_all(model, variables, asked()), theirs.full_sort_predict(rows()))


def test_caser():
    """Up to [z ; p_u], to which RecBole adds a layer of its own."""
    import torch
    from recbole.model.sequential_recommender import Caser as Theirs

    variables, p = speaking(model := Caser(ITEMS, 4, USERS, 5, 3, 2))
    variables["params"]["user"]["embedding"] = users = np.abs(p["user"]["embedding"])
    theirs = peer(Theirs, embedding_size=4, nh=3, nv=2, dropout_prob=0.0, reg_weight=0.0)
    put(theirs.item_embedding.weight, p["item"]["embedding"])
    put(theirs.user_embedding.weight, users)
    for number, conv in enumerate(theirs.conv_h):
        dense = p[f"heights_{number}"]
        put(conv.weight, dense["kernel"].T.reshape(3, 1, number + 1, 4))
        put(conv.bias, dense["bias"])
    put(theirs.conv_v.weight, p["columns"]["kernel"].T.reshape(2, 1, 5, 1))
    put(theirs.conv_v.bias, p["columns"]["bias"])
    # Ours reads the pooled filters first, and the columns with the filter last.
    kernel, pooled = p["hidden"]["kernel"], 5 * 3
    columns = kernel[pooled:].reshape(4, 2, 4).transpose(1, 0, 2).reshape(8, 4)
    put_dense(theirs.fc1, {"kernel": np.concatenate([columns, kernel[:pooled]]), "bias": p["hidden"]["bias"]})
    theirs.fc2 = torch.nn.Identity()  # the ReLU behind it changes nothing, as users are positive here
    full = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9], [8, 9, 7, 10, 11]], np.int32)
    state = theirs.forward(rows()["user"], torch.as_tensor(full).long())
    expected = state.detach() @ torch.tensor(p["output"]["embedding"]).T + torch.tensor(
        p["bias"]["embedding"][:, 0]
    )
    agree(score_all(model, variables, asked()._replace(history=jnp.array(full))), expected)


def test_nextitnet():
    """RecBole takes the state after the last column: its rows are filled up at their beginning."""
    import torch
    from recbole.model.sequential_recommender import NextItNet as Theirs

    variables, p = speaking(model := NextItNet(ITEMS, 4, (1, 2), 3))
    variables["params"]["output"] = {"embedding": p["item"]["embedding"]}  # it scores by its input table
    theirs = peer(Theirs, embedding_size=4, block_num=1, dilations=[1, 2], kernel_size=3, reg_weight=0.0)
    put(theirs.item_embedding.weight, p["item"]["embedding"])
    put_dense(theirs.final_layer, {"kernel": np.eye(4, dtype=np.float32), "bias": np.zeros(4, np.float32)})
    for number, block in enumerate(theirs.residual_blocks):
        ours = p[f"blocks_{number}"]
        for layer in range(2):
            conv, norm = getattr(block, f"conv{layer + 1}"), getattr(block, f"ln{layer + 1}")
            taps = ours[f"Dense_{layer}"]["kernel"].reshape(3, 4, 4)[::-1]  # ours counts them backwards
            put(conv.weight, taps.transpose(2, 1, 0)[:, :, None])
            put(conv.bias, ours[f"Dense_{layer}"]["bias"])
            put(norm.weight, ours[f"LayerNorm_{layer}"]["scale"])
            put(norm.bias, ours[f"LayerNorm_{layer}"]["bias"])
            norm.eps = 1e-6  # of Flax, for its own of 1e-8
    full = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9], [8, 9, 7, 10, 11]], np.int32)
    batch = {**rows(), "item_list": torch.as_tensor(full).long()}
    agree(
        score_all(model, variables, asked()._replace(history=jnp.array(full))),
        theirs.full_sort_predict(batch),
    )


def test_bpr_loss():
    import torch
    from recbole.model.loss import BPRLoss

    score = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    ours = losses.bpr(jnp.array(score), jnp.tile(jnp.array([1.0, 0.0]), (6, 1))).mean()
    theirs = BPRLoss()(*torch.as_tensor(score).T)
    assert abs(float(ours) - float(theirs)) < 1e-6
