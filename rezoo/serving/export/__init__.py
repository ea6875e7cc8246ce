"""A saved model for those who have no rezoo: in their service, in another runtime, in a vector index.

    export.save("out/shop", shop)            # programs for jax and numpy alone, with a loader: load.py
    export.onnx("out/onnx", shop)            # for ONNX Runtime, in whatever language
    export.vectors("out/vectors", shop)      # item and user vectors, for FAISS, ScaNN, usearch …

`save` writes what `answers.recommend`, `answers.predict` and `serving.live` compute as StableHLO, by
`jax.export`: one program for batches of any size on CPUs, GPUs and TPUs. Weights are arguments of the
programs and stored once, in `variables.npz`. So programs are small, and stay the same when a model of the
same sizes is trained further: then only the weights have to be copied, with the manifest.

Models that read columns of events (`nn.events`) take them beside the history, and live sessions beside each
item: fitted ids and numbers, times in seconds, 0 where they are unknown. The manifests state their names,
types and shapes; the loader refuses by name what is missing or of another type.

JAX reads programs that were serialised up to six months before
(https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees): keep the saved model, and
export it again when JAX is replaced by a newer version.

Loading these folders executes and unpickles nothing. `load.py` is a copy of `rezoo.serving.export.load`, for
whoever has no rezoo; rezoo never runs it from there. Programs run when the model is asked.
"""

from rezoo.serving.export.folder import save
from rezoo.serving.export.onnx_file import onnx
from rezoo.serving.export.vector_files import vectors

__all__ = ["onnx", "save", "vectors"]
