import numpy as np
import pytest
from scipy import stats

from rezoo.studies import significance

SHIFT = np.array([[0.3], [0.0]])


@pytest.mark.parametrize("n", [2, 5, 300])
def test_paired_t_is_scipys(n):
    a, b = np.random.default_rng(n).normal(size=(2, n)) + SHIFT
    ours, theirs = significance.paired_t(a, b, confidence=0.9), stats.ttest_rel(a, b)
    interval = theirs.confidence_interval(0.9)
    np.testing.assert_allclose(ours, (np.mean(a - b), *interval, theirs.pvalue, n), rtol=1e-9)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_all_sign_patterns_are_scipys_exact_test(n):
    # Rounded, so that there are ties.
    a, b = np.random.default_rng(n).normal(size=(2, n)).round(1) + SHIFT
    theirs = stats.permutation_test(
        (a, b), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    np.testing.assert_allclose(significance.permutation(a, b).p, theirs.pvalue, rtol=1e-12)


def test_random_sign_patterns_and_the_bootstrap_agree_with_scipy():
    a, b = np.random.default_rng(0).exponential(size=(2, 80)) + SHIFT
    ours = significance.permutation(a, b, draws=40_000)
    rng = np.random.default_rng(1)
    theirs = stats.permutation_test(
        (a, b), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
        n_resamples=40_000, vectorized=True, rng=rng,
    )  # fmt: skip
    assert 0.01 < theirs.pvalue < 0.5
    assert abs(ours.p - theirs.pvalue) < 4 * (2 * theirs.pvalue / 40_000) ** 0.5
    boot = stats.bootstrap((a - b,), np.mean, n_resamples=40_000, method="percentile", rng=rng)
    np.testing.assert_allclose([ours.low, ours.high], boot.confidence_interval, atol=0.01)


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_not():
    rng = np.random.default_rng(3)
    hard = rng.normal(size=6040)
    a, b = hard + rng.normal(0.02, 0.3, 6040), hard + rng.normal(0, 0.3, 6040)
    assert stats.ttest_ind(a, b).pvalue > 0.05, "unpaired, it hides behind the users"
    for test in (significance.paired_t, significance.permutation):
        assert test(a, b).p < 0.01 and test(a, b).low > 0
    p = [significance.paired_t(*rng.normal(size=(2, 6))).p for _ in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_equal_models_and_constant_differences():
    assert significance.paired_t([1.0, 2.0], [1.0, 2.0]).p == 1.0
    assert significance.paired_t([2.0, 3.0], [1.0, 2.0]).p == 0.0
    assert significance.permutation([1.0, 2.0], [1.0, 2.0]).p == 1.0


@pytest.mark.parametrize("test", [significance.paired_t, significance.permutation])
def test_bad_input_is_refused(test):
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        test([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="needs 2 or more"):
        test([1], [2])
    with pytest.raises(ValueError, match=r"b\[1\] is nan"):
        test([1, 2], [1, float("nan")])


@pytest.mark.parametrize("test", [significance.paired_t, significance.permutation])
@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, float("nan")])
def test_confidence_is_a_share(test, confidence):
    with pytest.raises(ValueError, match="give a share"):
        test([1, 2, 3], [1, 1, 1], confidence=confidence)
    with pytest.raises(ValueError, match="draws = 0"):
        significance.permutation([1, 2, 3], [1, 1, 1], draws=0)
