"""One id is found as many are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rezoo.data.ids import Ids
from rezoo.errors import DataError
from rezoo.serving.cold_start import lengthened


@given(st.data())
def test_a_finder_finds_what_encode_finds(data):
    texts = st.text(alphabet="0123 .-ax", max_size=4)
    raw = data.draw(st.sampled_from([st.integers(-20, 20), texts.filter(bool)]))
    ids = Ids.fit(np.array(data.draw(st.lists(raw, min_size=1, max_size=9))))
    find = ids.finder()
    for value in data.draw(st.lists(st.integers(-20, 20) | texts | st.floats(), max_size=9)):
        assert find(value) == ids.encode([value])[0], (value, ids.raw)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.uint64])
def test_an_id_beyond_the_type_of_the_known_ones_is_unknown(kind):
    ids = Ids(np.array([7, 8], kind))
    assert ids.encode([7, 5_000_000_000, -1, 8]).tolist() == [1, 0, 0, 2]
    assert ids.encode(["8", "5000000000"]).tolist() == [2, 0]
    longer, rows = lengthened(ids, np.array([2**60 + 1]))
    assert longer.raw.tolist() == [7, 8, 2**60 + 1] and rows.tolist() == [0]


def test_lists_are_no_ids():
    ids = Ids(np.array(["ann"]))
    with pytest.raises(DataError, match=r"an id is a list, .*: give a number or a text for each"):
        ids.encode(["ann", ["ann"]])
    with pytest.raises(DataError, match="lists of different lengths"):
        ids.encode([["ann"], ["ann", "bob"]])


def test_ids_are_fitted_to_numbers_and_texts():
    assert Ids.fit([12.0, 7.0]).raw.tolist() == [12, 7]
    with pytest.raises(DataError, match=r"ids are fractions, such as 1\.5"):
        Ids.fit([1.5])
    with pytest.raises(DataError, match="cannot be ids"):
        Ids.fit([[1], [2]])
