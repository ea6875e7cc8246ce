from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rezoo.data.stream_parts import find, steps
from rezoo.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """100 rows in five parts, of row groups of at most 6."""
    for n, item in enumerate(np.split(np.arange(1, 101, dtype=np.int32), [10, 37, 38, 80])):
        table = pa.table({"item": item, "price": item * 0.5, "name": item.astype(str)})
        pq.write_table(table, tmp_path / f"part-{n}.parquet", row_group_size=6)
    (tmp_path / "_SUCCESS").write_text("")
    return tmp_path


def read(folder, process=(0, 1), chunks=4, **options):
    return steps(find(str(folder), ["item", "price"]), chunks, process=process, **options)


def items(columns):
    return columns["item"][columns["where"]].tolist()


def test_each_epoch_has_every_row_once_in_another_order(folder):
    log = find(str(folder), ["item", "price"])
    assert (log.rows, len(log.groups)) == (6, 19)
    whole = list(read(folder, num_epochs=2))
    assert len(whole) == 10 and {len(column) for step in whole for column in step.values()} == {24}
    epochs = [[item for step in whole[begin : begin + 5] for item in items(step)] for begin in (0, 5)]
    assert all(sorted(epoch) == list(range(1, 101)) for epoch in epochs)
    assert epochs[0] != epochs[1] and epochs[0] != sorted(epochs[0])
    assert all((step["price"] == step["item"] * 0.5).all() for step in whole)
    assert any(np.diff(items(step)[:6]).min() < 0 for step in whole)  # within chunks, too
    assert [items(step) for step in read(folder, num_epochs=2)] == [items(step) for step in whole]
    assert [items(step) for step in read(folder, seed=1)] != [items(step) for step in whole[:5]]


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_rows_of_one(folder, count):
    each = [read(folder, (n, count), num_epochs=2) for n in range(count)]
    for one, *shares in zip(read(folder, num_epochs=2), *each, strict=True):
        for name, column in one.items():
            np.testing.assert_array_equal(np.concatenate([share[name] for share in shares]), column)


@pytest.mark.parametrize("done", [0, 3, 5, 9, 10])
def test_a_position_is_where_reading_goes_on(folder, done):
    first = iter(read(folder, num_epochs=2))
    list(islice(first, done))
    position = first.get_state()
    expected = [items(step) for step in first]
    again = iter(read(folder, num_epochs=2))
    again.set_state(position)
    assert [items(step) for step in again] == expected and len(expected) == 10 - done
    assert [items(step) for step in read(folder, num_epochs=2, begin=done)] == expected


def test_a_folder_is_known_by_its_content(folder):
    before = find(str(folder)).identity
    assert find(f"file://{folder}").identity == before
    pq.write_table(pq.read_table(folder / "part-2.parquet").take([0]), folder / "part-5.parquet")
    assert find(str(folder)).identity != before


def test_what_is_wrong_with_a_part_is_named(folder):
    def fails(match, act=lambda: find(str(folder))):
        with pytest.raises(DataError, match=match):
            act()

    fails("gone: cannot be read as a folder", lambda: find(str(folder / "gone")))
    fails("no column 'user'", lambda: find(str(folder), ["user"]))
    fails(
        r"part-0.parquet: row group 0 has 6 rows, more than the 5",
        lambda: find(str(folder), rows=5),
    )
    fails("4 chunks of a step cannot be split over 3 processes", lambda: read(folder, (0, 3)))
    fails("'name': string is not a number", lambda: list(steps(find(str(folder)), 1)))

    whole = (folder / "part-4.parquet").read_bytes()
    begun = read(folder)
    (folder / "part-4.parquet").write_bytes(whole[:4] + bytes(len(whole) - 300) + whole[-296:])
    fails(r"part-4.parquet: row group \d cannot be read", lambda: list(begun))
    (folder / "part-4.parquet").unlink()
    fails(r"part-4.parquet: row group \d cannot be read", lambda: list(begun))
    (folder / "part-4.parquet").write_bytes(whole[:-20])
    fails("part-4.parquet: cannot be read as Parquet .* torn")
    pq.write_table(pa.table({"item": [1], "price": [2]}), folder / "part-4.parquet")
    fails(r"part-4.parquet: its columns are item \(int64\), price \(int64\); in .*part-0.parquet they are")
    (empty := folder / "empty").mkdir()
    fails("empty: holds no file", lambda: find(str(empty)))
    (record := empty / "log-train.array_record-00000-of-00001").touch()
    fails(f"{record}: is ArrayRecord.* as Parquet", lambda: find(str(empty)))
    pq.write_table(pa.table({"item": pa.array([], "int32")}), empty / "0.parquet")
    fails("have no rows", lambda: find(str(empty)))
