"""The README's example runs, and its tables are those of the result files."""

import importlib.util
import re
from pathlib import Path

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
    wanted = leaderboard.with_results(README, leaderboard.tables())
    assert wanted == README, "run `python experiments/leaderboard.py`"


def test_every_local_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
