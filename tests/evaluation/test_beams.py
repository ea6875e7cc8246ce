"""Beam search along the codes of items against the score of every item."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import apply, made, noisy

from rezoo import evaluation
from rezoo.data import semantic_ids
from rezoo.data.batches import queries
from rezoo.models import TIGER, GRU4Rec

ITEMS, L = 41, 4


@pytest.fixture(scope="module")
def known():
    """A model, its variables, queries and the trie of most of its items: four of them have no code."""
    rng = np.random.default_rng(0)
    code = semantic_ids.numbered(np.pad(rng.integers(1, 4, (ITEMS - 1, 2)), ((1, 0), (0, 0))), 12)
    code[[7, 20, 33, 40]] = 0
    model = TIGER((3, 3, 12), 8, num_blocks=1, max_length=L)
    history = rng.integers(1, ITEMS, (9, L)) * (np.arange(L) < rng.integers(0, L + 1, (9, 1)))
    query = queries(history=history)
    constants = {"catalogue": {"code": jnp.asarray(code)}}
    variables = {"params": noisy(made(model, constants, query, query.user), 0.5), **constants}
    return model, variables, query, semantic_ids.trie(code)


def by_hand(known, exclude):
    """The ids and scores of all items that may be listed, best first."""
    model, variables, query, trie = known
    slate = jnp.asarray(np.tile(np.sort(trie.item), (len(query.user), 1)))
    for row, score in enumerate(np.asarray(apply(model, variables, query, slate))):
        may = ~np.isin(slate[row], exclude[row])
        order = np.argsort(-score[may])
        yield np.asarray(slate[row])[may][order], score[may][order]


@pytest.mark.parametrize("block", [4, 256])
def test_a_beam_as_wide_as_the_catalogue_finds_what_scoring_every_item_finds(known, block):
    model, variables, query, trie = known
    ids, scores = evaluation.recommend_by_beam(
        model, variables, query, trie, ITEMS, width=ITEMS, exclude=query.history, block=block
    )
    for row, (expected, score) in enumerate(by_hand(known, np.asarray(query.history))):
        assert ids[row, : len(expected)].tolist() == expected.tolist()
        np.testing.assert_allclose(scores[row, : len(expected)], score, rtol=1e-4)
        assert (ids[row, len(expected) :] == 0).all() and np.isneginf(scores[row, len(expected) :]).all()


def test_a_narrow_beam_lists_items_that_there_are_by_their_scores_and_may_miss_some(known):
    model, variables, query, trie = known
    ids, scores = evaluation.recommend_by_beam(model, variables, query, trie, 3, width=3)
    missed = 0
    for row, (expected, score) in enumerate(by_hand(known, np.zeros((9, 1)))):
        told = dict(zip(expected.tolist(), score.tolist(), strict=True))
        listed = [one for one in ids[row].tolist() if one]
        assert listed and len(set(listed)) == len(listed) and set(listed) <= set(told)
        np.testing.assert_allclose(scores[row, : len(listed)], [told[one] for one in listed], rtol=1e-4)
        assert (np.diff(scores[row, : len(listed)]) <= 0).all()
        missed += listed != expected[:3].tolist()
    assert missed  # or a beam of this width would not be tested


def test_it_searches_as_the_equations_say(known):
    """Step by step in Python: beginnings with their probabilities, the likeliest of which are kept."""
    model, variables, query, trie = known
    code = np.asarray(variables["catalogue"]["code"])
    ids, scores = evaluation.recommend_by_beam(
        model, variables, query, trie, 2, width=4, exclude=query.history
    )
    state = apply(model, variables, query, method="after")
    for row in range(9):
        beams = {(): 0.0}
        for level in range(3):
            grown = {}
            for before, score in beams.items():
                prefix = jnp.broadcast_to(jnp.asarray(before, jnp.int32), (9, 1, level))
                share = np.asarray(apply(model, variables, state, prefix, method="next_digit"))[row, 0]
                grown |= {(*before, digit): score + share[digit] for digit in range(1, len(share))}
            there = {tuple(c[: level + 1]) for c in code.tolist()}
            if level == 2:
                there -= {tuple(code[item].tolist()) for item in np.asarray(query.history[row])}
            beams = dict(sorted((-s, c) for c, s in grown.items() if c in there)[: 4 if level < 2 else 2])
            beams = {c: -s for s, c in beams.items()}
        found = {
            tuple(code[one].tolist()): float(s) for one, s in zip(ids[row], scores[row], strict=True) if one
        }
        assert list(found) == list(beams)
        np.testing.assert_allclose(list(found.values()), list(beams.values()), rtol=1e-4)


def test_a_new_item_is_listed_by_its_code_without_training(known):
    model, variables, query, _ = known
    code = np.asarray(variables["catalogue"]["code"])
    free = next(
        (a, b, c) for a in (1, 2, 3) for b in (1, 2, 3) for c in range(1, 13)
        if not (code == (a, b, c)).all(1).any()
    )  # fmt: skip
    longer = np.concatenate([code, [free]]).astype(np.int32)
    new = {**variables, "catalogue": {"code": jnp.asarray(longer)}}
    ids, scores = evaluation.recommend_by_beam(
        model, new, query, semantic_ids.trie(longer), ITEMS, width=ITEMS + 1
    )
    score = apply(model, new, query, np.full(9, ITEMS, np.int32))
    at = (np.asarray(ids) == ITEMS).argmax(1)
    assert (np.asarray(ids)[np.arange(9), at] == ITEMS).all()
    np.testing.assert_allclose(np.asarray(scores)[np.arange(9), at], score, rtol=1e-4)


def test_what_cannot_be_searched_is_refused(known):
    model, variables, query, trie = known
    with pytest.raises(ValueError, match="width = 5 finds fewer items than k = 6: give width=6"):
        evaluation.recommend_by_beam(model, variables, query, trie, 6, width=5)
    with pytest.raises(ValueError, match="k = 0"):
        evaluation.recommend_by_beam(model, variables, query, trie, 0)
    with pytest.raises(ValueError, match="exclude"):
        evaluation.recommend_by_beam(model, variables, query, trie, 2, exclude=jnp.zeros((2, 1), jnp.int32))
    with pytest.raises(ValueError, match=r"TIGER reads the column `code`.*there is none"):
        jax.eval_shape(lambda: model.apply({"params": variables["params"]}, query, query.user))
    narrow = {**variables, "catalogue": {"code": jnp.zeros((4, 2), jnp.int32)}}
    with pytest.raises(ValueError, match=r"\[N 3\], and it has the shape \[4, 2\]"):
        jax.eval_shape(lambda: model.apply(narrow, query, query.user))


def test_the_trie_is_one_of_the_models_codes():
    query = queries(history=[[1, 3]])
    for code in ([[0, 0], [1, 1], [2, 5]], [[0], [1], [2]], [[0, 0, 0], [1, 1, 1]]):
        with pytest.raises(ValueError, match=r"digits up to .* digits=\(2, 2\)"):
            evaluation.recommend_by_beam(TIGER((2, 2), 4), {}, query, semantic_ids.trie(np.array(code)), 1)
    with pytest.raises(ValueError, match="GRU4Rec writes no codes"):
        evaluation.recommend_by_beam(GRU4Rec(4), {}, query, semantic_ids.trie(np.array([[0], [1]])), 1)
