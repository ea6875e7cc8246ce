"""Logs prepared by Apache Beam, which needs an environment of its own: `.ci/beam` makes it."""

import os
from pathlib import Path

import big_logs
import pyarrow as pa
import pytest
from big_logs import PLAN

from rezoo.data import beam, files
from rezoo.data.preparing.plan import Plan

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
WORKERS = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]


def prepare(log: str, place: str, plan: Plan, flags: list[str]) -> None:
    apache_beam = pytest.importorskip("apache_beam")
    from apache_beam.options.pipeline_options import PipelineOptions

    with apache_beam.Pipeline("FnApiRunner", options=PipelineOptions(flags)) as pipeline:
        beam.prepare(pipeline, log, place, plan)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return big_logs.write(tmp_path_factory.mktemp("log") / "raw", pa.table(big_logs.columns()))


@pytest.mark.parametrize(
    ("plan", "flags"),
    [
        (PLAN, []),
        (PLAN._replace(rounds=4), WORKERS),
        (PLAN._replace(user_slots=40, item_slots=1000, duplicates=None, users=1, items=1), []),
        (PLAN._replace(test_from=1_600_500_000, valid=0.0, test=0.0, users=1, items=1, sessions=None), []),
    ],
    ids=["all", "two workers", "hashed", "times"],
)
def test_a_pipeline_gives_what_memory_gives(log, tmp_path, plan, flags):
    prepare(log, str(tmp_path / "out"), plan, flags)
    big_logs.check(log, str(tmp_path / "out"), plan)


def test_errors_of_workers_say_what_to_do(log, tmp_path):
    with pytest.raises(Exception, match=r"give Plan\(rounds=2\)"):
        prepare(log, str(tmp_path / "out"), PLAN._replace(rounds=1), [])
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_movielens_is_the_same_row_for_row(tmp_path):
    file = Path(os.environ.get("REZOO_DATA", "."), "ml-1m", "ml-1m.zip")
    if not file.exists():
        pytest.skip("ml-1m is not in REZOO_DATA")
    table = files.read_table(f"{file}!ml-1m/ratings.dat")
    log = big_logs.write(tmp_path / "raw", pa.table(dict(table)), parts=3, group=1 << 17)
    plan = Plan(
        user="user_id", item="item_id", timestamp="timestamp", rating="rating", unit="s", ratings=(2.0, 5.0),
        duplicates="last", users=20, items=20, valid=0.1, test=0.1, sessions=1800, chunk=1 << 16,
    )  # fmt: skip
    prepare(log, str(tmp_path / "out"), plan, WORKERS)
    made = big_logs.check(log, str(tmp_path / "out"), plan)
    assert made.report.before == 1_000_209
