import json
import multiprocessing
import shutil
import sys

import pytest

from rezoo.data import files, prepared
from rezoo.datasets import shop_builder
from rezoo.datasets.shop import ShopConfig
from rezoo.errors import DataError

CONFIG = ShopConfig(shoppers=30, products=20, ratings_per_shopper=5, impressions=50, sessions=20)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a prepared shop."""
    folder = tmp_path_factory.mktemp("shop")
    shop_builder.load(CONFIG, data_dir=folder)
    return folder


def inside(folder):
    (info,) = folder.rglob("dataset_info.json")
    return info.parent


def features(where):
    file = where / "features.json"
    text = file.read_text().replace("tensorflow_datasets.core.features.features_dict.FeaturesDict", "evil.X")
    file.write_text(text.replace("tensorflow_datasets.core.features.tensor_feature.Tensor", "evil.Y"))


def test_classes_from_outside_tfds_are_refused_before_anything_is_imported(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "shop")
    where = inside(tmp_path / "shop")
    (tmp_path / "evil.py").write_text("raise SystemExit('code of the folder ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    features(where)
    for read in (
        lambda: files.read_table(where),
        lambda: shop_builder.load(CONFIG, data_dir=tmp_path / "shop"),
    ):
        with pytest.raises(DataError, match=r"is of the class 'evil.*refused"):
            read()
    (where / "features.json").write_text(json.dumps({"type": "evil.X", "content": {}}))
    with pytest.raises(DataError, match=r"'evil\.X'"):
        files.read_table(where)
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    "harm", ["cut", "emptied", "no record files", "no info", "info of another kind", "no features"]
)
def test_a_damaged_folder_is_named_with_what_to_do(made, tmp_path, harm):
    shutil.copytree(made, tmp_path / "shop")
    where = inside(tmp_path / "shop")
    records = sorted(where.glob("*.array_record*"))
    if harm == "cut":
        for file in records:
            file.write_bytes(file.read_bytes()[:-100])
    elif harm == "emptied":
        for file in records:
            file.write_bytes(b"")
    elif harm == "no record files":
        for file in records:
            file.unlink()
    elif harm == "no info":
        (where / "dataset_info.json").unlink()
    elif harm == "info of another kind":
        (where / "dataset_info.json").write_text("[1, 2]")
    else:
        (where / "features.json").unlink()
    with pytest.raises(DataError, match="delete the folder and prepare it again"):
        shop_builder.load(CONFIG, data_dir=tmp_path / "shop")
    if harm != "no info":
        with pytest.raises(DataError, match="delete the folder and prepare it again"):
            files.read_table(where)


def load(folder, results):
    shop = shop_builder.load(CONFIG, data_dir=folder)
    results.put(len(shop.ratings.train["user"]))


@pytest.mark.slow
def test_preparing_prints_nothing(tmp_path, capsys):
    shop_builder.load(CONFIG, data_dir=tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_two_processes_prepare_one_set_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    pair = [context.Process(target=load, args=(tmp_path, results)) for _ in range(2)]
    for process in pair:
        process.start()
    rows = [results.get(timeout=300) for _ in pair]
    for process in pair:
        process.join(60)
        assert process.exitcode == 0
    assert rows[0] == rows[1] > 0
    assert len(list(tmp_path.rglob("dataset_info.json"))) == 1


def test_the_second_waits_for_the_first(tmp_path, monkeypatch, caplog):
    from rezoo.storage import durable

    monkeypatch.setattr(prepared, "PAUSE", 0.01)
    other = durable.lock(tmp_path / "a")
    other.__enter__()
    monkeypatch.setattr(prepared.time, "sleep", lambda seconds: other.__exit__(None, None, None))
    with prepared._turn(tmp_path / "a"):
        pass
    assert "waiting for it" in caplog.text
