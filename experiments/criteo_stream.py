"""Click logs: Criteo's format, and training on a log that is read from disk as it goes.

    python experiments/criteo_stream.py --record --data-dir FOLDER  # holds criteo-sample-10k

The sample: 10,000 lines of Criteo's log, the first eight tenths for training, then validation and
test, a tenth each (it is too small to tell models apart). The large log: up to 10⁷ impressions of the
simulated shop, written as Parquet a million at a time, on which Wide & Deep is trained in one pass over the
file, 262,144 rows in memory at a time. A value is the seconds of a pass per million rows, compiled before:
the same for all sizes if the cost is linear; and the peak of the process's memory, at most 2 GB.

On 2 busy CPU cores: 3.3 s per million rows of 10⁶, 2.4 of 10⁷ (of 10⁵ more, as the only chunk is filled
up), 1.1 GiB in all. On the sample, AUC / log loss, five seeds, standard errors at most .0025 / .0046:

    FinalMLP  .769 / .457      XDeepFM  .763 / .456      FM       .756 / .461
    WideDeep  .766 / .455      DLRM     .762 / .462      MaskNet  .751 / .478
    DCNv2     .765 / .455      FiBiNET  .761 / .461
"""

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow as pa
import pyarrow.parquet as pq
from protocols.click_sets import criteo_sample

from rezoo import evaluation, losses, objectives, training
from rezoo.data import batches, stream
from rezoo.datasets import shop, shop_rows
from rezoo.models import DLRM, FM, DCNv2, FiBiNET, FinalMLP, MaskNet, WideDeep, XDeepFM
from rezoo.types import Batch

COLUMNS = ("user", "item", "hour", "age", "gender", "category")
CHUNK, DRAWN = 1 << 18, 1_000_000


def sample(folder: Path | None, seeds: int, results: common.Results) -> None:
    """AUC and log loss of models of clicks on the sample; the epoch is chosen on the validation part."""
    data = criteo_sample(folder)
    train, valid, test, sizes = data.train, data.valid, data.test, data.sizes
    net: dict[str, Any] = {"widths": (64, 32), "dropout": 0.3}
    zoo = {
        "FM": FM(sizes, 8),
        "WideDeep": WideDeep(sizes, dim=8, **net),
        "DCNv2": DCNv2(sizes, 8, num_crosses=2, **net),
        "DLRM": DLRM(sizes, 8, **net),
        "XDeepFM": XDeepFM(sizes, 8, maps=(16,), **net),
        "FinalMLP": FinalMLP(sizes, 8, second_widths=(64, 32), gates=((), ()), **net),
        "MaskNet": MaskNet(sizes, 8, blocks=(32, 32), **net),
        "FiBiNET": FiBiNET(sizes, 8, **net),
    }
    optimizer = optax.chain(optax.add_decayed_weights(1e-3), optax.adam(2e-3))
    for name, model in zoo.items():
        step = training.make_step(objectives.pointwise(model, losses.logistic), optimizer)

        def fit(key: jax.Array, model: Any = model, step: Any = step) -> Any:
            def measured(variables: Any) -> dict[str, Any]:
                named = {"valid": valid, "test": test}
                found = {
                    part: evaluation.evaluate_clicks(model, variables, rows) for part, rows in named.items()
                }
                return {f"{part} {k}": v for part, values in found.items() for k, v in values.items()}

            state = training.init_state(key, model, optimizer, train)
            return training.fit(step, state, train, measured, num_epochs=12, batch_size=256)[1]

        if not results.values(name, data.dataset, data.protocol, "logloss"):
            start = time.monotonic()
            history = jax.jit(jax.vmap(fit))(jax.random.split(jax.random.key(0), seeds))
            best = np.argmax(history["valid auc"], axis=1)[:, None]
            seconds = time.monotonic() - start
            with results.together():
                for metric in ("auc", "logloss"):
                    values = np.take_along_axis(np.asarray(history[f"test {metric}"]), best, axis=1)[:, 0]
                    results.add(name, data.dataset, data.protocol, metric, values.tolist(), seconds=seconds)


def write(file: Path, world: shop.World, config: shop.ShopConfig, rows: int) -> None:
    """Impressions as Parquet, drawn a million at a time."""
    writer = None
    for number, begin in enumerate(range(0, rows, DRAWN)):
        drawn = shop_rows.draw_impressions(jax.random.key(number + 1), world, config, min(DRAWN, rows))
        user, item = drawn["user"], drawn["item"]
        columns = {"user": user, "item": item, "hour": drawn["hour"], "click": drawn["click"]}
        columns |= {"age": world.age[user], "gender": world.gender[user], "category": world.category[item]}
        kept = {name: np.asarray(column, np.int32)[: rows - begin] for name, column in columns.items()}
        table = pa.table(kept)
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table, row_group_size=CHUNK)
    assert writer is not None
    writer.close()


def learn(sizes: tuple[int, ...], config: shop.ShopConfig, chunk: int, results: common.Results) -> None:
    """A pass of Wide & Deep over logs of each size."""
    world = shop.world(jax.random.key(0), config)
    rows = {"user": config.shoppers + 1, "item": config.products + 1, "hour": len(shop.DAYPARTS)}
    rows |= {"age": len(shop.AGES), "gender": len(shop.GENDERS), "category": len(shop.NOUNS) + 1}
    model = WideDeep(
        rows, crosses=(("age", "category"), ("hour", "category")), buckets=1024, dim=16, widths=(64, 32)
    )
    adam = optax.adam(1e-3)
    step = training.make_step(objectives.pointwise(model, losses.logistic), adam)
    epoch = jax.jit(lambda state, data: training.epoch(step, state, data, 4096), donate_argnums=0)
    peak = f"one pass of Wide & Deep, {chunk:,} rows in memory at a time"
    for size in sizes:
        key = "WideDeep", f"shop, {size:,} impressions", peak
        if results.values(*key, "peak_rss_gib"):
            continue
        file = results.out / f"clicks-{size}.parquet"
        write(file, world, config, size)
        example = batch(next(stream.chunks(file, chunk)))
        state = training.init_state(jax.random.key(0), model, adam, example)
        state, _ = epoch(state, example)
        start = time.monotonic()
        found = []
        for columns in stream.chunks(file, chunk):
            state, metrics = epoch(state, batch(columns))
            found.append(metrics["loss"])
        last = float(found[-1])
        seconds = time.monotonic() - start
        million = 1e6 * seconds / size
        notes = {"rows": size, "last_loss": last, "megabytes_on_disk": round(file.stat().st_size / 2**20)}
        gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        with results.together():
            results.add(*key, "seconds per million rows", million, seconds=seconds, **notes)
            results.add(*key, "peak_rss_gib", gib, seconds=seconds, published=2.0)
        file.unlink()


def batch(columns: dict[str, np.ndarray]) -> Batch:
    """A chunk on the device."""
    label, where = (jnp.asarray(columns[name], jnp.float32) for name in ("click", stream.WHERE))
    return pairs({name: columns[name] for name in COLUMNS}, label, where > 0)


def pairs(columns: dict[str, np.ndarray], label: Any, where: jax.Array) -> Batch:
    """Pairs with all else as features of the query; a log without users and items has nobody's and none."""
    on_device = {name: jnp.asarray(column) for name, column in columns.items()}
    features = {name: column for name, column in on_device.items() if name not in ("user", "item")}
    query = batches.queries(on_device.get("user"), features=features, rows=len(where))
    return Batch(query, on_device.get("item", query.user), jnp.asarray(label), where)


@dataclass(frozen=True)
class Flags(common.Flags):
    """Which parts."""

    parts: tuple[str, ...] = ("large", "sample")


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("criteo-sample-10k*", "train_examples.txt"))
    common.check_names("parts", flags.parts, Flags.parts)
    if flags.smoke:
        learn((2_000, 5_000), shop.ShopConfig(shoppers=200, products=100), 1 << 10, results)
    else:
        if "large" in flags.parts:
            learn((100_000, 1_000_000, 10_000_000), shop.ShopConfig(20_000, 5_000), CHUNK, results)
        if "sample" in flags.parts:
            sample(flags.data_dir, flags.seeds, results)
    results.finish()


if __name__ == "__main__":
    main()
