"""Every public function of the packages that a user calls has an example, which pytest runs as a doctest."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("losses", "metrics", "objectives", "evaluation", "training", "serving", "data")
PUBLIC = {f"rezoo.{name}" for name in PACKAGES if name not in ("serving", "data")}
PUBLIC |= {f"rezoo.objectives.{name}" for name in ("adversarial", "weighting")}
PUBLIC |= {f"rezoo.training.{name}" for name in ("alternating", "bucketed", "loop", "row_sparse")}
PUBLIC |= {f"rezoo.serving.{name}" for name in ("answers", "bundle", "cold_start", "ivf", "live")}
PUBLIC |= {f"rezoo.serving.{name}" for name in ("saved", "tables", "two_stage", "unknown")}
PUBLIC |= {
    f"rezoo.data.{name}" for name in ("batches", "interactions", "files", "clean", "features", "split")
}
EXCEPTIONS = {
    "rezoo.training.loop.progress_bar": "draws in a terminal",
    "rezoo.serving.service.workers.supervise": "starts processes that serve; the example is serve.py",
    "rezoo.data.features.load": "reads what FeatureSet.save wrote; the example of both is FeatureSet's",
}


def imported() -> set[str]:
    """The modules of these packages that experiments and notebooks import: they are public, too."""
    names = set()
    for file in [*(ROOT / "experiments").glob("*.py"), *(ROOT / "notebooks").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rezoo."):
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.split(".")[1] in PACKAGES and is_module(name)}


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def functions(module: str) -> dict[str, object]:
    """The functions of a module's `__all__`, or those that it defines without an underscore in front."""
    content = vars(importlib.import_module(module))
    own = [name for name, value in content.items() if getattr(value, "__module__", "") == module]
    named = content.get("__all__", [name for name in own if not name.startswith("_")])
    found = [content[name] for name in named if name in content]
    found = [value for value in found if inspect.isfunction(inspect.unwrap(value))]
    return {f"{value.__module__}.{value.__name__}": value for value in found}


@pytest.mark.parametrize("module", sorted(name for name in PUBLIC | imported() if is_module(name)))
def test_every_public_function_has_an_example(module):
    found = functions(module)
    without = {name for name, value in found.items() if ">>>" not in (inspect.getdoc(value) or "")}
    assert without <= set(EXCEPTIONS), f"add an example to {sorted(without - set(EXCEPTIONS))}"
    listed = {name for name in EXCEPTIONS if name in found}
    assert listed <= without, (
        f"{sorted(listed - without)} have examples: take them off the list of exceptions"
    )
