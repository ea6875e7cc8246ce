import numpy as np
import pytest

from rezoo.datasets import criteo
from rezoo.errors import DataError


def line(third="7", fifth="1382", first="68fd1e64"):
    return "\t".join(["1", "1", "2", third, "-1", fifth, *["4"] * 8, first, *["a"] * 25])


LINE = line()


def test_counts_go_by_the_square_of_their_logarithm_and_what_is_missing_is_unknown(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("\n".join([line(third=""), line(fifth="1380"), line(first="other"), line(first="")]))
    clicks = criteo.read(path)
    np.testing.assert_array_equal(clicks.label, [1, 1, 1, 1])
    made = criteo.classes(clicks)
    np.testing.assert_array_equal(made["I5"], np.floor(np.log([1382, 1380, 1382, 1382]) ** 2))
    assert made["I4"][0] == -1 and np.isnan(made["I3"][0]) and clicks.columns["C1"][3] is None
    columns = criteo.fit(clicks, min_count=2).transform(made)
    assert set(columns) == {*criteo.NUMBERS, *criteo.CATEGORIES}
    np.testing.assert_array_equal(columns["C1"] == 0, [False, False, True, True])
    np.testing.assert_array_equal(columns["I3"] == 0, [True, False, False, False])


def test_a_last_line_may_end_with_what_is_missing(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text(f"{LINE}\n{LINE.rpartition(chr(9))[0]}\t\n\n")
    assert criteo.read(path).columns["C26"].tolist() == [LINE.rpartition("\t")[2], None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\t2\n", "line 1: 2 columns between tabs instead of 40"),
        (f"{LINE}\n2{LINE[1:]}\n", "line 2: the label is '2'"),
        (LINE.replace("1382", "many"), "line 1, column I5: 'many' is not a whole number"),
        (f"{LINE}\n\n{LINE}\n", "line 2: 1 columns"),
        ("", "empty"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, message):
    path = tmp_path / "log.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        criteo.read(path)


@pytest.mark.slow
def test_the_real_sample(data_folder):
    clicks = criteo.read(f"{data_folder}/criteo-sample-10k/criteo-sample-10k.zip!train_examples.txt")
    assert len(clicks.label) == 10_000 and clicks.label.sum() == 2182
    sizes = criteo.fit(clicks).sizes
    assert len(sizes) == 39 and sizes["C1"] > 10
