"""One version of a model, compiled for batches of a few sizes, with the sessions that are open.

An engine is used by one thread at a time. Everything that it runs was compiled when it was made, so no
request waits for a compiler.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rezoo import evaluation
from rezoo.arrays import best_places
from rezoo.data import batches
from rezoo.errors import DataError
from rezoo.serving import live
from rezoo.serving.bundle import Saved
from rezoo.serving.reads import reads_history
from rezoo.serving.service.event_log import Event
from rezoo.serving.session_buffer import Sessions, queries
from rezoo.serving.slots import FullError, Slots
from rezoo.types import Query

REPLAYED = 1024
"""Sessions that are made again at once."""


class Settings(NamedTuple):
    """What is fixed when an engine is compiled."""

    sizes: tuple[int, ...] = (1, 8, 64)
    """Rows of a batch; a batch is filled up to the next of them."""
    slots: int = 10_000
    """Sessions that can be open at once."""
    length: int = 50
    """Newest events of a session, or of a history that comes with a question."""
    k: int = 100
    """The longest list."""
    exclude: int = 100
    """Items that a question may leave out."""
    idle: float = 1800.0
    """Seconds after which a session is over."""


DEFAULT = Settings()


class Ask(NamedTuple):
    """One question, in dense ids."""

    slot: int = -1
    """Of an open session; -1 for none."""
    fresh: bool = False
    """Whether that session begins here."""
    user: int = 0
    features: Mapping[str, np.ndarray] = {}
    """Of the user, a row of each column."""
    item: int = 0
    """What the session's visitor does now; 0 = nothing, or what the model does not know."""
    exclude: Sequence[int] = ()
    seen: bool = True
    """Whether what was seen in the session may be in the list."""


class Engine:
    """A saved model that answers.

    Args:
      saved: the model.
      version: what answers call it.
      settings: what is compiled.

    Raises:
      DataError: if the model reads features of the context, which a session does not have.
    """

    def __init__(self, saved: Saved, version: str, settings: Settings = DEFAULT):
        if saved.context_features.fitted:
            raise DataError(
                f"{type(saved.model).__name__} reads features of each question "
                f"({', '.join(saved.context_features.fitted)}), which sessions do not have"
            )
        self.saved, self.version, self.settings = saved, version, settings
        self.now = 0.0
        self.slots = Slots(settings.slots, idle=settings.idle, clock=lambda: self.now)
        self.reads_history = reads_history(saved)
        self._find_user, self._find_item = saved.users.finder(), saved.items.finder()
        self._nobody = {name: np.asarray(column)[:1] for name, column in saved.user_columns.items()}
        self._served = live.serve(saved.model, saved.variables)
        self._k = min(settings.k, saved.items.size)
        like = batches.queries([0], features=self._nobody)
        self.sessions = live.start(
            saved.model, self._served, settings.slots, length=settings.length, like=like
        )
        self._compile()

    def user(self, raw: Any, features: Mapping[str, Any] | None) -> tuple[int, dict[str, np.ndarray]]:
        """The dense id of a user and their features: those that training knew, else those that are given.

        Raises:
          DataError: if a feature is missing or of another type than in training.
        """
        dense = self._find_user(raw)
        if dense or not features or not self.saved.user_features.fitted:
            return dense, {
                name: column[dense : dense + 1] for name, column in self.saved.user_columns.items()
            }
        return dense, self.saved.user_features.transform({name: [one] for name, one in features.items()})

    def item(self, raw: Any) -> int:
        """The dense id of an item, 0 if the model does not know it."""
        return self._find_item(raw)

    def open(self, event: Event) -> Ask:
        """What an event asks: its visitor's session, which begins where none is open.

        Raises:
          rezoo.serving.slots.FullError: if no session can be opened.
          DataError: as `user`.
        """
        self.now = max(self.now, event.received)
        user, features = self.user(event.visitor if event.user is None else event.user, event.features)
        slot, fresh = self.slots.open(event.visitor)
        return Ask(slot, fresh, user, features, self.item(event.item))

    def find(self, visitor: str, now: float) -> int:
        """The slot of a visitor's open session, -1 if there is none; does not keep it open longer."""
        self.now = max(self.now, now)
        slot = self.slots.find(visitor)
        return -1 if slot is None else slot

    def answer(self, asks: Sequence[Ask]) -> tuple[np.ndarray, np.ndarray]:
        """Observe what is done, and the best items of each question: ids and scores, `[B k]`.

        No two of the questions may be of one session.
        """
        size = next(size for size in self.settings.sizes if size >= len(asks))
        asks = [*asks, *[Ask()] * (size - len(asks))]
        batch = self._batch(asks)
        self._begin_known(asks, batch)
        self.sessions, ids, scores = self._step[size](self._served, self.sessions, batch)
        return np.asarray(ids), np.asarray(scores)

    def ask(
        self, user: int, features: Mapping[str, np.ndarray], history: Sequence[int], exclude: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best items for one user after a history, without a session: ids and scores, `[k]`."""
        query = batches.queries([user], self._history(history), features)
        ids, scores = self._ask(self._served, query, self._excluded([exclude]))
        return np.asarray(ids)[0], np.asarray(scores)[0]

    def similar(self, item: int) -> tuple[np.ndarray, np.ndarray]:
        """The items whose vectors have the highest cosine with an item's: ids and cosines, `[k]`.

        Raises:
          DataError: if the model has no item vectors.
        """
        if self._served.table is None:
            raise DataError(f"{type(self.saved.model).__name__} has no item vectors, so no items are similar")
        ids, scores = self._similar(np.int32(item))
        return np.asarray(ids), np.asarray(scores)

    def replay(self, events: Iterable[Event]) -> int:
        """Observe events of a log, many sessions at once; the number of sessions that are open after it."""
        began: dict[int, Ask] = {}
        items: dict[int, list[int]] = {}
        for event in events:
            try:
                ask = self._reopen(event)
            except FullError:
                continue  # as it was when the event came
            if ask.fresh:
                began[ask.slot], items[ask.slot] = ask, []
            items.setdefault(ask.slot, []).append(ask.item)
        slots = list(items)
        for at in range(0, len(slots), REPLAYED):
            some = slots[at : at + REPLAYED]
            self._again([began.get(slot, Ask(slot)) for slot in some], [items[slot] for slot in some])
        return len(self.slots)

    def _reopen(self, event: Event) -> Ask:
        """As `open`; the model that knew the features may have been another."""
        try:
            return self.open(event)
        except DataError:
            return self.open(event._replace(features=None))

    def _again(self, asks: list[Ask], items: list[list[int]]) -> None:
        """Begin some sessions, and observe the n-th item of each that has one, for n = 1, 2, 3 …"""
        size = REPLAYED
        asks = [*asks, *[Ask()] * (size - len(asks))]
        batch = self._batch(asks)
        self._begin_known(asks, batch)
        self.sessions = self._reset(self._served, self.sessions, batch)
        slot = batch["slot"]
        for n in range(max(map(len, items), default=0)):
            item = np.zeros(size, np.int32)
            item[: len(items)] = [row[n] if n < len(row) else 0 for row in items]
            self.sessions = self._observe(self._served, self.sessions, slot, item)

    def _begin_known(self, asks: Sequence[Ask], batch: dict[str, Any]) -> None:
        """Sessions of users with a past begin after it, where the model reads it; they are not fresh then."""
        if not self.reads_history or self.saved.history is None:
            return
        for n, ask in enumerate(asks):
            if ask.fresh and ask.user:
                past = self.saved.history[ask.user]
                row = self._history(past[past > 0])
                query = batches.queries([ask.user], row, ask.features)
                slot = np.array([ask.slot], np.int32)
                self.sessions = self._begin(self._served, self.sessions, slot, query)
                batch["fresh"][n] = False

    def _batch(self, asks: Sequence[Ask]) -> dict[str, Any]:
        """Columns of the questions."""
        return {
            "slot": np.array([ask.slot for ask in asks], np.int32),
            "fresh": np.array([ask.fresh for ask in asks], bool),
            "user": np.array([ask.user for ask in asks], np.int32),
            "item": np.array([ask.item for ask in asks], np.int32),
            "seen": np.array([ask.seen for ask in asks], bool),
            "exclude": self._excluded([ask.exclude for ask in asks]),
            "features": {
                name: np.concatenate([ask.features.get(name, nobody) for ask in asks])
                for name, nobody in self._nobody.items()
            },
        }

    def _history(self, items: Sequence[int] | np.ndarray) -> np.ndarray:
        """The newest of these items, oldest first: `[1 length]`."""
        row = np.zeros((1, self.settings.length), np.int32)
        newest = items[-self.settings.length :]
        row[0, : len(newest)] = newest
        return row

    def _excluded(self, lists: Sequence[Sequence[int]]) -> np.ndarray:
        rows = np.zeros((len(lists), self.settings.exclude), np.int32)
        for row, one in zip(rows, lists, strict=True):
            row[: len(one)] = one
        return rows

    def _compile(self) -> None:
        """Compile everything, for every size of a batch."""
        model, k = self.saved.model, self._k

        def reset(served: live.Served, sessions: Sessions, batch: dict[str, Any]) -> Sessions:
            slot = jnp.where(batch["fresh"], batch["slot"], -1)
            query = Query(batch["user"], jnp.zeros((len(slot), 0), jnp.int32), batch["features"])
            return live.begin(model, served, sessions, slot, query)

        def step(served: live.Served, sessions: Sessions, batch: dict[str, Any]) -> Any:
            slot = batch["slot"]
            sessions = reset(served, sessions, batch)
            sessions = live.observe(model, served, sessions, slot, batch["item"])
            seen = jnp.where(batch["seen"][:, None], 0, queries(sessions, slot).history)
            exclude = jnp.concatenate([batch["exclude"], seen], axis=1)
            return sessions, *live.recommend(model, served, sessions, slot, k, exclude)

        def ask(served: live.Served, query: Query, exclude: Any) -> Any:
            return evaluation.recommend(
                model, served.variables, query, k, exclude=exclude, num_items=self.saved.items.size
            )

        def similar(table: Any, norm: Any, item: Any) -> Any:
            cosine = (table[:, item][None] @ table)[0] / (norm[item] * norm)
            cosine = cosine.at[jnp.array([0, item])].set(-jnp.inf)
            return jax.tree.map(lambda x: x[0], best_places(cosine[None], k))

        def compiled(function: Any, *arguments: Any, donate: tuple[int, ...] = ()) -> Any:
            return jax.jit(function, donate_argnums=donate).lower(*arguments).compile()

        own = self._served, self.sessions
        empty = {size: self._batch([Ask()] * size) for size in (*self.settings.sizes, REPLAYED)}
        one, row = np.zeros(1, np.int32), np.zeros((1, self.settings.length), np.int32)
        self._step = {size: compiled(step, *own, empty[size], donate=(1,)) for size in self.settings.sizes}
        self._reset = compiled(reset, *own, empty[REPLAYED], donate=(1,))
        slots = empty[REPLAYED]["slot"]
        self._observe = compiled(partial(live.observe, model), *own, slots, slots, donate=(1,))

        nobody = batches.queries(one, row, self._nobody)
        self._begin = compiled(partial(live.begin, model), *own, one, nobody, donate=(1,))
        self._ask = compiled(ask, self._served, nobody, self._excluded([()]))
        if (table := self._served.table) is not None:
            norm = jnp.maximum(jnp.linalg.norm(table, axis=0), 1e-12)
            self._similar = partial(compiled(similar, table, norm, np.int32(0)), table, norm)
