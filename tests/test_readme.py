"""The README's example runs, and its tables are those of the result files."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["history"]["loss"].shape == (2, 3, 20)
    assert float(names["history"]["loss"][1, :, -1].max()) < 0.5 * float(
        names["history"]["loss"][1, :, 0].min()
    )
    assert names["ids"].shape == (1, 10) and (names["ids"] > 0).all()
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 22


def test_the_tables_are_made_from_the_result_files():
    spec = importlib.util.spec_from_file_location("leaderboard", ROOT / "experiments" / "leaderboard.py")
    leaderboard = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(leaderboard)
    wanted = leaderboard.with_results(README)
    assert wanted == README, "run `python experiments/leaderboard.py`"


@pytest.mark.parametrize("file", ["README.md", "experiments/README.md"])
def test_every_local_link_leads_somewhere(file):
    text = (ROOT / file).read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        if link.startswith(("http:", "https:")):
            continue
        path, _, section = link.partition("#")
        target = (ROOT / file).parent / path if path else ROOT / file
        assert target.exists(), f"{file}: {link}"
        if section:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert section in anchors, f"{file}: {link}"


def test_every_experiment_is_listed_with_its_command():
    text = (ROOT / "experiments" / "README.md").read_text()
    files = {path.name for path in (ROOT / "experiments").glob("*.py")}
    listed = set(re.findall(r"\]\((\w+\.py)\)", text))
    assert listed == files, f"not listed: {files - listed}; listed, but not there: {listed - files}"
    for line in text.splitlines():
        if row := re.match(r"\| \[(\w+)\]\((\w+)\.py\) \| `([^`]+)`", line):
            assert row[1] == row[2] and row[3].split()[:2] == ["python", f"experiments/{row[1]}.py"], line
