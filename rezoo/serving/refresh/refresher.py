"""One refresh: learn the fresh events, measure on the newest of them, accept or refuse."""

from time import monotonic
from typing import Any, NamedTuple

import jax
import numpy as np

from rezoo.data.interactions import Interactions
from rezoo.errors import DataError
from rezoo.serving.bundle import Saved
from rezoo.serving.checks import check
from rezoo.serving.refresh.events import in_ids_of, with_columns, with_past
from rezoo.serving.refresh.grow import with_histories, with_ids
from rezoo.serving.refresh.learn import Settings, check_settings, learner
from rezoo.serving.refresh.measure import Measured, measure
from rezoo.training.loop import Diverged

DEFAULT = Settings()


class Outcome(NamedTuple):
    """What became of a refresh; `print` shows it."""

    saved: Saved | None
    """The refreshed model, which has learnt all fresh events, the held-out ones too; None if refused."""
    reasons: tuple[str, ...]
    """Why it is refused."""
    measured: Measured | None
    """Before it learnt the held-out events; None if there was nothing to measure."""
    events: int
    """Fresh events."""
    left_out: int
    """Of them, those whose item the model cannot learn: too rare, or of another kind."""
    users: int
    """New users."""
    items: int
    """New items."""
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"{self.events:,} fresh events, {self.left_out:,} of them of unknown items; {self.items:,} new "
            f"items, {self.users:,} new users; {self.seconds:.1f} s"
        ]
        lines += [] if self.measured is None else [str(self.measured)]
        if self.saved is None:
            return "\n".join([*lines, *(f"refused: {reason}" for reason in self.reasons)])
        return "\n".join([*lines, "accepted; the held-out events were then learnt, too"])

    def notes(self) -> dict[str, Any]:
        """The figures, for a file."""
        measured = {} if self.measured is None else self.measured._asdict()
        return self._asdict() | {"saved": None, "reasons": list(self.reasons), "measured": measured}


def refresh(
    saved: Saved, log: Interactions, fresh: np.ndarray, key: jax.Array, settings: Settings = DEFAULT
) -> Outcome:
    """A saved model that has learnt fresh events, too, unless it became worse by that.

    The model's ids and tables are made longer for new users and items, it learns the fresh events but the
    newest of them, from where it was, and is then asked for these, beside the old model, in the whole
    catalogue. If it is not behind, it learns them, too.

    Args:
      saved: popularity, co-occurrence, `TopFreq`, iALS, MF or a session model.
      log: what happened, of all time or at least what is fresh. Events of a session follow each other, or, if
        the log names no sessions, all of a user. iALS needs the past. Without it session models of customers
        take it from their histories, and others learn from fresh events alone. Columns of events that the
        model reads are among its further columns, raw; its times are those of a column that is not there
        (`events.with_columns`). Their values that the model does not know, such as a new type, stay unknown.
      fresh: which rows of the log the model has not learnt, an index or a mask.
      key: of all randomness.
      settings: how it learns, and when it is refused.

    Raises:
      ValueError: if a setting is a number that cannot be meant.
      DataError: if this kind of model cannot be refreshed, or the log lacks what it needs, such as a column
        of events, which the error names.

    >>> from rezoo import recipes
    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["ann", "bob"] * 100, "item": ["tea"] * 100 + ["cup"] * 100})
    >>> old = recipes.popularity(log.take(np.arange(100)), jax.random.key(0))
    >>> outcome = refresh(old, log, np.arange(100, 200), jax.random.key(0), Settings(at_least=10))
    >>> outcome.saved.variables["params"]["count"].tolist()
    [0.0, 100.0, 100.0]
    """
    check_settings(settings)
    begin, learn = monotonic(), learner(saved)
    asked = _mask(fresh, log.num_rows)

    def ended(new: Saved, reasons: list[str], measured: Measured | None = None, left_out: int = 0) -> Outcome:
        users, items = (getattr(new, name).size - getattr(saved, name).size for name in ("users", "items"))
        accepted, seconds = None if reasons else new, monotonic() - begin
        return Outcome(accepted, tuple(reasons), measured, int(asked.sum()), left_out, users, items, seconds)

    if not asked.any():
        return ended(saved, ["there are no fresh events"])
    log, is_fresh = with_past(saved, with_columns(saved, log), asked)
    at = np.flatnonzero(is_fresh)
    held = np.zeros(len(is_fresh), bool)
    held[at[len(at) - round(settings.held * len(at)) :]] = True

    if reasons := _too_few(int(held.sum()), settings):
        return ended(saved, reasons)
    length = min(settings.length, getattr(saved.model, "max_length", settings.length))
    settings = settings._replace(length=length)

    def learnt(saved: Saved, log: Interactions, fresh: np.ndarray, key: jax.Array) -> Saved:
        longer = with_ids(saved, log, settings.least)
        events = in_ids_of(longer, log, fresh)
        new = learn(with_histories(longer, events, length), events, key, settings)
        check(new)
        return new

    first, second = jax.random.split(key)
    try:
        new = learnt(saved, log.take(~held), is_fresh[~held], first)
        measured = measure(saved, new, log, held, settings)
        reasons = _too_few(measured.events, settings) or _worse(measured, settings)
        if not reasons:
            new = learnt(new, log, held, second)
    except Diverged as error:
        return ended(saved, [str(error)])
    unknown = np.append(True, new.items.encode(log.items.raw) == 0)[log.item]
    return ended(new, reasons, measured, int(unknown[is_fresh].sum()))


def _mask(fresh: np.ndarray, rows: int) -> np.ndarray:
    """A mask of the rows; an index names none twice, as a mask of 0 and 1 would."""
    mask, fresh = np.zeros(rows, bool), np.asarray(fresh)
    try:
        mask[fresh] = True
    except IndexError as error:
        raise DataError(f"fresh: give an index or a mask of the log's {rows:,} rows") from error
    if fresh.dtype != bool and mask.sum() != fresh.size:
        raise DataError("fresh: the index has a row twice; a mask is of the type bool (fresh == 1)")
    return mask


def _too_few(events: int, settings: Settings) -> list[str]:
    """Why nothing can be measured; empty if it can."""
    if events >= settings.at_least:
        return []
    return [
        f"{events:,} held-out events are too few to tell, {settings.at_least:,} are wanted (at_least): "
        "refresh with more events, or hold out more of them (held)"
    ]


def _worse(measured: Measured, settings: Settings) -> list[str]:
    """Why a refreshed model is refused for its lists; empty if it is not."""
    if not measured.old - measured.new > settings.worst * measured.error:
        return []
    return [
        f"recall@{measured.k} fell by more than {settings.worst:g} standard errors: look at what came, or "
        "train the model again"
    ]
