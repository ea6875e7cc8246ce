"""The error for bad input, and the one for a package that only some functions need."""

import importlib
from typing import Any


class DataError(ValueError):
    """Input that cannot be used. The message names file, row and column, and says what to do."""


SERVE = ("starlette", "prometheus_client", "uvicorn", "httptools")
EXTRAS = {
    "apache_beam": "beam",
    "flatbuffers": "export",
    "matplotlib": "notebooks",
    "grain": "scale",
    "onnx": "onnx",
    "optuna": "tune",
}
EXTRAS |= dict.fromkeys(SERVE, "serve")


def needed(module: str) -> Any:
    """The module, which may be a submodule such as `matplotlib.figure`.

    Raises:
      ModuleNotFoundError: if its package is not installed; names the extra that installs it.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"this needs {package}, which is not installed: pip install 'rezoo[{EXTRAS[package]}]'",
            name=package,
        ) from None
    return importlib.import_module(module)
