import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import live_session

from rezoo.models import GRU4Rec
from rezoo.serving import live
from rezoo.serving.slots import FullError

NAMES = ["(unknown)", "Nordic scarf 1", "Urban lamp 2", "Quiet tea 3"]


def test_a_log_of_several_visits_is_replayed_by_number_and_by_name(capsys):
    model = GRU4Rec(4, 3, user_features={"age": 3, "gender": 3})
    nobody = live_session.Visit().query()
    variables = jax.jit(model.init)(jax.random.key(0), nobody, jnp.array([1], jnp.int32))
    desk = live_session.Desk(model, {"params": variables["params"]}, 2, 5, nobody, 3)
    counter = live_session.Counter(desk, NAMES)
    log = [("ann", "1"), ("bob", "urban lamp 2"), ("ann", "Quiet tea 3"), ("bob", "7"), ("ann", "sofa")]
    live_session.replay(counter, log)
    shown = capsys.readouterr().out
    assert (
        "ann clicks Quiet tea 3" in shown and "no product '7' here" in shown and "no product 'sofa'" in shown
    )
    history = live.queries(desk.sessions, jnp.array([0, 1], jnp.int32)).history
    assert history.tolist() == [[1, 3, 0, 0, 0], [2, 0, 0, 0, 0]] and len(counter.milliseconds) == 5
    last = shown[shown.rindex("for ann") :]
    assert (
        NAMES[2] in last and NAMES[1] not in last and NAMES[3] not in last
    )  # what was clicked is not listed
    with pytest.raises(FullError, match="all 2 slots"):
        counter.click("cid", "1")
