"""SASRec, eSASRec, HSTU and BERT4Rec in plain PyTorch, the architecture and sizes of rezoo's.

torch_sequences.py MODEL ITEMS LENGTH ROWS DIM HEADS BLOCKS NEGATIVES STEPS THREADS COMPILED

Attention is `scaled_dot_product_attention`, where it has a softmax; the loss is compiled by `torch.compile`
if COMPILED is 1 and it works: `compiled` of the first answer says so. Causal models take a softmax over each
next item and NEGATIVES shared ones, BERT4Rec one over all items at a fifth of the places. Rows are full: no
padding is computed.
"""

import sys

import torch
from rounds import prepare_torch, serve
from torch import nn
from torch.nn import functional as fn

name = sys.argv[1]
items, length, rows, dim, heads, blocks, negatives, steps, threads, compiled = map(int, sys.argv[2:])
prepare_torch(threads)


def split(x):
    """`[B L D]` as `[B H L E]`."""
    return x.view(*x.shape[:2], heads, dim // heads).transpose(1, 2)


def attended(q, k, v, causal):
    """Softmax attention, its heads side by side."""
    return (
        fn.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=causal)
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
        score = split(q) @ split(k).transpose(2, 3) + self.of_distance[self.apart]
        weight = torch.where(self.past, fn.silu(score) / length, 0.0)
        summed = (weight @ split(v)).transpose(1, 2).flatten(2)
        return x + self.out(fn.layer_norm(summed, (dim,)) * u)


class BERTBlock(nn.Module):
    """Sun 2019: both sides, normalised behind each residual."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.into, self.back = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x):
        y = self.before(x + self.out(attended(self.q(x), self.k(x), self.v(x), False)))
        return self.after(y + self.back(fn.gelu(self.into(y), approximate="tanh")))


BLOCKS = {"SASRec": SASRecBlock, "eSASRec": LiGRBlock, "HSTU": HSTUBlock, "BERT4Rec": BERTBlock}


class Model(nn.Module):
    """Items and positions, the blocks, and what stands behind them."""

    def __init__(self):
        super().__init__()
        self.item, self.position = nn.Embedding(items, dim), nn.Embedding(length, dim)
        nn.init.normal_(self.item.weight, std=0.05)
        self.blocks = nn.Sequential(*(BLOCKS[name]() for _ in range(blocks)))
        self.norm = nn.LayerNorm(dim) if name in ("SASRec", "eSASRec") else nn.Identity()
        if name == "BERT4Rec":
            self.mask, self.head = nn.Parameter(0.05 * torch.randn(dim)), nn.Linear(dim, dim)
            self.bias = nn.Parameter(torch.zeros(items))

    def forward(self, history):
        return self.norm(self.blocks(self.item(history) * dim**0.5 + self.position.weight))

    def loss(self, history):
        """Of the next items, sampled."""
        state, target = self(history[:, :-1]), history[:, 1:]
        drawn = torch.randint(1, items, (negatives,))
        own = (state * self.item(target)).sum(-1, keepdim=True)
        others = state @ self.item(drawn).T
        others = others.masked_fill(drawn == target[..., None], -1e9)
        score = torch.cat([own, others], -1).flatten(0, 1)
        return fn.cross_entropy(score, torch.zeros(len(score), dtype=torch.long))

    def cloze(self, history):
        """Of hidden items, over all."""
        place = torch.rand(history.shape).argsort(1)[:, : max(round(0.2 * length), 1)]
        hidden = torch.zeros_like(history, dtype=torch.bool).scatter(1, place, True)
        x = torch.where(hidden[..., None], self.mask, self.item(history)) + self.position.weight
        state = self.blocks(x).gather(1, place[..., None].expand(-1, -1, dim))
        state = fn.gelu(self.head(state), approximate="tanh")
        score = state @ self.item.weight.T + self.bias
        return fn.cross_entropy(score.flatten(0, 1), history.gather(1, place).flatten())


model = Model()
adam = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
width = length if name == "BERT4Rec" else length + 1
history = torch.randint(1, items, (16 * rows, width))
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
    batch = history[torch.randint(0, len(history), (rows,))]
    adam.zero_grad()
    value(batch).backward()
    adam.step()


serve(step, steps, rows * length, library="torch", version=torch.__version__, compiled=bool(compiled))
