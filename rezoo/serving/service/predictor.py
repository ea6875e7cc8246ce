"""What a model says of given items, on its own scale, compiled for a few numbers of items."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rezoo import evaluation
from rezoo.serving.service.programs import Models, Programs, compiled
from rezoo.serving.service.translate import NO_PAST, NONE, Past, Translator, Who
from rezoo.serving.session_buffer import Sessions
from rezoo.types import Query


class Predictor:
    """Predicts as `rezoo.serving.answers.predict`.

    Args:
      by: whose predictions they are.
      sizes: how many items; a question is filled up to the next of them.
      length: events of a history at least.
    """

    def __init__(self, by: Translator, sizes: Sequence[int], length: int):
        self.by, self._width = by, by.width(length)
        saved, query = by.saved, by.query(Who(), NO_PAST, NONE, self._width)

        def predict(variables: Any, query: Query, item: jax.Array) -> jax.Array:
            return saved.link(evaluation.apply(saved.model, variables, query, item))

        self._slates = [np.zeros((1, size), np.int32) for size in sizes]
        self._predict = {
            slate.shape: compiled(predict, saved.variables, query, slate) for slate in self._slates
        }

    def of(self, who: Who, past: Past, context: Any, raw: Sequence[Any]) -> np.ndarray:
        """For a user after a history: float32 `[n]`."""
        slate = self.slate(raw)
        query = self.by.query(who, past, context, self._width)
        return self._scaled(self._predict[slate.shape](self.by.saved.variables, query, slate), raw)

    def compile_sessions(self, programs: Programs, models: Models, sessions: Sessions) -> None:
        """Compile predictions from the state that a model keeps of a session."""

        def predict(*arguments: Any) -> jax.Array:
            return self.by.saved.link(programs.of_session(*arguments))

        one = np.zeros(1, np.int32)
        self._of_session = {
            slate.shape: compiled(predict, models, sessions, one, slate) for slate in self._slates
        }

    def of_session(self, models: Models, sessions: Sessions, slot: int, raw: Sequence[Any]) -> np.ndarray:
        """For an open session: float32 `[n]`."""
        slate = self.slate(raw)
        score = self._of_session[slate.shape](models, sessions, np.array([slot], np.int32), slate)
        return self._scaled(score, raw)

    def slate(self, raw: Sequence[Any]) -> np.ndarray:
        """The items of a question in dense ids, filled up with 0."""
        slate = next(slate for slate in self._slates if slate.shape[1] >= len(raw)).copy()
        slate[0, : len(raw)] = [self.by.item(one) for one in raw]
        return slate

    def _scaled(self, score: Any, raw: Sequence[Any]) -> np.ndarray:
        """Scores on the scale of the ratings."""
        saved = self.by.saved
        stars = saved.scale.invert(np.asarray(score)[0, : len(raw)])
        return stars if saved.clip is None else np.clip(stars, *saved.clip).astype(np.float32)
