"""What a model is made with: its sizes, one by one."""

import re
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import optax
import pytest
from flax.core import FrozenDict

from rezoo.data.batches import pairs
from rezoo.models import AITM, CFGAN, DLRM, DNN, MF, PLE, STAMP, FiBiNET, MMoE, NeuMF, TwoTower, XDeepFM
from rezoo.nn.model import Model
from rezoo.training import init_state
from rezoo.types import Count


class Sized(Model):
    dim: int = 4
    layers: Count = 0
    hidden: int | None = None
    widths: Sequence[int] = ()
    features: Mapping[str, int | None] = FrozenDict()


def test_whole_numbers_of_any_kind_are_sizes():
    assert Sized(np.int64(3), hidden=2, widths=[3, np.int32(4)], features={"age": None, "zip": 9}).dim == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"dim": True}, "dim = True: give a whole number"),
        ({"dim": 0}, "dim = 0: give 1 or more"),
        ({"dim": None}, "dim = None: give a whole number"),
        ({"dim": {"item": 3}}, "dim = {'item': 3}: give a whole number"),
        ({"dim": 2.0}, "dim = 2.0: give a whole number"),
        ({"layers": -1}, "layers = -1: give 0 or more"),
        ({"hidden": 0}, "hidden = 0: give 1 or more"),
        ({"widths": 64}, "widths = 64: give a sequence of numbers"),
        ({"widths": "64"}, "widths = '64': give a sequence of numbers"),
        ({"widths": (8, 0)}, r"widths\[1\] = 0: give 1 or more"),
        ({"features": {"age": 0}}, r"features\['age'\] = 0: give 1 or more"),
        ({"features": 7}, "features = 7: give a number for each name"),
    ],
)
def test_an_error_names_the_field(given, told):
    with pytest.raises(ValueError, match=f"^Sized: {told}$"):
        Sized(**given)


def test_a_copy_is_checked_too():
    with pytest.raises(ValueError, match="MF: dim = 0"):
        MF(3, 4).clone(dim=0)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (DNN({}), "a pair has no column: give `sizes` ({}) the rows of `item` or `user`"),
        (TwoTower({}), "no table size for the column 'item'"),
        (DLRM({"item": 4}), "there is but 1: give another column"),
        (FiBiNET({"item": 4}), "there is but 1: give another column"),
    ],
)
def test_a_model_of_too_few_columns_says_so(model, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        init_state(jax.random.key(0), model, optax.sgd(0.1), pairs([1], [2]))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: MMoE({"item": 3}, "buy"), "MMoE: task_names = 'buy': give a sequence of different names"),
        (lambda: MMoE({"item": 3}, []), "task_names = .*: give a sequence of different names, one or more"),
        (lambda: AITM({"item": 3}, ["buy", "buy"]), "AITM: task_names = .* different names"),
        (lambda: NeuMF(3, 3, widths=()), r"NeuMF: widths = \(\): give one number or more"),
        (lambda: XDeepFM({"item": 3}, maps=()), r"XDeepFM: maps = \(\): give one number or more"),
        (lambda: CFGAN(3, (8, 0)), r"CFGAN: generator_widths\[1\] = 0: give 1 or more"),
        (
            lambda: PLE({"item": 3}, ["a"], num_task_experts=0, num_shared_experts=0),
            "PLE: num_task",
        ),
        (lambda: STAMP(9, 4, max_norm=-1.0), "max_norm = -1.0: give a finite number above 0"),
    ],
)
def test_a_part_of_which_there_must_be_one_is_asked_for(make, told):
    with pytest.raises(ValueError, match=told):
        make()
