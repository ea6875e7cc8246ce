"""The four rows and their columns as DeepCTR-Torch takes them, and our tables in its models."""

import numpy as np
from peers.common import ITEM, ITEMS, USER, USERS, asked, put, put_dense, put_layers

AGE = np.array([1, 3, 0, 2], np.int32)
WORDS = np.array([[1, 2, 0], [4, 0, 0], [3, 1, 2], [2, 0, 0]], np.int32)
SIZES = {"age": 4, "item": ITEMS, "user": USERS, "words": 5}
QUERY = asked(age=AGE, words=WORDS)
DIM, OFF = 3, {"l2_reg_embedding": 0, "l2_reg_linear": 0}
COLUMNS = {"age": AGE, "item": ITEM, "user": USER, "words": WORDS}


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


def without_linear(theirs, output):
    """A peer whose weights of single values are 0, with the bias of our output."""
    zeros = {name: {"embedding": np.zeros((SIZES[name], 1))} for name in SIZES}
    put_linear(theirs, {"weights": zeros, "bias": output["bias"]})


def put_deep(theirs, p, tables="factors"):
    """Copy the columns' vectors, the network over them, and its output."""
    put_tables(theirs.embedding_dict, p[tables])
    put_layers(theirs.dnn.linears, p["mlp"])
    put_dense(theirs.dnn_linear, p["output"])
