import io

import numpy as np
import pytest
from rich.console import Console

from rezoo.studies import report, significance

GRID = {"rate": np.array([1e-4, 1e-1, 1e-2, 1e-3]), "l2": np.array([0.1, 0.2, 0.15, 0.4])}
SCORE = np.array([[-0.95, -0.97], [np.nan, -0.9], [-0.91, -0.93], [-0.92, -0.93]])


def text(table):
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    return console.file.getvalue()


def test_the_table_has_the_best_first_and_those_that_diverged_last():
    rows = text(report.table(GRID, SCORE, metric="rmse", sign=-1, units=[1, 4, 4, 4])).splitlines()
    cells = [[cell.strip() for cell in row.split("│")[1:-1]] for row in rows if row.startswith("│")]
    assert cells[0] == ["1", "0.01", "0.15", "4", "0.9200 ± 0.0100", "2"]
    assert [row[1] for row in cells] == ["0.01", "0.001", "0.0001", "0.1"] and cells[-1][-1] == "1"
    assert "diverged" in text(report.table(GRID, np.full((4, 1), np.nan)))


def test_slices_show_every_point_the_best_as_a_star_and_what_diverged_as_a_cross(tmp_path):
    figure = report.slices(GRID, SCORE, metric="RMSE", sign=-1, units=[1, 4, 4, 4])
    rate, l2 = figure.axes
    assert rate.get_xscale() == "log" and l2.get_xscale() == "linear"
    assert (rate.get_xlabel(), l2.get_xlabel(), rate.get_ylabel()) == ("rate", "l2", "RMSE")
    points, star, cross = (collection.get_offsets() for collection in rate.collections)
    np.testing.assert_allclose(points, [[1e-4, 0.96], [1e-2, 0.92], [1e-3, 0.925]])
    np.testing.assert_allclose(star, [[1e-2, 0.92]])
    assert cross[:, 0] == [1e-1]
    figure.savefig(tmp_path / "slices.png")
    assert (tmp_path / "slices.png").stat().st_size > 5000


def test_curves_have_a_band_of_one_standard_error_and_end_where_training_ended():
    history = np.array([[1.0, 2.0, np.nan], [3.0, 6.0, np.nan]])
    (axis,) = report.curves({"a": history, "b": np.ones((1, 3))}, metric="ndcg@10").axes
    line = axis.lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[1, 2], [2, 4]])
    edge = axis.collections[0].get_paths()[0].vertices
    assert {(1.0, 1.0), (1.0, 3.0), (2.0, 2.0), (2.0, 6.0)} <= {tuple(point) for point in edge}
    assert axis.lines[0].get_linestyle() != axis.lines[1].get_linestyle()
    assert axis.get_xlabel() == "epoch" and [t.get_text() for t in axis.get_legend().get_texts()] == [
        "a",
        "b",
    ]


@pytest.mark.parametrize(("p", "shown"), [(0.0312, "0.031"), (1e-9, "< 0.001")])
def test_comparisons_name_the_difference_its_interval_and_p(p, shown):
    row = significance.Comparison(-0.012, -0.02, -0.004, p, 6040)
    printed = text(report.comparison({"SVDpp over MF": row}, metric="rmse"))
    assert "-0.0120" in printed and "-0.0200 … -0.0040" in printed and shown in printed and "6,040" in printed
