"""An exported model answers as the saved one does, without rezoo and flax; a damaged one is refused."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_contract as zoo
from exports import WHO, rows, same_lists, saved_of
from helpers import mostly_slow

from rezoo.data.ids import Ids
from rezoo.errors import DataError
from rezoo.serving import answers, export
from rezoo.serving.export.load import Model, finder
from rezoo.storage import durable

ALWAYS = {"FeatureMF", "GRU4Rec", "UAutoRec", "DIN"}
EARLIER = Path(__file__).parent / "exported_1.zip"
MODELS = [name for name in zoo.CASES if name in zoo.KINDS | ALWAYS or hasattr(zoo.CASES[name].model, "step")]
"""One of each kind, and all that have sessions; tests/test_contract.py exports the scores of every model."""
every_model = pytest.mark.parametrize("name", mostly_slow(MODELS, ALWAYS))


@every_model
def test_an_export_answers_as_the_saved_model_does(tmp_path, name):
    saved = saved_of(name)
    export.save(tmp_path / "run", saved, k=6, length=zoo.L)
    model = Model(tmp_path / "run")
    hidden = [[10, "20"], [], [30, 99], []]
    theirs = answers.recommend(saved, WHO, 6, exclude=hidden, on_unknown=answers.ignore)
    same_lists(model.recommend(WHO, k=6, exclude=hidden), rows(theirs))
    told = answers.predict(saved, WHO, [10, 50, 70, 99], on_unknown=answers.ignore)
    np.testing.assert_allclose(model.predict(WHO, [10, 50, 70, 99]), told, rtol=1e-5, atol=1e-6)
    assert model.sessions == ("begin" in model.programs) and ("encode" in model.programs) == hasattr(
        saved.model, "encode"
    )
    if model.sessions:
        sessions_agree(model)


def sessions_agree(model):
    """Live sessions continue as the histories that they are."""
    sessions = model.start(4)
    sessions = model.begin(sessions, [2, 0, 3, -1], WHO, histories=[[30], [], [50], [10]])
    for clicks in ([70, "20", 99, 10], [20, 80, 60, 10]):
        sessions = model.observe(sessions, [2, 0, 3, 7], clicks)
    past = [[30, 70, 20], [20, 80], [50, 60], [10] * zoo.L]
    same_lists(
        model.next_items(sessions, [2, 0, 3, 1], k=6)[:3], model.recommend(WHO, k=6, histories=past)[:3]
    )


ALONE = """
import json, sys
for name in ("rezoo", "flax", "jaxtyping", "optax", "chex", "pyarrow"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
from load import Model
model = Model(sys.argv[1])
sessions = model.observe(model.start(2), [1], [30])
print(json.dumps([
    model.recommend(["u1", "nobody"], k=5, histories=[[10, 20], []]),
    model.predict(["u1"], [20], histories=[[10, "nothing"]]).tolist(),
    model.next_items(sessions, [1], k=3),
    model.encode(["u1"], histories=[[10]]).shape,
]))
"""


def alone(folder):
    """What the loader of a folder says in a process that has neither rezoo nor flax."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, str(folder)],
        capture_output=True, text=True, env=environment, cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    lists, stars, following, shape = json.loads(ran.stdout)
    return [[tuple(pair) for pair in one] for one in lists], stars, [list(map(tuple, following[0]))], shape


@pytest.mark.slow
def test_jax_and_numpy_alone_answer(tmp_path):
    saved = saved_of("GRU4Rec-features")
    export.save(tmp_path / "run", saved, k=5, length=zoo.L)
    lists, stars, following, shape = alone(tmp_path / "run")
    asked = {"histories": [[10, 20], []], "on_unknown": answers.ignore}
    same_lists(lists, rows(answers.recommend(saved, ["u1", "nobody"], 5, **asked), 2), 1e-4)
    theirs = answers.predict(saved, ["u1"], [20], histories=[[10, "nothing"]], on_unknown=answers.ignore)
    np.testing.assert_allclose(stars, theirs, rtol=1e-4)
    asked = {"histories": [[30]], "on_unknown": answers.ignore}
    same_lists(following, rows(answers.recommend(saved, ["nobody"], 3, **asked), 1), 1e-4)
    assert shape == [
        1,
        np.load(tmp_path / "run" / "variables.npz")["variables/params/output/id/embedding"].shape[1] + 1,
    ]


def test_weights_are_stored_once_and_programs_do_not_hold_them(tmp_path):
    saved = saved_of("FeatureMF")
    export.save(tmp_path / "run", saved)
    programs = {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.jax")}
    assert not any(b"/rezoo/" in content for content in programs.values())
    more = jax.tree.map(lambda x: x + 1 if x.dtype == jnp.float32 else x, saved.variables)
    export.save(tmp_path / "run", saved._replace(variables=more))
    assert programs == {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.jax")}
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["platforms"] == ["cpu", "cuda", "tpu"] and manifest["k"] == saved.items.size
    assert manifest["programs"]["predict"][1]["history"] == "int32[rows, events]"


def test_an_export_of_an_earlier_version_is_read(tmp_path):
    """The folder that rezoo 0.1.0 wrote with JAX 0.10.2; `asked.json` is what it answered then."""
    with zipfile.ZipFile(EARLIER) as file:
        file.extractall(tmp_path)
    told = json.loads((tmp_path / "asked.json").read_text())
    model = Model(tmp_path / "run")
    assert model.manifest["format"] == 1 and model.manifest["rezoo"] == "0.1.0"
    lists = model.recommend(["u1", "nobody"], k=5, histories=[[10, 20], []])
    same_lists(lists, told["lists"], 1e-4)
    stars = model.predict(["u1"], [20], histories=[[10, "nothing"]])
    np.testing.assert_allclose(stars, told["stars"], rtol=1e-4)
    following = model.next_items(model.observe(model.start(2), [1], [30]), [1], k=3)
    same_lists(following, told["following"], 1e-4)


RAW = [
    7,
    7.0,
    "7",
    " 7 ",
    "7.0",
    "07",
    7.5,
    True,
    None,
    float("nan"),
    float("inf"),
    "1e3",
    "",
    "b",
    " b",
    b"7",
    2**70,
]


@pytest.mark.parametrize(
    "known", [np.array([7, 1, -3]), np.array(["7", "b", " c", "True"]), np.zeros(0, "U1")]
)
def test_raw_ids_are_read_as_rezoo_reads_them(known):
    ours, theirs = finder(known), Ids(known).finder()
    assert [ours(raw) for raw in RAW] == [theirs(raw) for raw in RAW]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    export.save(folder, saved_of("MF"), k=3)
    return folder


@pytest.mark.parametrize("name", ["ids.npz", "variables.npz", "recommend.jax", "manifest.json"])
@pytest.mark.parametrize("harm", ["cut", "longer", "altered", "gone"])
def test_what_is_not_whole_is_refused(tmp_path, whole, name, harm):
    run = shutil.copytree(whole, tmp_path / "run")
    file, data = run / name, (run / name).read_bytes()
    changed = {"cut": data[: len(data) // 2], "longer": data + b"!", "altered": data[:-9] + b"~" + data[-8:]}
    file.unlink() if harm == "gone" else file.write_bytes(changed[harm])
    with pytest.raises(ValueError, match=r"run is not an exported model that this can read: "):
        Model(run)


def signed(run, name, data):
    """Another content of a file, and the manifest that states it."""
    (run / name).write_bytes(data)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_a_stranger_cannot_have_objects_unpickled_or_memory_taken(tmp_path, whole):
    run = shutil.copytree(whole, tmp_path / "run")
    with (run / "ids.npz").open("wb") as file:
        np.savez(file, users=np.array([None, 1], object), items=np.arange(3))
    signed(run, "ids.npz", (run / "ids.npz").read_bytes())
    with pytest.raises(ValueError, match="OBJECT"):
        Model(run)
    with zipfile.ZipFile(run / "ids.npz", "w") as file:
        text = "{'descr': '<i8', 'fortran_order': False, 'shape': (4000000000,), }".ljust(117) + "\n"
        file.writestr("users.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())
    signed(run, "ids.npz", (run / "ids.npz").read_bytes())
    with pytest.raises(ValueError, match="cannot reshape"):
        Model(run)
    with zipfile.ZipFile(run / "ids.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("users.npy", bytes(10**6))
    signed(run, "ids.npz", (run / "ids.npz").read_bytes())
    with pytest.raises(ValueError, match="compressed"):
        Model(run)


@pytest.mark.parametrize("at", [0, 40, 1_000, -2_000, -5])
def test_a_program_that_is_none_is_refused_or_not_run(tmp_path, whole, at):
    run = shutil.copytree(whole, tmp_path / "run")
    data = bytearray((run / "predict.jax").read_bytes())
    data[at:] = bytes(len(data[at:]))
    signed(run, "predict.jax", bytes(data))
    with contextlib.suppress(ValueError):
        assert "predict" in Model(run).programs


def test_a_manifest_of_anything_is_refused_or_read(tmp_path, whole):
    run, rng = shutil.copytree(whole, tmp_path / "run"), random.Random(0)
    before = (run / "manifest.json").read_text()
    content = json.loads(before)
    junk = [None, 0, -1, "a", [], {}, {"ids.npz": 1}, [["a"]], 1e308, {"mapping": {}}]
    for _ in range(30):
        changed = dict(content)
        changed[rng.choice(["format", "files", "features", "types", "sessions", "k", "model"])] = rng.choice(
            junk
        )
        (run / "manifest.json").write_text(json.dumps(changed))
        try:
            Model(run)
        except ValueError as error:
            assert str(run) in str(error)
    (run / "manifest.json").write_text(before.replace('"format": 2', '"format": 3'))
    with pytest.raises(ValueError, match=r"format 3, and this reads 1 … 2: use the load\.py of that folder"):
        Model(run)


def test_what_cannot_be_asked_is_said(tmp_path, whole, untyped):
    model = Model(whole)
    with pytest.raises(ValueError, match="k = 4: lists of 1 … 3 were exported"):
        model.recommend(["u1"], k=4)
    export.save(tmp_path / "run", saved_of("UAutoRec")._replace(history=None, history_rating=None))
    model = Model(tmp_path / "run")
    with pytest.raises(ValueError, match="UAutoRec reads a history: give histories="):
        model.recommend(["u1"])
    with pytest.raises(ValueError, match="UAutoRec reads the ratings of histories: give ratings="):
        model.recommend(["u1"], histories=[[10]])
    with pytest.raises(ValueError, match="ratings are of no histories"):
        model.recommend(["u1"], ratings=[[5]])
    with pytest.raises(ValueError, match=r"'history_rating' of events is .* finite"):
        model.recommend(["u1"], histories=[[10]], ratings=[[float("nan")]])


def test_what_is_no_list_is_refused(whole, untyped):
    model = Model(whole)
    with pytest.raises(ValueError, match="'u1' is one id: give a list"):
        model.recommend("u1")
    for given in (["10"], [10], "10", [None]):
        for name in ("histories", "exclude"):
            with pytest.raises(ValueError, match="an id stands where a list is expected"):
                model.recommend(["u1"], **{name: given})
    with pytest.raises(ValueError, match="there are 1 users and 2 lists of items: give one to each"):
        model.recommend(["u1"], exclude=[[10], [20]])
    with pytest.raises(ValueError, match="there are 1 users and 2 items: give pairs"):
        model.predict(["u1"], [10, 20])


def test_slots_are_those_of_sessions(tmp_path, untyped):
    export.save(tmp_path / "run", saved_of("GRU4Rec"))
    model = Model(tmp_path / "run")
    sessions = model.start(2)
    for slots in ([0.5], [[0]], ["0"]):
        with pytest.raises(ValueError, match="give a list of whole numbers"):
            model.next_items(sessions, slots)
    with pytest.raises(ValueError, match=r"slots are \[1, 1\]: give each of them once"):
        model.observe(sessions, [1, 1], [10, 20])
    with pytest.raises(ValueError, match="there are 1 slots and 2 items: give one for each"):
        model.observe(sessions, [1], [10, 20])
    with pytest.raises(ValueError, match="there are 2 slots and 1 users: give one for each"):
        model.begin(sessions, [0, 1], ["u1"], histories=[[]])
    assert len(model.next_items(sessions, [1, 1, -1], k=3)) == 3


def test_a_folder_is_replaced_whole_or_left_as_it_was(tmp_path, whole, monkeypatch):
    run = shutil.copytree(whole, tmp_path / "run")
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    monkeypatch.setattr(durable, "_flush", lambda path: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(DataError, match=r"cannot be written .*disk full.*as it was"):
        export.save(run, saved_of("MF"), k=2)
    assert before == {file.name: file.read_bytes() for file in run.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    monkeypatch.undo()
    (run / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"run is not an exported model, but holds notes\.txt"):
        export.save(run, saved_of("MF"))
    with pytest.raises(DataError, match="k = 0: give 1 or more"):
        export.save(tmp_path / "other", saved_of("MF"), k=0)
    assert not (tmp_path / "other").exists()
