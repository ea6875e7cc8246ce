"""SASRec, eSASRec, HSTU and BERT4Rec in plain PyTorch, the architecture and sizes of rezoo's.

torch_sequences.py MODEL ITEMS LENGTH ROWS DIM HEADS BLOCKS NEGATIVES STEPS THREADS COMPILED HISTORIES

Attention is `scaled_dot_product_attention`, where it has a softmax; the loss is compiled by `torch.compile`
if COMPILED is 1 and it works: `compiled` of the first answer says so. Causal models take a softmax over each
next item and NEGATIVES shared ones, BERT4Rec one over all items at a fifth of the places. HISTORIES is a
file of NumPy's, a history a row, filled up with 0 behind it; a batch is cut to its longest, and padding is
not scored.
"""

import sys

import numpy as np
import torch
from rounds import prepare_torch, serve
from torch import nn
from torch.nn import functional as fn

name = sys.argv[1]
items, length, rows, dim, heads, blocks, negatives, steps, threads, compiled = map(int, sys.argv[2:12])
prepare_torch(threads)


def split(x):
    """`[B L D]` as `[B H L E]`."""
    return x.view(*x.shape[:2], heads, dim // heads).transpose(1, 2)


def attended(q, k, v, causal, where=None):
    """Softmax attention, its heads side by side; causal, or to the places `where`."""
    return (
        fn.scaled_dot_product_attention(split(q), split(k), split(v), where, is_causal=causal)
        .transpose(1, 2)
        .flatten(2)
    )


class SASRecBlock(nn.Module):
    """Kang 2018, as the authors' code: residuals add the normalised value."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.first, self.second = (nn.Linear(dim, dim) for _ in range(5))
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x):
        asked = self.before(x)
        y = self.after(asked + attended(self.q(asked), self.k(x), self.v(x), True))
        return y + self.second(torch.relu(self.first(y)))


class LiGRBlock(nn.Module):
    """Borisyuk 2025: gated residuals and SwiGLU."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out, self.gate, self.feed_gate = (nn.Linear(dim, dim) for _ in range(6))
        self.into, self.scale = (nn.Linear(dim, 4 * dim, bias=False) for _ in range(2))
        self.back = nn.Linear(4 * dim, dim, bias=False)
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x):
        y = self.before(x)
        x = x + torch.sigmoid(self.gate(x)) * self.out(attended(self.q(y), self.k(y), self.v(y), True))
        y = self.after(x)
        return x + torch.sigmoid(self.feed_gate(x)) * self.back(fn.silu(self.into(y)) * self.scale(y))


class HSTUBlock(nn.Module):
    """Zhai 2024: pointwise attention with a bias for each distance, gated."""

    def __init__(self):
        super().__init__()
        self.mixed, self.out = nn.Linear(dim, 4 * dim, bias=False), nn.Linear(dim, dim)
        self.of_distance = nn.Parameter(0.02 * torch.randn(length))
        place = torch.arange(length)
        self.register_buffer("apart", (place[:, None] - place[None]).clamp(min=0))
        self.register_buffer("past", place[:, None] >= place[None])

    def forward(self, x):
        u, v, q, k = fn.silu(self.mixed(fn.layer_norm(x, (dim,)))).chunk(4, -1)
        size = x.shape[1]
        score = split(q) @ split(k).transpose(2, 3) + self.of_distance[self.apart[:size, :size]]
        weight = torch.where(self.past[:size, :size], fn.silu(score) / length, 0.0)
        summed = (weight @ split(v)).transpose(1, 2).flatten(2)
        return x + self.out(fn.layer_norm(summed, (dim,)) * u)


class BERTBlock(nn.Module):
    """Sun 2019: both sides, normalised behind each residual."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.into, self.back = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x, where):
        y = self.before(x + self.out(attended(self.q(x), self.k(x), self.v(x), False, where)))
        return self.after(y + self.back(fn.gelu(self.into(y), approximate="tanh")))


BLOCKS = {"SASRec": SASRecBlock, "eSASRec": LiGRBlock, "HSTU": HSTUBlock, "BERT4Rec": BERTBlock}


class Model(nn.Module):
    """Items and positions, the blocks, and what stands behind them."""

    def __init__(self):
        super().__init__()
        self.item, self.position = nn.Embedding(items, dim), nn.Embedding(length, dim)
        nn.init.normal_(self.item.weight, std=0.05)
        self.blocks = nn.ModuleList(BLOCKS[name]() for _ in range(blocks))
        self.norm = nn.LayerNorm(dim) if name in ("SASRec", "eSASRec") else nn.Identity()
        if name == "BERT4Rec":
            self.mask, self.head = nn.Parameter(0.05 * torch.randn(dim)), nn.Linear(dim, dim)
            self.bias = nn.Parameter(torch.zeros(items))

    def forward(self, history):
        x = self.item(history) * dim**0.5 + self.position.weight[: history.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def loss(self, history):
        """Of the next items, sampled."""
        state, target = self(history[:, :-1]), history[:, 1:]
        state, target = (x.flatten(0, 1) if full else x[target > 0] for x in (state, target))
        drawn = torch.randint(1, items, (negatives,))
        own = (state * self.item(target)).sum(-1, keepdim=True)
        others = state @ self.item(drawn).T
        others = others.masked_fill(drawn == target[:, None], -1e9)
        score = torch.cat([own, others], -1)
        return fn.cross_entropy(score, torch.zeros(len(score), dtype=torch.long))

    def cloze(self, history):
        """Of hidden items, over all."""
        real = history > 0
        count = (0.2 * real.sum(1, keepdim=True)).round().clamp(min=1)
        most = max(round(0.2 * history.shape[1]), 1)
        place = torch.rand(history.shape).masked_fill(~real, 2.0).argsort(1)[:, :most]
        row = torch.arange(len(history))[:, None].expand_as(place)
        scored = torch.arange(most) < count
        row, place = (x.flatten() if full else x[scored] for x in (row, place))
        hidden = torch.zeros_like(real)
        hidden[row, place] = True
        x = torch.where(hidden[..., None], self.mask, self.item(history))
        x = x + self.position.weight[: history.shape[1]]
        for block in self.blocks:
            x = block(x, None if full else real[:, None, None])
        state = fn.gelu(self.head(x[row, place]), approximate="tanh")
        score = state @ self.item.weight.T + self.bias
        return fn.cross_entropy(score, history[row, place])


history = torch.from_numpy(np.load(sys.argv[12])).to(torch.get_default_device())
sizes = (history > 0).sum(1)
full = bool((sizes == history.shape[1]).all())
model = Model()
adam = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
learnt = sizes if name == "BERT4Rec" else sizes - 1
value = model.cloze if name == "BERT4Rec" else model.loss
if compiled:
    quick = torch.compile(value)
    try:
        quick(history[:rows]).backward()
        value = quick
    except Exception as error:  # it works on few combinations of compilers, devices and operations
        print(f"torch.compile fails, the step is not compiled: {error}", file=sys.stderr)
        compiled = 0


def step() -> None:
    """A batch of rows."""
    some = torch.randint(0, len(history), (rows,))
    batch = history[some, : sizes[some].max()]
    adam.zero_grad()
    value(batch).backward()
    adam.step()


events = learnt.float().mean().item()
serve(step, steps, rows * events, library="torch", version=torch.__version__, compiled=bool(compiled))
