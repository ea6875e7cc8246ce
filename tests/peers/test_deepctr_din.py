"""DIN against DeepCTR-Torch's, with the paper's unit and with that of the authors' code."""

import functools

import numpy as np
import pytest
from helpers import apply
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
from peers.deepctr import DIM, put_tables, score

from rezoo.models import DIN
from rezoo.models.ranking import din

pytestmark = MARKS


@pytest.mark.parametrize("unit", ["paper's", "code's"])
def test_din(unit):
    """With the paper's figure; the unit sees target - event too, which takes part of the other weights."""
    import torch
    from deepctr_torch.inputs import SparseFeat, VarLenSparseFeat
    from deepctr_torch.layers.activation import Dice
    from deepctr_torch.models import DIN as Theirs

    query = asked()
    code = unit == "code's"
    weights = functools.partial(din.CodeActivation, (6, 4)) if code else din.LocalActivation
    model = DIN({"item": ITEMS, "user": USERS}, DIM, widths=(8, 5), weights=weights, meet=din.beside)
    variables, p = speaking(model, query)
    past = VarLenSparseFeat(
        SparseFeat("hist_item", ITEMS, embedding_dim=DIM, embedding_name="item"),
        maxlen=5,
        length_name="length",
    )
    theirs = Theirs(
        [SparseFeat("user", USERS, embedding_dim=DIM), SparseFeat("item", ITEMS, embedding_dim=DIM), past],
        ["item"],
        dnn_hidden_units=(8, 5),
        dnn_activation="dice",
        att_hidden_size=(6, 4) if code else (36,),
        att_activation="sigmoid" if code else "prelu",
        att_weight_normalization=code,
        l2_reg_embedding=0,
        task="regression",
    )
    put_tables(theirs.embedding_dict, {**p["items"], **p["profile"]})
    attention = theirs.attention.local_att
    if code:
        put_layers(attention.dnn.linears, p["unit"]["unit"])
        output = {name: leaf / np.sqrt(DIM) for name, leaf in p["unit"]["output"].items()}
    else:
        event, target, product = (p["unit"][name]["kernel"] for name in ("event", "target", "product"))
        difference = 0.3 * target - 0.2 * event
        kernel = np.concatenate([target - difference, event + difference, difference, product])
        put_dense(attention.dnn.linears[0], {"kernel": kernel, "bias": p["unit"]["event"]["bias"]})
        put(attention.dnn.activation_layers[0].weight, p["unit"]["activation"]["negative_slope"].reshape(1))
        output = p["unit"]["output"]
    put_dense(attention.dense, output)
    # Ours reads [interest ; target ; user], theirs [user ; item ; interest].
    first = p["layers_0"]["kernel"].reshape(3, DIM, 8)[[2, 1, 0]].reshape(3 * DIM, 8)
    put_dense(theirs.dnn.linears[0], {**p["layers_0"], "kernel": first})
    put_dense(theirs.dnn.linears[1], p["layers_1"])
    # Theirs makes Dice for three axes and gives it two: their own, for two, takes its place.
    theirs.dnn.activation_layers = torch.nn.ModuleList([Dice(8), Dice(5)])
    for number, dice in enumerate(theirs.dnn.activation_layers):
        put(dice.alpha, p[f"dice_{number}"]["alpha"])
        moments = variables["batch_stats"][f"dice_{number}"]["moments"]
        moments["mean"], moments["var"] = moments["mean"] + 0.2, moments["var"] * 1.5
        put(dice.bn.running_mean, moments["mean"])
        put(dice.bn.running_var, moments["var"])
    put(theirs.dnn_linear.weight, p["output"]["kernel"].T)
    put(theirs.out.bias, p["output"]["bias"])
    columns = {"user": USER, "item": ITEM, "hist_item": HISTORY, "length": LENGTH}
    agree(apply(model, variables, query, ITEM), score(theirs, columns)[:, 0])
