"""A label must not stand among the features that are to predict it."""

from collections.abc import Mapping

import numpy as np

from rezoo.errors import DataError


def refuse_labels(
    features: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    sources: Mapping[str, str] | None = None,
) -> None:
    """Refuse features of which one is a label, by its name, by where it comes from, or by its values.

    By its values: if each value of a column occurs with only one value of the label, the column
    reveals the label, whatever its name. Columns whose values are almost all different are not judged
    so, nor is a label that is the same everywhere.

    Args:
      features: columns `[n]`; those of more axes are judged by their name alone.
      labels: by task, `[n]`; NaN where it is missing.
      sources: the raw column that a task's label was made from, where it has another name.

    Raises:
      DataError: naming the column and the task.

    >>> clicked = np.array([0.0, 1.0, 0.0, 1.0])
    >>> refuse_labels({"hour": np.array([9, 9, 17, 17])}, {"click": clicked})
    >>> refuse_labels({"clicks": clicked}, {"click": clicked})  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    DataError: column 'clicks' reveals the label of the task 'click' in every row
    """
    for task, label in labels.items():
        for name, column in features.items():
            if name in (task, (sources or {}).get(task)):
                raise DataError(
                    f"column {name!r} is the label of the task {task!r}: leave it out of the features"
                )
            if column.ndim == 1 and _tells(np.asarray(column), np.asarray(label, np.float64)):
                raise DataError(
                    f"column {name!r} reveals the label of the task {task!r} in every row: leave it out of "
                    "the features"
                )


def _tells(column: np.ndarray, label: np.ndarray) -> bool:
    known = ~np.isnan(label)
    values, code, count = np.unique(column[known], return_inverse=True, return_counts=True)
    label = label[known]
    if 2 * len(values) > len(code) or len(np.unique(label)) < 2:
        return False
    mean = np.bincount(code, label) / count
    return bool(np.all(np.abs(label - mean[code]) < 1e-9))
