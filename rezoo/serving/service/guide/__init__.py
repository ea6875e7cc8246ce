"""The guide: a page on which a shopper clicks products, and the lists change and say why.

The service has it at `/`. It is plain HTML, CSS and JavaScript in files beside this one, asks the service's
own interface and nothing else, and `/guide.json` says what there is to ask.
"""

from collections import ChainMap
from collections.abc import Collection
from importlib import resources
from typing import Any

import numpy as np

from rezoo.data.fitted import Buckets, Standardised, Vocabularies, Vocabulary
from rezoo.evaluation import is_retriever
from rezoo.serving.bundle import Saved
from rezoo.serving.service.engine import Engine

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Of the page's files: nothing but what the service itself sends is run, shown or asked."""
POPULAR, VALUES = 100, 50
"""Products of the list of the popular, and values of a feature that can be chosen, at most."""


def files() -> dict[str, tuple[bytes, str]]:
    """The page's files by name, and their media types.

    >>> files()["style.css"][1]
    'text/css; charset=utf-8'
    """
    found = {}
    for file in resources.files(__name__).iterdir():
        kind = KINDS.get("." + file.name.rpartition(".")[2])
        if kind:
            found[file.name] = file.read_bytes(), kind
    return found


def features(engine: Engine) -> list[dict[str, Any]]:
    """What a stranger may tell: each feature of users with its kind, `choice` (of `values`) or `number`.

    Free text, and a feature of so many values that nobody would choose from them, have the kind `other`.
    """
    fitted = ChainMap(*(one.user_features.fitted for one in _models(engine)))
    return [{"name": name, **_asked(one)} for name, one in fitted.items()]


def _models(engine: Engine) -> list[Saved]:
    """The first stage, and the second if there is one."""
    return [one.saved for one in (engine.first, engine.ranker) if one is not None]


def _asked(one: Any) -> dict[str, Any]:
    if isinstance(one, Vocabulary | Vocabularies) and len(one.values) <= VALUES:
        return {"kind": "choice", "values": one.values.tolist()}
    return {"kind": "number" if isinstance(one, Standardised | Buckets) else "other"}


def popular(engine: Engine) -> list[dict[str, Any]] | None:
    """What the model's users did most, the first first; None if their past was not saved."""
    if engine.saved.history is None:
        return None
    listed = engine.offer.base
    count = np.bincount(np.ravel(engine.saved.history), minlength=len(listed))[: len(listed)] * listed
    best = np.argsort(-count, kind="stable")[:POPULAR]
    best = best[count[best] > 0]
    return engine.offer.listed(best, count[best])


def described(engine: Engine, asks: Collection[str]) -> dict[str, Any]:
    """What the page has to know of a service.

    Args:
      engine: what answers.
      asks: the fields of a question for a list.
    """
    return {
        "version": engine.version,
        "model": ", ".join(type(one.model).__name__ for one in _models(engine)),
        "features": features(engine),
        "similar": is_retriever(engine.saved.model),
        "popular": popular(engine),
        "asks": sorted(asks),
        "k": engine.settings.k,
        "exclude": engine.settings.exclude,
    }
