import functools
import json
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo.models import MF
from rezoo.storage import fingerprint


def test_values_types_shapes_and_structure_count():
    things = [
        1, 1.0, True, "1", b"1", [1], (1,), {"a": 1}, {"b": 1}, None, [], [[1]],
        np.int32(1), np.int64(1), np.ones(4), np.ones((2, 2)), np.array(["1"]), np.array([1, None], object),
        np.array(["2020"], "datetime64[D]"), jnp.ones(4, jnp.bfloat16), jax.random.key(0), jax.random.key(1),
    ]  # fmt: skip
    assert len({fingerprint.of(thing) for thing in things}) == len(things)
    assert fingerprint.of(jnp.ones(3)) == fingerprint.of(np.ones(3, np.float32))
    with pytest.raises(TypeError, match="made of arrays, numbers and text"):
        fingerprint.of({"a": object()})


def test_a_program_is_its_operations_and_its_arrays():
    def scale(factor, data):
        return jax.jit(lambda x: jax.nn.relu(factor * x) @ data)

    x, data = jnp.ones(3), np.arange(6.0).reshape(3, 2)
    first = fingerprint.program(scale(2.0, data), x)
    assert fingerprint.program(scale(2.0, data.copy()), x) == first
    assert fingerprint.program(scale(2.0000002, data), x)["program"] != first["program"]
    other = fingerprint.program(scale(2.0, data + 1), x)
    assert other["data"] != first["data"] and other["program"] == first["program"]


SCRIPT = """
import jax, jax.numpy as jnp
from rezoo.storage import fingerprint
axes = jax.sharding.PartitionSpec()
mesh = jax.make_mesh((1, 1, 1), ("a", "b", "c"), axis_types=(jax.sharding.AxisType.Auto,) * 3)
total = jax.shard_map(lambda x: jax.lax.psum(x, ("a", "b")), mesh=mesh, in_specs=axes, out_specs=axes)
print(fingerprint.program(jax.jit(lambda x: jax.nn.silu(total(x))), jnp.ones(3)))
print(fingerprint.code(lambda x: x in {"a", "b", "c"}))
"""


@pytest.mark.slow
def test_another_process_finds_the_same():
    said = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT], env={"PYTHONHASHSEED": str(n)}, capture_output=True, check=True
        ).stdout
        for n in range(3)
    }
    assert len(said) == 1


FACTOR = 2


def doubled(x):
    return FACTOR * x


def test_the_code_of_a_function_is_its_bytecode_and_what_it_holds(monkeypatch):
    def make(data, notes, rate=0.1):
        def score(x, rate=rate):
            notes.append(x)
            return doubled(data.sum() * rate * x)

        return score

    whole = fingerprint.code(make(np.ones(3), []))
    assert fingerprint.code(make(np.ones(3), [1.0, 2.0])) == whole
    assert fingerprint.code(make(np.zeros(3), [])) != whole
    assert fingerprint.code(make(np.ones(3), [], rate=0.2)) != whole
    assert fingerprint.code(lambda x: x + 1) != fingerprint.code(lambda x: x + 2)
    assert fingerprint.code(functools.partial(doubled, 1)) != fingerprint.code(functools.partial(doubled, 2))
    monkeypatch.setitem(globals(), "FACTOR", 3)
    assert fingerprint.code(make(np.ones(3), [])) != whole


def test_content_is_bytes_and_the_names_in_a_folder(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "b.csv").write_text("1")
    assert fingerprint.content(tmp_path / "a.csv") == fingerprint.content(tmp_path / "b.csv")
    before = fingerprint.content(tmp_path)
    (tmp_path / "b.csv").rename(tmp_path / "c.csv")
    assert fingerprint.content(tmp_path) != before


def test_each_has_its_place_and_another_says_what_is_other(tmp_path, caplog):
    first = fingerprint.place(tmp_path, {"data": "1", "code": "1"})
    assert fingerprint.place(tmp_path, {"data": "1", "code": "1"}) == first and not caplog.records
    second = fingerprint.place(tmp_path, {"data": "2", "code": "1", "x": "1"})
    assert caplog.messages == [f"{first} differs in data and x: starting over, in {second}"]
    assert json.loads((second / fingerprint.PARTS).read_text()) == {"data": "2", "code": "1", "x": "1"}
    (second / fingerprint.PARTS).write_text("{")
    fingerprint.place(tmp_path, {"data": "3"})
    assert len(caplog.messages) == 2


def test_the_code_of_a_function_is_that_of_the_modules_and_models_it_holds():
    def asks(module):
        return lambda x: module.log(x)

    assert fingerprint.code(asks(np)) == fingerprint.code(asks(np)) != fingerprint.code(asks(math))
    one, other = (functools.partial(doubled, x=MF(3, 3, dim)) for dim in (2, 4))
    assert fingerprint.code(one) == fingerprint.code(one) != fingerprint.code(other)
