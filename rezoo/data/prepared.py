"""TFDS data sets on disk: read without running their own code, prepared by one process at a time."""

import contextlib
import io
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.errors import DataError
from rezoo.storage import durable

OWN = "tensorflow_datasets."
PAUSE = 0.5
"""Seconds between two looks at whether another process has finished."""
_log = logging.getLogger(__name__)


def builder(kind: Any, config: Any, data_dir: str | Path, **how: Any) -> Any:
    """A TFDS builder whose data set is prepared; a second process waits for the first and reads what it made.

    Args:
      kind: the class of the builder.
      config: its configuration, or the name of one.
      data_dir: folder of prepared data sets.
      how: what `download_and_prepare` takes.

    Raises:
      DataError: if the data set was prepared and is damaged.
    """
    folder = Path(data_dir) / kind.name / getattr(config, "name", config) / str(kind.VERSION)

    def make() -> Any:
        return kind(config=config, data_dir=str(data_dir), file_format="array_record")

    if not folder.exists():
        with _turn(folder.parent):
            made = make()
            _log.info("preparing %s", folder)
            with contextlib.redirect_stdout(io.StringIO()):  # where TFDS prints that sizes are unknown
                made.download_and_prepare(**how)
            return made
    _refuse_code(folder)
    try:
        return make()
    except Exception as error:  # TFDS and protobuf raise errors of every kind
        raise damaged(folder, error) from error


def columns(made: Any, split: str) -> dict[str, np.ndarray]:
    """The columns of a split, each in one piece.

    Raises:
      DataError: if the folder is damaged.
    """
    try:
        chunks = list(made.as_data_source(split))
        return {name: np.concatenate([np.asarray(chunk[name]) for chunk in chunks]) for name in chunks[0]}
    except Exception as error:  # ArrayRecord raises errors of every kind
        raise damaged(str(made.data_path), error) from error


def read(folder: Path) -> dict[str, np.ndarray]:
    """The columns of a data set that was prepared in chunks of columns.

    Raises:
      DataError: if its features are of classes from outside TFDS, which reading would import and so
        run; or if the folder is damaged or holds no chunks.
    """
    _refuse_code(folder)
    import tensorflow_datasets as tfds

    try:
        made = tfds.builder_from_directory(str(folder))
        parts = [columns(made, split) for split in made.info.splits]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except DataError:
        raise
    except Exception as error:  # TFDS and protobuf raise errors of every kind
        raise damaged(folder, error) from error


def damaged(folder: str | Path, error: Exception) -> DataError:
    """The error for a prepared folder that cannot be read."""
    return DataError(
        f"{folder} is not a complete data set of column chunks ({type(error).__name__}: {str(error)[:200]}): "
        "delete the folder and prepare it again"
    )


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Lock a folder, as soon as no other process holds it."""
    with contextlib.ExitStack() as held:
        waiting = False
        while True:
            try:
                held.enter_context(durable.lock(folder))
                break
            except durable.BusyError as error:
                if not waiting:
                    _log.warning("%s; waiting for it", error)
                waiting = True
                time.sleep(PAUSE)
        yield


def _refuse_code(folder: Path) -> None:
    try:
        features: Any = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(folder, error) from error
    waiting = [features]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key in ("pythonClassName", "python_class_name", "type"):
                named = one.get(key)
                if isinstance(named, str) and "." in named and not named.startswith(OWN):
                    raise DataError(
                        f"{folder}: a feature is of the class {named!r}, from outside tensorflow_datasets: "
                        "reading it would run code that may come with the folder, so it is refused"
                    )
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
