"""MF, or Wide & Deep, in plain PyTorch on several processes: DistributedDataParallel, SparseAdam, gloo.

torch_ddp.py BATCHES.npz MODEL DIM FEW STEPS PORT PROCESSES NUMBER

Every process has the whole tables; `Embedding(sparse=True)` gives gradients of rows, which DDP brings to all.
Tables of fewer than FEW rows and the layers are moved by fused Adam; DDP sums their gradients on the way.
"""

import sys
from datetime import timedelta

import numpy as np
import torch
from rounds import prepare_torch, serve
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

file, name = sys.argv[1:3]
dim, few, steps, port, processes, number = map(int, sys.argv[3:9])
prepare_torch(1)
given = np.load(file)
sizes = {column: int(given[f"{column}_rows"]) for column in given["columns"].tolist()}
share = given["label"].shape[1] // processes
own = slice(number * share, (number + 1) * share)
columns = {column: torch.as_tensor(given[column][:, own]).long() for column in sizes}
label = torch.as_tensor(given["label"][:, own])


class MF(nn.Module):
    """An inner product and the item's bias."""

    def __init__(self):
        super().__init__()
        self.user, self.item = (nn.Embedding(sizes[one], dim, sparse=True) for one in ("user", "item"))
        self.bias = nn.Embedding(sizes["item"], 1, sparse=True)

    def forward(self, ids):
        return (self.user(ids["user"]) * self.item(ids["item"])).sum(1) + self.bias(ids["item"]).squeeze(1)


class WideDeep(nn.Module):
    """A weight for each value of each column, and layers over their vectors."""

    def __init__(self):
        super().__init__()
        self.wide = nn.ModuleDict(
            {one: nn.Embedding(rows, 1, sparse=rows >= few) for one, rows in sizes.items()}
        )
        self.deep = nn.ModuleDict(
            {one: nn.Embedding(rows, dim, sparse=rows >= few) for one, rows in sizes.items()}
        )
        self.bias = nn.Parameter(torch.zeros(()))
        self.mlp = nn.Sequential(
            nn.Linear(dim * len(sizes), 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, 1, bias=False),
        )

    def forward(self, ids):
        wide = sum(table(ids[one]) for one, table in self.wide.items()).squeeze(1)
        vectors = torch.cat([table(ids[one]) for one, table in self.deep.items()], 1)
        return self.bias + wide + self.mlp(vectors).squeeze(1)


distributed.init_process_group(
    "gloo",
    init_method=f"tcp://localhost:{port}",
    world_size=processes,
    rank=number,
    timeout=timedelta(minutes=10),
)
model = DistributedDataParallel({"MF": MF, "WideDeep": WideDeep}[name]())
tables = [one.weight for one in model.modules() if isinstance(one, nn.Embedding) and one.sparse]
others = [one for one in model.parameters() if all(one is not table for table in tables)]
optimizers = [torch.optim.SparseAdam(tables, 1e-3)]
if others:
    optimizers.append(torch.optim.Adam(others, 1e-3, fused=True))
at = 0


def step() -> None:
    """One batch, of which this process has its share."""
    global at
    score = model({one: column[at] for one, column in columns.items()})
    loss = nn.functional.binary_cross_entropy_with_logits(score, label[at])
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    at = (at + 1) % len(label)


serve(step, steps, share, library="torch", version=torch.__version__)
