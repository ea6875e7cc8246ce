"""Does a longer history pay? The next purchase in a shop of staples, by the latest 50 to 2,000.

    python experiments/long_histories.py --record
    python experiments/long_histories.py --record --parts draw

The shop of `rezoo.datasets.shop_routines`: 300 products; a shopper buys some of 40 staples again, each after
20 to 1,000 other purchases. Models learn the purchases of 2,500 shoppers, each once, cut into rows of as
many events as they read, so that whatever the length they see the same events. The purchase 2,001 of 3,000
other shoppers is to be found among all products. All read 64-wide vectors by one block; of the lengths of
histories nothing else differs but that a step of 2,000 events has more or fewer rows. `SessionPopularity`
lists what stands in the history most often. The oracle ranks by the true probabilities, which depend on the
whole past. `--parts draw` times the drawing of 100,000 shoppers' 2,000 purchases.

recall@10, one seed, 78 to 269 s a fit on a busy CPU core:

    the latest             50     200    1,000   2,000
    SessionPopularity   0.184   0.325    0.358   0.366
    LRURec              0.279   0.287    0.284   0.287
    HSTU                0.277   0.288    0.293   0.286
    oracle                                       0.634

A longer history pays for whoever counts it: up to 1,000 purchases, as the periods are no longer. The two
networks know more by 50 purchases, but of what came before them they use next to nothing (two hundredths
are within the noise of 3,000 shoppers). It may be that 64 numbers cannot hold which of 300 products a shopper
has bought how often and when, or that five million purchases do not teach it; more passes over fewer shoppers
were worse. Nobody comes near the oracle, who knows the period of each staple.

200 million purchases are drawn in 75 s.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import evaluation, metrics, objectives, training
from rezoo.data import batches
from rezoo.datasets import shop_routines
from rezoo.datasets.shop import ShopConfig
from rezoo.datasets.shop_routines import Log, Routines
from rezoo.errors import DataError
from rezoo.models import HSTU, LRURec, SessionPopularity
from rezoo.types import Batch, Variables

METRICS = ("recall@10", "ndcg@10")
MEASURES = {name: evaluation.MEASURES[name] for name in ("recall", "ndcg")}
RATE = 5e-3
"""Of Adam at first; it falls to 0 along a cosine."""
MODELS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "HSTU": lambda n, dim, length: HSTU(n, dim, num_blocks=1, num_heads=2, max_length=length),
    "LRURec": lambda n, dim, length: LRURec(n, dim, num_blocks=1),
}


class Size(NamedTuple):
    """Of the shop and of what is learnt."""

    config: ShopConfig
    routines: Routines
    asked: int
    """The last shoppers, whose last purchase is to be found; those before them are learnt."""
    dim: int
    step: int
    """Events of a step."""
    lengths: tuple[int, ...]


WHOLE = Size(
    ShopConfig(shoppers=5_500, products=300),
    Routines(events=2_001),
    3_000,
    64,
    2_000,
    (50, 200, 1_000, 2_000),
)
SMOKE = Size(
    ShopConfig(shoppers=60, products=50), Routines(events=41, staples=8, longest=40), 20, 8, 80, (10, 40)
)
SMOKE_MODELS = ("LRURec",)
MANY = ShopConfig(shoppers=100_000, products=300)


@dataclass(frozen=True)
class Flags(common.Flags):
    """Which models and lengths."""

    models: tuple[str, ...] = tuple(MODELS)
    """HSTU, LRURec; the counts and the oracle stand beside any."""
    rows: tuple[int, ...] = ()
    """Lengths of histories, which divide 2,000; 50, 200, 1,000 and 2,000 if none is given."""
    parts: tuple[str, ...] = ("learn",)
    """`learn`, `draw`."""
    seeds: int = 1
    """Runs of each trained model."""


def learnt(model: nn.Module, items: np.ndarray, length: int, step: int, seed: int) -> Variables:
    """After one pass over all purchases, each of which is to be found by those before it in its row."""
    history, target = (part.reshape(-1, length) for part in (items[:, :-1], items[:, 1:]))
    ones = np.ones(target.shape, np.float32)
    query = batches.queries(history=history)
    data = Batch(query, jnp.asarray(target), jnp.asarray(ones), jnp.asarray(ones > 0))
    batch = max(step // length, 1)
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, training.num_steps(len(history), batch)))
    update = training.make_step(objectives.next_item_softmax(model), optimizer)

    @jax.jit
    def run(key: jax.Array, data: Batch) -> Variables:
        state = training.init_state(key, model, optimizer, data)
        return training.fit(update, state, data, num_epochs=1, batch_size=batch)[0].variables

    return run(jax.random.key(seed), data)


def found(model: nn.Module, variables: Variables, items: np.ndarray, length: int) -> dict[str, float]:
    """How well the last purchase is found by as many before it."""
    query = batches.queries(history=items[:, -1 - length : -1])
    measured = evaluation.evaluate(
        model, variables, query, jnp.asarray(items[:, -1:]), k=(10,), measures=MEASURES
    )
    return {name: float(measured[name]) for name in METRICS}


def oracle(log: Log, size: Size) -> dict[str, float]:
    """The same of the true probabilities."""
    last = size.config.shoppers + 1
    asked = np.arange(last - size.asked, last)
    chance = shop_routines.chances(log, size.config, size.routines, asked, size.routines.events - 1)
    rank = metrics.target_ranks(chance, jnp.asarray(log.items[asked - 1, -1:]))
    return {
        "recall@10": float(metrics.recall(rank, k=10).mean()),
        "ndcg@10": float(metrics.ndcg(rank, k=10).mean()),
    }


def learn(flags: Flags, results: common.Results) -> None:
    """The oracle, and every model by histories of every length."""
    size, name = (SMOKE, "smoke") if flags.smoke else (WHOLE, "shop")
    lengths = flags.rows or size.lengths
    if wrong := [length for length in lengths if (size.routines.events - 1) % length]:
        raise DataError(f"rows={wrong}: give lengths that divide {size.routines.events - 1:,}")
    log = shop_routines.draw(size.config, size.routines)
    train, asked = log.items[: -size.asked], log.items[-size.asked :]
    rows = size.config.products + 1
    protocol = f"purchase {size.routines.events:,} by the {{}}"

    def add(model: str, past: str, numbers: dict[str, float], seconds: float, **notes: Any) -> None:
        with results.together():
            for metric, value in numbers.items():
                results.add(model, name, protocol.format(past), metric, value, seconds=seconds, **notes)
        print(f"{model}, the {past}: {numbers}, {seconds:.0f} s", flush=True)

    if not results.values("Oracle", name, protocol.format("whole past"), METRICS[-1]):
        add("Oracle", "whole past", oracle(log, size), 0.0)
    for length in lengths:
        past = f"latest {length:,}"
        key = name, protocol.format(past), METRICS[-1]
        if not results.values("SessionPopularity", *key):
            counts = SessionPopularity(rows)
            variables = counts.init(
                jax.random.key(0), batches.queries(history=asked[:1, :length]), asked[:1, 0]
            )
            add("SessionPopularity", past, found(counts, variables, asked, length), 0.0)
        for model in SMOKE_MODELS if flags.smoke else flags.models:
            for seed in range(len(results.values(model, *key)), flags.seeds):
                start = time.monotonic()
                made = MODELS[model](rows, size.dim, length)
                variables = jax.block_until_ready(learnt(made, train, length, size.step, seed))
                seconds = time.monotonic() - start
                notes = {"settings": {"rate": RATE, "dim": size.dim, "events of a step": size.step}}
                add(model, past, found(made, variables, asked, length), seconds, **notes)


def draw(flags: Flags, results: common.Results) -> None:
    """Seconds and peak memory of drawing a shop of many."""
    config, routines = (SMOKE.config, SMOKE.routines) if flags.smoke else (MANY, Routines())
    start = time.monotonic()
    purchases = shop_routines.draw(config, routines).items.size
    seconds = time.monotonic() - start
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    results.put(
        "shop_routines",
        "shop",
        f"{purchases:,} purchases drawn",
        "seconds",
        seconds,
        seconds=seconds,
        peak_rss_mib=peak,
    )


PARTS = {"learn": learn, "draw": draw}


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags)
    for given, known, what in ((flags.models, MODELS, "models"), (flags.parts, PARTS, "parts")):
        common.check_names(what, given, known)
    for part in flags.parts:
        PARTS[part](flags, results)
    results.finish()


if __name__ == "__main__":
    main()
