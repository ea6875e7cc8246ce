"""Two embedding tables in plain PyTorch: SparseAdam, or fused dense Adam.

torch_embeddings.py BATCHES.npz ROWS DIM STEPS THREADS sparse|dense
"""

import sys

import numpy as np
import torch
from rounds import prepare_torch, serve

file, rows, dim, steps, threads = sys.argv[1], *map(int, sys.argv[2:6])
sparse = sys.argv[6] == "sparse"
prepare_torch(threads)
batches = np.load(file)
user, item = (torch.as_tensor(batches[name]).long() for name in ("user", "item"))
label = torch.as_tensor(batches["label"])
tables = []
for _ in range(2):
    weight = torch.full((rows, dim), 0.1)
    tables.append(torch.nn.Embedding.from_pretrained(weight, freeze=False, sparse=sparse))
parameters = [table.weight for table in tables]
if sparse:
    optimizer = torch.optim.SparseAdam(parameters, lr=1e-3)
else:
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
at = 0


def step() -> None:
    """One batch of ratings."""
    global at
    score = (tables[0](user[at]) * tables[1](item[at])).sum(1)
    loss = torch.nn.functional.mse_loss(score, label[at])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    at = (at + 1) % len(user)


serve(step, steps, user.shape[1], library="torch", version=torch.__version__)
