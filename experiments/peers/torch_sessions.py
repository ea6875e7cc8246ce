"""GRU4Rec and SASRec in plain PyTorch, all positions of padded rows in one pass, whole softmax.

torch_sessions.py SESSIONS.npz MODEL ROWS DIM STEPS THREADS
"""

import sys

import numpy as np
import torch
from rounds import prepare_torch, serve
from torch import nn
from torch.nn.functional import cross_entropy

file, name, rows, dim, steps, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
prepare_torch(threads)
history = torch.as_tensor(np.load(file)["history"]).long()
num_items, length = int(history.max()) + 1, history.shape[1] - 1


class GRU4Rec(nn.Module):
    """One layer, the output table tied to the input's."""

    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(num_items, dim, padding_idx=0)
        self.gru = nn.GRU(dim, dim, batch_first=True)

    def forward(self, x):
        return self.gru(self.item(x))[0]


class SASRec(nn.Module):
    """Two blocks of one head, normalised before."""

    def __init__(self):
        super().__init__()
        self.item, self.position = nn.Embedding(num_items, dim, padding_idx=0), nn.Embedding(length, dim)
        layer = nn.TransformerEncoderLayer(dim, 1, dim, 0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(length)

    def forward(self, x):
        return self.blocks(self.item(x) * dim**0.5 + self.position.weight, mask=self.mask, is_causal=True)


model = {"GRU4Rec": GRU4Rec, "SASRec": SASRec}[name]()
adam = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
order = torch.randperm(len(history))
at = 0


def step() -> None:
    """A batch of rows; positions whose next item is padding do not count."""
    global at, order
    if at + rows > len(history):
        at, order = 0, torch.randperm(len(history))
    batch = history[order[at : at + rows]]
    at += rows
    state, target = model(batch[:, :-1]), batch[:, 1:]
    real = target > 0
    adam.zero_grad()
    cross_entropy(state[real] @ model.item.weight.T, target[real]).backward()
    adam.step()


targets_per_row = float((history[:, 1:] > 0).sum()) / len(history)
serve(step, steps, rows * targets_per_row, library="torch", version=torch.__version__)
