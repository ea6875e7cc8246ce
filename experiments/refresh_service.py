"""One refresh of a served model from the service's events: what a cron job runs.

    python experiments/serve.py shop --log events.sqlite              # shop is a link to a saved model
    python experiments/refresh_service.py shop --log events.sqlite    # each night, or each hour

LINK is what the service serves: a link (`ln -s FOLDER shop`) to a saved model, such as `your_log.py` saves.
Events that this model has not learnt are read from the log, while the service writes to it. The model gets
rows for new products and customers, is trained from where it was, with the type and time of each event if
it reads them, and is measured on the newest events beside the old one (`rezoo.serving.refresh`). If it is
not behind, it is saved in LINK.versions, and the link is exchanged: the service takes it over without a
pause. Otherwise the reasons are printed, the old one stays, the exit status is 1, and the events are learnt
the next time. A run that is killed leaves the old model served. With --smoke a small model is refreshed.
"""

import shutil
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from common import say

from rezoo import recipes
from rezoo.data import files
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError
from rezoo.serving import event_columns, saved
from rezoo.serving.refresh import Settings, joined, notes_of, of_service, publish, refresh, with_times
from rezoo.serving.service.event_log import Event, SqliteLog

DEFAULT = Settings()


@dataclass(frozen=True)
class Flags:
    """Flags of this experiment."""

    link: Annotated[Path | None, tyro.conf.Positional] = None
    """The link that is served."""
    log: Path = Path("events.sqlite")
    """File of the service's events."""
    past: Path | None = None
    """File of the events of the training, as for `your_log.py`; models of iALS need it."""
    gap: float | None = None
    """Seconds without an event after which a session is over. If not given: 1800 for a model without
    histories of customers; where it keeps them, all events of a customer follow each other."""
    at_least: int = DEFAULT.at_least
    """Held-out events that are needed."""
    least: int = DEFAULT.least
    """Events that a new product or customer must have."""
    held: float = DEFAULT.held
    """Share of the new events, the newest, that are held out."""
    num_epochs: int = DEFAULT.num_epochs
    """Passes over the new events and as many of the past."""
    rate: float = DEFAULT.rate
    """Learning rate."""
    smoke: bool = False
    """Refresh a small model, and stop."""
    out: Path = Path("runs/refresh_service-smoke")
    """Working folder of --smoke."""


def main(flags: Flags) -> int:
    """Refresh, publish or refuse; the exit status."""
    if flags.smoke:
        return smoke(flags.out)
    if flags.link is None or not flags.link.exists():
        raise DataError("name the link that is served, which shows a saved model: your_log.py saves one")
    old, last = saved.load(flags.link), notes_of(flags.link).get("last", 0)
    log = SqliteLog(flags.log, read_only=True)
    numbered = list(log.read())
    log.close()
    if not numbered or numbered[-1][0] <= last:
        print("there are no new events")
        return 0
    gap = 1800.0 if flags.gap is None and old.history is None else flags.gap
    times = event_columns.times(old)
    events = of_service([event for _, event in numbered], gap=gap, times=times)
    fresh = np.array([number > last for number, _ in numbered])
    if flags.past is not None:
        past = with_times(files.read(flags.past), times)
        fresh, events = np.concatenate([np.zeros(past.num_rows, bool), fresh]), joined(past, events)
    settings = DEFAULT._replace(
        **{name: getattr(flags, name) for name in ("at_least", "least", "held", "num_epochs", "rate")}
    )
    outcome = refresh(old, events, fresh, jax.random.key(numbered[-1][0]), settings)
    print(outcome)
    if outcome.saved is None:
        return 1
    notes = {"last": numbered[-1][0], "outcome": outcome.notes()}
    print(f"{flags.link} shows {publish(flags.link, outcome.saved, notes)}")
    return 0


def smoke(out: Path) -> int:
    """A small model learns a product that came after it."""
    shutil.rmtree(out, ignore_errors=True)
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 50, 2000), rng.integers(0, 80, 2000)
    model = recipes.gru4rec(
        from_columns({"user": user, "item": item}), jax.random.key(0), dim=8, num_epochs=1
    )
    saved.save(out / "first", model)
    (out / "shop").symlink_to("first")
    log, now = SqliteLog(out / "events.sqlite"), time.time()
    events = [
        Event(f"{visit}-{nth}", f"v{visit}", 900 + nth % 2, received=now + 60 * visit + nth)
        for visit in range(60)
        for nth in range(4)
    ]
    log.append(events)
    log.close()
    status = main(Flags(out / "shop", out / "events.sqlite", at_least=10))
    if status or not saved.load(out / "shop").items.encode([900]).all():
        raise RuntimeError("the new product has not been learnt")
    return main(Flags(out / "shop", out / "events.sqlite"))


if __name__ == "__main__":
    sys.excepthook = partial(say, flags=list(Flags.__dataclass_fields__))
    sys.exit(main(tyro.cli(Flags, prog="python experiments/refresh_service.py", description=__doc__)))
