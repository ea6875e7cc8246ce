"""SASRec, NARM and YouTube's candidate generation against torch-rechub's."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from helpers import apply, score_all
from peers.cells import hidasi
from peers.common import HISTORY, ITEMS, MARKS, USER, USERS, agree, asked, put, put_dense, speaking

from rezoo.models import NARM, SASRec, YouTubeDNN
from rezoo.models.session import narm

pytestmark = MARKS


def rows():
    import torch

    return {"seq": torch.as_tensor(HISTORY).long(), "user": torch.as_tensor(USER).long()}


def test_sasrec():
    """torch-rechub follows the authors' blocks: residuals run round the normalised values."""
    import torch
    from torch_rechub.basic.features import SequenceFeature
    from torch_rechub.models.matching import SASRec as Theirs

    variables, p = speaking(model := SASRec(ITEMS, 4, num_blocks=2, num_heads=2, max_length=5))
    # Its padding is known by a row of zeros, as the authors' is.
    p["item"]["embedding"][0] = 0.0
    variables["params"]["item"] = p["item"]
    feature = SequenceFeature("seq", vocab_size=ITEMS, embed_dim=4, pooling="concat")
    theirs = Theirs([feature], max_len=5, dropout_rate=0.0, num_blocks=2, num_heads=2).eval()
    put(theirs.item_emb.embed_dict["seq"].weight, p["item"]["embedding"])
    put(theirs.position_emb.weight, p["position"]["embedding"])
    norms = [(theirs.last_layernorm, p["norm"])]
    for number in range(2):
        ours, attention = p[f"blocks_{number}"], theirs.attention_layers[number]
        norms += [(theirs.attention_layernorms[number], ours["LayerNorm_0"])]
        norms += [(theirs.forward_layernorms[number], ours["LayerNorm_1"])]
        parts = [ours[name] for name in ("query", "key", "value")]
        put(attention.in_proj_weight, np.concatenate([part["kernel"].T for part in parts]))
        put(attention.in_proj_bias, np.concatenate([part["bias"] for part in parts]))
        put_dense(attention.out_proj, {"kernel": np.eye(4, dtype=np.float32)})  # the authors have none
        for conv, name in (("conv1", "feed_in"), ("conv2", "feed_out")):
            conv = getattr(theirs.forward_layers[number], conv)
            put(conv.weight, ours[name]["kernel"].T[..., None])
            put(conv.bias, ours[name]["bias"])
    for norm, ours in norms:
        put(norm.weight, ours["scale"])
        put(norm.bias, ours["bias"])
        norm.eps = 1e-6  # of Flax, for the authors' 1e-8
    theirs.mode = "user"
    with torch.no_grad():
        states = theirs.user_tower(rows())
    agree(score_all(model, variables, asked()), states.numpy() @ p["item"]["embedding"].T)


def test_narm_with_a_softmax():
    """torch-rechub has the authors' softmax, with sigmoids; the encoder is rezoo's equation in torch."""
    import torch
    from torch_rechub.basic.features import SequenceFeature
    from torch_rechub.models.matching import NARM as Theirs

    variables, p = speaking(model := NARM(ITEMS, 4, hidden=5, normalise=narm.softmax))
    theirs = Theirs(SequenceFeature("seq", ITEMS, 4), 5, 0.0, 0.0).eval()
    cell = hidasi(p["gru"])

    class Packed(torch.nn.Module):
        def forward(self, packed):
            x, length = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
            states = cell(x)[0]
            last = states[torch.arange(len(length)), length - 1][None]
            pack = torch.nn.utils.rnn.pack_padded_sequence
            # Theirs unpacks with the batch on the second axis, and reads the first as the events'.
            return pack(states, length, batch_first=True, enforce_sorted=False), last

    theirs.gru = Packed()
    put(theirs.item_emb.weight, p["item"]["embedding"])
    put(theirs.a_1, p["of_query"]["kernel"].T)
    put(theirs.a_2, p["of_key"]["kernel"].T)
    put(theirs.v, p["weight"]["kernel"])
    put(theirs.b, p["bilinear"]["kernel"].T)
    with torch.no_grad():
        expected = theirs(rows())
    agree(score_all(model, variables, asked()), expected)


def test_youtube_dnn():
    """torch-rechub has the paper's last ReLU layer and no item biases; it scales vectors to length 1."""
    import torch
    from torch_rechub.basic.features import SequenceFeature, SparseFeature
    from torch_rechub.models.matching import YoutubeDNN

    model = YouTubeDNN(ITEMS, {"user": USERS}, 4, widths=(6,), user_activation=nn.relu, bias=False)
    query = asked(user=USER)
    variables, p = speaking(model, query)
    user = SparseFeature("user", USERS, 4)
    past = SequenceFeature("seq", ITEMS, 4, pooling="mean", padding_idx=0)
    item = SparseFeature("item", ITEMS, 4)
    theirs = YoutubeDNN([past, user], [item], [], {"dims": [6, 4]}).eval()
    tables = theirs.embedding.embed_dict
    put(tables["user"].weight, p["context"]["user"]["embedding"])
    put(tables["seq"].weight, p["watched"]["embedding"])
    layers = [layer for layer in theirs.user_mlp.mlp if isinstance(layer, torch.nn.Linear)]
    for layer, ours in zip(layers, (p["mlp"]["Dense_0"], p["last"]), strict=True):
        put_dense(layer, ours)
    for layer in theirs.user_mlp.mlp:
        if isinstance(layer, torch.nn.BatchNorm1d):  # which the paper has not
            layer.eps = 0.0
    theirs.mode = "user"
    with torch.no_grad():
        vector = theirs.user_tower(rows())
    ours = apply(model, variables, query, method="encode")
    agree(ours / jnp.linalg.norm(ours, axis=1, keepdims=True), vector)
