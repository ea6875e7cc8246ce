"""Session neighbours by hand."""

import numpy as np
import pytest

from rezoo import evaluation
from rezoo.data.batches import queries
from rezoo.data.sessions import Sessions
from rezoo.models import SKNN, VSKNN
from rezoo.models.session import neighbours


def test_sessions_are_as_like_as_the_distinct_items_of_both_tell():
    """Of SKNN's cosine and what VSKNN remembers; both by hand."""
    past = Sessions(np.array([1, 1, 2, 3, 4, 3, 5, 1, 2], np.int32), np.array([0, 3, 5, 7, 9]))
    size, kept = past.num_sessions + 1, {"recent": 4, "longest": 4}
    variables = neighbours.fit(past, 6, **kept)
    score = evaluation.score_all(
        SKNN(6, size, k=1, **kept), variables, queries(history=[[1, 1, 2], [1, 2, 0], [3, 4, 0]])
    )
    np.testing.assert_allclose(score[:2, 1:3], 1, atol=1e-3)
    np.testing.assert_allclose(score[2, 3:5], 1, atol=1e-3)
    score = evaluation.score_all(VSKNN(6, size, **kept), variables, queries(history=[[1, 99, 3]]))
    assert score[0, 5] > 0.1  # which followed 3, the newest
    with pytest.raises(ValueError, match="item 5 is beyond num_items=5"):
        neighbours.fit(past, 5)
