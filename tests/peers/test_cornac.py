"""MF, EASE, GRU4Rec, its losses and its optimizer against Cornac's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import score_all
from peers.common import HISTORY, ITEMS, MARKS, USER, USERS, agree, asked, moved, put, speaking

from rezoo import losses
from rezoo.models import EASE, MF, GRU4Rec
from rezoo.models.factorization import ease
from rezoo.models.session import gru4rec
from rezoo.training import row_sparse

pytestmark = MARKS


def log():
    """Who took what, and the numbers that Cornac gives both."""
    from cornac.data import Dataset

    rows = {(int(user), int(item), 1.0) for user, items in zip(USER, HISTORY, strict=True) for item in items}
    return Dataset.from_uir([row for row in sorted(rows) if row[1] > 0], seed=0)


def test_mf():
    from cornac.models import BPR

    data = log()
    theirs = BPR(k=4, max_iter=1, seed=0).fit(data)
    theirs.i_biases[:] = np.linspace(-1, 1, len(theirs.i_biases))
    model = MF(USERS, ITEMS, 4)
    _, p = speaking(model)
    users, items = list(data.uid_map), list(data.iid_map)  # in the order of its numbers
    p["user"]["embedding"][users] = theirs.u_factors
    p["item"]["embedding"][items] = theirs.i_factors
    p["item_bias"]["embedding"][items] = theirs.i_biases[:, None]
    expected = [theirs.score(data.uid_map[user]) for user in USER.tolist()]
    agree(score_all(model, {"params": p}, asked())[:, np.array(items)], expected)


def test_ease():
    from cornac.models import EASE as Theirs

    data = log()
    theirs = Theirs(lamb=2.0, posB=False, verbose=False).fit(data)
    known = np.array(list(data.iid_map))
    ours = score_all(EASE(ITEMS), ease.fit(HISTORY, ITEMS, l2=2.0), asked())[:, known]
    expected = [np.ravel(theirs.score(data.uid_map[user])) for user in USER.tolist()]
    agree(ours, expected)


def test_gru4rec():
    """Its first layer, that of the authors, looks up the product of our item table and input weights."""
    import torch
    from cornac.models.gru4rec.gru4rec import GRU4RecModel

    variables, p = speaking(model := GRU4Rec(ITEMS, 4))
    theirs = GRU4RecModel(ITEMS, layers=[4], embedding=0, constrained_embedding=False).eval()
    cell = p["layers_0"]
    z, r, new = np.split(cell["input"]["kernel"], 3, 1)
    b_z, b_r, b_new = np.split(cell["input"]["bias"], 3)
    put(theirs.GE.Wx0.weight, p["item"]["embedding"] @ np.concatenate([new, r, z], 1))
    put(theirs.GE.Bh0, np.concatenate([b_new, b_r, b_z]))
    u_z, u_r = np.split(cell["gates"], 2, 1)
    put(theirs.GE.Wrz0, np.concatenate([u_r, u_z], 1))
    put(theirs.GE.Wh0, cell["candidate"])
    put(theirs.Wy.weight, np.pad(p["output"]["embedding"], ((0, 1), (0, 0))))
    put(theirs.By.weight, np.pad(p["bias"]["embedding"], ((0, 1), (0, 0))))
    expected = []
    with torch.no_grad():
        for history in HISTORY:
            states = [torch.zeros(1, 4)]
            for item in history[history > 0].tolist():
                score = theirs(torch.tensor([item]), states, None)
            expected.append(score[0, :ITEMS].numpy())
    agree(score_all(model, variables, asked()), expected)


SQUARE = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
LABEL = np.eye(5, 9, dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("bpr", losses.bpr),
        ("bpr-max", functools.partial(losses.bpr_max, regularisation=0.5)),
        ("cross-entropy", losses.softmax_cross_entropy),
    ],
)
def test_losses_of_a_batchs_own_items(name, ours):
    import torch
    from cornac.models.seq_utils.losses import get_loss_function

    score = torch.tensor(SQUARE, requires_grad=True)
    theirs = get_loss_function(name)(score, bpreg=0.5, elu_param=0.0)
    theirs.backward()
    value, slope = jax.value_and_grad(lambda score: ours(score, jnp.array(LABEL)).mean())(jnp.array(SQUARE))
    assert abs(float(value) - float(theirs.detach())) < 1e-5
    agree(slope, score.grad)


def test_top1_but_for_the_positive_itself():
    """Its mean over the list has the positive in it, as one more pair of σ(0) + σ(s²) - σ(s²) = ½.

    It takes a column from a row and sums the square that they make: it is 5 times what it should be.
    """
    import torch
    from cornac.models.seq_utils.losses import get_loss_function

    score = torch.tensor(SQUARE, requires_grad=True)
    theirs = get_loss_function("top1")(score, n_sample=4) / 5
    theirs.backward()
    value, slope = jax.value_and_grad(lambda s: losses.top1(s, jnp.array(LABEL)).mean())(jnp.array(SQUARE))
    assert abs((8 * float(value) + 0.5) / 9 - float(theirs.detach())) < 1e-5
    agree(8 * slope / 9, score.grad)


@pytest.mark.parametrize("momentum", [0.0, 0.4])
def test_the_optimizer_of_gru4recs_authors(momentum):
    """Dense weights by `gru4rec.adagrad`, looked-up rows by `row_sparse.momentum` of `row_sparse.adagrad`."""
    import torch
    from cornac.models.seq_utils.optim import IndexedAdagradM

    rng = np.random.default_rng(1)
    weight, table, *slopes = rng.normal(size=(5, 6, 4)).astype(np.float32)
    dense, rows = torch.nn.Parameter(torch.tensor(weight)), torch.nn.Embedding(6, 4, sparse=True)
    put(rows.weight, table)
    theirs, ours = (
        IndexedAdagradM([dense, rows.weight], lr=0.1, momentum=momentum),
        gru4rec.adagrad(0.1, momentum),
    )
    weight, state, steps = jnp.array(weight), ours.init(jnp.array(weight)), []
    for ids, slope in zip([[1, 2, 4], [2, 5], [1, 2, 0]], slopes, strict=True):
        theirs.zero_grad()
        ((dense + 0.1 * dense**2) * torch.tensor(slope)).sum().backward()
        (rows(torch.tensor(ids)) * torch.tensor(slope[ids])).sum().backward()
        slope_of_dense = dense.grad.numpy()
        theirs.step()
        updates, state = ours.update(jnp.array(slope_of_dense), state)
        weight = optax.apply_updates(weight, updates)
        steps.append((ids, slope[ids]))
    agree(weight, dense)
    rule = row_sparse.momentum(row_sparse.adagrad(0.1, 0.0, 1e-6), momentum)
    agree(moved(rule, jnp.array(table), steps), rows.weight)
