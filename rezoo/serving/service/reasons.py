"""Why an item is in a list: which events of the session it is there for.

How that is found depends on the model, and every answer says which it was:

- `attention`: the weight that the model's own attention gives each event for the item (DIN).
- `left out`: what the item's score loses when the event is left out of the session, above what the scores of
  other items lose (`rezoo.evaluation.explain.leave_one_out`); for all other models that read a history.
- `similar`: the cosine of the item's vector with that of the event's item. The model reads who asks, not what
  they do now: the item is like what was seen, but it was not chosen for that.
- `popular`: the model gives everybody the same list, and no event is a reason.
- None: the model cannot say.

Only events that speak for an item are its reasons, the strongest first. Weights of one kind can be compared
within one answer. Of a longer session the newest events are looked at, as many as `Settings.length`. With two
stages the reasons are the first stage's: they say why an item is a candidate.
"""

from collections import Counter

import numpy as np

from rezoo.evaluation import is_retriever
from rezoo.serving.bundle import Saved
from rezoo.serving.reads import reads_history, reads_user
from rezoo.serving.service.programs import Models, Programs, compiled
from rezoo.types import Query

MOST = 3
"""Reasons of an item."""
BESIDE = 64
"""Other items, with whose scores an item's is compared."""


def kind(saved: Saved) -> str | None:
    """How a model's reasons are found.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": np.array([0, 3, 1], np.float32)}}
    >>> kind(Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"]))))
    'popular'
    """
    if hasattr(saved.model, "attention"):
        return "attention"
    if reads_history(saved):
        return "left out"
    if not reads_user(saved) and not saved.user_columns and not saved.context_features.fitted:
        return "popular"
    return "similar" if is_retriever(saved.model) else None


class Reasons:
    """Finds reasons, by a function that is compiled when this is made.

    Args:
      programs: of the engine.
      models: what they are asked with.
      kind: by `kind`.
      query: of one row and of the length that questions have.
      num_items: rows of the catalogue.
    """

    def __init__(self, programs: Programs, models: Models, kind: str | None, query: Query, num_items: int):
        self.kind, self._models = kind, models
        functions = {
            "attention": programs.attention,
            "left out": programs.left_out,
            "similar": programs.likeness,
        }
        self._weigh = None
        if kind in functions:
            self._beside = np.linspace(1, num_items - 1, min(BESIDE, num_items - 1)).astype(np.int32)
            items = np.zeros((1, programs.k), np.int32)
            self._weigh = compiled(functions[kind], models, query, items, self._beside)
            self._items = items

    def of(self, query: Query, ids: np.ndarray) -> list[list[tuple[int, float]]]:
        """For each of some items the items of the events that speak for it, with their weights."""
        if self._weigh is None:
            return [[] for _ in ids]
        items = self._items.copy()
        items[0, : len(ids)] = ids
        weight = np.asarray(self._weigh(self._models, query, items, self._beside))[0]
        history = np.asarray(query.history)[0].tolist()
        return [_strongest(history, weight[n].tolist()) for n in range(len(ids))]


def _strongest(history: list[int], weight: list[float]) -> list[tuple[int, float]]:
    """The items of the events with the largest weights above 0, those of one item added up."""
    total: Counter[int] = Counter()
    for item, one in zip(history, weight, strict=True):
        if item:
            total[item] += one  # pyright: ignore[reportArgumentType]
    return [(item, one) for item, one in total.most_common(MOST) if one > 0]
