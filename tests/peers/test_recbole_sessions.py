"""Session models against RecBole's."""

import jax.numpy as jnp
import numpy as np
from helpers import score_all
from peers.cells import hidasi
from peers.common import ITEMS, MARKS, USERS, agree, asked, put, put_dense, speaking
from peers.recbole import peer, rows

from rezoo.models import NARM, STAMP, Caser, NextItNet
from rezoo.models.session import stamp

pytestmark = MARKS
FULL = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9], [8, 9, 7, 10, 11]], np.int32)


def test_stamp():
    """RecBole has the authors' m_a + m_s and the paper's biases. It attends to padding: its rows are full."""
    import torch
    from recbole.model.sequential_recommender import STAMP as Theirs

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
    batch = {**rows(), "item_list": torch.as_tensor(FULL).long(), "length": torch.full((4,), 5)}
    query = asked()._replace(history=jnp.array(FULL))
    agree(score_all(model, variables, query), theirs.full_sort_predict(batch))


def test_narm():
    """With the encoder of rezoo's equation in torch in the place of torch's own, which has another."""
    from recbole.model.sequential_recommender import NARM as Theirs

    variables, p = speaking(model := NARM(ITEMS, 4, hidden=5))
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

    variables, p = speaking(model := Caser(ITEMS, 4, num_users=USERS, window=5, horizontal=3, vertical=2))
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
    state = theirs.forward(rows()["user"], torch.as_tensor(FULL).long())
    expected = state.detach() @ torch.tensor(p["output"]["embedding"]).T + torch.tensor(
        p["bias"]["embedding"][:, 0]
    )
    agree(score_all(model, variables, asked()._replace(history=jnp.array(FULL))), expected)


def test_nextitnet():
    """RecBole takes the state after the last column: its rows are filled up at their beginning."""
    import torch
    from recbole.model.sequential_recommender import NextItNet as Theirs

    variables, p = speaking(model := NextItNet(ITEMS, 4, dilations=(1, 2), kernel=3))
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
    batch = {**rows(), "item_list": torch.as_tensor(FULL).long()}
    agree(
        score_all(model, variables, asked()._replace(history=jnp.array(FULL))),
        theirs.full_sort_predict(batch),
    )
