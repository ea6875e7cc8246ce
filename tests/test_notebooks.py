"""Every notebook is a pair in step and a whole lesson, with outputs, which `.ci/notebooks` compares."""

import asyncio
import importlib.util
import re
from importlib.machinery import SourceFileLoader
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))

loader = SourceFileLoader("notebooks", str(ROOT / ".ci" / "notebooks"))
script = importlib.util.module_from_spec(importlib.util.spec_from_loader("notebooks", loader))
loader.exec_module(script)


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
def test_outputs_are_stored(source):
    kept = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    numbers = [cell.execution_count for cell in code]
    assert numbers == list(range(1, len(code) + 1)), "run `.ci/notebooks --write`"
    assert all(script.pictures(cell) for cell in code if re.search(r"plt\.show|\.draw_", cell.source))
    assert source.with_suffix(".ipynb").stat().st_size <= 400_000


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_outputs_tell_of_results_alone(source):
    kept = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert set(kept.metadata) == {"jupytext", "kernelspec"}
    outputs = [output for cell in kept.cells for output in cell.get("outputs", [])]
    assert {output.get("name", "stdout") for output in outputs} <= {"stdout"}
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    shown = "\n".join(script.printed(cell) for cell in kept.cells if cell.cell_type == "code")
    paths_addresses_warnings = (
        r"/(home|root|tmp|work|usr|Users|opt)/|\w:\\|site-packages|0x[0-9a-f]{6}|Warning"
    )
    assert re.findall(paths_addresses_warnings, shown) == []


def notebook(*texts):
    """A notebook of code cells that have put out these texts."""
    outputs = [[nbformat.v4.new_output("stream", text=text)] for text in texts]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=one) for one in outputs])


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("MF 0.512 ± 0.004", "MF 0.520 ± 0.012"),  # within ABSOLUTE
        ("loss 40.0", "loss 40.6"),  # within RELATIVE
        ("34% of 1,200 rows", "35% of 1,200 rows"),
        ("MF       9.98", "MF      10.02"),  # a figure that has become wider
        ("differs by 3e-08", "differs by 6e-08"),
        ("difference +0.001", "difference -0.001"),
        ("shape [4 2], scarf 17", "shape [4 2], scarf 17"),
    ],
)
def test_rounding_on_another_processor_is_no_difference(stored, new):
    assert script.differences(notebook(stored), notebook(new), with_data=True) == []


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("MF 0.512", "MF 0.480"),
        ("loss 40.0", "loss 43.0"),
        ("34% of 1,200 rows", "40% of 1,200 rows"),
        ("1,200 rows", "1,201 rows"),  # a count
        ("near scarf 17", "near scarf 18"),
        ("MF 0.512", "EASE 0.512"),
        ("MF 0.512", "MF 0.512 ± 0.004"),
        ("MF 0.512", "MF nan"),
        ("MF 0.512", ""),
    ],
)
def test_another_figure_or_text_is_a_difference(stored, new):
    (found,) = script.differences(notebook("same", stored), notebook("same", new), with_data=True)
    assert found == f"cell 2\n  stored: {stored}\n  new:    {new}"


def test_a_picture_more_or_less_is_a_difference():
    picture = nbformat.v4.new_output("display_data", {"image/png": "", "text/plain": "<Figure>"})
    drawn = notebook("MF 0.512")
    drawn.cells[0].outputs.append(picture)
    assert script.differences(drawn, drawn, with_data=True) == []
    (found,) = script.differences(drawn, notebook("MF 0.512"), with_data=True)
    assert found == "cell 1: 1 pictures stored, 0 new"


def test_cells_of_real_data_are_compared_where_it_is_there():
    one, other = notebook("ml-100k 0.9"), notebook("ml-100k 0.5")
    for made in (one, other):
        made.cells[0].source = 'if "REZOO_DATA" in os.environ:'
    assert len(script.differences(one, other, with_data=True)) == 1
    assert script.differences(one, other, with_data=False) == []


def test_a_notebook_is_executed_stored_and_compared(tmp_path):
    def of_source(source):
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        cell = nbformat.v4.new_code_cell(source)
        return nbformat.v4.new_notebook(cells=[cell], metadata=metadata)

    def run(*, write):
        return asyncio.run(script.main([path], write=write))

    path = tmp_path / "lesson.ipynb"
    nbformat.write(of_source("print('figure', 0.5)"), path)
    assert run(write=True) and run(write=False)
    (cell,) = nbformat.read(path, as_version=4).cells
    assert (cell.execution_count, cell.metadata, script.printed(cell)) == (1, {}, "figure 0.5")
    path.write_text(path.read_text().replace("0.5)", "0.6)"))
    assert not run(write=False)
    nbformat.write(of_source("import warnings\nwarnings.warn('no')"), path)
    assert not run(write=True)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_lesson_is_whole(source):
    lesson = text(source)
    assert lesson.startswith(f"# {source.stem.split('_')[0]} · ")
    assert "What you will learn" in jupytext.read(source).cells[0].source
    assert "## Exercises" in lesson and "https://" in lesson.split("## Read on")[1]
    assert re.search(r"[\u4e00-\u9fff]", lesson), "key terms have their Chinese name at their first use"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_lesson_has_the_look_of_the_course_and_no_compiler_flags(source):
    code = source.read_text("utf-8")
    assert 'plt.style.use("rezoo.studies.pictures")' in code and "XLA_FLAGS" not in code


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
