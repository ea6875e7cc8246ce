"""The README's examples run, its tables are those of the result files, and what it names is there."""

import ast
import importlib
import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = ("README.md", "experiments/README.md", "experiments/results/README.md", "rezoo/models/README.md")
sys.path.insert(0, str(ROOT / "experiments"))


def example(marker):
    (code,) = re.findall(rf"<!-- {marker}: [^\n]*-->\n```python\n(.*?)```", README, re.S)
    return code


def test_it_is_short():
    assert len(README.splitlines()) <= 350 and len(README.encode()) <= 25_000
    assert len(re.findall(r"!\[", README)) <= 2


def test_the_example_runs():
    names = {}
    exec(compile(example("example"), "README.md", "exec"), names)
    assert names["history"]["loss"].shape == (2, 3, 20)
    assert float(names["history"]["loss"][1, :, -1].max()) < 0.5 * float(
        names["history"]["loss"][1, :, 0].min()
    )
    assert names["ids"].shape == (1, 10) and (names["ids"] > 0).all()
    assert sum(bool(line.strip()) for line in example("example").splitlines()) <= 22


def test_three_lines_go_from_a_file_to_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairs = [
        (user, f"item {(place * step) % 40}")
        for place, user in enumerate(["ann", "bob", "cid", "dan"] * 5, 1)
        for step in range(1, 4)
    ]
    rows = "".join(f"{user},{item},2024-01-{day % 28 + 1:02}\n" for day, (user, item) in enumerate(pairs))
    Path("purchases.csv").write_text(f"user,item,timestamp\n{rows}")
    *lines, last = ast.parse(example("recipe")).body
    names = {}
    exec(compile(ast.Module(lines, []), "README.md", "exec"), names)
    answer = eval(compile(ast.Expression(last.value), "README.md", "eval"), names)
    assert len(answer) > 0 and "ann" in str(answer)


def test_the_tables_are_made_from_the_result_files():
    import leaderboard

    for file, text in leaderboard.pages().items():
        assert file.read_text("utf-8") == text, "run `python experiments/leaderboard.py`"


def test_every_model_is_in_the_table_of_models():
    from pages import headline

    import rezoo.models

    page = (ROOT / "rezoo" / "models" / "README.md").read_text("utf-8")
    assert {*rezoo.models.__all__, "biases"} == {
        name for line in page.splitlines() for name in headline.named(line)
    }


def test_every_picture_is_in_a_page():
    pictures = {path.name for path in (ROOT / "experiments" / "results").glob("leaderboard-*.png")}
    page = (ROOT / "experiments" / "results" / "README.md").read_text("utf-8")
    assert pictures == set(re.findall(r"\((leaderboard-[^)]+\.png)\)", page))


def anchors(file):
    titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", PAGES)
def test_every_local_link_leads_somewhere(file):
    text = (ROOT / file).read_text("utf-8")
    named = dict(re.findall(r"^\[([^]]+)\]: (\S+)$", text, re.M))
    assert {
        name
        for name in re.findall(r"\[[a-z]+\]\[([^]]+)\]", re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S))
    } <= named.keys()
    links = [*re.findall(r"\]\(([^)\s]+)\)", text), *named.values()]
    assert links
    for link in {link for link in links if not link.startswith(("http:", "https:"))}:
        path, _, section = link.partition("#")
        target = (ROOT / file).parent / path if path else ROOT / file
        assert target.exists(), f"{file}: {link}"
        assert not section or section in anchors(target), f"{file}: {link}"


def flags(script):
    """The flags of an experiment: of dataclasses, main's arguments and its neighbours'."""
    found = {"help"}
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            fields = [n.target for n in node.body if isinstance(n, ast.AnnAssign)]
            found |= {field.id for field in fields if isinstance(field, ast.Name)}
        if isinstance(node, ast.FunctionDef) and node.name == "main":
            found |= {arg.arg for arg in [*node.args.args, *node.args.kwonlyargs]}
        if isinstance(node, ast.ImportFrom | ast.Import):
            module = getattr(node, "module", None) or node.names[0].name
            neighbour = (ROOT / "experiments").joinpath(*module.split(".")).with_suffix(".py")
            found |= flags(neighbour) if neighbour.exists() else set()
    return {name.replace("_", "-") for name in found}


STUDIES = ("sweep", "halving")
"""Modules that are named without their package."""
SCRIPTS = sorted(path.name for path in (ROOT / "experiments").glob("*.py"))


@pytest.mark.parametrize("file", [*PAGES[:2], *SCRIPTS])
def test_every_command_names_a_script_and_flags_that_it_has(file):
    place = ROOT / file if file in PAGES else ROOT / "experiments" / file
    text = place.read_text("utf-8")
    if place.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    commands = re.findall(r"experiments/([a-z]\w+)\.py((?:[ \t]+(?:\\\n\s*)?[^\s`]+)*)", text)
    for name, words in commands:
        script = ROOT / "experiments" / f"{name}.py"
        assert script.exists(), f"{file}: experiments/{name}.py"
        for flag in re.findall(r"(?<!\S)--([a-z][\w-]*)", words.split("#")[0]):
            assert flag in flags(script), f"{file}: experiments/{name}.py has no --{flag}"


@pytest.mark.parametrize("file", PAGES[:2])
def test_every_module_and_file_that_is_named_is_there(file):
    text = re.sub(r"```.*?```", "", (ROOT / file).read_text("utf-8"), flags=re.S)
    for path in re.findall(r"`((?:rezoo|experiments|tests|notebooks|\.ci)/[\w./]+)`", text):
        assert (ROOT / path).exists(), f"{file}: {path}"
    packages = {path.stem for path in (ROOT / "rezoo").iterdir()}
    for name in re.findall(r"`(\w+(?:\.\w+)+)`", text):
        first = name.split(".")[0]
        full = name if first == "rezoo" else f"rezoo.{'studies.' * (first in STUDIES)}{name}"
        if first in {"rezoo", *packages, *STUDIES} - {"__init__"}:
            above, _, last = full.rpartition(".")
            module = importlib.import_module(above)
            found = hasattr(module, "__path__") and importlib.util.find_spec(full)
            assert found or hasattr(module, last), f"{file}: {name}"


def test_every_experiment_is_listed_with_its_command():
    text = (ROOT / "experiments" / "README.md").read_text()
    files = {path.name for path in (ROOT / "experiments").glob("*.py")}
    listed = set(re.findall(r"\]\((\w+\.py)\)", text))
    assert listed == files, f"not listed: {files - listed}; listed, but not there: {listed - files}"
    for line in text.splitlines():
        if row := re.match(r"\| \[(\w+)\]\((\w+)\.py\) \| `([^`]+)`", line):
            assert row[1] == row[2] and row[3].split()[:2] == ["python", f"experiments/{row[1]}.py"], line
