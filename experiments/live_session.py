"""A live session: after every click the next list, and how long it took.

    python experiments/live_session.py                    # replays visits of the simulated shop, measures
    python experiments/live_session.py --replay FILE.csv  # with columns session and item (number or name)
    python experiments/live_session.py --typed            # you are the visitor

GRU4Rec is trained on the simulated shop's sessions with age band and gender (a minute, once; kept in
runs/live_session), then serves visits from `rezoo.serving.live`. Without --replay and --typed the
latency of observe + recommend 20 is measured too: 43,097 items (as many as diginetica has), 100,000
open sessions, the last 30 events, untrained weights, after 20 clicks of warm-up; one session at a time
(p50 and p99 of the time of a call, in milliseconds; the target is 2 ms), and 256 at a time.

On 2 CPU cores one click and its list take, at the 99th percentile, 0.8 ms with Caser, 0.9 with NARM, SASRec
and NextItNet, 1.2 with STAMP and 1.6 with GRU4Rec; 256 at a time make some 4,400 clicks a second (Caser
5,600).
"""

import dataclasses
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorflow_datasets as tfds
from rich.console import Console
from rich.prompt import Prompt
from rich.table import Table

from rezoo import objectives, training
from rezoo.data import batches, files
from rezoo.datasets import shop, shop_builder
from rezoo.models import NARM, STAMP, Caser, GRU4Rec, NextItNet, SASRec
from rezoo.serving import live
from rezoo.serving.slots import Slots
from rezoo.training import loop
from rezoo.types import Batch, Query

console = Console(width=100)
K = 10
HELP = "a product's number or name, `new [age band] [gender]` for another visitor, `quit`"


@dataclasses.dataclass(frozen=True)
class Flags(common.Flags):
    """Where clicks come from."""

    replay: Path | None = None
    """A table (CSV, Parquet) with the columns `session` and `item`, replayed in its order."""
    typed: bool = False
    """Type the clicks."""
    slots: int = 100_000
    """Sessions that can be open at once."""


class Desk:
    """The state of a served model, and its compiled functions."""

    def __init__(self, model: nn.Module, variables: Any, slots: int, length: int, like: Query, k: int):
        self.model, self.served = model, live.serve(model, variables)
        self.sessions = live.start(model, self.served, slots, length=length, like=like)
        self.slots = Slots(slots)
        self._begin = jax.jit(partial(live.begin, model), donate_argnums=1)

        @partial(jax.jit, donate_argnums=1)
        def click(served: Any, sessions: Any, slot: Any, item: Any) -> Any:
            sessions = live.observe(model, served, sessions, slot, item)
            clicked = live.queries(sessions, slot).history
            return sessions, live.recommend(model, served, sessions, slot, k, clicked)

        self._click = click

    def begin(self, slot: int, query: Query) -> None:
        """A new session."""
        self.sessions = self._begin(self.served, self.sessions, np.array([slot], np.int32), query)

    def click(self, slot: np.ndarray, item: np.ndarray) -> tuple[np.ndarray, float]:
        """The lists after a click in each of these slots (0: none), and the milliseconds that they took."""
        began = time.perf_counter()
        self.sessions, (ids, _) = self._click(self.served, self.sessions, slot, item)
        ids = np.asarray(ids)
        return ids, 1e3 * (time.perf_counter() - began)


class Visit(NamedTuple):
    """Of one visitor."""

    age: int = 0
    gender: int = 0

    def query(self) -> Query:
        features = {"age": self.age, "gender": self.gender}
        return batches.queries(
            features={name: np.array([value], np.int32) for name, value in features.items()}
        )


def trained(made: shop_builder.Shop, flags: Any, folder: Path) -> tuple[nn.Module, Any]:
    """GRU4Rec on the shop's sessions; from its checkpoint if there is one."""
    known = made.sessions.train
    sizes = {"age": len(shop.AGES), "gender": len(shop.GENDERS)}
    model = GRU4Rec(len(made.names), 8 if flags.smoke else 48, dropout=0.2, user_features=sizes)
    history, target = jnp.asarray(known["items"][:, :-1]), jnp.asarray(known["items"][:, 1:])
    features = {name: jnp.asarray(column[known["user"]]) for name, column in made.shoppers.items()}
    query = batches.queries(history=history, features=features)
    rows = Batch(query, target, (target > 0).astype(jnp.float32), target > 0)
    optimizer = optax.adam(0.005)
    step = training.make_step(objectives.next_item_softmax(model), optimizer)
    epoch = jax.jit(lambda state: training.epoch(step, state, rows, 256), donate_argnums=0)
    state = training.init_state(jax.random.key(0), model, optimizer, rows)
    with loop.progress_bar() as progress:
        epochs = 1 if flags.smoke else 10
        run = loop.run(epoch, state, epochs, folder=folder, progress=progress, description="GRU4Rec")
    return model, run.best


class Counter:
    """Clicks by name, shown as they come."""

    def __init__(self, desk: Desk, names: list[str]):
        self.desk, self.names = desk, names
        self._number = {name.lower(): number for number, name in enumerate(names) if number}
        self._before: dict[Any, list[int]] = {}
        self.milliseconds: list[float] = []

    def number(self, text: str) -> int:
        """The id of the product with this number or name; 0 if there is none."""
        text = text.strip()
        if text.isdigit():
            return int(text) if 0 < int(text) < len(self.names) else 0
        return self._number.get(text.lower(), 0)

    def click(self, visitor: Any, text: str, visit: Visit = Visit()) -> None:  # noqa: B008 (it is a tuple)
        """Observe, recommend, show."""
        slot, new = self.desk.slots.open(visitor)
        if new:
            self.desk.begin(slot, visit.query())
            self._before.pop(visitor, None)
        item = self.number(text)
        if not item and text:
            console.print(f"[yellow]no product {text!r} here: it is left out[/yellow]")
        ids, ms = self.desk.click(np.array([slot], np.int32), np.array([item], np.int32))
        self.milliseconds.append(ms)
        self.show(visitor, item, ids[0].tolist(), ms)

    def show(self, visitor: Any, item: int, ids: list[int], ms: float) -> None:
        """The list, and where each product stood before."""
        before = self._before.get(visitor, [])
        title = f"{visitor} clicks {self.names[item]}" if item else f"for {visitor}"
        table = Table(
            "", "product", "before", title=f"{title}  ·  {ms:.2f} ms", title_justify="left", min_width=60
        )
        for rank, number in enumerate(ids, start=1):
            was = before.index(number) + 1 if number in before else None
            moved = "new" if was is None else "" if was == rank else f"{'▲' if was > rank else '▼'} {was}"
            table.add_row(str(rank), self.names[number] if number else "—", moved if before else "")
        self._before[visitor] = ids
        console.print(table)


def replay(counter: Counter, rows: Iterable[tuple[Any, Any]]) -> None:
    """Clicks of any number of sessions, in the order in which they come."""
    for visitor, item in rows:
        counter.click(str(visitor), str(item))


def typed(counter: Counter) -> None:
    """Clicks from the keyboard."""
    number, visit = 1, Visit()
    console.print(HELP)
    counter.click(f"visitor {number}", "", visit)
    while (text := Prompt.ask(">", console=console).strip()) not in ("quit", "q"):
        if text.split()[:1] != ["new"]:
            counter.click(f"visitor {number}", text, visit)
            continue
        about = text[3:].strip().lower()
        age = next((n for n, name in enumerate(shop.AGES) if n and name in about), 0)
        gender = next((n for n, name in enumerate(shop.GENDERS) if n and about.endswith(name)), 0)
        number, visit = number + 1, Visit(age, 1 if about.endswith("female") else gender)
        console.print(f"visitor {number}: {shop.AGES[visit.age]}, {shop.GENDERS[visit.gender]}")
        counter.click(f"visitor {number}", "", visit)


def contestants(items: int, smoke: bool) -> dict[str, Callable[[], nn.Module]]:
    """Models of the width of `session_next_click.py`."""
    made: dict[str, Callable[[], nn.Module]] = {
        "GRU4Rec": lambda: GRU4Rec(items, 100),
        "STAMP": lambda: STAMP(items, 100),
        "NARM": lambda: NARM(items, 100, hidden=100),
        "SASRec": lambda: SASRec(items, 100, num_blocks=1, num_heads=2, max_length=30),
        "NextItNet": lambda: NextItNet(items, 100, dilations=(1, 4)),
        "Caser": lambda: Caser(items, 100),
    }
    return {name: made[name] for name in ("GRU4Rec", "STAMP")} if smoke else made


def measure(name: str, model: nn.Module, items: int, flags: Any, results: common.Results) -> None:
    """Latency and throughput, as rows."""
    calls = {1: 30 if flags.smoke else 1000, 256: 3 if flags.smoke else 40}
    nobody = batches.queries(history=[[0]])
    variables = jax.jit(model.init)(jax.random.key(0), nobody, jnp.ones(1, jnp.int32))
    desk = Desk(model, {"params": variables["params"]}, flags.slots, 30, nobody, 20)
    draw = np.random.default_rng(0)
    said = f"observe + recommend 20, {flags.slots:,} open sessions, "
    for size, count in calls.items():
        began, times = time.monotonic(), []
        for _ in range(count + 20 if size == 1 else count + 2):
            slot = draw.choice(flags.slots, size, replace=False).astype(np.int32)
            times.append(desk.click(slot, draw.integers(1, items, size).astype(np.int32))[1])
        times, seconds = np.array(times[-count:]), time.monotonic() - began
        if size == 1:
            for quantile in (50, 99):
                value = float(np.percentile(times, quantile))
                results.add(
                    name,
                    f"{items - 1:,} items",
                    said + "1 at a time",
                    f"p{quantile} ms",
                    value,
                    seconds=seconds,
                )
        else:
            value = float(size / np.median(times) * 1e3)
            results.add(
                name, f"{items - 1:,} items", said + f"{size} at a time", "clicks/s", value, seconds=seconds
            )


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags)
    tfds.disable_progress_bar()
    small = (
        dict(shoppers=200, products=60, ratings_per_shopper=5, impressions=1000, sessions=400)
        if flags.smoke
        else {}
    )
    config = shop.ShopConfig(**small)
    made = shop_builder.load(config, data_dir=results.out / "shop")
    model, variables = trained(made, flags, results.out / "gru4rec")
    counter = Counter(Desk(model, variables, flags.slots, 10, Visit().query(), K), made.names)
    if flags.typed:
        return typed(counter)
    if flags.replay:
        log = files.read_table(flags.replay)
        missing = {"session", "item"} - set(log)
        if missing:
            raise SystemExit(
                f"{flags.replay} has no column {', '.join(sorted(missing))}; it has {', '.join(log)}"
            )
        replay(counter, zip(log["session"], log["item"], strict=True))
    else:
        asked = made.sessions.test["items"][:2]
        replay(counter, [(f"visit {n + 1}", i) for n, row in enumerate(asked) for i in row[row > 0][:4]])
    slow = (
        np.percentile(counter.milliseconds[1:], (50, 99)) if len(counter.milliseconds) > 1 else [np.nan] * 2
    )
    console.print(
        f"{len(counter.milliseconds)} lists: p50 {slow[0]:.2f} ms, p99 {slow[1]:.2f} ms but for the first"
    )
    if flags.replay:
        return None
    items = 2_001 if flags.smoke else 43_098
    for name, make in contestants(items, flags.smoke).items():
        said = f"observe + recommend 20, {flags.slots:,} open sessions, 256 at a time"
        if not results.values(name, f"{items - 1:,} items", said, "clicks/s"):
            with results.together():
                measure(name, make(), items, flags, results)
    results.finish()
    return None


if __name__ == "__main__":
    main()
