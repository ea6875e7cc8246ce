"""What ONNX Runtime says of an exported model is what the saved one says."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exports import WHO, rows, same_lists, saved_of
from helpers import mostly_slow

from rezoo.errors import DataError
from rezoo.serving import answers, export
from rezoo.serving.export.onnx_graph import Graph
from rezoo.serving.export.onnx_operations import convert

DENSE = np.array([1, 3, 0, 6], np.int32)
ASKED = {
    "user": DENSE,
    "item": np.array([1, 5, 7, 0], np.int32),
    "exclude": np.array([[1, 2], [0, 0], [3, 99], [-1, 0]], np.int32),
}
HIDDEN = [[10, 20], [], [30], []]


def run(folder, name, saved):
    """The outputs of a model, of the inputs that it names."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options)
    columns = {f"features/{name}": column[DENSE] for name, column in saved.user_columns.items()}
    given = ASKED | columns | {"history": saved.history[DENSE].astype(np.int32)}
    if saved.history_rating is not None:
        given["features/history_rating"] = saved.history_rating[DENSE]
    return session.run(None, {one.name: given[one.name] for one in session.get_inputs()})


ALWAYS = ("MF", "GRU4Rec", "WideDeep")
SLOW = (
    "AFM",
    "CoOccurrence",
    "DCNv2",
    "EASE",
    "ESMM",
    "IAutoRec",
    "LRURec",
    "NARM",
    "SASRec",
    "TopFreq",
    "VSKNN",
)
"""Models with further operations; those of the others are among them."""
every_model = pytest.mark.parametrize("name", mostly_slow((*ALWAYS, *SLOW), ALWAYS))


@every_model
def test_onnx_runtime_answers_as_the_saved_model_does(tmp_path, name):
    pytest.importorskip("onnx")
    saved = saved_of(name)
    export.onnx(tmp_path / "run", saved, k=6)
    ids, scores = run(tmp_path / "run", "recommend", saved)
    assert ids.dtype == np.int32 and ids.shape == scores.shape == (4, 6)
    ours = [
        [(10 * item, score) for item, score in zip(*row, strict=True) if item]
        for row in zip(ids.tolist(), scores.tolist(), strict=True)
    ]
    same_lists(ours, rows(answers.recommend(saved, WHO, 6, exclude=HIDDEN, on_unknown=answers.ignore)), 1e-5)
    (stars,) = run(tmp_path / "run", "predict", saved)
    told = answers.predict(saved, WHO, [10, 50, 70, 99], on_unknown=answers.ignore)
    np.testing.assert_allclose(stars, told, rtol=1e-5, atol=1e-6)
    content = json.loads((tmp_path / "run" / "onnx.json").read_text())
    assert content["k"] == 6 and "exclude" in content["inputs"]["recommend"]


@pytest.mark.parametrize("reduce", [jnp.sum, jnp.max, jnp.any])
def test_a_reduction_over_no_axis_changes_nothing(reduce):
    pytest.importorskip("onnx")
    graph = Graph()
    given = jnp.zeros((2, 3), bool if reduce is jnp.any else jnp.float32)
    convert(graph, jax.make_jaxpr(lambda x: reduce(x, axis=()))(given), ["x"])
    assert not any(node.op_type.startswith("Reduce") for node in graph.nodes)


def test_an_operation_that_cannot_be_written_is_named(tmp_path):
    pytest.importorskip("onnx")
    traced = jax.make_jaxpr(lambda x: jnp.fft.fft(x).real)(jnp.zeros(4))
    with pytest.raises(DataError, match="JAX's operation 'fft' is not written in ONNX here"):
        convert(Graph(), traced, ["x"])
    with pytest.raises(DataError, match="k = 0: give 1 or more"):
        export.onnx(tmp_path / "run", saved_of("MF"), k=0)
    assert not (tmp_path / "run").exists()
