"""Models of clicks in plain PyTorch, as a careful engineer writes them.

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


class Pairs(Tables):
    """With the number of inputs of a network, and the pairs of columns."""

    def __init__(self):
        super().__init__()
        self.width = len(sizes) * dim
        self.first, self.second = torch.triu_indices(len(sizes), len(sizes), 1)


class AFM(Pairs):
    """Attention 16 wide."""

    def __init__(self):
        super().__init__()
        self.attend = layers(dim, 16, 1)
        self.output = nn.Linear(dim, 1, bias=False)

    def forward(self, rows):
        v = self.vector(ids[rows])
        product = v[:, self.first] * v[:, self.second]
        weight = self.attend(product).softmax(1)
        return self.linear(rows) + self.output((weight * product).sum(1)).squeeze(1)


def hidden(*widths):
    """Layers that all end in a ReLU."""
    return nn.Sequential(layers(*widths), nn.ReLU())


class DCNv2(Pairs):
    """Three cross layers beside the network."""

    def __init__(self):
        super().__init__()
        self.cross = nn.ModuleList(nn.Linear(self.width, self.width) for _ in range(3))
        self.mlp, self.output = hidden(self.width, 256, 128), nn.Linear(self.width + 128, 1)

    def forward(self, rows):
        first = x = self.vector(ids[rows]).flatten(1)
        for layer in self.cross:
            x = first * layer(x) + x
        return self.output(torch.cat([x, self.mlp(first)], 1)).squeeze(1)


class XDeepFM(Pairs):
    """Two layers of 32 maps, by one product each."""

    def __init__(self):
        super().__init__()
        fields = len(sizes)
        self.maps = nn.ModuleList(nn.Linear(n * fields, 32, bias=False) for n in (fields, 32))
        self.mlp, self.output = layers(self.width, 256, 128, 1), nn.Linear(64, 1, bias=False)

    def forward(self, rows):
        v = self.vector(ids[rows])
        first = x = v.transpose(1, 2)
        pooled = []
        for layer in self.maps:
            x = layer((x[..., :, None] * first[..., None, :]).flatten(2))
            pooled.append(x.sum(1))
        return (
            self.linear(rows)
            + self.output(torch.cat(pooled, 1)).squeeze(1)
            + self.mlp(v.flatten(1)).squeeze(1)
        )


class FiBiNET(Pairs):
    """One matrix for all pairs, two units that weigh the columns."""

    def __init__(self):
        super().__init__()
        fields, units = len(sizes), max(len(sizes) // 3, 1)
        self.weigh = nn.Sequential(
            nn.Linear(fields, units, bias=False), nn.ReLU(), nn.Linear(units, fields, bias=False), nn.ReLU()
        )
        self.matrix = nn.Linear(dim, dim, bias=False)
        self.mlp = layers(2 * len(self.first) * dim, 256, 128, 1)

    def forward(self, rows):
        v = self.vector(ids[rows])
        both = v, v * self.weigh(v.mean(2))[..., None]
        products = [(self.matrix(x)[:, self.first] * x[:, self.second]).flatten(1) for x in both]
        return self.linear(rows) + self.mlp(torch.cat(products, 1)).squeeze(1)


class DLRM(Pairs):
    """Inner products of all pairs under the network; there are no numbers."""

    def __init__(self):
        super().__init__()
        self.mlp = layers(len(self.first), 256, 128, 1)

    def forward(self, rows):
        v = self.vector(ids[rows])
        return self.mlp((v @ v.transpose(1, 2))[:, self.first, self.second]).squeeze(1)


class FinalMLP(Pairs):
    """The user gates the first stream, the item the second, by tables of their own; two heads."""

    def __init__(self):
        super().__init__()
        place = list(columns)
        self.own = [place.index("user"), place.index("item")]
        self.context = nn.ModuleList(nn.Embedding(sizes[n], dim) for n in self.own)
        self.gate = nn.ModuleList(layers(dim, 64, self.width) for _ in self.own)
        self.stream = nn.ModuleList(hidden(self.width, 256, 128) for _ in self.own)
        self.one, self.two = nn.Linear(128, 1), nn.Linear(128, 1, bias=False)
        self.bilinear = nn.Parameter(torch.randn(2, 64, 64) / 8)

    def forward(self, rows):
        e, keys = self.vector(ids[rows]).flatten(1), list(columns.values())
        x, y = (
            stream(2 * gate(table(keys[n][rows])).sigmoid() * e)
            for n, table, gate, stream in zip(self.own, self.context, self.gate, self.stream, strict=True)
        )
        left, right = x.view(-1, 2, 64), y.view(-1, 2, 64)
        fused = torch.einsum("bhd,hde,bhe->b", left, self.bilinear, right)
        return (self.one(x) + self.two(y)).squeeze(1) + fused


class MaskNet(Pairs):
    """Three blocks 64 wide in parallel, masks of twice the width."""

    def __init__(self):
        super().__init__()
        wide = 2 * self.width
        self.norm = nn.ModuleList(nn.LayerNorm(dim) for _ in sizes)
        self.mask = nn.ModuleList(layers(self.width, wide, self.width) for _ in range(3))
        self.block = nn.ModuleList(
            nn.Sequential(nn.Linear(self.width, 64, bias=False), nn.LayerNorm(64), nn.ReLU())
            for _ in range(3)
        )
        self.mlp = layers(192, 256, 128, 1)

    def forward(self, rows):
        v = self.vector(ids[rows])
        x = torch.cat([norm(v[:, n]) for n, norm in enumerate(self.norm)], 1)
        flat = v.flatten(1)
        blocks = [block(mask(flat) * x) for mask, block in zip(self.mask, self.block, strict=True)]
        return self.mlp(torch.cat(blocks, 1)).squeeze(1)


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


model = {one.__name__: one for one in (*Tables.__subclasses__(), *Pairs.__subclasses__(), DIN)}[name]()
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
