"""A folder from a stranger, or a damaged one, is a valid model or a `DataError` that names it."""

import io
import json
import os
import random
import resource
import shutil
import zipfile
from functools import partial

import numpy as np
import pytest
from stored import stored

from rezoo.errors import DataError
from rezoo.models import GRU4Rec, RepeatExplore
from rezoo.serving import bundle, checks, model_json, npz, saved

JUNK = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3.5,
    10**6,
    2**31,
    4 * 10**9,
    2**63,
    10**400,
    -(2**70),
    1e308,
    float("inf"),
    float("nan"),
    "",
    "a",
    "os.system",
    "\ud800",
    "rezoo.data.files.read_table",
    "x" * 5000,
    [],
    [[]],
    [1, [2]],
    [0.5, "a"],
    [3] * 9,
    {},
    {"mapping": {}},
    {"mapping": {"item": 4 * 10**9}},
    {"function": "builtins.eval"},
    {"function": "rezoo.nn.recurrent.GRU", "arguments": {"features": 10**9}},
    {"function": []},
    {"function": {}},
    {"array": [1e9] * 9, "dtype": "float32"},
    {"array": [[1], [2, 3]], "dtype": "int8"},
    {"array": [1], "dtype": "object"},
    {"array": ["a"], "dtype": "float32"},
    {"kind": "Grams"},
    {"kind": ["Text"]},
]
SHAPES = [(), (0,), (1,), (3,), (4,), (5,), (4, 1), (5, 3), (3, 5), (0, 5), (2, 0, 2), (1, 1, 1, 1)]
TYPES = [
    "b1",
    "i1",
    "u1",
    "i4",
    "u4",
    "i8",
    "u8",
    "f2",
    "f4",
    "f8",
    "U1",
    "U3",
    ">i4",
    "c8",
    "M8[s]",
    "O",
    "V2",
    "S3",
]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def place(rng, tree):
    """A place in JSON: the mapping or list that holds it, and where."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else range(len(tree))
        key = rng.choice(list(keys))
        if not isinstance(tree[key], dict | list) or not tree[key] or rng.random() < 0.2:
            return tree, key
        tree = tree[key]


def json_changed(rng, content):
    try:
        tree = json.loads(content)
        at, key = place(rng, tree)
    except (ValueError, IndexError, TypeError):
        return content
    change = rng.randrange(4)
    if change == 0:
        del at[key]
    elif change == 1 and isinstance(at, dict):
        at[rng.choice(["parent", "name", "kind", "", "a/b", "cell", str(key) * 2])] = at.pop(key)
    elif change == 2 and isinstance(at, list):
        at += at * rng.choice([1, 3, 1000])
    else:
        at[key] = rng.choice(JUNK)
    return json.dumps(tree).encode()


def npz_changed(rng, content):
    """Other members, types, shapes or numbers, in a file that is whole."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = {info.filename: file.read(info) for info in file.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, OSError):
        return content
    name, change = rng.choice(list(members)), rng.randrange(6)
    if change == 0:
        del members[name]
    elif change == 1:
        members[
            rng.choice(["a.npy", "variables.npy", "variables/a", "../a.npy", name + "/b.npy", "users.npy"])
        ] = members.pop(name)
    elif change == 2:
        members[name] = flipped(rng, members[name])
    elif change == 3:
        members[name] = members[name][: rng.randrange(len(members[name]))]
    else:
        other, out = np.zeros(rng.choice(SHAPES), rng.choice(TYPES)), io.BytesIO()
        if other.dtype.kind in "iuf" and other.size:
            other.flat[rng.randrange(other.size)] = rng.choice([1, 4, 100, 2 ** (8 * other.itemsize - 9)])
        np.lib.format.write_array(out, other, allow_pickle=True)
        members[name] = out.getvalue()
    out, packed = io.BytesIO(), zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", packed) as file:
        for name, member in members.items():
            file.writestr(name, member)
    return out.getvalue()


def flipped(rng, content):
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def mutated(rng, files):
    """The files with one of them changed, or gone."""
    name = rng.choice(["saved.json", "arrays.npz", *files])
    content, change = files[name], rng.randrange(8)
    if change == 0:
        content = content[: rng.randrange(len(content))]
    elif change == 1:
        content = flipped(rng, content)
    elif change == 2:
        content = rng.choice(
            [None, b"", b"[" * 10**5, b'{"a":' * 10**4, bytes(100), content * 2, *files.values()]
        )
    elif name == "arrays.npz":
        content = npz_changed(rng, content)
    else:
        content = json_changed(rng, content)
    return files | {name: content}


UNREPEATABLE = "variables", "user_columns", "users", "items", "history", "history_rating"


@pytest.fixture
def quick(monkeypatch):
    """What was found valid once is not traced again."""
    seen = set()

    def check(one):
        named = npz.flat(one.variables, "") | npz.flat(one.user_columns, "columns")
        named |= {"users": one.users.raw, "items": one.items.raw}
        named |= {"history": np.asarray(one.history), "rating": np.asarray(one.history_rating)}
        every = [(name, x.dtype.str, x.shape, x.tobytes()) for name, x in named.items()]
        key = repr((every, one._replace(**dict.fromkeys(UNREPEATABLE))))
        if key not in seen:
            checks.check(one)
            seen.add(key)

    monkeypatch.setattr(saved, "check", check)


def fuzz(tmp_path, count, seed):
    """Loads mutations of a folder; those that are not refused are valid, and no other error is raised."""
    rng, refused, memory = random.Random(seed), 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = [contents(stored(tmp_path / name, name)) for name in ("FeatureMF", "GRU4Rec", "UAutoRec")]
    run = tmp_path / "run"
    for _ in range(count):
        run.mkdir()
        for name, content in mutated(rng, rng.choice(whole)).items():
            if content is not None:
                (run / name).write_bytes(content)
        try:
            assert isinstance(saved.load(run), bundle.Saved)
        except DataError as error:
            assert str(run) in str(error)
            refused += 1
        shutil.rmtree(run)
    assert 0.5 * count < refused < count
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 * 2**10  # KiB


def test_a_damaged_folder_is_refused_or_valid(tmp_path, quick):
    fuzz(tmp_path, 150, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_ten_thousand_damaged_folders_are_refused_or_valid(tmp_path, quick, seed):
    fuzz(tmp_path, 1000, seed)


def changed(run, *path, value):
    """Another value at a path in saved.json."""
    content = json.loads((run / "saved.json").read_text())
    at = content
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    (run / "saved.json").write_text(json.dumps(content))


def refused(run, message):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=message) as error:
        saved.load(run)
    assert str(run) in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10  # KiB


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cell", {"function": "rezoo.data.files.read_table"}, "can only be .*GRU, .*LSTM"),
        ("cell", {"function": "rezoo.nn.recurrent.jax"}, "can only be .*GRU, .*LSTM"),
        (
            "cell",
            {"function": "rezoo.nn.recurrent.LSTM", "arguments": {"parent": None}},
            "arguments of .*LSTM",
        ),
        (
            "cell",
            {"function": "rezoo.nn.recurrent.LSTM", "arguments": {"features": 10**9}},
            "cell = 1000000000",
        ),
        ("cell", "rezoo.nn.recurrent.LSTM", "expected function"),
        ("name", "a", "no field 'name'"),
        ("parent", None, "no field 'parent'"),
        ("num_items", 4 * 10**9, "num_items = 4000000000, but no array has more than 12 rows"),
        ("num_items", 0, "num_items = 0: give 1 or more"),
        ("num_items", True, "expected integer"),
        ("num_items", 5.0, "expected integer"),
        ("dim", -3, "dim = -3"),
        ("dim", "3", "expected integer"),
        ("num_layers", 10**6, "not within 1 … 256"),
        ("num_layers", 257, "not within 1 … 256"),
        ("tied", 1, "expected bool"),
        ("dropout", float("nan"), "expected number"),
        ("user_features", {"mapping": {"age": 10**9}}, "user_features = 1000000000"),
        ("user_features", {"mapping": {str(n): 3 for n in range(20_000)}}, "mapping of at most 10000"),
        ("user_features", [["age", 3]], "expected mapping"),
        ("id_dropout", {"array": [[1], [2, 3]], "dtype": "float32"}, "expected array of finite numbers"),
    ],
)
def test_a_field_is_what_its_type_allows(tmp_path, field, value, message):
    run = stored(tmp_path / "run", "GRU4Rec")
    changed(run, "model", "fields", field, value=value)
    refused(run, message)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("widths", [8] * 20_000, "list of at most 10000"),
        ("widths", [8] * 3_000, "do not fit DCNv2"),
        ("widths", 8, "expected list"),
        ("num_crosses", 10**5, "not within 0 … 256"),
        ("sizes", {"mapping": {"user": 4, "item": None}}, "expected integer"),
        ("structure", {"function": "rezoo.models.ranking.dcn.DCNv2"}, "can only be .*parallel, .*stacked"),
    ],
)
def test_lists_and_mappings_are_bounded(tmp_path, field, value, message):
    run = stored(tmp_path / "run", "DCNv2")
    changed(run, "model", "fields", field, value=value)
    refused(run, message)


ENCODER = "rezoo.models.session.gru4rec.GRU4Rec"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("rezoo.models.baselines.popularity.Popularity", "can only be one of rezoo.models.session"),
        ("rezoo.models.session.gru4rec.jax", "can only be one of rezoo.models.session"),
        ("os.system", "can only be one of rezoo.models.session"),
    ],
)
def test_a_part_is_a_model_of_its_package(function, message):
    whole = RepeatExplore(5, partial(GRU4Rec, 5, 4))
    described = model_json.describe(whole)
    assert described["fields"]["encoder"]["function"] == ENCODER
    described["fields"]["encoder"]["function"] = function
    with pytest.raises(DataError, match=message):
        model_json.rebuild(described, 5)


def test_models_within_models_without_end_are_refused():
    inner = {"function": ENCODER, "arguments": {"num_items": 5, "dim": 4}}
    for _ in range(400):
        parts = {"mapping": {"a": inner}}
        inner = {
            "function": "rezoo.models.ranking.blend.Blend",
            "arguments": {"num_items": 5, "parts": parts},
        }
    described = {"class": "Blend", "fields": {"num_items": 5, "parts": {"mapping": {"a": inner}}}}
    with pytest.raises(DataError, match="models within models"):
        model_json.rebuild(described, 5)


def members(run, *, without="", packed=zipfile.ZIP_STORED, **more):
    """The npz with other members; values are arrays, or the bytes of one."""
    with zipfile.ZipFile(run / "arrays.npz") as file:
        kept = {info.filename: file.read(info) for info in file.infolist() if info.filename != without}
    for name, value in more.items():
        out = io.BytesIO()
        if not isinstance(value, bytes):
            np.lib.format.write_array(out, value, allow_pickle=True)
        kept[name.replace("__", "/") + ".npy"] = value if isinstance(value, bytes) else out.getvalue()
    with zipfile.ZipFile(run / "arrays.npz", "w", packed) as file:
        for name, content in kept.items():
            file.writestr(name, content)


def header(text):
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"packed": zipfile.ZIP_DEFLATED}, "is compressed"),
        ({"users": np.array(["ann", "bob", None], object)}, "users.npy: no array of numbers or text"),
        ({"items": np.zeros(4)}, r"items are float64 \[4\]: give ids \[n\], integers or text"),
        ({"items": np.zeros((2, 2), int)}, r"items are int64 \[2, 2\]"),
        ({"items": np.arange(9)[:2]}, "the model has 5 items, but there are ids for 3"),
        ({"without": "users.npy"}, "it holds"),
        ({"evil": np.zeros(1)}, "it holds"),
        ({"variables__params__a__" + "a__" * 60: np.zeros(1)}, "not the path of an array"),
        ({"variables__params__bias": np.zeros(1)}, "in an array|there twice"),
        ({"variables__params__bias__embedding": np.array([["a"]] * 5)}, "of type <U1"),
        ({"variables__params__bias__embedding": np.full((5, 1), 2**40)}, "integers beyond int32"),
        (
            {"users": header("{'descr': '<i8', 'fortran_order': False, 'shape': (4000000000,), }")},
            "users.npy has",
        ),
        (
            {"users": header("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000,), }")},
            "users.npy has",
        ),
        (
            {"users": header("{'descr': '<i8', 'fortran_order': False, 'shape': (0, 99999999999), }")},
            "users.npy",
        ),
        (
            {"users": header("{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (0,), }")},
            "no array of",
        ),
        ({"users": header("(" * 100)}, "no array of"),
        (
            {"users": np.array(["ann", "bob", "e"]).view(np.uint32).__or__(0xD800).view("U3")},
            "written as text",
        ),
        ({"history": np.full((4, 2), 9, np.int32)}, "history has ids 9 … 9 of 5 items"),
    ],
)
def test_arrays_are_what_is_expected(tmp_path, change, message):
    run = stored(tmp_path / "run", "GRU4Rec")
    members(run, **change)
    refused(run, message)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"kind": "Oracle"}, "none of Vocabulary"),
        ({"kind": "Vocabulary", "values": ["b", "a"], "missing": 0}, "not in ascending order"),
        ({"kind": "Vocabulary", "values": [], "missing": 0}, "has no values"),
        ({"kind": "Vocabulary", "values": ["a", 1], "missing": 0}, "expected list of texts or of numbers"),
        ({"kind": "Vocabulary", "values": [1, 2**70], "missing": 0}, "expected list of texts or of numbers"),
        (
            {"kind": "Vocabulary", "values": ["a"], "missing": 0, "more": 1},
            "expected mapping with values, missing",
        ),
        (
            {"kind": "Vocabularies", "values": ["a"], "width": 10**10, "separator": "|", "missing": 0},
            "not within",
        ),
        (
            {"kind": "Standardised", "mean": 0.0, "deviation": 0.0, "log": False, "missing": 0},
            "its deviation 0",
        ),
        (
            {"kind": "Vocabularies", "values": ["a"], "width": 1, "separator": "", "missing": 0},
            "no separator",
        ),
        ({"kind": "Buckets", "edges": ["a"], "missing": 0}, "its edges are not numbers"),
        (
            {
                "kind": "Grams",
                "size": 9,
                "words": 10**9,
                "shortest": 0,
                "longest": 0,
                "width": 1,
                "missing": 0,
            },
            "not",
        ),
    ],
)
def test_features_are_what_their_kind_allows(tmp_path, feature, message):
    run = stored(tmp_path / "run", "GRU4Rec")
    (run / "context_features.json").write_text(json.dumps({"hour": feature}))
    refused(run, message)


def test_a_pipe_or_a_device_is_not_read(tmp_path):
    run = tmp_path / "run"
    saved.save(run, saved.load(stored(tmp_path / "earlier", "GRU4Rec")))
    for name in saved.FILES:
        content = (run / name).read_bytes()
        (run / name).unlink()
        os.mkfifo(run / name)
        refused(run, "not a file")
        (run / name).unlink()
        (run / name).write_bytes(content)
    saved.load(run)
