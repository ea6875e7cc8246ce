"""The installed package by itself: every module without extras, the README's example, and a saved model.

Run in an environment that has the wheel and nothing else, with the README's path:
    python -W error installed.py README.md
"""

import importlib
import importlib.metadata
import pkgutil
import re
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import rezoo

package = Path(rezoo.__file__).parent
assert "site-packages" in package.parts, f"this is not the installed package: {package}"
assert importlib.metadata.version("rezoo") == rezoo.__version__
assert all((package / name).exists() for name in ("CHANGELOG.md", "LICENSE", "py.typed"))
assert importlib.metadata.files("rezoo") and not list(package.rglob("test_*"))


EXTRA = dict.fromkeys((f"rezoo.serving.service.{name}" for name in ("app", "connections")), "serve")
"""Modules that an extra is for: importing them without it says which."""


def imported(path: list[str], prefix: str) -> int:
    """Import every module below and count them."""
    count = 0
    for module in pkgutil.iter_modules(path, prefix):
        try:
            below = importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            assert f"'rezoo[{EXTRA.get(module.name)}]'" in str(error), error
            continue
        count += 1 + (imported(list(below.__path__), module.name + ".") if module.ispkg else 0)
    return count


print(imported(list(rezoo.__path__), "rezoo."), "modules imported")

(example,) = re.findall(
    r"<!-- example: [^\n]*-->\n```python\n(.*?)```", Path(sys.argv[1]).read_text("utf-8"), re.S
)
exec(compile(example, "README.md", "exec"), {})

from rezoo.data.ids import Ids  # noqa: E402
from rezoo.models import MF  # noqa: E402
from rezoo.serving import answers, bundle, saved  # noqa: E402
from rezoo.serving.service import guide  # noqa: E402
from rezoo.types import Query  # noqa: E402

assert {"index.html", "style.css", "guide.js"} < set(guide.files())

users, items = Ids(np.array(["ann", "bo"])), Ids(np.array(["hat", "tea", "mug"]))
model = MF(users.size, items.size, 4)
nobody = Query(jnp.zeros(1, int), jnp.zeros((1, 0), int), {})
variables = model.init(jax.random.key(0), nobody, jnp.zeros(1, int))
with tempfile.TemporaryDirectory() as folder:
    made = bundle.Saved(model, variables, users, items)
    saved.save(f"{folder}/shop", made)
    loaded = saved.load(f"{folder}/shop")
table = answers.recommend(loaded, ["ann"], 2)
assert table["item"].shape == (2,) and set(table["item"]) < {"hat", "tea", "mug"}
assert np.array_equal(table["score"], answers.recommend(made, ["ann"], 2)["score"])
print("saved, loaded, asked:", table)
