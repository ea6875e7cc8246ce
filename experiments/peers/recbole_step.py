"""RecBole's own training loop on a data set in its format, one model.

recbole_step.py FOLDER DATASET MODEL BATCH DIM STEPS THREADS [LENGTH]
"""

import logging
import sys
import warnings

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from scipy import sparse  # noqa: E402

# RecBole 1.2.1 is older than NumPy 2, pandas 3 and SciPy of today; what it calls while it reads is put back.
for old, new in {"float_": "float64", "complex_": "complex128", "unicode_": "str_"}.items():
    vars(np).setdefault(old, getattr(np, new))
aggregate = pd.Series.agg
pd.Series.agg = lambda self, func=None, *args, **kwargs: (
    self.map(len) if func is len else aggregate(self, func, *args, **kwargs)
)
sparse.dok_matrix._update = lambda self, values: self._dict.update(values)
from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, get_trainer, init_seed  # noqa: E402
from rounds import DEVICE, prepare_torch, serve  # noqa: E402

folder, dataset_name, model_name = sys.argv[1:4]
batch, dim, steps, threads = map(int, sys.argv[4:8])
length = int(sys.argv[8]) if len(sys.argv) > 8 else 50
sys.argv = sys.argv[:1]  # RecBole reads the command line too
prepare_torch(threads, by_default=False)
logging.disable(logging.WARNING)
settings = dict(
    data_path=folder,
    use_gpu=DEVICE != "cpu",
    show_progress=False,
    state="ERROR",
    train_batch_size=batch,
    learning_rate=1e-3,
    learner="adam",
    embedding_size=dim,
    mf_embedding_size=dim,
    mlp_embedding_size=dim,
)
if model_name in ("WideDeep", "NFM", "DeepFM", "AFM"):
    columns = {
        "inter": ["user_id", "item_id", "rating"],
        "user": ["user_id", "age", "gender", "occupation"],
        "item": ["item_id", "release_year", "class"],
    }
    settings |= dict(load_col=columns, threshold={"rating": 4}, train_neg_sample_args=None)
    settings |= dict(metrics=["AUC"], valid_metric="AUC")
    settings["eval_args"] = dict(split={"RS": [0.98, 0.01, 0.01]}, order="RO", group_by=None, mode="labeled")
elif model_name in ("GRU4Rec", "NARM", "STAMP", "SASRec", "Caser"):
    # Every prefix is a sample, and every item a candidate; RecBole's own sizes but for the width.
    settings |= dict(load_col={"inter": ["user_id", "item_id", "timestamp"]}, train_neg_sample_args=None)
    settings |= dict(loss_type="CE", MAX_ITEM_LIST_LENGTH=length, hidden_size=dim, n_heads=1, inner_size=dim)
    settings["eval_args"] = dict(split={"LS": "valid_only"}, order="TO", group_by="user", mode="full")
elif model_name == "DIN":
    settings |= dict(load_col={"inter": ["user_id", "item_id", "rating"]}, TIME_FIELD="rating")
    settings |= dict(MAX_ITEM_LIST_LENGTH=length, metrics=["Recall"], valid_metric="Recall@10")
    settings["eval_args"] = dict(split={"LS": "valid_only"}, order="TO", group_by="user", mode="full")
else:
    settings["load_col"] = {"inter": ["user_id", "item_id"]}
    settings["eval_args"] = dict(split={"RS": [0.98, 0.01, 0.01]}, order="RO", group_by=None, mode="full")
if model_name == "AFM":
    settings |= dict(attention_size=16, dropout_prob=0.0)
if model_name == "DIN":
    settings |= dict(mlp_hidden_size=[256, 128], dropout_prob=0.0)
if model_name == "LightGCN":
    settings |= dict(n_layers=3, reg_weight=1e-5, require_pow=True)
if model_name == "MultiVAE":
    settings |= dict(train_neg_sample_args=None, mlp_hidden_size=[600], latent_dimension=128)
config = Config(model=model_name, dataset=dataset_name, config_dict=settings)
init_seed(config["seed"], config["reproducibility"])
dataset = create_dataset(config)
train, _, _ = data_preparation(config, dataset)
model = get_model(config["model"])(config, train._dataset).to(config["device"])
trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
model.train()
interactions_per_batch = len(train._dataset) / len(train)


def forever():
    """Batch after batch, sampling included."""
    while True:
        yield from train


batches = forever()


def step() -> None:
    """What RecBole's trainer does with a batch."""
    trainer.optimizer.zero_grad()
    loss = model.calculate_loss(next(batches).to(config["device"]))
    loss.backward()
    trainer.optimizer.step()


serve(step, steps, interactions_per_batch, library="RecBole", version="1.2.1", torch=torch.__version__)
