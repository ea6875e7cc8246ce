"""A click after a long history, and its list: read again, or with keys and values kept.

    python experiments/bench_histories.py --record

Sessions of 50 to 1,000 events are open in `rezoo.serving.live`, 10,000 items, models 64 wide with two blocks
and untrained weights. SASRec, eSASRec and HSTU read all events of a session at every click, or keep the keys
and values of each (`live.start(…, cached=True)`) and read the newest half again when there is no room for
more, which is in the figures as often as it happens; LRURec keeps one state. Milliseconds of observing a
click and recommending 20 items, one session at a time, at the 50th and the 99th percentile; clicks per second
of 64 sessions at a time. Without compiling. On two CPU cores:

                          99th percentile, ms           clicks/s
    events            50    200    500  1,000        50     200     500   1,000
    SASRec            .5    2.4    9.9   19.1     9,837     904     223      68
      kept           1.4    2.0    3.9    6.0    12,424   4,950   1,526   1,049
    eSASRec          1.2    6.6   10.3   18.0     4,323     439     171      54
      kept           2.5    3.7    5.4    8.0     9,938   4,523   1,605   1,000
    HSTU             1.2    5.1    9.7   24.2     4,620     789     261      85
      kept            .8    3.3    5.4    7.0    10,345   4,112   1,567   1,079
    LRURec            .5    1.3     .5     .4    17,946  16,860  18,497  20,765

What is kept answers 13 to 18 times as many clicks after 1,000 events. After 50, one session at a time is as
fast when it is read again.
"""

import time
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from common import Flags, Results, start

from rezoo.data import batches
from rezoo.models import HSTU, LRURec, SASRec, eSASRec
from rezoo.serving import live

ITEMS, WIDTH, SLOTS, AT_ONCE = 10_001, 64, 128, 64
ATTENTIVE = ("SASRec", "eSASRec", "HSTU")


def main(flags: Flags, results: Results) -> None:
    """Every length, model and way."""
    for length in (8,) if flags.smoke else (50, 200, 500, 1000):
        made: dict[str, Callable[..., nn.Module]] = {
            "SASRec": partial(SASRec, max_length=length),
            "eSASRec": partial(eSASRec, max_length=length),
            "HSTU": partial(HSTU, max_length=length),
            "LRURec": LRURec,
        }
        for name, make in made.items():
            if flags.smoke and name not in ("SASRec", "LRURec"):
                continue
            for cached in (False, True) if name in ATTENTIVE else (False,):
                way = "kept" if cached else "read again" if name in ATTENTIVE else "one state"
                if not results.values(name, f"{length:,} events", f"64 at a time, {way}", "clicks/s"):
                    with results.together():
                        measure(name, make(ITEMS, WIDTH), length, way, flags, results)
    results.finish()


def measure(name: str, model: nn.Module, length: int, way: str, flags: Flags, results: Results) -> None:
    """The rows of a model whose sessions have about this many events."""
    began, draw = time.monotonic(), np.random.default_rng(0)
    query = batches.queries(history=draw.integers(1, ITEMS, (SLOTS, length)))
    variables = jax.jit(model.init)(jax.random.key(0), query, jnp.ones(SLOTS, jnp.int32))
    served = live.serve(model, variables)
    sessions = live.start(model, served, SLOTS, length=length, cached=way == "kept")
    # A part of each history, so that not all caches are full at the same click.
    place = np.arange(length)[None] < draw.integers(length // 2, length + 1, (SLOTS, 1))
    some = query._replace(history=jnp.where(place, query.history, 0)) if way == "kept" else query
    sessions = jax.jit(partial(live.begin, model))(served, sessions, jnp.arange(SLOTS), some)

    @partial(jax.jit, donate_argnums=0)
    def click(sessions: live.Sessions, slot: jax.Array, item: jax.Array) -> tuple[live.Sessions, jax.Array]:
        sessions = live.observe(model, served, sessions, slot, item)
        return sessions, live.recommend(model, served, sessions, slot, 20)[0]

    data, calls = f"{length:,} events", {1: 20 if flags.smoke else 1000, AT_ONCE: 3 if flags.smoke else 40}
    for size, count in calls.items():
        times = []
        for _ in range(count + 3):
            slot = draw.choice(SLOTS, size, replace=False).astype(np.int32)
            item = draw.integers(1, ITEMS, size).astype(np.int32)
            before = time.perf_counter()
            sessions, ids = click(sessions, slot, item)
            ids.block_until_ready()
            times.append(1e3 * (time.perf_counter() - before))
        taken = np.array(times[3:])
        found = {"p50 ms": np.percentile(taken, 50), "p99 ms": np.percentile(taken, 99)}
        if size > 1:
            found = {"clicks/s": 1e3 * size / taken.mean()}
        for metric, value in found.items():
            row = (name, data, f"{size} at a time, {way}", metric)
            results.add(*row, float(value), seconds=time.monotonic() - began)


if __name__ == "__main__":
    main(*start(__file__, __doc__))
