"""Cornac's service, with its matrix factorisation, by gunicorn: a list of a known user.

serve_cornac.py PORT ITEMS DIM FOLDER
"""

import os
import sys

import numpy as np
from cornac.data import Dataset
from cornac.models import MF

port, num_items, dim = map(int, sys.argv[1:4])
folder = sys.argv[4]
rng = np.random.default_rng(0)
rows = num_items + 20_000
users = [f"v{n}" for n in rng.integers(1000, size=rows)]
items = [f"product-{n}" for n in np.r_[np.arange(num_items), rng.integers(num_items, size=20_000)]]
log = Dataset.from_uir(list(zip(users, items, np.ones(len(users)), strict=True)))
model = MF(k=dim, max_iter=1, seed=0, verbose=False).fit(log)
os.environ |= {"MODEL_PATH": os.path.abspath(model.save(folder)), "MODEL_CLASS": "cornac.models.MF"}
options = ["--bind", f"127.0.0.1:{port}", "--threads", "4", "--keep-alive", "60", "--log-level", "error"]
os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *options, "cornac.serving.app:app"])
