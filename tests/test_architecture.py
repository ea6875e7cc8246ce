"""Imports go one way, and the project has the shape that the README says."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"types", "errors", "devices", "storage", "arrays"},
    {"losses", "metrics", "sampling", "nn", "data"},
    {"datasets", "models"},
    {"objectives", "evaluation"},
    {"training"},
    {"studies", "serving"},
    {"recipes"},
]
LAYER = {name: level for level, names in enumerate(LAYERS) for name in names}
FORBIDDEN = {("data", "nn"), ("nn", "data"), ("models", "losses"), ("models", "datasets"), ("training", "nn")}
FORBIDDEN |= {("metrics", "losses")}  # losses are made of metrics
FILES = sorted((ROOT / "rezoo").rglob("*.py"))


def part(file: Path) -> str:
    return file.relative_to(ROOT / "rezoo").with_suffix("").parts[0]


def imported(file: Path) -> set[str]:
    """The parts of rezoo that a file imports."""
    return {name.split(".")[1] for name in modules_named(file) if name.startswith("rezoo.")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file):
    here = part(file)
    if here == "__init__":
        assert not imported(file)
        return
    assert here in LAYER, f"{file}: say in which layer {here!r} is"
    for other in imported(file) - {here}:
        assert LAYER[other] <= LAYER[here], f"{here} imports {other}, which is above it"
        assert (here, other) not in FORBIDDEN, f"{here} must not import {other}"


def test_nobody_imports_an_experiment():
    for file in FILES:
        assert not re.search(r"^\s*(from|import) experiments", file.read_text(), re.M), file


def modules_named(file: Path) -> set[str]:
    """Every module, or name in it, that a file imports: in functions and under `TYPE_CHECKING` too."""
    named = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{file}: relative import")
        elif isinstance(node, ast.ImportFrom):
            named |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return named


def test_no_two_modules_need_each_other():
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in FILES
    }
    graph = {}
    for name, file in modules.items():
        named = modules_named(file) & set(modules)
        graph[name] = named - {one.rpartition(".")[0] for one in named}  # of a package, what is taken from it
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail("these import each other: " + " → ".join(error.args[1]))


def test_the_top_floor_can_be_seen_at_a_glance():
    outside = {"__init__.py", "__pycache__", "py.typed", "LICENSE", "CHANGELOG.md"}
    rooms = {path.name for path in (ROOT / "rezoo").iterdir()} - outside
    assert len(rooms) <= 18, sorted(rooms)


def test_experiments_import_none_of_each_other():
    folder = ROOT / "experiments"
    shared = {"common", "provenance", "turns", "protocols"}
    scripts = {file.stem for file in folder.glob("*.py")} - shared
    for file in [*folder.glob("*.py"), *folder.glob("protocols/*.py")]:
        others = modules_named(file) & scripts
        assert not others, f"{file}: what it shares with {others} belongs to experiments/protocols"


def test_top_level_holds_what_it_should():
    allowed = {"pyproject.toml", "rezoo", "experiments", "tests", "notebooks", "README.md"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - {"runs", "build", "dist"} <= allowed


def test_the_comparisons_with_peers_are_collected_without_them():
    for file in sorted((ROOT / "tests" / "peers").glob("*.py")):
        tree = ast.parse(file.read_text())
        names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
        ours = {"functools", "flax", "helpers", "jax", "numpy", "optax", "peers", "pytest", "rezoo"}
        assert {name.split(".")[0] for name in names} <= ours, file
        assert not file.name.startswith("test_") or "\npytestmark = MARKS\n" in file.read_text(), file


def test_every_model_is_in_the_contract_test():
    import test_contract

    import rezoo.models

    covered = {type(case.model).__name__ for case in test_contract.CASES.values()}
    assert set(rezoo.models.__all__) == covered


def test_what_a_loop_makes_of_a_model_is_bounded():
    """A saved model could otherwise ask for a million layers: see `types.Parts`."""
    for file in FILES:
        for kind in (
            node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)
        ):
            fields = {
                node.target.id: ast.unparse(node.annotation)
                for node in kind.body
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
            }
            loops = [node for node in ast.walk(kind) if isinstance(node, ast.Call)]
            loops = [node for node in loops if isinstance(node.func, ast.Name) and node.func.id == "range"]
            used = {one.attr for loop in loops for one in ast.walk(loop) if isinstance(one, ast.Attribute)}
            for name in used & set(fields):
                assert fields[name] in ("Parts", "SomeParts"), (
                    f"{file}: {kind.name}.{name} counts a loop, so it is `types.Parts` or `SomeParts`"
                )
