"""Typed figures are those of the result files: in docstrings' tables, experiments/README.md and README.md."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "experiments"))
from pages import recorded  # noqa: E402

FIGURE = re.compile(r"(?<![\w.,/-])-?(?:\d+(?:,\d{3})*)?\.\d{2,}(?![\w.])")
"""A number with two decimals or more; not part of a version, a range or a name."""
FILES = {file.stem: json.loads(file.read_text("utf-8"))["rows"] for file in recorded.RESULTS.glob("*.json")}


def values(rows):
    """What may stand for a row: its mean, standard error, published figure, seconds, and noted numbers."""
    found = [row["seconds"] / len(row["values"]) for row in rows]
    return found + [value for row in rows for value in row.values() if isinstance(value, int | float)]


def untied(text, rows):
    """The figures of a text that are no value of the rows, to the digits that are typed."""
    known = values(rows)

    def ties(figure):
        digits = len(figure.partition(".")[2])
        typed = abs(float(figure.replace(",", "")))
        return any(abs(abs(value) - typed) <= 0.5 * 10**-digits + 1e-9 for value in known)

    return [figure for figure in FIGURE.findall(text) if not ties(figure)]


def named(line, rows):
    """The rows of the models that a line of a table begins with or names in another column."""
    cells = re.split(r"\s{2,}", line.strip())
    if len(cells) < 2 or not re.match(r"[-(.\d]", cells[1]):  # a note on a model, no row of figures
        return []
    kinds = {row["model"] for row in rows if any(is_of(row["model"], cell) for cell in cells)}
    return [row for row in rows if row["model"] in kinds] if any(is_of(m, cells[0]) for m in kinds) else []


def is_of(model, cell):
    """Whether a cell names a model, or its variant alone."""
    return model == cell or model.startswith(f"{cell}, ") or model.endswith(f", {cell}")


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_tables_of_a_docstring_are_those_of_the_result_file(name):
    text = ast.get_docstring(ast.parse((ROOT / "experiments" / f"{name}.py").read_text("utf-8"))) or ""
    for line in text.splitlines():
        if line.startswith("    ") and (rows := named(line, FILES[name])):
            assert not untied(line, rows), line


SETTING = re.compile(r"(?:λ|α|rates?|[<=≤])[ (]*(?:of |= )?(?:[\d.]+(?:,| to| and) )*$")
"""What stands before a number that was set, not measured."""


@pytest.mark.parametrize("name", sorted(FILES))
def test_other_figures_of_a_docstring_are_in_a_result_file_or_are_settings(name):
    """Those of its own file, and of the experiments that it names."""
    text = ast.get_docstring(ast.parse((ROOT / "experiments" / f"{name}.py").read_text("utf-8"))) or ""
    text = " ".join(line for line in text.splitlines() if "pip install" not in line)
    files = {name} | {other for other in FILES if f"{other}.py" in text}
    rows = [row for other in files for row in FILES[other]]
    known = values(rows) + [one for row in rows for one in (*row["values"], row["sem"] or 0)]
    for found in FIGURE.finditer(text):
        typed, digits = abs(float(found[0].replace(",", ""))), len(found[0].partition(".")[2])
        if SETTING.search(text[max(0, found.start() - 40) : found.start()]):
            continue
        near = text[max(0, found.start() - 60) : found.end()]
        assert any(abs(abs(value) - typed) <= 0.51 * 10**-digits for value in known), near


def test_a_stale_figure_is_found():
    rows = [{"model": "MF, bpr", "values": [0.12, 0.13], "mean": 0.125, "sem": 0.004, "seconds": 4.0}]
    assert not untied("    bpr   .125 ± .004   2.00", named("    bpr   .125", rows))
    assert untied("    bpr   .126   0.13", named("    bpr   .126", rows)) == [".126"]


def test_the_list_of_experiments_tells_their_figures():
    for line in (ROOT / "experiments" / "README.md").read_text("utf-8").splitlines():
        if (row := re.match(r"\| \[(\w+)\]\(", line)) and row[1] in FILES:
            assert not untied(line, FILES[row[1]]), line


def test_which_model_for_which_task_tells_the_figures_of_its_data_set():
    found = recorded.by_data_set()
    text = (ROOT / "README.md").read_text("utf-8")
    lines = re.findall(r"\| ([^|]+?) on ([^|:]+): ((?:`[^`]+` \d[^|]*)+) \|$", text, re.M)
    assert len(lines) >= 8
    for metric, heading, figures in lines:
        for model, typed in re.findall(r"`([^`]+)` ([\d.]+\d)", figures):
            rows = [row for models in found[heading].values() for row in models.get(model, [])]
            rows = [row for row in rows if row["metric"] == metric]
            assert not untied(typed, rows), f"{heading}: {model} {metric} {typed}"
