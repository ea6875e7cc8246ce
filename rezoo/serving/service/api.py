"""The service's interface in words: the fields of its requests, /openapi.json, and a page of it."""

import html
import json
from collections.abc import Sequence
from typing import Any

import rezoo
from rezoo.serving.service.asks import Settings
from rezoo.serving.service.fields import Field, schema

ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "version": {"type": "string", "description": "Of the model that answered."},
        "items": {
            "type": "array",
            "description": "The list, best first.",
            "items": {
                "type": "object",
                "properties": {
                    "item": {},
                    "score": {"type": "number"},
                    "name": {"type": "string"},
                    "about": {"type": "object", "description": "The item's row of the shop's table."},
                    "because": {
                        "type": "array",
                        "description": "Items of the session for which it is there, the strongest first.",
                        "items": {
                            "type": "object",
                            "properties": {
                                "item": {},
                                "name": {"type": "string"},
                                "weight": {"type": "number"},
                            },
                        },
                    },
                },
            },
        },
        "reason": {
            "description": "How reasons were found: by the model's attention, by leaving events out, by "
            "similar item vectors; popular, where all are given the same list; null, where it cannot say.",
            "enum": ["attention", "left out", "similar", "popular", None],
        },
        "unknown": {
            "type": "object",
            "description": "What of the question the model does not know: ids, and columns of the context "
            "that were not given; the same under ranker for the second stage.",
        },
    },
}
PREDICTION: dict[str, Any] = {
    "type": "object",
    "properties": ANSWER["properties"]
    | {
        "items": {
            "type": "array",
            "description": "In the order of the question.",
            "items": {
                "type": "object",
                "properties": {"item": {}, "prediction": {"type": ["number", "null"]}},
            },
        }
    },
}
ITEMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": ANSWER["properties"]["items"],
        "total": {"type": "integer", "description": "Items that pass the filters."},
        "columns": {"type": "object", "description": "What the columns of the shop's table hold."},
        "unknown": {"type": "array", "description": "Those of ids that the table does not have."},
    },
}
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>rezoo: the interface</title>
<style>
  body {{ font: 16px/1.5 system-ui; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
  td {{ padding: .2rem 1rem .2rem 0; vertical-align: top }}
</style>
<h1>The interface</h1>
<p>For machines: <a href="openapi.json">openapi.json</a>. An event is <code>{example}</code> to
<code>POST /events</code>.</p>
{parts}
</html>
"""
ERRORS = {
    "400": "The request is wrong; the error says what to do.",
    "401": "The token is not given, or another.",
    "404": "The model does not know the item.",
    "413": "The body is too large.",
    "503": "Not ready, or too many requests wait: try again after Retry-After seconds.",
    "507": "The log of events cannot be written to: the event is not accepted.",
}
MOST_ITEMS = 1000
FILTERS = (
    "Conditions on columns of the shop's table, all of which the items of the list fulfil, such as "
    '{"category": ["tea", "coffee"], "price": {"max": 20}, "organic": true}; in an address as JSON.'
)
AT_MOST = 'How many items of one value of a column the list may have, such as {"category": 2}.'
CONTEXT = "Of this question, such as the hour, for models that read it; what is not given counts as missing."
ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}


def event(settings: Settings) -> dict[str, Field]:
    """Fields of `POST /events`."""
    return {
        "visitor": Field("text", "Whose session this belongs to, such as a cookie.", required=True),
        "item": Field("id", "What the visitor saw, clicked or bought.", required=True),
        "type": Field("text", "What the visitor did, which some models read; click if not given."),
        "time": Field("number", "When, in seconds since 1970; now if not given."),
        "user": Field("id", "The customer, once the visitor has signed in; the visitor if not given."),
        "features": Field("features", "Of a visitor whom the model does not know.", by_query=False),
        "key": Field("text", "Of this event: one that is sent twice is counted once."),
        "k": Field("count", "Places of the list after the event; 0, none, if not given.", most=settings.k),
    } | _lists(settings)


def recommend(settings: Settings) -> dict[str, Field]:
    """Fields of `GET` and `POST /recommend`."""
    return {
        "visitor": Field("text", "Whose session is asked about."),
        "user": Field("id", "The customer that is asked about, where there is no visitor."),
        "history": Field(
            "ids", "What that customer did last, oldest first; of unknown types and times.", most=1000
        ),
        "ratings": Field("numbers", "Of the history, for models that read them.", most=1000, by_query=False),
        "features": Field("features", "Of a customer whom the model does not know.", by_query=False),
        "k": Field("count", "Places of the list; 10 if not given.", most=settings.k),
    } | _lists(settings)


def predict(settings: Settings) -> dict[str, Field]:
    """Fields of `POST /predict`."""
    names = ("visitor", "user", "history", "ratings", "features")
    asked = recommend(settings)
    return {
        "items": Field("ids", "What is asked about.", required=True, most=settings.items[-1]),
        **{name: asked[name] for name in names},
        "context": asked["context"],
    }


def items(settings: Settings) -> dict[str, Field]:
    """Fields of `GET /items`, beside which there are the columns of the shop's table."""
    return {
        "ids": Field(
            "ids", "These items, available or not; all available ones if not given.", most=MOST_ITEMS
        ),
        "filters": Field("filters", FILTERS),
        "start": Field("count", "Items to leave out at the beginning; 0 if not given.", most=10**9),
        "limit": Field("count", "Items at most; 100 if not given.", most=MOST_ITEMS),
    }


def _lists(settings: Settings) -> dict[str, Field]:
    return {
        "exclude": Field("ids", "Items that must not be in the list.", most=settings.exclude),
        "seen": Field("flag", "Whether the list may have what was seen; true if not given."),
        "filters": Field("filters", FILTERS),
        "at_most": Field("counts", AT_MOST, by_query=False),
        "context": Field("features", CONTEXT, by_query=False),
        "reasons": Field("flag", "Whether each item comes with why it is there; false if not given."),
    }


def openapi(settings: Settings) -> dict[str, Any]:
    """The description of the interface, as OpenAPI 3.1 has it."""

    def operation(
        summary: str,
        *,
        fields: Any = None,
        query: Any = (),
        path: Any = (),
        answer: Any = ANSWER,
        errors: Sequence[str] = (),
        content: str = "application/json",
    ) -> dict[str, Any]:
        codes = ["400", "503", *(["413"] if fields else []), *errors]
        answers = {
            code: {"description": ERRORS[code], "content": {"application/json": {"schema": ERROR}}}
            for code in codes
        }
        told: dict[str, Any] = {"summary": summary, "responses": answers}
        answers["200"] = {"description": "The answer.", "content": {content: {"schema": answer}}}
        if fields:
            told["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": schema(fields)}},
            }
        names = {name: field for name, field in dict(query).items() if field.by_query}
        told["parameters"] = [
            {"name": name, "in": "query", "schema": one, "explode": False}
            for name, one in schema(names)["properties"].items()
        ] + [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in path]
        return told

    ask = recommend(settings)
    return {
        "openapi": "3.1.0",
        "info": {"title": "rezoo", "version": rezoo.__version__},
        "paths": {
            "/events": {
                "post": operation(
                    "Keep an event, and recommend what comes after it.",
                    fields=event(settings),
                    errors=["507"],
                )
            },
            "/recommend": {
                "get": operation("The best items for a visitor or a customer.", query=ask),
                "post": operation("The best items for a visitor or a customer.", fields=ask),
            },
            "/predict": {
                "post": operation(
                    "The rating or probability of given items, for a visitor or a customer.",
                    fields=predict(settings),
                    answer=PREDICTION,
                )
            },
            "/items": {
                "get": operation(
                    "The shop's items. A column of its table may be given like a field: category=tea,coffee "
                    "for texts, price=5..20 for numbers.",
                    query=items(settings),
                    answer=ITEMS,
                )
            },
            "/items/{item}/similar": {
                "get": operation(
                    "The items like an item.", query={"k": ask["k"]}, path=["item"], errors=["404"]
                )
            },
            "/health": {"get": operation("Whether the process is alive.")},
            "/ready": {"get": operation("Whether questions are answered, and by which version.")},
            "/guide.json": {"get": operation("What the page at / can ask of this service.")},
            "/metrics": {"get": operation("Counters and times, for Prometheus.", content="text/plain")},
            "/admin/reload": {
                "post": operation("Serve the folder's newest content; needs the token.", errors=["401"])
            },
        },
    }


def page(settings: Settings) -> str:
    """The description as a page."""
    parts = []
    for path, methods in openapi(settings)["paths"].items():
        for method, one in methods.items():
            shape = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            fields = list((shape or {"properties": {}})["properties"].items())
            fields += [(each["name"], each["schema"]) for each in one["parameters"]]
            told = [(name, html.escape(field.get("description", ""))) for name, field in fields]
            rows = "".join(f"<tr><td><code>{name}</code></td><td>{text}</td></tr>" for name, text in told)
            table = f"<table>{rows}</table>" if rows else ""
            parts.append(
                f"<section><h2><code>{method.upper()} {html.escape(path)}</code></h2>"
                f"<p>{html.escape(one['summary'])}</p>{table}</section>"
            )
    example = html.escape(json.dumps({"visitor": "v1", "item": "…", "k": 10}))
    return PAGE.format(example=example, parts="".join(parts))
