"""Answers of an engine to requests: lists, predictions, and what is unknown of a question."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rezoo.serving.service.asks import Ask
from rezoo.serving.service.engine import Engine
from rezoo.serving.service.requests import (
    Answer,
    Observe,
    Predict,
    Recommend,
    Similar,
    UnknownItemError,
    Wanted,
)
from rezoo.serving.service.translate import NO_PAST, Past, Translator
from rezoo.serving.service.variety import Found


def answer_sessions(
    engine: Engine, requests: Sequence[Any], pending: Mapping[int, Ask], answers: list[Any]
) -> None:
    """Answer some questions to open sessions as one batch."""
    ids, scores = engine.answer(list(pending.values()))
    for row, (n, ask) in enumerate(pending.items()):
        try:
            answers[n] = _listed(engine, requests[n], ask, NO_PAST, (ids[row], scores[row]))
        except Exception as error:
            answers[n] = error


def answer_alone(engine: Engine, one: Any, now: float) -> Answer:
    """An answer that no batch of sessions gives."""
    if isinstance(one, Recommend):
        return _recommended(engine, one)
    return _similar(engine, one) if isinstance(one, Similar) else _predicted(engine, one, now)


def _recommended(engine: Engine, one: Recommend) -> Answer:
    """A list for a user after a history; a visitor without a session may be a user."""
    ask = engine.of_user(one.visitor if one.user is None else one.user, one.features, one.wanted)
    past = engine.first.past(ask.who.user, one.history, one.ratings)
    if not one.wanted.seen:
        ask = engine.unseen(ask, past.items)
    return _listed(engine, one, ask, past, engine.ask(ask, past))


def _similar(engine: Engine, one: Similar) -> Answer:
    """The items like an item."""
    item = engine.first.item(one.item)
    if not item:
        raise UnknownItemError(f"the model does not know the item {one.item!r}")
    found = engine.cut(Ask(), NO_PAST, engine.similar(item), Wanted(one.k))
    return Answer(engine.version, engine.offer.listed(*found), {})


def _predicted(engine: Engine, one: Predict, now: float) -> Answer:
    """What the model says of given items; None where that is not a number."""
    slot = -1 if one.visitor is None else engine.find(one.visitor, now)
    stars = [star if math.isfinite(star) else None for star in engine.predict(one, slot).tolist()]
    items = [{"item": raw, "prediction": star} for raw, star in zip(one.items, stars, strict=True)]
    return Answer(engine.version, items, _unknown(engine.predictor.by, one, one.context))


def _listed(engine: Engine, one: Observe | Recommend, ask: Ask, past: Past, found: Found) -> Answer:
    """A list in raw ids, with what the models did not know of the question."""
    wanted = one.wanted
    ids, scores = engine.cut(ask, past, found, wanted)
    items = engine.offer.listed(ids, scores)
    unknown = _unknown(engine.first, one, wanted.context)
    if engine.ranker is not None and (lacks := _unknown(engine.ranker, one, wanted.context)):
        unknown["ranker"] = lacks
    if not wanted.reasons:
        return Answer(engine.version, items, unknown)
    for item, reasons in zip(items, engine.reasons(ask, past, ids), strict=True):
        item["because"] = [engine.offer.event(event) | {"weight": weight} for event, weight in reasons]
    return Answer(engine.version, items, unknown, reason=engine.reason)


def _unknown(by: Translator, one: Any, context: Any) -> dict[str, Any]:
    """What a model does not know of a question."""
    items: dict[str, Sequence[Any]] = {"history": getattr(one, "history", None) or ()}
    if isinstance(one, Observe):
        items, user = {"item": [one.event.item], "exclude": one.wanted.exclude}, one.event.user
    else:
        items |= {"items": one.items} if isinstance(one, Predict) else {"exclude": one.wanted.exclude}
        user = one.user
    found = {name: [raw for raw in raws if not by.item(raw)] for name, raws in items.items()}
    if isinstance(one, Observe) and not by.knows_type(one.event.type):
        found["type"] = [one.event.type]
    found["user"] = [] if user is None or by.knows_user(user) else [user]
    found["context"] = by.missing(context)
    return {name: raws for name, raws in found.items() if raws}
