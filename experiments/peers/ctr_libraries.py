"""DeepCTR-Torch's and torch-rechub's own training loops on integer columns.

ctr_libraries.py deepctr ROWS.npz WideDeep|AFM|DIN|DCNv2|XDeepFM|FiBiNET BATCH DIM STEPS THREADS
ctr_libraries.py rechub ROWS.npz WideDeep|AFM|DIN BATCH DIM STEPS THREADS

A round is a pass of the library's own loop over as many rows as `STEPS` batches, loading included, with
the library's penalties switched off.
"""

import contextlib
import os
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rounds import DEVICE, prepare_torch, serve  # noqa: E402

library, file, name = sys.argv[1:4]
batch, dim, steps, threads = map(int, sys.argv[4:8])
prepare_torch(threads, by_default=False)
columns = dict(np.load(file).items())
label = columns.pop("label").astype(np.float32)
sizes = {key: int(column.max()) + 1 for key, column in columns.items()}
sizes["item"] = max(sizes["item"], sizes.get("history", 0))
rows = min(batch * steps, len(label))
picked = np.random.default_rng(0).permutation(len(label))[:rows]
columns, label = {key: column[picked] for key, column in columns.items()}, label[picked]
length = columns["history"].shape[1] if name == "DIN" else 0


def deepctr():
    from deepctr_torch.inputs import SparseFeat, VarLenSparseFeat
    from deepctr_torch.models import AFM, DCN, DIN, WDL, FiBiNET, xDeepFM

    known = {key: size for key, size in sizes.items() if key != "history"}
    features = [SparseFeat(key, size, embedding_dim=dim) for key, size in known.items()]
    off, widths = dict(l2_reg_embedding=0, device=DEVICE), (256, 128)
    data = dict(columns)
    if name == "WideDeep":
        model = WDL(features, features, dnn_hidden_units=widths, l2_reg_linear=0, **off)
    elif name == "AFM":
        model = AFM(features, features, attention_factor=16, l2_reg_linear=0, l2_reg_att=0, **off)
    elif name != "DIN":
        kinds = {
            "DCNv2": (DCN, dict(cross_num=3, cross_parameterization="matrix", l2_reg_cross=0)),
            "XDeepFM": (xDeepFM, dict(cin_layer_size=(32, 32), cin_split_half=False)),
            "FiBiNET": (FiBiNET, dict(bilinear_type="all", reduction_ratio=3)),
        }
        kind, own = kinds[name]
        model = kind(features, features, dnn_hidden_units=widths, l2_reg_linear=0, **own, **off)
    else:
        past = SparseFeat("hist_item", sizes["item"], embedding_dim=dim, embedding_name="item")
        features.append(VarLenSparseFeat(past, maxlen=length, length_name="length"))
        data["hist_item"] = data.pop("history")
        data["length"] = (data["hist_item"] > 0).sum(1)
        model = DIN(features, ["item"], dnn_hidden_units=widths, att_hidden_size=(64, 16), **off)
    model.compile(torch.optim.Adam(model.parameters(), 1e-3), "binary_crossentropy", metrics=[])
    return lambda: model.fit(data, label, batch_size=batch, epochs=1, verbose=0)


def rechub():
    from torch_rechub.basic.features import SequenceFeature, SparseFeature
    from torch_rechub.models.ranking import AFM, DIN, WideDeep
    from torch_rechub.trainers import CTRTrainer
    from torch_rechub.utils.data import DataGenerator

    features = [SparseFeature(key, size, dim) for key, size in sizes.items() if key != "history"]
    network = dict(dims=[256, 128], dropout=0.0)
    if name == "WideDeep":
        model = WideDeep(features, features, network)
    elif name == "AFM":
        model = AFM(features, dim, 16)
    else:
        past = [SequenceFeature("history", sizes["item"], dim, pooling="concat", shared_with="item")]
        user, item = (next(f for f in features if f.name == key) for key in ("user", "item"))
        model = DIN([user], past, [item], network, {"dims": [64, 16]})
    loader, _, _ = DataGenerator(columns, label).generate_dataloader(
        split_ratio=[0.999, 0.0005], batch_size=batch, num_workers=0
    )
    trainer = CTRTrainer(
        model,
        optimizer_params={"lr": 1e-3, "weight_decay": 0},
        n_epoch=1,
        device=DEVICE,
        model_path=tempfile.gettempdir(),
    )
    return lambda: trainer.train_one_epoch(loader)


def quietly(work):
    """Progress bars are not for the one who reads our lines."""

    def step():
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            work()

    return step


if __name__ == "__main__":
    from importlib.metadata import version

    package = {"deepctr": "deepctr-torch", "rechub": "torch-rechub"}[library]
    step = quietly({"deepctr": deepctr, "rechub": rechub}[library]())
    serve(step, 1, rows, library=package, version=version(package), torch=torch.__version__)
