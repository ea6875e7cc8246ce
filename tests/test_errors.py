import sys

import numpy as np
import pytest

from rezoo.errors import needed
from rezoo.evaluation import explain
from rezoo.studies import optuna_search, report


def test_what_is_installed_is_given():
    assert needed("optuna").__name__ == "optuna"
    assert needed("matplotlib.figure").Figure


@pytest.mark.parametrize(
    ("package", "extra", "call"),
    [
        ("matplotlib", "notebooks", lambda: explain.draw_importance({"age": np.ones(2)})),
        ("matplotlib", "notebooks", lambda: report._figure(1, width=3.0)),
        ("optuna", "tune", lambda: optuna_search.search(lambda trial: 0.0, 1)),
    ],
)
def test_what_is_not_is_named_with_its_extra(monkeypatch, package, extra, call):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}, .*pip install 'rezoo\[{extra}\]'"):
        call()
