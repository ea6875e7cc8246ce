"""New events → a refreshed model, measured before it is published.

    outcome = refresh(old, log, log.timestamp >= yesterday, jax.random.key(0))
    print(outcome)                                        # figures of both, what is new, why it is refused
    if outcome.saved:
        publish("runs/shop", outcome.saved, {})           # the link that experiments/serve.py serves

`events` reads logs, `grow` makes tables longer, `learn` trains, `measure` compares, `versions` publishes.
"""

from rezoo.serving.refresh.events import joined, of_service, with_times
from rezoo.serving.refresh.learn import Settings
from rezoo.serving.refresh.measure import Measured
from rezoo.serving.refresh.refresher import Outcome, refresh
from rezoo.serving.refresh.versions import notes_of, publish

__all__ = [
    "Measured",
    "Outcome",
    "Settings",
    "events",
    "grow",
    "joined",
    "learn",
    "measure",
    "notes_of",
    "of_service",
    "publish",
    "refresh",
    "refresher",
    "versions",
    "with_times",
]
