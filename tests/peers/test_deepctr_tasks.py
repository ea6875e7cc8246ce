"""Multi-task models against DeepCTR-Torch's."""

import jax.numpy as jnp
import pytest
from helpers import apply
from peers.common import ITEM, MARKS, agree, put_dense, put_layers, speaking, without_bias
from peers.deepctr import COLUMNS, DIM, OFF, QUERY, SIZES, features, put_tables, score

from rezoo.models import ESMM, PLE, MMoE, SharedBottom

pytestmark = MARKS
TASKS = ("a", "b")


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

    variables, p = many_tasks(model := SharedBottom(SIZES, TASKS, DIM, widths=(8, 5), tower=(4,)))
    theirs = Theirs(features(), bottom_dnn_hidden_units=(8, 5), **TASK_OPTIONS)
    put_towers(theirs, p)
    put_layers(theirs.bottom_dnn.linears, p["bottom"])
    compare_tasks(model, variables, theirs)


def test_mmoe():
    from deepctr_torch.models.multitask import MMOE

    variables, p = many_tasks(model := MMoE(SIZES, TASKS, DIM, experts=3, widths=(8, 5), tower=(4,)))
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

    variables, p = many_tasks(
        model := PLE(
            SIZES,
            TASKS,
            DIM,
            levels=levels,
            num_task_experts=2,
            num_shared_experts=2,
            widths=(8, 5),
            tower=(4,),
        )
    )
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

    variables, p = many_tasks(model := ESMM(SIZES, DIM, widths=(8, 5)))
    theirs = Theirs(features(), tower_dnn_hidden_units=(8, 5), **OFF)
    put_tables(theirs.embedding_dict, p["inputs"]["fields"])
    for part, task in (("ctr_dnn", "click"), ("cvr_dnn", "conversion")):
        put_layers(getattr(theirs, part).linears, p[f"{task}_tower"]["mlp"])
        put_dense(getattr(theirs, f"{part}_final_layer"), p[f"{task}_tower"]["output"])
    ours = apply(model, variables, QUERY, ITEM, method="tasks")
    ours = jnp.stack([ours["click"], ours["purchase"]], axis=1)
    agree(1 / (1 + jnp.exp(-ours)), score(theirs, COLUMNS))
