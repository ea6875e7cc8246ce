import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import init, noisy

from rezoo import evaluation
from rezoo.data.batches import queries
from rezoo.models import MF
from rezoo.serving import ivf, two_stage

ITEMS = 400
ASKED = queries(jnp.arange(1, 21))


@functools.cache
def exact():
    model = MF(21, ITEMS, 4)
    made = init(model, ASKED, jnp.arange(1, 21, dtype=jnp.int32))
    available = jnp.arange(ITEMS) % 7 > 0
    return two_stage.index(model, {"params": noisy(made["params"], 0.4)}, available=available)


def retrieve(first, k=10, exclude=None):
    return jax.jit(
        lambda variables, query: two_stage.retrieve(
            two_stage.Stage(first.model, variables), query, k, exclude=exclude
        )
    )(first.variables, ASKED)


@pytest.mark.parametrize("count", [1, 5, 20, 342])
def test_all_cells_together_are_the_exact_search(count):
    seen = jnp.stack([jnp.arange(20) + 1, jnp.arange(20) * 3], axis=1).astype(jnp.int32)
    first = ivf.index(exact(), jax.random.key(0), probes=ITEMS, cells=count)
    ids, score = retrieve(first, exclude=seen)
    whole = evaluation.recommend(*exact(), ASKED, 10, exclude=seen)
    np.testing.assert_array_equal(ids, whole[0])
    np.testing.assert_allclose(score, whole[1], rtol=1e-5)


def test_each_available_item_lies_in_one_cell_with_its_vector():
    held = ivf.index(exact(), jax.random.key(0), probes=1).variables["cells"]
    item = np.asarray(held["item"])
    np.testing.assert_array_equal(np.sort(item[item > 0]), [i for i in range(1, ITEMS) if i % 7 > 0])
    table = np.asarray(exact().variables["index"]["table"])
    np.testing.assert_array_equal(np.asarray(held["vector"])[item > 0], table[item[item > 0]])
    np.testing.assert_allclose(held["mean"][3], table[item[3][item[3] > 0]].mean(0), rtol=1e-5)
    assert item.shape[1] <= 2 * -(-342 // 18)


def test_more_probes_find_more_and_few_find_most():
    best = np.asarray(evaluation.recommend(*exact(), ASKED, 10)[0])
    share = []
    for probes in (2, 6, 18):
        ids = retrieve(ivf.index(exact(), jax.random.key(0), probes=probes))[0]
        share.append(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(ids, best, strict=True)]))
    assert 0.3 < share[0] < share[1] < share[2] and share[1] > 0.8


def test_all_cells_together_give_what_there_is():
    ids, score = retrieve(ivf.index(exact(), jax.random.key(0), probes=ITEMS, cells=5), 2 * ITEMS)
    assert ids.shape == (20, 2 * ITEMS) and ((ids > 0).sum(axis=1) == 342).all()
    assert (ids[:, 342:] == 0).all() and np.isneginf(score[:, 342:]).all()


def test_means_are_where_k_means_ends():
    rng = np.random.default_rng(0)
    centre = np.array([[0.0, 0], [10, 0], [0, 10]])
    vector = (centre[:, None] + rng.normal(0, 0.1, (3, 50, 2))).transpose(1, 0, 2).reshape(-1, 2)
    means = ivf._means(jnp.asarray(vector, jnp.float32), 3, 5)
    np.testing.assert_allclose(means, centre, atol=0.1)


def test_what_cannot_be_is_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="probes = 0: give 1 or more"):
        ivf.index(exact(), key, probes=0)
    with pytest.raises(ValueError, match="342 available items cannot fill 500 cells"):
        ivf.index(exact(), key, probes=1, cells=500)
    with pytest.raises(ValueError, match="hold at most 38 items, too few for 39 candidates"):
        retrieve(ivf.index(exact(), key, probes=1), 39)


def test_an_item_whose_vector_is_nan_is_in_no_cell_and_a_query_that_is_nan_has_no_list():
    first = exact()
    table = first.variables["index"]["table"].at[8].set(jnp.nan)
    first = first._replace(variables={**first.variables, "index": {"table": table}})
    celled = ivf.index(first, jax.random.key(0), probes=ITEMS, cells=5)
    ids, score = retrieve(celled, k=ITEMS + 50)
    assert (ids != 8).all() and ids.shape == (20, ITEMS + 50)
    assert (np.isneginf(score) == (np.asarray(ids) == 0)).all()
    broken = jax.tree.map(lambda x: x * jnp.nan, celled.variables["params"])
    ids, _ = retrieve(celled._replace(variables={**celled.variables, "params": broken}))
    assert (ids == 0).all()


def test_a_question_that_cannot_be_is_refused(untyped):
    first = ivf.index(exact(), jax.random.key(0), probes=20)
    with pytest.raises(ValueError, match="k = 0: give 1 or more"):
        two_stage.retrieve(first, ASKED, 0)
    with pytest.raises(ValueError, match=r"exclude has the shape \[1, 2\]: give it \[20, columns\]"):
        two_stage.retrieve(first, ASKED, 5, exclude=jnp.array([[1, 2]]))
    with pytest.raises(ValueError, match=r"probes = 2\.5: give 1 or more, a whole number"):
        ivf.index(exact(), jax.random.key(0), probes=2.5)
