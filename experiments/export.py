"""A saved model without rezoo: programs for jax and numpy alone, vectors for an index, ONNX.

    python experiments/export.py MODEL_FOLDER --out OUT --vectors --onnx

MODEL_FOLDER is what `rezoo.serving.saved.save` wrote (`your_log.py` saves one). OUT/jax is asked by the
`load.py` in it, which needs jax, numpy and flatbuffers; copy the folder to where it is used:

    import sys; sys.path.insert(0, "OUT/jax")
    from load import Model
    Model("OUT/jax").recommend(["ann"], k=10)                        # [[(item, score), …]]

OUT/vectors holds item and user vectors whose inner product is the score, and their raw ids in Parquet files:

    from usearch.index import Index                                  # or FAISS's IndexFlatIP, ScaNN, …
    items = numpy.load("OUT/vectors/items.npy")
    index = Index(ndim=items.shape[1], metric="ip")
    index.add(numpy.arange(len(items)), items)
    index.search(numpy.load("OUT/vectors/users.npy")[0], 10).keys    # rows of items.parquet

OUT/onnx holds `recommend.onnx` and `predict.onnx`, which take dense ids; those of ids.npz are 1, 2, 3 …:

    session = onnxruntime.InferenceSession("OUT/onnx/recommend.onnx")
    print([one.name for one in session.get_inputs()])                # user, history, features/… that it reads
    history, nothing = numpy.array([[3, 7]], "int32"), numpy.zeros((1, 1), "int32")
    ids, scores = session.run(None, {"history": history, "exclude": nothing})

With --smoke a small model is trained, exported, and asked by a process that cannot import rezoo or flax.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from common import say

from rezoo import recipes
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError
from rezoo.serving import answers, export, saved
from rezoo.serving.bundle import Saved


@dataclass(frozen=True)
class Flags:
    """Flags of this experiment."""

    folder: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of the saved model."""
    out: Path = Path("runs/export")
    """Folder of what is exported."""
    k: int = 100
    """The longest list that can be asked for."""
    length: int = 50
    """Newest events of a live session that are kept."""
    vectors: bool = False
    """Item and user vectors, too."""
    onnx: bool = False
    """ONNX, too."""
    smoke: bool = False
    """Train a small model, export it, and ask it in another process."""


def main(flags: Flags) -> None:
    """Export a saved model."""
    if flags.smoke:
        return smoke(flags.out)
    if flags.folder is None:
        raise DataError("name the folder of the saved model: your_log.py saves one")
    write(flags, saved.load(flags.folder))


def write(flags: Flags, model: Saved) -> None:
    """What the flags ask for, and its sizes."""
    export.save(flags.out / "jax", model, k=flags.k, length=flags.length)
    if flags.vectors:
        export.vectors(flags.out / "vectors", model)
    if flags.onnx:
        export.onnx(flags.out / "onnx", model, k=flags.k)
    for file in sorted(flags.out.glob("*/*")):
        print(f"{file.stat().st_size:>12,} bytes  {file}")


ALONE = """
import json, sys
sys.modules["rezoo"] = sys.modules["flax"] = None
sys.path.insert(0, sys.argv[1])
from load import Model
model = Model(sys.argv[1])
sessions = model.observe(model.start(8), [3], [7])
print(json.dumps(model.recommend(["nobody"], k=5, histories=[[7]]) + model.next_items(sessions, [3], k=5)))
"""


def smoke(out: Path) -> None:
    """A small model is exported, and asked without rezoo."""
    rng = np.random.default_rng(0)
    log = from_columns({"user": rng.integers(0, 50, 2000), "item": rng.integers(0, 80, 2000)})
    model = recipes.gru4rec(log, jax.random.key(0), dim=8, num_epochs=1)
    write(Flags(out=out, k=5, vectors=True, onnx=find_spec("onnx") is not None), model)
    asked = [sys.executable, "-c", ALONE, str(out / "jax")]
    lists = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    told = answers.recommend(model, ["nobody"], 5, histories=[[7]], on_unknown=answers.ignore)
    for one in lists:
        print("after product 7:", ", ".join(f"{item} ({score:.3f})" for item, score in one))
        if not np.allclose([score for _, score in one], told["score"], rtol=1e-4):
            raise SystemExit("the exported model does not answer as the saved one")


if __name__ == "__main__":
    sys.excepthook = partial(say, flags=list(Flags.__dataclass_fields__))
    main(tyro.cli(Flags, prog="python experiments/export.py", description=__doc__))
