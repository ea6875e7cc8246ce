"""Models of columns against DeepCTR-Torch's."""

import functools

import numpy as np
import pytest
from helpers import apply
from peers.common import ITEM, MARKS, USER, USERS, agree, put, put_layers, speaking, without_bias
from peers.deepctr import (
    AGE,
    COLUMNS,
    DIM,
    OFF,
    QUERY,
    SIZES,
    features,
    put_deep,
    put_linear,
    put_tables,
    score,
    without_linear,
)

from rezoo.models import AFM, DNN, FM, NFM, AutoInt, DCNv2, DeepFM, WideDeep
from rezoo.nn.interaction import Cross, LowRankCross

pytestmark = MARKS


def test_wide_and_deep():
    """A cross is to the peer one more column, of the wide part alone."""
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import WDL

    variables, p = speaking(
        model := WideDeep(SIZES, crosses=(("age", "user"),), buckets=13, dim=DIM, widths=(8, 5)), QUERY
    )
    wide = [*features(), SparseFeat("crossed", 13, embedding_dim=DIM)]
    theirs = WDL(wide, features(), dnn_hidden_units=(8, 5), task="regression", **OFF)
    p["wide"]["weights"]["crossed"] = p["age_x_user"]
    put_linear(theirs, p["wide"])
    put_deep(theirs, p, "deep")
    columns = {**COLUMNS, "crossed": (AGE * USERS + USER) % 13}
    agree(apply(model, variables, QUERY, ITEM), score(theirs, columns)[:, 0])


def test_deepfm_and_fm():
    from deepctr_torch.models import DeepFM as Theirs

    variables, p = speaking(model := DeepFM(SIZES, DIM, widths=(8, 5)), QUERY)
    theirs = Theirs(features(), features(), dnn_hidden_units=(8, 5), task="regression", **OFF)
    put_linear(theirs, p["linear"])
    put_deep(theirs, p)
    agree(apply(model, variables, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])
    theirs.use_dnn = False
    ours = {"params": {name: variables["params"][name] for name in ("linear", "factors")}}
    agree(apply(FM(SIZES, DIM), ours, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])


def test_nfm():
    from deepctr_torch.models import NFM as Theirs

    variables, p = speaking(model := NFM(SIZES, DIM, widths=(8, 5), batch_norm=False), QUERY)
    theirs = Theirs(features(), features(), dnn_hidden_units=(8, 5), task="regression", **OFF)
    put_linear(theirs, p["linear"])
    put_deep(theirs, p)
    agree(apply(model, variables, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])


def test_afm():
    from deepctr_torch.models import AFM as Theirs

    variables, p = speaking(model := AFM(SIZES, DIM, attention_width=6), QUERY)
    theirs = Theirs(features(), features(), attention_factor=6, l2_reg_att=0, task="regression", **OFF)
    put_linear(theirs, p["linear"])
    put_tables(theirs.embedding_dict, p["factors"])
    put(theirs.fm.attention_W, p["attention_layer"]["kernel"])
    put(theirs.fm.attention_b, p["attention_layer"]["bias"])
    put(theirs.fm.projection_h, p["attention_score"]["kernel"])
    put(theirs.fm.projection_p, p["output"]["kernel"])
    agree(apply(model, variables, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])


def test_dnn():
    from deepctr_torch.models import WDL

    variables, p = speaking(model := DNN(SIZES, DIM, widths=(8, 5)), QUERY)
    theirs = WDL(features(), features(), dnn_hidden_units=(8, 5), task="regression", **OFF)
    without_linear(theirs, p["output"])
    put_tables(theirs.embedding_dict, p["factors"])
    put_layers(theirs.dnn.linears, p["mlp"])
    put(theirs.dnn_linear.weight, p["output"]["kernel"].T)
    agree(apply(model, variables, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])


@pytest.mark.parametrize("low_rank", [False, True])
def test_dcn_v2(low_rank):
    """One low-rank layer: the peer has one gate for all of them, without a bias."""
    from deepctr_torch.models import DCN, DCNMix

    options = {"dnn_hidden_units": (8, 5), "task": "regression", **OFF}
    cross = functools.partial(LowRankCross, rank=2, experts=3) if low_rank else Cross
    layers = 1 if low_rank else 2
    variables, p = speaking(model := DCNv2(SIZES, DIM, num_crosses=layers, widths=(8, 5), cross=cross), QUERY)
    if low_rank:
        theirs = DCNMix(features(), features(), 1, low_rank=2, num_experts=3, **options)
        ours = p["LowRankCross_0"]
        for part in (variables["params"], p):
            without_bias(part, "LowRankCross_0", "gate")
        put(theirs.crossnet.V_list, ours["v"][None])
        put(theirs.crossnet.C_list, ours["c"].swapaxes(1, 2)[None])
        put(theirs.crossnet.U_list, ours["u"].swapaxes(1, 2)[None])
        put(theirs.crossnet.bias, ours["bias"][None, :, None])
        for gate, kernel in zip(theirs.crossnet.gating, ours["gate"]["kernel"].T, strict=True):
            put(gate.weight, kernel[None])
    else:
        theirs = DCN(features(), features(), 2, "matrix", **options)
        dense = [p[f"Cross_{number}"]["Dense_0"] for number in range(2)]
        put(theirs.crossnet.kernels, np.stack([layer["kernel"].T for layer in dense]))
        put(theirs.crossnet.bias, np.stack([layer["bias"][:, None] for layer in dense]))
    without_linear(theirs, p["output"])
    put_tables(theirs.embedding_dict, p["factors"])
    put_layers(theirs.dnn.linears, p["mlp"])
    put(theirs.dnn_linear.weight, p["output"]["kernel"].T)
    agree(apply(model, variables, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])


def test_autoint():
    from deepctr_torch.models import AutoInt as Theirs

    columns = features(dim=4)
    variables, p = speaking(
        model := AutoInt(SIZES, 4, num_layers=2, heads=2, head_width=2, widths=(8, 5)), QUERY
    )
    theirs = Theirs(columns, columns, 2, 2, dnn_hidden_units=(8, 5), l2_reg_embedding=0, task="regression")
    without_linear(theirs, p["output"])
    put_tables(theirs.embedding_dict, p["factors"])
    put_layers(theirs.dnn.linears, p["mlp"])
    for number, layer in enumerate(theirs.int_layers):
        ours = p[f"FieldAttention_{number}"]
        for weight, name in ((layer.W_Query, "q"), (layer.W_key, "k"), (layer.W_Value, "v")):
            put(weight, ours[name]["kernel"].reshape(4, 4))
        put(layer.W_Res, ours["residual"]["kernel"])
    put(theirs.dnn_linear.weight, np.concatenate([p["output"]["kernel"], p["deep"]["kernel"]]).T)
    agree(apply(model, variables, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])
