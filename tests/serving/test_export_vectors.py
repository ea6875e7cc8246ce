"""Exported vectors give the model's lists in an index of inner products."""

import exports
import numpy as np
import pyarrow.parquet
import pytest
from exports import rows, same_lists, saved_of

from rezoo.errors import DataError
from rezoo.serving import answers, export


@pytest.mark.parametrize("name", ["MF", "FeatureMF", "GRU4Rec-features"])
def test_an_index_of_inner_products_gives_the_lists(tmp_path, name):
    usearch = pytest.importorskip("usearch.index")
    saved = saved_of(name)
    export.vectors(tmp_path / "out", saved)
    items, users = (np.load(tmp_path / "out" / f"{who}.npy") for who in ("items", "users"))
    found = usearch.search(items, users, 5, usearch.MetricKind.IP, exact=True)
    table = pyarrow.parquet.read_table(tmp_path / "out" / "items.parquet")
    raw = np.array(table["item"])
    ours = [
        list(zip(raw[keys].tolist(), (1 - far).tolist(), strict=True))
        for keys, far in zip(found.keys, found.distances, strict=True)
    ]
    who = pyarrow.parquet.read_table(tmp_path / "out" / "users.parquet")["user"].to_pylist()
    same_lists(ours, rows(answers.recommend(saved, who, 5), len(who)), 1e-4)
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), items)


def test_users_without_a_history_have_no_vector_and_names_go_along(tmp_path):
    saved = saved_of("GRU4Rec")
    items = exports.ITEMS.named(np.arange(1, 11), [f"product {n}" for n in range(10)])
    export.vectors(tmp_path / "out", saved._replace(history=None, items=items))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "vectors.json",
        "items.npy",
        "items.parquet",
    }
    table = pyarrow.parquet.read_table(tmp_path / "out" / "items.parquet")
    assert table["name"][2].as_py() == "product 2" and table["item"][2].as_py() == 30


def test_a_model_without_item_vectors_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"DIN has no item vectors.*two_stage"):
        export.vectors(tmp_path / "out", saved_of("DIN"))
    export.vectors(tmp_path / "out", saved_of("MF"))
    (tmp_path / "out" / "mine.txt").write_text("")
    with pytest.raises(DataError, match=r"is not a folder of vectors, but holds mine\.txt"):
        export.vectors(tmp_path / "out", saved_of("MF"))
