import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rezoo.data import stream
from rezoo.errors import DataError


def written(path, row_group_size=7, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


@pytest.mark.parametrize(("total", "rows"), [(20, 6), (20, 20), (20, 50), (18, 6), (1, 3)])
def test_chunks_are_the_file_in_order_and_of_one_length(tmp_path, total, rows):
    item, price = np.arange(total, dtype=np.int32), np.linspace(0, 1, total, dtype=np.float32)
    path = written(tmp_path / "log.parquet", item=item, price=price)
    chunks = list(stream.chunks(path, rows))
    assert all(len(column) == rows for chunk in chunks for column in chunk.values())
    where = np.concatenate([chunk["where"] for chunk in chunks])
    np.testing.assert_array_equal(np.concatenate([chunk["item"] for chunk in chunks])[where], item)
    np.testing.assert_array_equal(np.concatenate([chunk["price"] for chunk in chunks])[where], price)
    assert where.sum() == total and len(chunks) == -(-total // rows)
    assert set(next(stream.chunks(path, rows, ["item"]))) == {"item", "where"}


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.parquet: cannot be read as Parquet"):
        stream.chunks(tmp_path / "gone.parquet", 5)
    (tmp_path / "text.parquet").write_text("user,item\n")
    with pytest.raises(DataError, match=r"text\.parquet: cannot be read as Parquet"):
        stream.chunks(tmp_path / "text.parquet", 5)
    path = written(tmp_path / "log.parquet", item=[1, 2, None], name=["a", "b", "c"])
    with pytest.raises(DataError, match="no column 'price'; there are item, name"):
        stream.chunks(path, 5, ["price"])
    with pytest.raises(DataError, match="row 2, column 'item': a value is missing"):
        list(stream.chunks(path, 5, ["item"]))
    with pytest.raises(DataError, match="column 'name': string is not a number"):
        list(stream.chunks(path, 5, ["name"]))
    with pytest.raises(DataError, match="named 'where'"):
        stream.chunks(written(tmp_path / "where.parquet", where=[1]), 5)
    with pytest.raises(DataError, match="at least one row"):
        stream.chunks(path, 0)


def test_nan_is_a_missing_value_too(tmp_path):
    file = tmp_path / "log.parquet"
    pq.write_table(pa.table({"item": [1, 2], "price": [1.0, float("nan")]}), file)
    with pytest.raises(DataError, match="row 1, column 'price': a value is NaN; fill it in"):
        list(stream.chunks(file, 2))
