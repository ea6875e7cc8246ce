"""Models of columns against DeepCTR-Torch's."""

import functools

import jax.numpy as jnp
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
    without_bias,
)

from rezoo.models import (
    AFM,
    DIN,
    DNN,
    ESMM,
    FM,
    NFM,
    PLE,
    AutoInt,
    DCNv2,
    DeepFM,
    MMoE,
    SharedBottom,
    WideDeep,
)
from rezoo.models.ranking import din
from rezoo.nn.interaction import Cross, LowRankCross

pytestmark = MARKS

AGE = np.array([1, 3, 0, 2], np.int32)
WORDS = np.array([[1, 2, 0], [4, 0, 0], [3, 1, 2], [2, 0, 0]], np.int32)
SIZES = {"age": 4, "item": ITEMS, "user": USERS, "words": 5}
QUERY = asked(age=AGE, words=WORDS)
DIM, OFF = 3, {"l2_reg_embedding": 0, "l2_reg_linear": 0}
COLUMNS = {"age": AGE, "item": ITEM, "user": USER, "words": WORDS}
TASKS = ("a", "b")


def features(dim=DIM):
    """The columns in the order that rezoo takes them in, by name."""
    from deepctr_torch.inputs import SparseFeat, VarLenSparseFeat

    single = [SparseFeat(name, SIZES[name], embedding_dim=dim) for name in ("age", "item", "user")]
    several = VarLenSparseFeat(SparseFeat("words", 5, embedding_dim=dim), maxlen=3, combiner="mean")
    return [*single, several]


def put_tables(tables, ours):
    for name, table in tables.items():
        put(table.weight, ours[name]["embedding"])


def score(theirs, columns):
    """The peer's score of our rows, without a sigmoid."""
    import torch

    rows = [np.asarray(columns[name]).reshape(4, -1) for name in theirs.feature_index]
    with torch.no_grad():
        return theirs.eval()(torch.as_tensor(np.concatenate(rows, 1)).float())


def put_linear(theirs, linear):
    put_tables(theirs.linear_model.embedding_dict, linear["weights"])
    put(theirs.out.bias, linear["bias"].reshape(1))


def test_wide_and_deep():
    """A cross is to the peer one more column, of the wide part alone."""
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import WDL

    variables, p = speaking(model := WideDeep(SIZES, (("age", "user"),), 13, DIM, (8, 5)), QUERY)
    wide = [*features(), SparseFeat("crossed", 13, embedding_dim=DIM)]
    theirs = WDL(wide, features(), dnn_hidden_units=(8, 5), task="regression", **OFF)
    p["wide"]["weights"]["crossed"] = p["age_x_user"]
    put_linear(theirs, p["wide"])
    put_tables(theirs.embedding_dict, p["deep"])
    put_layers(theirs.dnn.linears, p["mlp"])
    put_dense(theirs.dnn_linear, p["output"])
    columns = {**COLUMNS, "crossed": (AGE * USERS + USER) % 13}
    agree(apply(model, variables, QUERY, ITEM), score(theirs, columns)[:, 0])


def test_deepfm_and_fm():
    from deepctr_torch.models import DeepFM as Theirs

    variables, p = speaking(model := DeepFM(SIZES, DIM, (8, 5)), QUERY)
    theirs = Theirs(features(), features(), dnn_hidden_units=(8, 5), task="regression", **OFF)
    put_linear(theirs, p["linear"])
    put_tables(theirs.embedding_dict, p["factors"])
    put_layers(theirs.dnn.linears, p["mlp"])
    put_dense(theirs.dnn_linear, p["output"])
    agree(apply(model, variables, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])
    theirs.use_dnn = False
    ours = {"params": {name: variables["params"][name] for name in ("linear", "factors")}}
    agree(apply(FM(SIZES, DIM), ours, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])


def test_nfm():
    from deepctr_torch.models import NFM as Theirs

    variables, p = speaking(model := NFM(SIZES, DIM, (8, 5), batch_norm=False), QUERY)
    theirs = Theirs(features(), features(), dnn_hidden_units=(8, 5), task="regression", **OFF)
    put_linear(theirs, p["linear"])
    put_tables(theirs.embedding_dict, p["factors"])
    put_layers(theirs.dnn.linears, p["mlp"])
    put_dense(theirs.dnn_linear, p["output"])
    agree(apply(model, variables, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])


def test_afm():
    from deepctr_torch.models import AFM as Theirs

    variables, p = speaking(model := AFM(SIZES, DIM, 6), QUERY)
    theirs = Theirs(features(), features(), attention_factor=6, l2_reg_att=0, task="regression", **OFF)
    put_linear(theirs, p["linear"])
    put_tables(theirs.embedding_dict, p["factors"])
    put(theirs.fm.attention_W, p["attention_layer"]["kernel"])
    put(theirs.fm.attention_b, p["attention_layer"]["bias"])
    put(theirs.fm.projection_h, p["attention_score"]["kernel"])
    put(theirs.fm.projection_p, p["output"]["kernel"])
    agree(apply(model, variables, QUERY, ITEM), score(theirs, COLUMNS)[:, 0])


def without_linear(theirs, output):
    """A peer whose weights of single values are 0, with the bias of our output."""
    zeros = {name: {"embedding": np.zeros((SIZES[name], 1))} for name in SIZES}
    put_linear(theirs, {"weights": zeros, "bias": output["bias"]})


def test_dnn():
    from deepctr_torch.models import WDL

    variables, p = speaking(model := DNN(SIZES, DIM, (8, 5)), QUERY)
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
    cross = functools.partial(LowRankCross, 2, 3) if low_rank else Cross
    layers = 1 if low_rank else 2
    variables, p = speaking(model := DCNv2(SIZES, DIM, layers, (8, 5), cross=cross), QUERY)
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
    variables, p = speaking(model := AutoInt(SIZES, 4, 2, 2, 2, (8, 5)), QUERY)
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
    model = DIN({"item": ITEMS, "user": USERS}, DIM, (8, 5), weights, meet=din.beside)
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


def many_tasks(model):
    """Our variables without the biases of the tasks' outputs, which the peer lacks."""
    variables, p = speaking(model, QUERY)
    for name in p:
        if name.endswith("_tower"):
            without_bias(variables["params"], name, "output")
            without_bias(p, name, "output")
    return variables, p


def put_towers(theirs, p):
    put_tables(theirs.embedding_dict, p["inputs"]["fields"])
    for number, task in enumerate(TASKS):
        put_layers(theirs.tower_dnn[number].linears, p[f"{task}_tower"]["mlp"])
        put_dense(theirs.tower_dnn_final_layer[number], p[f"{task}_tower"]["output"])


def put_experts(theirs, ours):
    """Copy experts, which rezoo has as one module with a leading axis."""
    for number, expert in enumerate(theirs):
        layers = ours["experts"].items()
        put_layers(expert.linears, {n: {k: leaf[number] for k, leaf in layer.items()} for n, layer in layers})


def compare_tasks(model, variables, theirs):
    ours = apply(model, variables, QUERY, ITEM, method="tasks")
    agree(jnp.stack([ours[task] for task in TASKS], axis=1), score(theirs, COLUMNS))


TASK_OPTIONS = {
    "task_types": ("regression", "regression"),
    "task_names": TASKS,
    "tower_dnn_hidden_units": (4,),
    **OFF,
}


def test_shared_bottom():
    from deepctr_torch.models.multitask import SharedBottom as Theirs

    variables, p = many_tasks(model := SharedBottom(SIZES, TASKS, DIM, (8, 5), (4,)))
    theirs = Theirs(features(), bottom_dnn_hidden_units=(8, 5), **TASK_OPTIONS)
    put_towers(theirs, p)
    put_layers(theirs.bottom_dnn.linears, p["bottom"])
    compare_tasks(model, variables, theirs)


def test_mmoe():
    from deepctr_torch.models.multitask import MMOE

    variables, p = many_tasks(model := MMoE(SIZES, TASKS, DIM, 3, (8, 5), (4,)))
    theirs = MMOE(features(), 3, (8, 5), gate_dnn_hidden_units=(), **TASK_OPTIONS)
    put_towers(theirs, p)
    put_experts(theirs.expert_dnn, p["experts"])
    for number, task in enumerate(TASKS):
        put_dense(theirs.gate_dnn_final_layer[number], p[f"{task}_gate"]["gate"])
    compare_tasks(model, variables, theirs)


@pytest.mark.parametrize("levels", [1, 2], ids=["CGC", "PLE"])
def test_ple(levels):
    """With as many shared experts as a task has of its own, since the peer makes no others."""
    from deepctr_torch.models.multitask import PLE as Theirs

    variables, p = many_tasks(model := PLE(SIZES, TASKS, DIM, levels, 2, 2, (8, 5), (4,)))
    theirs = Theirs(features(), 2, 2, levels, (8, 5), gate_dnn_hidden_units=(), **TASK_OPTIONS)
    put_towers(theirs, p)
    for level in range(levels):
        put_experts(theirs.shared_experts[level][0], p[f"shared_experts_{level}"])
        for number, task in enumerate(TASKS):
            put_experts(theirs.specific_experts[level][number], p[f"{task}_experts_{level}"])
            gate = theirs.specific_gate_dnn_final_layer[level][number]
            put_dense(gate, p[f"{task}_gate_{level}"]["gate"])
        if level + 1 < levels:
            put_dense(theirs.shared_gate_dnn_final_layer[level], p[f"shared_gate_{level}"]["gate"])
    compare_tasks(model, variables, theirs)


def test_esmm():
    from deepctr_torch.models.multitask import ESMM as Theirs

    variables, p = many_tasks(model := ESMM(SIZES, DIM, (8, 5)))
    theirs = Theirs(features(), tower_dnn_hidden_units=(8, 5), **OFF)
    put_tables(theirs.embedding_dict, p["inputs"]["fields"])
    for part, task in (("ctr_dnn", "click"), ("cvr_dnn", "conversion")):
        put_layers(getattr(theirs, part).linears, p[f"{task}_tower"]["mlp"])
        put_dense(getattr(theirs, f"{part}_final_layer"), p[f"{task}_tower"]["output"])
    ours = apply(model, variables, QUERY, ITEM, method="tasks")
    ours = jnp.stack([ours["click"], ours["purchase"]], axis=1)
    agree(1 / (1 + jnp.exp(-ours)), score(theirs, COLUMNS))
