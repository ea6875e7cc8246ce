"""Wide & Deep, AFM and DIN in plain PyTorch, as a careful engineer writes them.

torch_ranking.py ROWS.npz MODEL BATCH DIM STEPS THREADS

ROWS has integer columns, `label` among them, and for DIN a `history` `[rows, L]`. One table with
offsets for all columns, pairs of columns by index, fused Adam.
"""

import sys
from itertools import pairwise

import numpy as np
import torch
from rounds import prepare_torch, serve
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

file, name, batch, dim, steps, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
prepare_torch(threads)
columns = {key: torch.as_tensor(value).long() for key, value in np.load(file).items()}
label, history = columns.pop("label").float(), columns.pop("history", None)
top = {key: int(column.max()) for key, column in columns.items()}
if history is not None:
    top["item"] = max(top["item"], int(history.max()))
sizes = [largest + 1 for largest in top.values()]
ids = torch.stack(list(columns.values()), 1) + torch.tensor([0, *np.cumsum(sizes[:-1])])


def layers(*widths):
    """Linear and ReLU, the last one linear alone."""
    made = [module for pair in pairwise(widths) for module in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*made[:-1])


class Tables(nn.Module):
    """Vectors and weights of all columns, and a bias."""

    def __init__(self):
        super().__init__()
        self.vector, self.weight = nn.Embedding(sum(sizes), dim), nn.Embedding(sum(sizes), 1)
        self.bias = nn.Parameter(torch.zeros(1))

    def linear(self, rows):
        return self.bias + self.weight(ids[rows]).sum((1, 2))


class WideDeep(Tables):
    """The wide part: a weight per id."""

    def __init__(self):
        super().__init__()
        self.mlp = layers(len(sizes) * dim, 256, 128, 1)

    def forward(self, rows):
        return self.linear(rows) + self.mlp(self.vector(ids[rows]).flatten(1)).squeeze(1)


class AFM(Tables):
    """Attention 16 wide."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.triu_indices(len(sizes), len(sizes), 1)
        self.attend = layers(dim, 16, 1)
        self.output = nn.Linear(dim, 1, bias=False)

    def forward(self, rows):
        v = self.vector(ids[rows])
        product = v[:, self.first] * v[:, self.second]
        weight = self.attend(product).softmax(1)
        return self.linear(rows) + self.output((weight * product).sum(1)).squeeze(1)


class DIN(nn.Module):
    """The unit's layer over [e ; target ; e ∘ target] is 36 wide; PReLU in it, Dice in the network."""

    def __init__(self):
        super().__init__()
        users, items = sizes
        self.user, self.item = nn.Embedding(users, dim), nn.Embedding(items, dim, padding_idx=0)
        self.event, self.target = nn.Linear(dim, 36), nn.Linear(dim, 36, bias=False)
        self.product, self.act, self.out = nn.Linear(dim, 36, bias=False), nn.PReLU(), nn.Linear(36, 1)
        self.one, self.two, self.three = nn.Linear(4 * dim, 256), nn.Linear(256, 128), nn.Linear(128, 1)
        self.dice = nn.ModuleList([Dice(256), Dice(128)])

    def forward(self, rows):
        user, item = columns["user"][rows], columns["item"][rows]
        past = history[rows]
        e, target = self.item(past), self.item(item)
        hidden = self.event(e) + self.target(target)[:, None] + self.product(e * target[:, None])
        weight = self.out(self.act(hidden)).squeeze(2) * (past > 0)
        interest = torch.einsum("bl,bld->bd", weight, e)
        x = torch.cat([interest, target, interest * target, self.user(user)], 1)
        return self.three(self.dice[1](self.two(self.dice[0](self.one(x))))).squeeze(1)


class Dice(nn.Module):
    """A PReLU whose step stands where the data are."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.alpha = nn.BatchNorm1d(width, affine=False), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        p = self.norm(x).sigmoid()
        return x * (p + (1 - p) * self.alpha)


model = {"WideDeep": WideDeep, "AFM": AFM, "DIN": DIN}[name]()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
order, at = torch.randperm(len(label)), 0


def step() -> None:
    """The next batch of rows in a random order."""
    global order, at
    if at + batch > len(label):
        order, at = torch.randperm(len(label)), 0
    rows = order[at : at + batch]
    at += batch
    optimizer.zero_grad()
    binary_cross_entropy_with_logits(model(rows), label[rows]).backward()
    optimizer.step()


serve(step, steps, min(batch, len(label)), library="torch", version=torch.__version__)
