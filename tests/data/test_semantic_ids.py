"""Semantic ids against NumPy, one step at a time."""

import itertools

import jax
import numpy as np
import pytest

from rezoo.data import semantic_ids
from rezoo.errors import DataError


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(9, 5))[rng.integers(0, 9, 200)] * 3 + rng.normal(size=(200, 5))).astype(
        np.float32
    )


def nearest(rows, centres):
    return np.array([np.argmin([np.square(row - centre).sum() for centre in centres]) for row in rows])


def lloyd(rows, centres, iterations):
    for _ in range(iterations):
        of = nearest(rows, centres)
        centres = np.array(
            [rows[of == c].mean(0) if (of == c).any() else centres[c] for c in range(len(centres))]
        )
    return centres


@pytest.mark.parametrize("iterations", [1, 7])
def test_centres_are_those_of_lloyds_algorithm_in_numpy(vectors, iterations):
    first, found = (
        semantic_ids.fit(vectors, 1, 6, jax.random.key(3), iterations=n)[0] for n in (0, iterations)
    )
    assert all((np.asarray(centre) == vectors).all(1).any() for centre in first)  # drawn from the vectors
    np.testing.assert_allclose(found, lloyd(vectors, np.asarray(first), iterations), rtol=1e-4, atol=1e-5)


def test_each_level_is_k_means_of_what_is_left_and_leaves_less(vectors):
    books = np.asarray(semantic_ids.fit(vectors, 3, 8, jax.random.key(0), iterations=60))
    digits, left = semantic_ids.assign(books, vectors), vectors
    errors = [np.square(left).sum()]
    for centres, digit in zip(books, digits.T, strict=True):
        of = nearest(left, centres)
        np.testing.assert_array_equal(digit, of + 1)
        np.testing.assert_allclose(lloyd(left, centres, 1), centres, rtol=1e-3, atol=1e-4)  # it has settled
        left = left - centres[of]
        errors.append(np.square(left).sum())
    assert all(after < 0.8 * before for before, after in itertools.pairwise(errors))


def test_the_key_alone_decides(vectors):
    one, same, other = (np.asarray(semantic_ids.fit(vectors, 2, 5, jax.random.key(k))) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_equal_items_get_codes_of_their_own_and_a_longer_catalogue_keeps_the_old_ones(vectors):
    content = np.concatenate([np.full((1, 5), np.nan), vectors, vectors[:50], vectors[:1]])
    books = semantic_ids.fit(vectors, 2, 4, jax.random.key(0))
    code = semantic_ids.catalogue(books, content, room=200)["code"]
    assert (code[0] == 0).all() and (code[1:] > 0).all() and code.dtype == np.int32
    assert len(np.unique(code, axis=0)) == len(code)
    assert (code[1, :2] == code[251, :2]).all()
    longer = semantic_ids.catalogue(books, np.concatenate([content, vectors]), room=200)["code"]
    np.testing.assert_array_equal(longer[: len(code)], code)


def test_the_trie_holds_every_code_and_no_other(vectors):
    books = semantic_ids.fit(vectors, 2, 7, jax.random.key(0))
    code = semantic_ids.catalogue(books, np.concatenate([vectors[:1], vectors]), room=200)["code"]
    trie = semantic_ids.trie(code)

    def below(level, node):
        for child in range(trie.offset[level][node], trie.offset[level][node + 1]):
            digit = int(trie.digit[level][child])
            if level + 1 == len(trie.digit):
                assert trie.parent[child] == node and trie.leaf[trie.item[child]] == child
                yield (digit,), int(trie.item[child])
            else:
                for digits, item in below(level + 1, child):
                    yield (digit, *digits), item

    found = list(below(0, 0))
    assert found == sorted((tuple(row.tolist()), item) for item, row in enumerate(code) if item)
    assert trie.leaf[0] == -1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:0], r"vectors \[0, 5\]: give a row of numbers"),
        (lambda x: x[0], r"vectors \[5\]: give a row"),
        (
            lambda x: np.where(np.arange(200)[:, None] == 7, np.nan, x),
            "row 7 has a number that is not finite",
        ),
        (
            lambda x: np.where(np.arange(200)[:, None] == 9, np.inf, x),
            "row 9 has a number that is not finite",
        ),
        (lambda x: x[:3], "size = 4 centres of 3 vectors: give size=3"),
    ],
)
def test_bad_vectors_are_refused(vectors, change, message):
    with pytest.raises(DataError, match=message):
        semantic_ids.fit(change(vectors), 1, 4, jax.random.key(0))


def test_what_does_not_go_together_is_refused(vectors):
    books = semantic_ids.fit(vectors, 1, 2, jax.random.key(0))
    with pytest.raises(DataError, match="vectors of width 3, centres of 5"):
        semantic_ids.assign(books, vectors[:, :3])
    with pytest.raises(ValueError, match="levels = 0"):
        semantic_ids.fit(vectors, 0, 2, jax.random.key(0))
    with pytest.raises(DataError, match=r"3 items have the code \[1\], and there is room for 2"):
        semantic_ids.numbered(np.array([[1], [1], [2], [1]]), 2)
    with pytest.raises(DataError, match=r"items 1 and 3 have the code \[4, 2\]"):
        semantic_ids.trie(np.array([[0, 0], [4, 2], [4, 3], [4, 2]]))
    with pytest.raises(DataError, match="no item has a code"):
        semantic_ids.trie(np.zeros((3, 2), int))


def test_a_centre_far_from_zero_is_found():
    books = np.array([[[10_000.0, 1], [10_001.0, 1]]], np.float32)
    assert semantic_ids.assign(books, np.array([[10_001.0, 1], [10_000.0, 1]])).tolist() == [[2], [1]]
    rows = 1e4 + np.repeat(np.arange(4.0), 5)[:, None]
    digits = semantic_ids.assign(semantic_ids.fit(rows, 1, 4, jax.random.key(0)), rows)
    assert len(np.unique(digits)) == 4
