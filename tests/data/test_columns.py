"""A raw column is the same array for a log and for a feature."""

import numpy as np
import pandas as pd
import pytest

from rezoo.data import feature_columns, features
from rezoo.data.columns import as_array, plain
from rezoo.data.features import Categorical, Text
from rezoo.data.missing import is_none
from rezoo.errors import DataError


@pytest.mark.parametrize(
    "column, kind",
    [
        ([1, 2], "i"),
        ([1, None], "f"),
        ([1, 2.5], "f"),
        ([True, False], "b"),
        (["a", None], "U"),
        (["a", b"b"], "U"),
        ([b"a", b"\xff"], "U"),
        ([2**60, None], "U"),
        (np.array(["a", ""], object), "U"),
        (pd.array([1, None], "Int64"), "f"),
    ],
    ids=str,
)
def test_a_log_and_a_feature_read_the_same_values(column, kind):
    read, missing = feature_columns.values(column)
    assert read.dtype.kind == kind
    np.testing.assert_array_equal(read, plain(column))
    assert missing.tolist() == [False, is_none(column[1]) or column[1] == ""]


def test_values_of_several_types_are_text_in_a_file_and_refused_as_a_feature():
    for column, texts in (([1, "a"], ["1", "a"]), ([1.5, "a", None], ["1.5", "a", ""])):
        assert plain(column).tolist() == texts
        with pytest.raises(DataError, match=r"mixes values of (int|float), str"):
            feature_columns.values(column)
    lists = [[1, 2], None]
    assert plain(lists).dtype == object
    with pytest.raises(DataError, match="mixes values of list"):
        feature_columns.values(lists)


def test_one_value_is_no_column():
    for one in ("abc", 7, None):
        with pytest.raises(DataError, match="is not a column: give a list or an array"):
            as_array(one)
    with pytest.raises(DataError, match="column 'job': str is not a column"):
        features.fit({"job": Categorical()}, {"job": "cook"})


def test_long_texts_and_times_that_are_missing_are_features_too():
    long = ["word " * 20_000 + str(number) for number in range(200)]
    assert plain(long).dtype == object, "as fixed width they would take 80 MB"
    assert features.fit({"about": Text(width=2)}, {"about": long[:2]}).transform({"about": long[:1]})
    read, missing = feature_columns.values(long)
    assert read.dtype.kind == "U" and not missing.any()
    assert feature_columns.values(["a", pd.NaT])[1].tolist() == [False, True]


def test_a_text_that_numpy_would_shorten_is_refused():
    with pytest.raises(DataError, match="zero byte"):
        feature_columns.values(["a", "b\0"])


def test_a_whole_number_among_texts_is_spelt_as_one():
    assert plain([12.0, "a", 1.5, 3]).tolist() == ["12", "a", "1.5", "3"]


def test_half_a_character_is_named():
    with pytest.raises(DataError, match=r"'a\\ud800' has half of a character, '\\ud800': correct it"):
        plain(["a\ud800"])
