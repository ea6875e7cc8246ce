import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rezoo import arrays, sampling
from rezoo.data.batches import queries
from rezoo.errors import DataError


def ask(user):
    user = jnp.asarray(user, jnp.int32)
    return queries(user)


def draw(sampler, rows=400, n=50, key=0, user=None):
    user = np.ones(rows) if user is None else user
    item = jnp.ones(len(user), jnp.int32)
    return np.asarray(jax.jit(sampler, static_argnums=3)(jax.random.key(key), ask(user), item, n))


def chi_square(drawn, share):
    """Whether counts of ids fit their shares; id 0 has share 0 and must not occur."""
    count = np.bincount(drawn.ravel(), minlength=len(share))
    assert len(count) == len(share) and (count[share == 0] == 0).all()
    expected = share[share > 0] * drawn.size
    return stats.chisquare(count[share > 0], expected).pvalue


def test_a_catalogue_has_a_whole_number_of_items(untyped):
    with pytest.raises(ValueError, match=r"num_items = 2\.5: give 1 or more, a whole number"):
        sampling.uniform(2.5)


def test_uniform_draws_every_item_alike_and_never_padding():
    share = np.full(12, 1 / 11)
    share[0] = 0
    assert chi_square(draw(sampling.uniform(12)), share) > 1e-3


@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.0])
def test_popularity_draws_in_proportion(alpha):
    count = np.array([9, 1, 4, 0, 16, 25])
    share = np.where(count > 0, count.astype(float) ** alpha, 0)
    share[0] = 0
    assert chi_square(draw(sampling.popularity(count, alpha)), share / share.sum()) > 1e-3


def test_the_power_may_be_traced():
    count, alphas = np.array([9, 1, 4, 0, 16, 25]), jnp.array([0.0, 0.75, 1.0])

    def both(alpha):
        drawn = sampling.popularity(count, alpha)(jax.random.key(0), ask(np.ones(20)), jnp.ones(20, int), 9)
        return drawn, sampling.log_popularity(count, alpha)

    drawn, log_share = jax.jit(jax.vmap(both))(alphas)
    for row, alpha in enumerate(alphas.tolist()):
        alone = both(alpha)
        np.testing.assert_array_equal(drawn[row], alone[0])
        np.testing.assert_allclose(log_share[row], alone[1], rtol=1e-6)
    assert (drawn[0] != drawn[2]).any()


def test_what_never_occurs_is_never_drawn_from_a_long_catalogue():
    count = np.where(np.arange(20_001) % 2, np.arange(20_001), 0)
    assert (draw(sampling.popularity(count), 2000, 100) % 2 == 1).all()


def test_a_long_catalogue_is_drawn_from_in_two_steps(monkeypatch):
    monkeypatch.setattr("rezoo.arrays.BLOCK", 4)
    count = np.array([9, 1, 4, 0, 16, 25, 3, 2, 0, 7])
    share = np.where(np.arange(10) > 0, count, 0.0)
    assert chi_square(draw(sampling.popularity(count, 1.0)), share / share.sum()) > 1e-3


def test_no_item_of_many_millions_is_left_out():
    """One random number of 23 bits would reach at most 8.4 million of them."""
    sums = jax.jit(arrays.cumulative)(jnp.ones(2**25))
    drawn = np.asarray(jax.jit(arrays.draw, static_argnums=2)(jax.random.key(0), sums, (2**16,)))
    assert (np.bincount(drawn % 8, minlength=8) > 0.9 * 2**13).all()  # one step gives multiples of 4 alone


def test_popularity_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no item has a count"):
        sampling.popularity(np.array([5, 0, 0]))


def test_in_batch_gives_other_rows_positives():
    item = jnp.arange(1, 9, dtype=jnp.int32)
    drawn = np.asarray(sampling.in_batch()(jax.random.key(0), ask(np.ones(8)), item, 7))
    for row in range(8):
        assert sorted([int(item[row]), *drawn[row]]) == list(range(1, 9))


def test_fixed_gives_each_users_list():
    lists = jnp.array([[0, 0], [5, 6], [7, 8]], jnp.int32)
    np.testing.assert_array_equal(draw(sampling.fixed(lists), n=1, user=np.array([2, 1])), [[7], [5]])


@settings(max_examples=8)  # each is compiled
@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 7)), max_size=30),
    seed=st.integers(0, 1000),
    redraws=st.integers(0, 3),
)
def test_excluding_never_draws_a_known_positive(pairs, seed, redraws):
    user, item = (np.array([p[axis] for p in pairs], np.int64) for axis in (0, 1))
    known = sampling.positives_by_user(user, item, 5)
    sampler = sampling.reject_positives(sampling.uniform(8), known, 8, redraws=redraws)
    asked = np.arange(5).repeat(3)
    drawn = draw(sampler, n=4, key=seed, user=asked)
    for u, row in zip(asked, drawn, strict=True):
        positives = {i for v, i in pairs if v == u}
        expected = set(range(1, 8)) - positives
        assert set(row.tolist()) <= (expected or {0})


def test_excluding_keeps_the_distribution_over_the_rest():
    known = sampling.positives_by_user(np.array([1, 1, 1]), np.array([2, 3, 7]), 2)
    share = np.array([0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1.0])
    drawn = draw(sampling.reject_positives(sampling.uniform(11), known, 11))
    assert chi_square(drawn, share / share.sum()) > 1e-3


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), max_size=40),
    st.lists(st.integers(-1, 8), min_size=1, max_size=5),
    st.lists(st.integers(0, 12), min_size=1, max_size=7),
)
@settings(max_examples=30)
def test_positives_are_the_pairs_of_the_log(pairs, user, item):
    positives = sampling.positives_by_user(*np.array(pairs, int).reshape(-1, 2).T, 7)
    found = jax.jit(sampling.are_positive)(positives, jnp.array(user), jnp.array(item))
    np.testing.assert_array_equal(found, [[(u, i) in pairs for i in item] for u in user])


def test_the_walk_goes_along_rows_of_any_length():
    """More positives in all than one step of the walk."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(1, 5, 500), rng.integers(1, 300, 500)
    positives, asked = sampling.positives_by_user(user, item, 5), jnp.array([4, 0, 2, 4])
    found = sampling.are_positive(positives, asked, jnp.arange(300))
    log = set(zip(user.tolist(), item.tolist(), strict=True))
    np.testing.assert_array_equal(found, [[(u, i) in log for i in range(300)] for u in asked.tolist()])


def test_an_unknown_user_has_no_positives():
    known = sampling.positives_by_user(np.array([1]), np.array([2]), 2)
    assert (draw(sampling.reject_positives(sampling.uniform(4), known, 4), user=np.array([9, 0])) > 0).all()


def test_samplers_vmap_over_keys():
    known = sampling.positives_by_user(np.array([1, 1]), np.array([2, 3]), 2)
    sampler = sampling.reject_positives(sampling.uniform(6), known, 6)
    item = jnp.ones(3, jnp.int32)
    keys = jax.vmap(jax.random.key)(jnp.arange(4))
    many = jax.vmap(lambda key: sampler(key, ask(np.ones(3)), item, 2))(keys)
    np.testing.assert_array_equal(many[2], sampler(jax.random.key(2), ask(np.ones(3)), item, 2))


@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.0])
def test_log_popularity_is_that_of_the_sampler(alpha):
    count = np.array([9, 1, 4, 0, 16, 25])
    share = np.where(count > 0, count.astype(float) ** alpha, 0)
    share[0] = 0
    share /= share.sum()
    found = np.exp(sampling.log_popularity(count, alpha))
    np.testing.assert_allclose(found[share > 0], share[share > 0], rtol=1e-5)
    np.testing.assert_allclose(found[share == 0], share[share > 0].min(), rtol=1e-5)


@pytest.mark.parametrize(
    ("sampler", "n", "told"),
    [
        (sampling.in_batch(), 3, "3 negatives of a batch of 3 rows"),
        (sampling.fixed(jnp.ones((4, 2), jnp.int32)), 5, "5 negatives of lists of 2"),
    ],
)
def test_more_negatives_than_there_are_is_an_error(sampler, n, told):
    with pytest.raises(ValueError, match=told):
        sampler(jax.random.key(0), queries([1, 2, 3]), jnp.array([1, 2, 3]), n)


def test_samplers_know_their_catalogue():
    drawn = sampling.fixed(jnp.array([[1], [2], [3]]))(
        jax.random.key(0), queries([2, 9, -1]), jnp.array([1, 1, 1]), 1
    )
    assert drawn.tolist() == [[3], [1], [1]]
    for few in (0, 1):
        with pytest.raises(ValueError, match=f"num_items = {few} counts 0"):
            sampling.uniform(few)
    for wrong in ((np.ones(3), float("nan")), (np.array([0, 1, np.inf]), 1.0)):
        with pytest.raises(ValueError, match="finite"):
            sampling.popularity(*wrong)


def test_pairs_of_columns_that_do_not_go_together_are_an_error():
    with pytest.raises(ValueError, match=r"first .*, second"):
        sampling.positives_by_user(np.array([1, 2, 3]), np.array([4]), 4)
    with pytest.raises(ValueError, match="id below 0"):
        sampling.positives_by_user(np.array([1, 2]), np.array([-1, 2]), 3)


def test_the_positives_of_all_users_are_known():
    user, item = np.array([1, 5, 5]), np.array([1, 2, 3])
    with pytest.raises(ValueError, match="user 5 is beyond num_users=3"):
        sampling.positives_by_user(user, item, 3)
    with pytest.raises(DataError, match=r"item has 0\.5, which is not a whole number"):
        sampling.positives_by_user(user, item - 0.5, 6)


@pytest.mark.parametrize("count", [np.nan, -1.0])
def test_counts_are_numbers_of_0_or_more(count):
    with pytest.raises(ValueError, match="a count is not finite, or below 0"):
        sampling.popularity(np.array([0, 3, count]))
