"""Frappe, from a small zip."""

import zipfile

import numpy as np
import pytest

from rezoo.datasets import frappe
from rezoo.errors import DataError

LAST = "956 5038 5045 5052 5054 5057 5059 5068 5148 5381"
FIRST = "0 957 5039 5046 5053 5055 5058 5060 5069 5149"


def row(label, features):
    return f"{label} " + " ".join(f"{n}:1" for n in features.split()) + "\n"


def made(folder, train="train", **members):
    texts = {train: row(1, FIRST) + row(-1, LAST), "validation": row(1, LAST), "test": row(-1, FIRST)}
    with zipfile.ZipFile(folder / "frappe.zip", "w") as archive:
        for name, text in (texts | members).items():
            if text:
                archive.writestr(f"frappe/frappe.{name}.libfm", text)
    return folder


def test_ids_are_dense_by_column_and_labels_0_and_1(tmp_path):
    data = frappe.load(made(tmp_path))
    assert list(data.train.columns) == list(data.sizes) and not data.resampled
    for name, column in data.train.columns.items():
        assert column.tolist() == [1, data.sizes[name] - 1] and column.dtype == np.int32
    assert data.train.label.tolist() == [1.0, 0.0]
    assert (data.valid.label.tolist(), data.test.label.tolist()) == ([1.0], [0.0])
    assert sum(data.sizes.values()) == 5382 + 10


def test_a_rebuilt_training_part_is_read_and_said_to_be_one(tmp_path):
    assert frappe.load(made(tmp_path, "train.rebuilt")).resampled


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"test": ""}, "no frappe.test.libfm"),
        ({"test": row(1, FIRST.replace("5149", "5382"))}, "row 1: 5382 is not a feature of 'city'"),
        (
            {"validation": row(1, FIRST) + row(1, FIRST.replace("957", "956"))},
            "row 2: 956 is not a feature of 'item'",
        ),
        ({"validation": row(1, "0 957")}, "2 features"),
    ],
)
def test_what_is_not_frappe_is_refused(tmp_path, members, message):
    with pytest.raises(DataError, match=message):
        frappe.load(made(tmp_path, **members))


def test_a_missing_or_a_damaged_zip_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("REZOO_DATA", raising=False)
    with pytest.raises(DataError, match=r"frappe\.zip is not in"):
        frappe.load(tmp_path)
    (tmp_path / "frappe.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a complete zip"):
        frappe.load(tmp_path)


@pytest.mark.slow
def test_counts_of_the_real_files(data_folder):
    data = frappe.load(data_folder)
    assert len(data.valid.label) == 57_722 and len(data.test.label) == 28_860
    assert data.resampled and len(data.train.label) == 202_005
