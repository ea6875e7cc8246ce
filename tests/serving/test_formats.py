"""Folders that earlier versions wrote are read."""

import json

import jax
import numpy as np
import pytest
from stored import stored

from rezoo.models import DIN, PLE, SKNN, VSKNN, Caser, DCNv2, FeatureMF, GRU4Rec, SASRec, UAutoRec
from rezoo.models.ranking.dcn import stacked
from rezoo.models.ranking.din import Mean
from rezoo.models.session.neighbours import evenly, linear, tenths
from rezoo.nn.recurrent import LSTM
from rezoo.serving import bundle, model_json, saved

MODELS = {
    "FeatureMF": FeatureMF(4, 5, {"age": 3}, {"kind": 4, "price": None}, 3),
    "GRU4Rec": GRU4Rec(5, 3, cell=LSTM),
    "DCNv2": DCNv2({"user": 4, "item": 5}, 2, num_crosses=1, widths=(3,), structure=stacked),
    "DIN": DIN({"user": 4, "item": 5}, 2, widths=(3,), weights=Mean),
    "VSKNN": VSKNN(5, 3, recent=2, longest=2, weight=linear, decay=tenths),
    "SKNN": SKNN(5, 3, recent=2, longest=2, weight=evenly, decay=evenly),
    "UAutoRec": UAutoRec(5, 3, mean=3.0),
    "Caser": Caser(5, 3, window=1, horizontal=2),
    "SASRec": SASRec(5, 3, num_blocks=1, max_length=2),
}


@pytest.mark.parametrize(("name", "written"), [*((name, 2) for name in MODELS), ("GRU4Rec", 1)])
def test_a_folder_of_an_earlier_format_is_read(tmp_path, name, written):
    back = saved.load(stored(tmp_path / "run", name, written))
    assert back.model == MODELS[name] and back.link is bundle.identity
    assert all((np.asarray(leaf) == 1).all() for leaf in jax.tree.leaves(back.variables["params"]))
    assert back.users.raw.tolist() == ["ann", "bob", "eve"] and back.items.raw.dtype == np.int64
    assert back.scale == (3.0, 2.0) and back.clip == (1.0, 5.0)
    assert (back.history is None) == (written == 1)
    assert name != "UAutoRec" or back.history_rating.tolist() == [[0, 0], [5, 1], [3, 0], [0, 0]]
    if name == "FeatureMF":
        assert back.user_features.transform({"age": ["young", "?"]})["age"].tolist() == [2, 0]
        assert back.item_features.sizes == {"kind": 4} and back.user_columns["age"].tolist() == [0, 2, 1, 2]
    saved.save(tmp_path / "again", back)
    assert json.loads((tmp_path / "again" / "saved.json").read_text())["format"] == saved.FORMAT
    assert saved.load(tmp_path / "again").model == back.model


def test_fields_that_were_renamed_are_read_by_their_old_names():
    fields = {"sizes": {"mapping": {"item": 5}}, "heads": ["click", "buy"], "own": 2, "common": 1}
    model = PLE({"item": 5}, ("click", "buy"), num_task_experts=2, num_shared_experts=1)
    assert model_json.rebuild({"class": "PLE", "fields": fields}, 10) == model
