"""Losses and optimizers against torch's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from peers.common import MARKS, agree, moved, put

from rezoo import losses
from rezoo.training import row_sparse

pytestmark = MARKS


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (losses.squared, "mse_loss"),
        (losses.absolute, "l1_loss"),
        (functools.partial(losses.huber, delta=0.7), "huber_loss"),
        (losses.logistic, "binary_cross_entropy_with_logits"),
    ],
)
def test_pointwise_losses(ours, name):
    import torch

    rng = np.random.default_rng(0)
    score, label = rng.normal(size=20).astype(np.float32), rng.integers(0, 2, 20).astype(np.float32)
    options = {"delta": 0.7} if name == "huber_loss" else {}
    theirs = torch.tensor(score, requires_grad=True)
    loss = getattr(torch.nn.functional, name)(theirs, torch.tensor(label), **options)
    loss.backward()
    value, slope = jax.value_and_grad(lambda score: ours(score, jnp.array(label)).mean())(jnp.array(score))
    assert abs(float(value) / float(loss) - 1) < 1e-5
    agree(slope, theirs.grad)


def test_hinge_and_softmax():
    import torch

    score = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    label = np.eye(6, 5, dtype=np.float32)
    label[5, 2] = 1
    positive = torch.as_tensor(label.argmax(1))
    cross = torch.nn.functional.cross_entropy(torch.as_tensor(score), positive, reduction="none")
    agree(losses.softmax_cross_entropy(jnp.array(score), jnp.array(label)), cross)
    # torch divides by all 5 classes, ours by the 4 pairs.
    hinge = torch.nn.functional.multi_margin_loss(torch.as_tensor(score), positive, reduction="none")
    agree(losses.hinge(jnp.array(score), jnp.array(label)), hinge * 5 / 4)


def batches(rows):
    rng = np.random.default_rng(2)
    return [(ids, (1e-3 * rng.normal(size=(len(ids), 3))).astype(np.float32)) for ids in rows]


def torchs(make, table, steps, sparse=True):
    """The table after torch's optimizer."""
    import torch

    rows = torch.nn.Embedding(*table.shape, sparse=sparse)
    put(rows.weight, table)
    optimizer = make(rows.parameters())
    for ids, slope in steps:
        optimizer.zero_grad()
        (rows(torch.tensor(ids)) * torch.tensor(slope)).sum().backward()
        optimizer.step()
    return rows.weight


TABLE = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)
SOME, ALL = [[0, 2], [1, 2, 4], [0, 1], [2, 4]], [[0, 1, 2, 3, 4]] * 3


def test_lazy_adam_is_sparse_adam_but_for_epsilon():
    import torch

    make = functools.partial(torch.optim.SparseAdam, lr=0.1, eps=1e-12)
    agree(
        moved(row_sparse.lazy_adam(0.1, eps=1e-12), jnp.array(TABLE), batches(SOME)),
        torchs(make, TABLE, batches(SOME)),
    )
    # At the first step its ε is ours times √(1 - β₂).
    make, first = functools.partial(torch.optim.SparseAdam, lr=0.1, eps=1e-3 * 0.001**0.5), batches(SOME)[:1]
    agree(moved(row_sparse.lazy_adam(0.1, eps=1e-3), jnp.array(TABLE), first), torchs(make, TABLE, first))


def test_lazy_adam_is_adam_where_every_row_is_seen():
    import torch

    make = functools.partial(torch.optim.Adam, lr=0.1, eps=1e-3)
    ours = moved(row_sparse.lazy_adam(0.1, eps=1e-3), jnp.array(TABLE), batches(ALL))
    agree(ours, torchs(make, TABLE, batches(ALL), sparse=False))


def test_adagrad_is_torchs_but_for_epsilon():
    """Ours has √(G + ε), as optax has, and theirs √G + ε: the same where ε is 0."""
    import torch

    make = functools.partial(torch.optim.Adagrad, lr=0.1, initial_accumulator_value=0.1, eps=0.0)
    ours = moved(row_sparse.adagrad(0.1, 0.1, 0.0), jnp.array(TABLE), batches(SOME))
    agree(ours, torchs(make, TABLE, batches(SOME)))
    updates, _ = optax.adagrad(0.1, 0.1, 0.5).update(
        jnp.ones(2), optax.adagrad(0.1, 0.1, 0.5).init(jnp.ones(2))
    )
    np.testing.assert_allclose(updates, -0.1 / np.sqrt(1.1 + 0.5), rtol=1e-5)
