"""One version of a model, or of two stages, compiled for batches of a few sizes, with the open sessions.

An engine is used by one thread at a time. Everything that it runs was compiled when it was made, so no
request waits for a compiler.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rezoo.data import batches
from rezoo.errors import DataError
from rezoo.serving import event_columns, live, two_stage
from rezoo.serving.bundle import Saved
from rezoo.serving.service.asks import DEFAULT, Ask, Settings, begins_with, columns
from rezoo.serving.service.catalogue import Catalogue
from rezoo.serving.service.event_log import Event
from rezoo.serving.service.offer import Offer
from rezoo.serving.service.predictor import Predictor
from rezoo.serving.service.programs import Programs, compiled, models
from rezoo.serving.service.reasons import Reasons, kind
from rezoo.serving.service.requests import Predict, Wanted
from rezoo.serving.service.translate import NO_PAST, NONE, Past, Translator, Who, newest
from rezoo.serving.service.variety import Found, varied
from rezoo.serving.slots import FullError, Slots
from rezoo.types import Query

REPLAYED = 1024
"""Sessions that are made again at once."""
NO_LIST = Wanted(0)
NOBODY = Who(), NO_PAST, NONE


class Whose(NamedTuple):
    """Whose session it is."""

    raw: Any = None
    """The user, as an event said; None if none did."""
    who: Who = Who()
    ranked: Who | None = None
    """The same, as the ranker knows them."""

    def same(self, other: "Whose") -> bool:
        """Whether the models know no difference."""
        pairs = [(self.who, other.who)]
        if self.ranked is not None and other.ranked is not None:
            pairs.append((self.ranked, other.ranked))
        return all(
            one.user == two.user
            and all(np.array_equal(column, two.features[name]) for name, column in one.features.items())
            for one, two in pairs
        )


class Engine:
    """A saved model that answers.

    Args:
      saved: the model; with a ranker, the one that chooses its candidates.
      version: what answers call it.
      settings: what is compiled.
      ranker: another model, of any kind, that puts the candidates in order.
      table: the shop's table of items.

    Raises:
      DataError: if the table or the ranker has no item of the model, the model reads columns of events that
        the service is not told, or the ranker others than the model.
    """

    def __init__(
        self,
        saved: Saved,
        version: str,
        settings: Settings = DEFAULT,
        *,
        ranker: Saved | None = None,
        table: Catalogue | None = None,
    ):
        self.settings, self.now = settings, 0.0
        self.slots = Slots(settings.slots, idle=settings.idle, clock=lambda: self.now)
        self.first, self.ranker = Translator(saved), None if ranker is None else Translator(ranker)
        served = live.serve(saved.model, saved.variables)
        if ranker is not None and self.ranker is not None:
            event_columns.check_shared(saved, ranker)
            if self.ranker.rates_history and not self.first.rates_history:
                raise DataError(
                    f"{type(ranker.model).__name__} weighs each event by its rating, which sessions of "
                    f"{type(saved.model).__name__} have not: let another model order"
                )
            if ranker.history is not None and saved.history is None:
                raise DataError(
                    f"{type(ranker.model).__name__} orders those of {type(saved.model).__name__}, and has "
                    "the histories of users, which that has not: save both with them, Saved(…, history=…)"
                )
        self.rows = live.num_items(saved.model, served)
        """Items that are ranked, 0 included."""
        self.offer = Offer(saved, self.rows, table, version)
        self._own = np.arange(self.rows, dtype=np.int32) if ranker is None else _own(saved, ranker, self.rows)
        stage = None
        if ranker is not None:
            stage = two_stage.renumbered(ranker.model, ranker.variables, jnp.asarray(self._own))
        self._models = models(served, stage and stage.variables)
        k = min(settings.k, self.rows)
        candidates = min(max(k, settings.candidates), self.rows)
        self._programs = Programs(saved.model, stage and stage.model, k, candidates)
        self._whose: dict[int, Whose] = {}  # the session of each slot
        self._nobody = self.of_slot(-1, NO_LIST)._replace(who=self.first.nobody, event=self.first.no_event)
        like = self._past([0], NO_PAST, self._nobody)
        self.sessions = live.start(saved.model, served, settings.slots, length=settings.length, like=like)
        self.predictor = Predictor(self.ranker or self.first, settings.items, settings.length)
        """Of the ranker, if there is one."""
        self._keeps_state = self.sessions.carry is not None and self.ranker is None
        self._compile(filtered=table is not None or saved.history is not None)

    @property
    def saved(self) -> Saved:
        """The model; with a ranker, the one that chooses its candidates."""
        return self.first.saved

    @property
    def version(self) -> str:
        """What answers call it."""
        return self.offer.version

    @property
    def told(self) -> dict[str, int]:
        """How many items may be listed, and how many only some of the models and the table know."""
        if self.ranker is None:
            return self.offer.told
        return self.offer.told | {"unknown_to_ranker": int((self._own[1:] == 0).sum())}

    @property
    def reason(self) -> str | None:
        """How reasons are found."""
        return self._reasons.kind

    def check(self, event: Event, wanted: Wanted) -> None:
        """That an event can be answered.

        Raises:
          DataError: if not, as `open`.
        """
        if wanted.filters or wanted.at_most or wanted.context:
            self._asked(wanted, None)
        self.first.event(event.type, event.time)
        if event.features:
            self._who(event.visitor if event.user is None else event.user, event.features)

    def open(self, event: Event, wanted: Wanted = NO_LIST) -> Ask:
        """What an event asks: its visitor's session, which begins where none is open.

        A visitor of whom nothing was known may say later who they are (`user`, or a stranger's `features`):
        their session goes on as that user's. Where another user speaks, another session begins.

        Raises:
          rezoo.serving.slots.FullError: if no session can be opened.
          DataError: if the event's features, or what is wanted, do not fit.
        """
        self.now = max(self.now, event.received)
        found = self.slots.find(event.visitor)
        before = Whose() if found is None else self._whose[found]
        raw = before.raw if event.user is None else event.user
        now = Whose(raw, *self._who(event.visitor if raw is None else raw, event.features))
        slot, fresh = self.slots.open(event.visitor)
        signed_in = False
        if not fresh and raw != before.raw:
            fresh = before.raw is not None or (before.who.user > 0 and not now.same(before))
        if not fresh and (raw != before.raw or event.features):
            signed_in = not now.same(before)
        if fresh or signed_in or raw != before.raw:
            self._whose[slot] = now
        item, told = self.first.item(event.item), self.first.event(event.type, event.time)
        ask = Ask(slot, context=self.first.no_context)
        if wanted.k or wanted.context:
            ask = self.of_slot(slot, wanted)
        return ask._replace(fresh=fresh, signed_in=signed_in, who=now.who, item=item, event=told)

    def find(self, visitor: str, now: float) -> int:
        """The slot of a visitor's open session, -1 if there is none; does not keep it open longer."""
        self.now = max(self.now, now)
        slot = self.slots.find(visitor)
        return -1 if slot is None else slot

    def of_slot(self, slot: int, wanted: Wanted) -> Ask:
        """What a question asks of an open session; of an empty one of nobody, if the slot is -1."""
        whose = self._whose.get(slot, Whose())
        ask = self._asked(wanted, whose.ranked)._replace(slot=slot)
        past = self.saved.history
        if wanted.seen or past is None:
            return ask
        return self.unseen(ask, past[whose.who.user])

    def unseen(self, ask: Ask, items: Any) -> Ask:
        """The question for a list without these items, dense ids, however many they are."""
        allowed = np.array(self.offer.base if ask.allowed is None else ask.allowed)
        allowed[np.asarray(items, np.int64)] = False
        return ask._replace(allowed=allowed)

    def of_user(self, raw: Any, features: Mapping[str, Any] | None, wanted: Wanted) -> Ask:
        """What a question asks without a session."""
        who, ranked = self._who(raw, features)
        return self._asked(wanted, ranked)._replace(who=who)

    def _who(self, raw: Any, features: Mapping[str, Any] | None) -> tuple[Who, Who | None]:
        """A user, as the model and the ranker know them."""
        return self.first.who(raw, features), None if self.ranker is None else self.ranker.who(raw, features)

    def _asked(self, wanted: Wanted, ranked: Who | None) -> Ask:
        """The part of a question that says what list is wanted."""
        for column in wanted.at_most:
            self.offer.table.column(column)
        if self.ranker is not None:
            ranked = ranked or self.ranker.nobody
            ranked = Who(ranked.user, {**ranked.features, **self.ranker.context(wanted.context)})
        return Ask(
            exclude=[self.first.item(raw) for raw in wanted.exclude],
            seen=wanted.seen,
            context=self.first.context(wanted.context),
            allowed=self.offer.allowed(wanted.filters) if wanted.filters else None,
            ranked=ranked,
        )

    def answer(self, asks: Sequence[Ask]) -> tuple[np.ndarray, np.ndarray]:
        """Observe what is done, and the best items of each question: ids and scores, `[B k]`.

        No two of the questions may be of one session.
        """
        size = next(size for size in self.settings.sizes if size >= len(asks))
        asks = [*asks, *[Ask()] * (size - len(asks))]
        batch, allowed = self._batch(asks), self._allowed(asks)
        self._begin_known(asks, batch)
        step = self._step[size, len(allowed)]
        self.sessions, (ids, scores) = step(self._models, self.sessions, batch, allowed)
        return np.asarray(ids), np.asarray(scores)

    def ask(self, ask: Ask, past: Past = NO_PAST) -> Found:
        """The best items for one user after a history, without a session: ids and scores, `[k]`."""
        query = self.first.query(ask.who, past, ask.context, self._width)
        ids, scores = self._ask(self._models, query, self._batch([ask]), self._allowed([ask]))
        return np.asarray(ids)[0], np.asarray(scores)[0]

    def cut(self, ask: Ask, past: Past, found: Found, wanted: Wanted) -> Found:
        """The first k of a list, of which `wanted.at_most` have one value of a column."""
        if not wanted.at_most:
            real = found[0][: wanted.k] > 0
            return found[0][: wanted.k][real], found[1][: wanted.k][real]

        def again(blocked: np.ndarray) -> Found:
            allowed = self.offer.base if ask.allowed is None else ask.allowed
            more = ask._replace(fresh=False, item=0, allowed=allowed & ~blocked)
            if ask.slot < 0:
                return self.ask(more, past)
            ids, scores = self.answer([more])
            return ids[0], scores[0]

        return varied(found, again, self.offer, wanted.k, wanted.at_most)

    def reasons(self, ask: Ask, past: Past, ids: np.ndarray) -> list[list[tuple[int, float]]]:
        """For each item of a list the items of the events for which it is there, with their weights."""
        who = ask.who
        if ask.slot >= 0:
            who, past = self._session(ask.slot)
        query = self.first.query(who, past, ask.context, self.settings.length)
        return self._reasons.of(query, ids)

    def similar(self, item: int) -> Found:
        """The items whose vectors have the highest cosine with an item's: ids and cosines, `[k]`.

        Raises:
          DataError: if the model has no item vectors.
        """
        if self._similar is None:
            raise DataError(f"{type(self.saved.model).__name__} has no item vectors, so no items are similar")
        ids, scores = self._similar(self._models, np.array([item], np.int32), self.offer.base[None])
        return np.asarray(ids)[0], np.asarray(scores)[0]

    def predict(self, one: Predict, slot: int) -> np.ndarray:
        """What `rezoo.serving.answers.predict` gives, for a user or an open session: float32 `[n]`.

        With two stages it is the ranker that predicts.

        Raises:
          DataError: if features, context or ratings do not fit.
        """
        by = self.predictor.by
        context = by.context(one.context)
        if slot >= 0 and self._keeps_state:
            return self.predictor.of_session(self._models, self.sessions, slot, one.items)
        if slot < 0:
            who = by.who(one.visitor if one.user is None else one.user, one.features)
            past = by.past(who.user, one.history, one.ratings)
        else:
            who, past = self._session(slot)
            if self.ranker is not None:
                who = self._whose.get(slot, Whose()).ranked or self.ranker.nobody
                own = self._own[np.array(past.items, int)]
                told = {name: past.columns[name][own > 0] for name in self.ranker.no_event}
                past = Past(own[own > 0].tolist(), columns=told)
        return self.predictor.of(who, past, context, one.items)

    def replay(self, events: Iterable[Event]) -> int:
        """Observe events of a log, many sessions at once; the number of sessions that are open after it."""
        began: dict[int, Ask] = {}
        done: dict[int, list[Ask]] = {}
        for event in events:
            try:
                ask = self._reopen(event)
            except FullError:
                continue  # as it was when the event came
            if ask.fresh:
                began[ask.slot], done[ask.slot] = ask, []
            elif ask.signed_in:
                fresh = ask.slot in began and began[ask.slot].fresh
                began[ask.slot] = ask._replace(fresh=fresh, signed_in=not fresh)
            done.setdefault(ask.slot, []).append(ask)
        slots = list(done)
        for at in range(0, len(slots), REPLAYED):
            some = slots[at : at + REPLAYED]
            self._again([began.get(slot, Ask(slot)) for slot in some], [done[slot] for slot in some])
        return len(self.slots)

    def _reopen(self, event: Event) -> Ask:
        """As `open`, without features and context that do not fit: the model may have been another."""
        if not self._fits(event._replace(features=None), NO_LIST):
            event = event._replace(time=0.0)
        bare, wanted = event._replace(features=None), Wanted(0, context=event.context or {})
        if not self._fits(event, NO_LIST):
            event = bare
        return self.open(event, wanted if self._fits(bare, wanted) else NO_LIST)

    def _fits(self, event: Event, wanted: Wanted) -> bool:
        """Whether `check` accepts it."""
        try:
            self.check(event, wanted)
        except DataError:
            return False
        return True

    def _again(self, asks: list[Ask], done: list[list[Ask]]) -> None:
        """Begin some sessions, and observe the n-th event of each that has one, for n = 1, 2, 3 …"""
        size = REPLAYED
        asks = [*asks, *[Ask()] * (size - len(asks))]
        batch = self._batch(asks)
        self._begin_known(asks, batch)
        self.sessions = self._reset(self._models, self.sessions, batch)
        for n in range(max(map(len, done), default=0)):
            nth = [row[n] if n < len(row) else Ask() for row in done]
            batch = self._batch([*nth, *[Ask()] * (size - len(nth))])
            self.sessions = self._observe(self._models, self.sessions, batch)

    def _begin_known(self, asks: Sequence[Ask], batch: dict[str, Any]) -> None:
        """Sessions of users with a past begin after it, where the model reads it; they are not fresh then.

        Those of visitors who signed in begin again, with what they did before they did.
        """
        reads = self.first.reads_history and self.saved.history is not None
        for n, ask in enumerate(asks):
            if not (ask.signed_in or (reads and ask.fresh and ask.who.user)):
                continue
            past = self.first.past(ask.who.user) if reads else NO_PAST
            if ask.signed_in:
                past = past.and_then(self._session(ask.slot)[1])
            slot = np.array([ask.slot], np.int32)
            query = self._past([ask.who.user], past, ask)
            self.sessions = self._begin(self._models, self.sessions, slot, query)
            batch["fresh"][n] = False

    def _past(self, user: Sequence[int], past: Past, ask: Ask) -> Query:
        """A user with a past, as a session that begins with a question."""
        length = self.settings.length
        features = {**begins_with(ask), **self.first.events(past, length)}
        return batches.queries(user, newest(past.items, length), features)

    def _session(self, slot: int) -> tuple[Who, Past]:
        """Whose session this is, and its newest events."""
        query = self._read(self.sessions, np.array([slot], np.int32))
        history = np.asarray(query.history)[0]
        features = {name: np.asarray(one) for name, one in query.features.items()}
        told = {name: features.pop(name)[0][history > 0] for name in self.first.no_event}
        past = Past(history[history > 0].tolist(), columns=told)
        return Who(int(np.asarray(query.user)[0]), features), past

    def _batch(self, asks: Sequence[Ask]) -> dict[str, Any]:
        return columns(asks, self._nobody, self.settings.exclude)

    def _allowed(self, asks: Sequence[Ask]) -> np.ndarray:
        """Which items each question may list: a row for all, or one for each."""
        if all(ask.allowed is None for ask in asks):
            return self.offer.base[None]
        return np.stack([self.offer.base if ask.allowed is None else ask.allowed for ask in asks])

    def _compile(self, *, filtered: bool) -> None:
        """Compile everything, for every size of a batch."""
        settings, programs, own = self.settings, self._programs, (self._models, self.sessions)
        empty = {size: self._batch([Ask()] * size) for size in (*settings.sizes, REPLAYED)}
        base, one = self.offer.base[None], np.zeros(1, np.int32)
        self._step = {
            (size, rows): compiled(
                programs.step, *own, empty[size], np.repeat(base, rows, axis=0), donate=(1,)
            )
            for size in settings.sizes
            for rows in {1, size if filtered else 1}
        }
        self._reset = compiled(programs.reset, *own, empty[REPLAYED], donate=(1,))
        self._observe = compiled(programs.observe, *own, empty[REPLAYED], donate=(1,))
        nobody = self._past([0], NO_PAST, self._nobody)
        self._begin = compiled(programs.begin, *own, one, nobody, donate=(1,))
        self._read = compiled(live.asked, self.sessions, one)
        self._similar = None
        if self._models.first.table is not None:
            self._similar = compiled(programs.similar, self._models, one, base)

        if self._keeps_state:
            self.predictor.compile_sessions(programs, *own)
        self._width = self.first.width(settings.length)
        query, batch = self.first.query(*NOBODY, self._width), self._batch([Ask()])
        self._ask = compiled(programs.ask, self._models, query, batch, base)
        query = self.first.query(*NOBODY, settings.length)
        self._reasons = Reasons(programs, self._models, kind(self.saved), query, self.rows)


def _own(saved: Saved, ranker: Saved, rows: int) -> np.ndarray:
    """The ranker's id of each of the model's items, 0 for those that it does not know."""
    own = np.zeros(rows, np.int32)
    known = ranker.items.encode(saved.items.raw)[: rows - 1]
    own[1 : 1 + len(known)] = known
    if not known.any():
        raise DataError("the ranker knows none of the model's items: give two models of the same shop")
    return own
