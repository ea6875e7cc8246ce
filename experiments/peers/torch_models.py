"""NeuMF, NFM, DeepFM and Mult-VAE in plain PyTorch, as a careful engineer writes them.

torch_models.py FEATURES.npz MODEL BATCH DIM STEPS THREADS

Everything is vectorised: one table with offsets for all single-valued columns, an `EmbeddingBag` for
the genres, the users' dense rows made once for Mult-VAE; fused Adam.
"""

import sys
from itertools import pairwise

import numpy as np
import torch
from rounds import prepare_torch, serve
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, normalize

file, name, batch, dim, steps, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
prepare_torch(threads)
log = {key: torch.as_tensor(value).long() for key, value in np.load(file).items()}
users, items = log["user"], log["item"]
num_users, num_items = int(users.max()) + 1, int(items.max()) + 1


def layers(sizes, dropout=0.0, norm=False):
    """Linear, batch norm if asked for, ReLU, dropout if any."""
    made = []
    for inputs, outputs in pairwise(sizes):
        made += [nn.Linear(inputs, outputs), *([nn.BatchNorm1d(outputs)] if norm else []), nn.ReLU()]
        made += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*made)


class NeuMF(nn.Module):
    """Layers 128 and 64; negatives that the user did not rate, drawn until they are."""

    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(num_users, 2 * dim), nn.Embedding(num_items, 2 * dim)
        self.mlp = layers([2 * dim, 128, 64], dropout=0.1)
        self.output = nn.Linear(dim + 64, 1)
        self.known = torch.zeros(num_users, num_items, dtype=torch.bool)
        self.known[users, items] = True

    def loss(self, rows):
        user, positive = users[rows], items[rows]
        negative = torch.randint(1, num_items, rows.shape)
        while (bad := self.known[user, negative]).any():
            negative[bad] = torch.randint(1, num_items, (int(bad.sum()),))
        p, q = self.user(torch.cat([user, user])), self.item(torch.cat([positive, negative]))
        deep = self.mlp(torch.cat([p[:, dim:], q[:, dim:]], 1))
        score = self.output(torch.cat([p[:, :dim] * q[:, :dim], deep], 1)).squeeze(1)
        label = torch.cat([torch.ones(len(rows)), torch.zeros(len(rows))])
        return binary_cross_entropy_with_logits(score, label)


class Clicks(nn.Module):
    """NFM (layers 64, 64, 64, batch-normalised) or DeepFM (128, 128, 128, dropout 0.2)."""

    def __init__(self):
        super().__init__()
        columns = [
            torch.arange(num_users),
            torch.arange(num_items),
            log["age"],
            log["gender"],
            log["occupation"],
        ]
        sizes = [int(column.max()) + 1 for column in [*columns, log["year"]]]
        self.offset = torch.tensor([0, *np.cumsum(sizes[:-1])])
        self.table = nn.Embedding(sum(sizes), dim)
        self.weight = nn.Embedding(sum(sizes), 1)
        self.genres = nn.EmbeddingBag(int(log["genres"].max()) + 1, dim, mode="mean", padding_idx=0)
        self.genre_weight = nn.EmbeddingBag(int(log["genres"].max()) + 1, 1, mode="mean", padding_idx=0)
        self.bias = nn.Parameter(torch.zeros(1))
        if name == "NFM":
            self.norm = nn.BatchNorm1d(dim)
            self.mlp, last = layers([dim, 64, 64, 64], norm=True), 64
        else:
            self.mlp, last = layers([7 * dim, 128, 128, 128], dropout=0.2), 128
        self.output = nn.Linear(last, 1, bias=False)
        self.label = (log["rating"] >= 4).float()

    def loss(self, rows):
        user, item = users[rows], items[rows]
        per_user = (log[column][user] for column in ("age", "gender", "occupation"))
        ids = torch.stack([user, item, *per_user, log["year"][item]], 1) + self.offset
        genres = log["genres"][item]
        linear = self.bias + self.weight(ids).sum((1, 2)) + self.genre_weight(genres).squeeze(1)
        v = torch.cat([self.table(ids), self.genres(genres)[:, None]], 1)
        pooled = 0.5 * (v.sum(1) ** 2 - (v**2).sum(1))
        if name == "NFM":
            score = linear + self.output(self.mlp(self.norm(pooled))).squeeze(1)
        else:
            score = linear + pooled.sum(1) + self.output(self.mlp(v.flatten(1))).squeeze(1)
        return binary_cross_entropy_with_logits(score, self.label[rows])


class MultVAE(nn.Module):
    """Hidden 600, latent 128, dropout 0.5, β 0.2; rows are users."""

    def __init__(self):
        super().__init__()
        self.x = torch.zeros(num_users, num_items)
        self.x[users, items] = 1.0
        self.encode = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(num_items, 600), nn.Tanh(), nn.Linear(600, 256)
        )
        self.decode = nn.Sequential(nn.Linear(128, 600), nn.Tanh(), nn.Linear(600, num_items))

    def loss(self, rows):
        x = self.x[rows]
        mean, log_variance = self.encode(normalize(x)).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        kl = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(1).mean()
        return -(log_softmax(self.decode(z), 1) * x).sum(1).mean() + 0.2 * kl


model = {"NeuMF": NeuMF, "NFM": Clicks, "DeepFM": Clicks, "MultVAE": MultVAE}[name]()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
total = num_users - 1 if name == "MultVAE" else len(users)
first = 1 if name == "MultVAE" else 0
order, at = first + torch.randperm(total), 0


def step() -> None:
    """The next batch of rows in a random order."""
    global order, at
    if at + batch > total:
        order, at = first + torch.randperm(total), 0
    rows = order[at : at + batch]
    at += batch
    optimizer.zero_grad()
    model.loss(rows).backward()
    optimizer.step()


interactions = batch * len(users) / total
serve(step, steps, interactions, library="torch", version=torch.__version__)
