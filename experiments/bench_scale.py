"""What an epoch costs as the data grows, on simulated logs of 10⁵ to 10⁷ rows, and EASE's limit.

    taskset -c 0,1 python experiments/bench_scale.py --record

MF and FM learn the clicks of a shop of 20,000 shoppers and 5,000 products (`rezoo.datasets.shop`, drawn a
million at a time); FM reads age, gender and hour besides. Their tables and batches (4,096) are the
same for every number of rows. iALS gets 50 purchases of every shopper and as many shoppers as it
takes: its cost has a part per row of a table and a part per non-zero. GRU4Rec learns the next clicks of
sessions by a softmax over 1,024 sampled products; it comes first, as the peak memory that a row notes is
that of all before it too. All are 64 wide. A value is a second of one epoch, compiled before, per million
rows: the same for all sizes if the cost is linear.

EASE holds N × N matrices; the error that it raises names the largest catalogue for a given memory.

Seconds per epoch and million rows at 10⁵, 10⁶ and 10⁷, two epochs each; the peak memory is 1.2 GiB after
GRU4Rec and 1.7 GiB after all:

    GRU4Rec  16.2  15.2  15.8        FM    1.20  1.42  1.20
    MF        .74   .76   .90        IALS   .27   .13   .25

EASE in 24 GiB, on a CPU: 56,755 items.
"""

import re
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import losses, objectives, training
from rezoo.data import batches
from rezoo.datasets import shop, shop_rows
from rezoo.models import FM, MF, GRU4Rec
from rezoo.models.factorization import ease, ials
from rezoo.types import Batch, Objective

DIM, BATCH, PER_SHOPPER, PRODUCTS = 64, 4096, 50, 5000
SIZES = (100_000, 1_000_000, 10_000_000)
MEMORY = 24.0
"""GiB of memory for which EASE's largest catalogue is found."""


def clicks(config: shop.ShopConfig, rows: int, chunk: int = 1_000_000) -> tuple[Batch, dict[str, int]]:
    """Impressions with age, gender and hour, and the sizes of their columns."""
    world = shop.world(jax.random.key(0), config)
    parts: list[dict[str, np.ndarray]] = []
    for number in range(-(-rows // chunk)):
        drawn = shop_rows.draw_impressions(jax.random.key(number + 1), world, config, min(chunk, rows))
        parts.append({name: np.asarray(drawn[name]) for name in ("user", "item", "hour", "click")})
    column = {name: jnp.asarray(np.concatenate([part[name] for part in parts])[:rows]) for name in parts[0]}
    features = {
        "age": world.age[column["user"]],
        "gender": world.gender[column["user"]],
        "hour": column["hour"],
    }
    sizes = {"user": config.shoppers + 1, "item": config.products + 1, "hour": len(shop.DAYPARTS)}
    sizes |= {"age": len(shop.AGES), "gender": len(shop.GENDERS)}
    return batches.pairs(column["user"], column["item"], column["click"], features=features), sizes


def purchases(rows: int, config: shop.ShopConfig, chunk: int = 2_000) -> tuple[np.ndarray, np.ndarray]:
    """`rows` different (shopper, product) pairs, `PER_SHOPPER` of each shopper."""
    world = shop.world(jax.random.key(0), config)
    users = np.arange(1, rows // PER_SHOPPER + 1, dtype=np.int32)
    items = []
    for start in range(0, len(users), chunk):
        asked = jnp.asarray(np.resize(users[start : start + chunk], chunk))
        items.append(np.asarray(shop_rows.draw_ratings(jax.random.key(start), world, config, asked)[0]))
    return np.repeat(users, PER_SHOPPER), np.concatenate(items)[: len(users)].ravel()


def sessions(config: shop.ShopConfig, rows: int, chunk: int = 10_000) -> Batch:
    """`rows` clicks that have one before them in their session, a session a row of the batch."""
    world = shop.world(jax.random.key(0), config)
    drawn: list[np.ndarray] = []
    total = 0
    while total < rows:
        key = jax.random.key(len(drawn) + 1)
        drawn.append(np.asarray(shop_rows.draw_sessions(key, world, config, chunk)[1]))
        total += int((drawn[-1][:, 1:] > 0).sum())
    items = np.concatenate(drawn)
    items = items[: np.searchsorted((items[:, 1:] > 0).sum(1).cumsum(), rows) + 1]
    history, target = jnp.asarray(items[:, :-1]), jnp.asarray(items[:, 1:])
    query = batches.queries(history=history)
    return Batch(query, target, (target > 0).astype(jnp.float32), target > 0)


def gradient_epochs(model: Any, objective: Objective, data: Batch, batch: int) -> Callable[[], float]:
    """Each call trains an epoch; its seconds."""
    optimizer = optax.adam(1e-3)
    step = training.make_step(objective, optimizer)
    run = jax.jit(lambda state, data: training.epoch(step, state, data, batch), donate_argnums=0)
    holder = [training.init_state(jax.random.key(0), model, optimizer, data)]

    def epoch() -> float:
        start = time.perf_counter()
        holder[0], metrics = run(holder[0], data)
        jax.block_until_ready(metrics)
        return time.perf_counter() - start

    epoch()
    return epoch


def ials_epochs(user: np.ndarray, item: np.ndarray) -> Callable[[], float]:
    """Each call fits for one epoch and for three; the seconds between, per epoch."""
    sizes = int(user.max()) + 1, PRODUCTS + 1

    def fit(num_epochs: int) -> float:
        start = time.perf_counter()
        fitted = ials.fit(jax.random.key(0), user, item, *sizes, DIM, num_epochs=num_epochs)
        jax.block_until_ready(fitted)
        return time.perf_counter() - start

    fit(1)
    return lambda: (fit(3) - fit(1)) / 2


def contests(smoke: bool) -> Iterator[tuple[str, int, Callable[[], Callable[[], float]]]]:
    """(model, rows, what makes its epochs); the data is made when the epochs are."""
    config = shop.ShopConfig(shoppers=200 if smoke else 20_000, products=PRODUCTS)
    sizes = (1_000, 4_000) if smoke else SIZES
    for rows in sizes:

        def recurrent(rows: int = rows) -> Callable[[], float]:
            model, share = GRU4Rec(PRODUCTS + 1, DIM, tied=True), jnp.ones(PRODUCTS + 1)
            objective = objectives.next_item_sampled(model, losses.softmax_cross_entropy, share, 1024)
            data = sessions(config, rows, 500 if smoke else 10_000)
            return gradient_epochs(model, objective, data, BATCH // data.item.shape[1])

        yield "GRU4Rec", rows, recurrent

    for rows in sizes:

        def gradient(make: Callable[[dict[str, int]], Any], rows: int = rows) -> Callable[[], float]:
            data, sizes = clicks(config, rows)
            model = make(sizes)
            return gradient_epochs(model, objectives.pointwise(model, losses.logistic), data, BATCH)

        def solved(rows: int = rows) -> Callable[[], float]:
            shoppers = rows // PER_SHOPPER
            big = shop.ShopConfig(shoppers=shoppers, products=PRODUCTS, ratings_per_shopper=PER_SHOPPER)
            return ials_epochs(*purchases(rows, big))

        yield "MF", rows, lambda g=gradient: g(lambda sizes: MF(sizes["user"], sizes["item"], DIM))
        yield "FM", rows, lambda g=gradient: g(lambda sizes: FM(sizes, DIM))
        yield "IALS", rows, solved


def main(flags: common.Flags, results: common.Results) -> None:
    """Every model at every size, `--seeds` epochs each; then how far from linear, and EASE's limit."""
    first: dict[str, float] = {}
    for model, rows, make in contests(flags.smoke):
        protocol = f"{rows:,} rows"
        key = (model, "shop", protocol, "seconds per epoch and million rows")
        if not results.values(*key):
            start = time.perf_counter()
            epoch = make()
            values = [epoch() * 1e6 / rows for _ in range(1 if flags.smoke else flags.seeds)]
            peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            results.add(*key, values, seconds=time.perf_counter() - start, peak_rss_mib=peak)
            print(f"{model}, {protocol}: {np.median(values):.3f} s per epoch and million rows", flush=True)
        median = float(np.median(results.values(*key)))
        smallest = first.setdefault(model, median)
        ratio = (model, "shop", f"{rows:,} rows over the smallest log", "ratio per row")
        if median != smallest and not results.values(*ratio):
            results.add(*ratio, median / smallest, seconds=0.0)
    limit(results)
    results.finish()


def limit(results: common.Results) -> None:
    """The largest catalogue that EASE takes, from its error message."""
    key = ("EASE", "any", f"largest catalogue in {MEMORY:g} GiB", "items")
    try:
        ease.fit(np.ones((1, 1), np.int32), 1_000_000, memory=MEMORY)
    except ValueError as error:
        print(f"EASE with 1,000,000 items: {error}")
        found = re.search(r"enough for ([\d,]+) items", str(error))
        assert found is not None
        if not results.values(*key):
            results.add(*key, int(found[1].replace(",", "")), seconds=0.0)


if __name__ == "__main__":
    main(*common.start(__file__, __doc__))
