import json
import re
import subprocess
import sys
import zlib

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

from rezoo.data import features, text
from rezoo.data.features import Categorical, MultiValued, Numeric, Quantile, Text
from rezoo.datasets import movielens
from rezoo.errors import DataError

every = settings(max_examples=80)
names = st.sampled_from(["ann", "bob", "Zoë", "王", "", "  ", None])
numbers = st.none() | st.floats(-1e6, 1e6, width=32) | st.integers(-1000, 1000)


def missing(value):
    return value is None or value != value or str(value).strip() == ""


@every
@given(train=st.lists(names, min_size=1, max_size=20), new=st.lists(names, max_size=10))
def test_categories(train, new):
    known = sorted({value for value in train if not missing(value)})
    if not known:
        with pytest.raises(DataError, match="no value"):
            Categorical().fit(train)
        return
    fitted = Categorical().fit(train)
    expected = [known.index(value) + 1 if value in known else 0 for value in new]
    assert fitted.transform(new).tolist() == expected
    assert fitted.transform(new).dtype == np.int32
    assert fitted.size == len(known) + 1
    assert fitted.missing == sum(map(missing, train))


def test_numbers_of_another_type_are_the_same_categories():
    fitted = Categorical().fit([20, 7, 7])
    assert fitted.transform([7.0, 7.5, None, 20]).tolist() == [1, 0, 0, 2]
    assert fitted.transform(np.array([], np.float32)).tolist() == fitted.transform([]).tolist() == []
    assert Categorical().fit(np.array([b"a"])).transform(["a", "b"]).tolist() == [1, 0]
    assert Categorical().fit([True, None]).transform([True, False]).tolist() == [1, 0]
    assert MultiValued().fit([[1, 2], []]).transform([[2, 9, 1], [120, 2], []]).tolist() == [
        [2, 1],
        [2, 0],
        [0, 0],
    ]


def test_rare_categories_are_unknown():
    fitted = Categorical(min_count=2).fit([7, 7, 5, 9, 9])
    assert fitted.transform([5, 7, 9, 11]).tolist() == [0, 1, 2, 0] and fitted.size == 3


@every
@given(values=st.lists(numbers, min_size=1, max_size=30))
def test_numbers_against_scikit_learn(values):
    known = np.array([value for value in values if not missing(value)], np.float64)
    if not len(known):
        with pytest.raises(DataError, match="missing"):
            Numeric().fit(values)
        return
    fitted = Numeric().fit(values)
    got = fitted.transform(values)
    assert got.dtype == np.float32 and fitted.size is None
    there = np.array([not missing(value) for value in values])
    if np.ptp(known) > 1e-3:
        expected = StandardScaler().fit_transform(known[:, None])[:, 0]
        np.testing.assert_allclose(got[there], expected, atol=1e-4)
    assert not got[~there].any() and fitted.missing == (~there).sum()


def test_constant_and_logarithm():
    assert Numeric().fit([3, 3]).transform([3, 4]).tolist() == [0, 1]
    fitted = Numeric(log=True).fit([0, np.e**2 - 1])
    np.testing.assert_allclose(fitted.transform([0, np.e - 1, None]), [-1, 0, 0], atol=1e-6)
    with pytest.raises(DataError, match=r"row 2 is -1\.0.*logarithm"):
        Numeric(log=True).fit([1, -1])


def test_numbers_that_overflow_are_named():
    fitted = features.fit(
        {"price": Numeric(), "log": Numeric(log=True)}, {"price": [1.0, 3], "log": [0.0, 1]}
    )
    far = fitted.transform({"price": [1e30, None], "log": [1e300, None]})
    np.testing.assert_allclose(far["price"], [1e30, 0], rtol=1e-6)
    assert np.isfinite(far["log"]).all()
    for beyond in (1e300, -1e39):
        with pytest.raises(DataError, match=rf"column 'price': row 2 is {re.escape(str(beyond))}.* float32"):
            fitted.transform({"price": [2.0, beyond], "log": [0.0, 0.0]})


@settings(every, max_examples=30)
@given(values=st.lists(st.integers(-50, 50), min_size=2, max_size=60, unique=True), buckets=st.integers(2, 5))
def test_quantiles_against_scikit_learn(values, buckets):
    oracle = KBinsDiscretizer(
        buckets, encode="ordinal", strategy="quantile", quantile_method="linear", subsample=None
    )
    column = np.array(values, float)
    fitted = Quantile(buckets).fit(column)
    got = fitted.transform([*values, None])
    expected = 1 + oracle.fit_transform(column[:, None])[:, 0]
    on_an_edge = np.isclose(column[:, None], oracle.bin_edges_[0][None]).any(axis=1)  # rounded either way
    np.testing.assert_array_equal(got[:-1][~on_an_edge], expected[~on_an_edge])
    assert got[-1] == 0 and got.max() < fitted.size and got.dtype == np.int32
    assert np.bincount(got[:-1], minlength=buckets + 1)[1:].max() <= -(-len(values) // buckets) + 1
    assert fitted.transform([-1000, 1000]).tolist() == [1, fitted.size - 1]


def test_equal_numbers_stay_together():
    assert Quantile(4).fit([5, 5, 5, 5]).transform([4, 5, 6]).tolist() == [1, 2, 2]


parts = st.lists(st.sampled_from(["a", "b b", "c"]), max_size=4)


@every
@given(train=st.lists(parts, min_size=1, max_size=8), new=st.lists(parts, max_size=8))
def test_many_values(train, new):
    known = sorted({value for row in train for value in row})
    if not known:
        with pytest.raises(DataError):
            MultiValued().fit(train)
        return
    fitted, same = MultiValued().fit(train), MultiValued().fit(["|".join(row) for row in train])
    got = fitted.transform(new)
    width = max(map(len, train))
    assert got.shape == (len(new), width) and got.dtype == np.int32 and fitted.size == len(known) + 1
    for row, found in zip(new, got.tolist(), strict=True):
        expected = [known.index(value) + 1 for value in row if value in known][:width]
        assert found == expected + [0] * (width - len(expected))
    np.testing.assert_array_equal(got, same.transform(["|".join(row) for row in new]))
    assert fitted.missing == same.missing == sum(not row for row in train)


def test_words_of_any_language():
    assert text.words("Amélie (2001) — l'été") == ["amélie", "2001", "l", "été"]
    assert text.words("ＳＡＬＥ １２") == ["sale", "12"]
    assert text.words("हिन्दी किताब") == ["हिन्दी", "किताब"]
    assert text.words("한국어 책") == ["한국어", "책"]
    assert text.words("") == text.words(" !? ") == []
    assert "红 色" in text.grams("红色连衣裙") and "裙" in text.grams("裙子")


def test_grams_are_each_once():
    assert text.grams("tea tea", 2, (0, 0)) == ["tea", "tea tea"]
    assert text.grams("tee", 1, (3, 3)) == ["tee", "-<te", "-tee", "-ee>"]


@every
@given(value=st.text(max_size=40), buckets=st.integers(2, 1000))
def test_hashes_are_in_the_table(value, buckets):
    codes = text.hashed(value, buckets)
    assert all(1 <= code < buckets for code in codes) and len(set(codes)) == len(codes)
    assert bool(codes) == bool(text.words(value))


def test_hashes_are_the_same_in_every_process():
    assert zlib.crc32(b"123456789") == 0xCBF43926  # the published check value
    script = "from rezoo.data import text; print(text.hashed('红色 dress', 1000))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == text.hashed("红色 dress", 1000)


def test_similar_texts_share_grams():
    fitted = Text().fit(["Red summer dress", "红色连衣裙", "Blue winter coat", None])
    red, chinese, coat, nothing, misspelt, skirt = (
        set(row[row > 0].tolist())
        for row in fitted.transform(
            ["red dress", "红色裙子", "coat", "", "sumer dreses", "Blue winter coats"]
        )
    )
    train = [set(row[row > 0].tolist()) for row in fitted.transform(["Red summer dress", "红色连衣裙"])]
    assert len(red & train[0]) > len(red) / 2 and len(misspelt & train[0]) >= 3
    assert len(chinese & train[1]) >= 4 and not nothing and not coat & train[1]
    assert len(skirt) > 5 and fitted.missing == 1 and fitted.size == 2**15


def test_long_texts_lose_their_last_grams():
    fitted = Text(width=3, characters=(0, 0)).fit(["a b c d"])
    assert fitted.transform(["a b c d"]).tolist() == [text.hashed("a b c", 2**15, 1, (0, 0))]
    assert Text().fit(["tea"]).width == len(text.grams("tea"))


TABLE = {
    "age": [20, None, 40, 31],
    "price": [0.5, 3.0, 1e4, 7.0],
    "job": ["cook", "smith", "", "cook"],
    "genres": ["Comedy|Drama", "Drama", "", "War"],
    "title": ["Heat", "热", "Léon", "Heat 2"],
    "member": [True, False, True, True],
}
SPECS = {
    "age": Quantile(2),
    "price": Numeric(log=True),
    "job": Categorical(),
    "genres": MultiValued(),
    "title": Text(),
    "member": Categorical(),
}


def test_all_together_and_back_from_disk(tmp_path):
    fitted = features.fit(SPECS, TABLE)
    assert fitted.sizes == {"age": 3, "job": 3, "genres": 4, "title": 2**15, "member": 3}
    assert "job: Vocabulary, 3 rows, 1 without a value" in fitted.describe()
    fitted.save(tmp_path / "features.json")
    again = features.load(tmp_path / "features.json")
    first, second = fitted.transform(TABLE), again.transform(TABLE)
    assert first.keys() == second.keys() == SPECS.keys() and again.sizes == fitted.sizes
    for name, column in first.items():
        np.testing.assert_array_equal(column, second[name])
        assert column.dtype == second[name].dtype and len(column) == 4
    assert again.describe() == fitted.describe()


def test_tables_of_pandas_and_polars():
    fitted = features.fit(SPECS, TABLE)
    expected = fitted.transform(TABLE)
    for table in (pd.DataFrame(TABLE), pd.DataFrame(TABLE).convert_dtypes(), pl.DataFrame(TABLE)):
        columns = {name: table[name] for name in TABLE}
        for name, column in features.fit(SPECS, columns).transform(columns).items():
            np.testing.assert_array_equal(column, expected[name])


def test_only_training_rows_are_known():
    fitted = features.fit(SPECS, TABLE, rows=np.array([0, 1]))
    altered = {name: [*column[:2], *column[:2]] for name, column in TABLE.items()}
    same = features.fit(SPECS, altered, rows=np.array([True, True, False, False]))
    for name, column in fitted.transform(TABLE).items():
        np.testing.assert_array_equal(column, same.transform(TABLE)[name])
    assert fitted.transform(TABLE)["genres"].tolist() == [[1, 2], [2, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    "spec, column, message",
    [
        (Numeric(), ["a", "b"], "is text, such as 'a'"),
        (Numeric(), [1.0, np.inf], "row 2 is inf"),
        (Numeric(), [1.0, 1e308, -1e308, None], r"row 2 is 1e\+308, too large"),
        (Numeric(), [1e308, 1e308], r"row 1 is 1e\+308, too large"),
        (Numeric(), [None, np.nan], "missing"),
        (Quantile(), ["", None], "missing"),
        (Categorical(), [1, "a"], "mixes values of int, str"),
        (Categorical(), np.array(["2020-01-01"], "datetime64[D]"), "datetime64"),
        (Categorical(), np.zeros((2, 2)), r"shape \(2, 2\)"),
        (Categorical(min_count=3), ["a", "a"], "no value occurs 3 times"),
        (MultiValued(), [1, 2], "row 1 is 1: give a list"),
        (MultiValued(), [[1], ["a"]], "mixes"),
        (MultiValued(), ["", None], "no value"),
        (Text(), [1, 2], "int64; give text"),
        (Text(), ["", "?!"], "no word"),
    ],
)
def test_bad_columns(spec, column, message):
    with pytest.raises(DataError, match=rf"column 'x': .*{message}"):
        features.fit({"x": spec}, {"x": column})


def test_bad_new_rows():
    fitted = features.fit({"job": Categorical(), "age": Numeric()}, TABLE)
    with pytest.raises(DataError, match="no column 'age'; there are job"):
        fitted.transform({"job": ["cook"]})
    with pytest.raises(DataError, match="'job': it was text in training and is numbers now"):
        fitted.transform({"job": [1], "age": [1]})
    with pytest.raises(DataError, match="no column 'x'"):
        features.fit({"x": Numeric()}, {})
    assert fitted.transform({"job": [None], "age": [None]})["job"].tolist() == [0]


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"a": {"kind": "Other"}}', '{"a": {"kind": "Standardised"}}', '{"a": 1}']
)
def test_bad_files(tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(DataError, match=r"bad\.json: not a file of saved features"):
        features.load(tmp_path / "bad.json")
    with pytest.raises(DataError, match="nowhere"):
        features.load(tmp_path / "nowhere.json")


def test_movielens(data_folder, tmp_path):
    ml = movielens.load("ml-100k", manual_dir=data_folder, data_dir=tmp_path)
    specs = {"title": Text(), "year": Numeric(), "genres": MultiValued()}
    known = np.arange(1, ml.ratings.num_items)
    fitted = features.fit(specs, ml.items, rows=known)
    catalogue = fitted.transform(ml.items)
    assert (
        fitted.sizes["genres"] == 18 + 1
        and not catalogue["genres"][0].any()
        and not catalogue["title"][0].any()
    )
    assert {len(column) for column in catalogue.values()} == {1683}
    assert abs(catalogue["year"][1:].mean()) < 1e-3


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Categorical(min_count=0), "min_count = 0: give 1 or more"),
        (lambda: MultiValued(min_count=2.5), r"min_count = 2\.5: give 1 or more, a whole number"),
        (lambda: MultiValued(separator=""), "separator = '': give what stands between values"),
        (lambda: Quantile(buckets=-3), "buckets = -3: give 1 or more"),
        (lambda: Text(buckets=0), "buckets = 0: give 1 or more"),
        (lambda: Text(width=0), "width = 0: give 1 or more"),
        (lambda: Text(words=-1), "words = -1: give a finite number of 0 or more"),
        (
            lambda: Text(characters=(4, 3)),
            r"characters = \(4, 3\): give the most words of an n-gram, or the fewest",
        ),
        (
            lambda: Text(words=0, characters=(0, 0)),
            r"words = 0, characters = \(0, 0\): give the most words of",
        ),
    ],
)
def test_a_feature_that_cannot_be_is_refused_where_it_is_named(make, told, untyped):
    with pytest.raises(ValueError, match=told):
        make()
