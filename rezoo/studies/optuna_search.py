"""A search over what changes shapes (widths, layers, batch size), driven by Optuna.

Akiba et al. 2019, https://arxiv.org/abs/1907.10902; needs `pip install 'rezoo[tune]'`. Every shape
compiles programs of its own, so a trial is best a whole `sweep.study` or `halving.search` over the
value hyper-parameters of its shape.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rezoo.errors import DataError, needed
from rezoo.storage import durable, fingerprint


def search(
    score: Callable[[Any], float],
    trials: int,
    *,
    seed: int = 0,
    folder: str | Path | None = None,
    identity: str | None = None,
) -> Any:
    """The best of `trials` shapes, as the tree-structured Parzen estimator suggests them.

    Args:
      score: of an `optuna.Trial`, from which it takes its shape, such as
        `trial.suggest_categorical("dim", [16, 32, 64])`; higher is better; not finite is worst.
      trials: in all, those before a resumption included.
      seed: of the estimator; trial n draws from seed + n.
      folder: keep finished trials here and go on after them. A search killed at any moment and
        started again ends with the same trials. Another `score`, by its code and the arrays that it
        holds, or another seed starts over in a folder of its own, and a line of the log says so.
      identity: text that stands for `score` where it reads files or holds what is no array, such as
        `rezoo.storage.fingerprint.content(file)`.

    Returns:
      The `optuna.Study`; `best_params` and `best_value` are in it.

    Raises:
      DataError: if `folder` holds more trials of this search than `trials`.
      rezoo.storage.durable.BusyError: if another process runs this search in `folder`.
      OSError: if `folder` cannot be written to.
    """
    optuna = needed("optuna")

    def parts() -> dict[str, str]:
        about = fingerprint.code(score) if identity is None else identity
        return {"score": about, "seed": str(seed), "version": fingerprint.source()}

    with fingerprint.own(folder, parts) as place:
        storage = None
        if place:
            journal = needed("optuna.storages.journal")
            backend = journal.JournalFileBackend(str(_mended(place / "trials.log")))
            storage = optuna.storages.JournalStorage(backend)
        study = optuna.create_study(
            storage=storage, study_name="shapes", direction="maximize", load_if_exists=True
        )
        finished = (optuna.trial.TrialState.COMPLETE,)
        while (done := len(study.get_trials(deepcopy=False, states=finished))) < trials:
            study.sampler = optuna.samplers.TPESampler(seed=seed + done, constant_liar=False)
            with durable.named(place or "memory"):
                trial = study.ask()
            value = float(score(trial))
            with durable.named(place or "memory"):
                study.tell(trial, value if math.isfinite(value) else -math.inf)
        if done > trials:
            raise DataError(
                f"{place} holds {done} trials of this search, more than {trials}: give another folder"
            )
    return study


def _mended(log: Path) -> Path:
    """The log without what a process that was killed while it wrote has left: half a line and a lock."""
    log.with_name(f"{log.name}.lock").unlink(missing_ok=True)
    text = log.read_bytes() if log.exists() else b""
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        with durable.file(log) as partial:
            partial.write_bytes(whole)
    return log
