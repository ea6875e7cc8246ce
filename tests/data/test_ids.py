"""One id is found as many are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rezoo.data.ids import Ids


@given(st.data())
def test_a_finder_finds_what_encode_finds(data):
    texts = st.text(alphabet="0123 .-ax", max_size=4)
    raw = data.draw(st.sampled_from([st.integers(-20, 20), texts.filter(bool)]))
    ids = Ids.fit(np.array(data.draw(st.lists(raw, min_size=1, max_size=9))))
    find = ids.finder()
    for value in data.draw(st.lists(st.integers(-20, 20) | texts | st.floats(), max_size=9)):
        assert find(value) == ids.encode([value])[0], (value, ids.raw)
