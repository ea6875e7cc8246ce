"""A link shows a whole version, the old or the new one, whenever a process ends."""

import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from rezoo.data.ids import Ids
from rezoo.errors import DataError
from rezoo.models import Popularity
from rezoo.serving import saved
from rezoo.serving.bundle import Saved
from rezoo.serving.refresh import notes_of, publish

# Publishes versions until it is killed, or ends itself at a place that is named.
LIFE = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from serving.refresh.test_versions import shop
from rezoo.serving.refresh import publish, versions
link, stop = sys.argv[1:]
if stop == "between":
    versions.show = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if stop == "saving":
    versions.folders.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
publish(link, shop(2.0), {{"last": 2}})
"""


def shop(count):
    variables = {"params": {"count": jnp.array([0.0, count, 1.0])}}
    return Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))


def count(link):
    return float(saved.load(link).variables["params"]["count"][1])


def test_versions_stand_beside_each_other_and_the_last_few_stay(tmp_path):
    link = tmp_path / "shop"
    for number in range(1, 6):
        publish(link, shop(float(number)), {"last": number})
        assert count(link) == number and notes_of(link) == {"last": number}
    kept = sorted(one.name for one in (tmp_path / "shop.versions").iterdir() if one.name[0] != ".")
    assert kept == [f"00000{n}{end}" for n in (3, 4, 5) for end in ("", ".json")]
    assert not os.path.isabs(os.readlink(link))


def test_a_folder_is_not_replaced_and_a_link_to_one_is(tmp_path):
    saved.save(tmp_path / "first", shop(1.0))
    with pytest.raises(DataError, match="is not a link"):
        publish(tmp_path / "first", shop(2.0), {})
    (tmp_path / "shop").symlink_to("first")
    assert notes_of(tmp_path / "shop") == {}
    publish(tmp_path / "shop", shop(2.0), {})
    assert count(tmp_path / "shop") == 2 and count(tmp_path / "first") == 1


@pytest.mark.parametrize("stop", [pytest.param("saving", marks=pytest.mark.slow), "between"])
def test_a_process_that_is_killed_leaves_the_old_version(stop, tmp_path):
    link = tmp_path / "shop"
    publish(link, shop(1.0), {"last": 1})
    here = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [sys.executable, "-c", LIFE.format(tests=here), str(link), stop]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert count(link) == 1 and notes_of(link) == {"last": 1}
    publish(link, shop(3.0), {"last": 3})
    assert count(link) == 3 and notes_of(link) == {"last": 3}


def test_damaged_notes_are_named(tmp_path):
    publish(tmp_path / "shop", shop(1.0), {})
    (tmp_path / "shop.versions" / "000001.json").write_text("{")
    with pytest.raises(DataError, match=r"000001\.json is damaged"):
        notes_of(tmp_path / "shop")
