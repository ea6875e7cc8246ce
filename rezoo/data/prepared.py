"""TFDS data sets on disk: read without running what they bring along, prepared by one process at a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.errors import DataError

OWN = "tensorflow_datasets."


def read(folder: Path) -> dict[str, np.ndarray]:
    """The columns of a data set that was prepared in chunks of columns.

    Raises:
      DataError: if its features are of classes from outside TFDS, which reading would import and so
        run; or if the folder is damaged or holds no chunks.
    """
    _refuse_code(folder)
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(folder))
        chunks = [chunk for split in builder.info.splits for chunk in builder.as_data_source(split)]  # pyright: ignore[reportCallIssue]
        columns = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    except Exception as error:  # TFDS, protobuf and ArrayRecord raise errors of every kind
        raise damaged(folder, error) from error
    return columns


def damaged(folder: str | Path, error: Exception) -> DataError:
    """The error for a prepared folder that cannot be read."""
    return DataError(
        f"{folder} is no whole data set of column chunks ({type(error).__name__}: {str(error)[:200]}): "
        "delete the folder and prepare it again"
    )


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
