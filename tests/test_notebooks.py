"""Every notebook is a pair in step, without outputs, and has what a lesson needs; nbmake runs them."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))


def cells(notebook):
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def text(source):
    return "\n".join(cell.source for cell in jupytext.read(source).cells if cell.cell_type == "markdown")


def folded(source):
    return [c for c in jupytext.read(source).cells if c.metadata.get("jupyter", {}).get("source_hidden")]


def test_every_source_has_a_notebook_and_the_reverse():
    assert SOURCES
    assert [path.stem for path in SOURCES] == sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_pair_is_in_step(source):
    kept = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    made = jupytext.read(source)
    assert cells(kept) == cells(made), "run `jupytext --sync notebooks/*.py`"
    assert kept.metadata["kernelspec"] == made.metadata["kernelspec"]
    assert kept.metadata["jupytext"]["formats"] == "ipynb,py:percent"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_output_is_stored(source):
    kept = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_lesson_is_whole(source):
    lesson = text(source)
    assert lesson.startswith(f"# {source.stem.split('_')[0]} · ")
    assert "What you will learn" in jupytext.read(source).cells[0].source
    assert "## Exercises" in lesson and "https://" in lesson.split("## Read on")[1]
    assert re.search(r"[\u4e00-\u9fff]", lesson), "key terms have their Chinese name at their first use"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_answers_are_folded_and_checked(source):
    answers = folded(source)
    assert answers
    assert all("hide-input" in cell.metadata["tags"] for cell in answers)
    assert any(re.search(r"^\s*assert ", cell.source, re.M) for cell in answers)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_links_to_files_lead_somewhere(source):
    for target in re.findall(r"\]\(([^)#]+)\)", text(source)):
        if not target.startswith("http"):
            assert (FOLDER / target).exists(), target


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_names_of_code_stand_in_backticks(source):
    code_links_math = r"```.*?```|`[^`]*`|\[[^\]]*\]\([^)]*\)|https?://\S+|\$\$.*?\$\$|\$[^$]*\$"
    prose = re.sub(code_links_math, " ", text(source), flags=re.S)
    assert re.findall(r"\b[A-Za-z]\w*_\w+", prose) == []
