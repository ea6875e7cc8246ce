"""MF with BPR in plain PyTorch, as a careful engineer writes it: everything vectorised, dense Adam.

torch_bpr.py PAIRS.npz BATCH DIM STEPS THREADS
"""

import sys

import numpy as np
import torch
from rounds import prepare_torch, serve

file, batch, dim, steps, threads = sys.argv[1], *map(int, sys.argv[2:6])
prepare_torch(threads)
pairs = np.load(file)
users, items = torch.as_tensor(pairs["user"]).long(), torch.as_tensor(pairs["item"]).long()
num_users, num_items = int(users.max()) + 1, int(items.max()) + 1
user_table = torch.nn.Embedding(num_users, dim)
item_table = torch.nn.Embedding(num_items, dim)
bias = torch.nn.Embedding(num_items, 1)
parameters = [*user_table.parameters(), *item_table.parameters(), *bias.parameters()]
optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
order, at = torch.randperm(len(users)), 0


def step() -> None:
    """One batch of fresh positives, each with one uniform negative."""
    global order, at
    if at + batch > len(order):
        order, at = torch.randperm(len(users)), 0
    rows = order[at : at + batch]
    at += batch
    user, positive = users[rows], items[rows]
    negative = torch.randint(1, num_items, rows.shape)
    u = user_table(user)
    up = (u * item_table(positive)).sum(1) + bias(positive).squeeze(1)
    down = (u * item_table(negative)).sum(1) + bias(negative).squeeze(1)
    loss = -torch.nn.functional.logsigmoid(up - down).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


serve(step, steps, batch, library="torch", version=torch.__version__)
