"""What the result files hold, by data set, protocol and model, and how a figure is written."""

import json
from pathlib import Path
from typing import Any

import rezoo.models

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"
GPU = RESULTS / "gpu"
Row = dict[str, Any]
Models = dict[str, list[Row]]
"""Rows by model."""

NAMES = {
    "Beauty": "Amazon Beauty",
    "Sports": "Amazon Sports",
    "Toys": "Amazon Toys",
    "amazon-beauty-bert4rec": "Amazon Beauty (BERT4Rec)",
    "census-income-kdd": "Census-Income",
    "citeulike-a": "CiteULike-a",
    "criteo-sample-10k": "Criteo, a sample of 10,000",
    "diginetica": "Diginetica",
    "frappe": "Frappe",
    "gowalla": "Gowalla",
    "ml-100k": "MovieLens 100k",
    "ml-1m": "MovieLens 1M",
    "ncf-ml-1m": "MovieLens 1M (NCF)",
    "online-retail": "Online Retail",
    "online_retail_2010-2011": "Online Retail",
    "shop": "Simulated shop",
    "tafeng": "Ta-Feng",
    "yoochoose1_64": "Yoochoose 1/64",
}
LOWER = ("rmse", "mae", "logloss", "seconds", "latency", "peak", "ms ")
"""How the names of metrics begin of which less is better."""
NEUTRAL = ("coverage", "gini", "mean_popularity", "cosine", "difference", "gain", "bought", "epochs")
"""How the names of metrics begin of which neither more nor less is better."""
LIMITS = ("Oracle", "Hindsight")
"""What knows more than a model can: it is no contender."""
ALIASES = {
    "MF-BPR": "MF",
    "MeanPooling": "DIN",
    "SharedMF": "MF",
    "SingleTask": "SharedBottom",
    "CGC": "PLE",
    "TF-IDF": "ItemKNN",
}


def results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Every result file, by its experiment; each row says on what it was made."""
    found = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.json"))}
    for result in found.values():
        for row in result["rows"]:
            row["device"] = ", ".join(dict.fromkeys(result["runs"][i]["device"] for i in row["runs"]))
            row["made"] = [result["runs"][i] for i in row["runs"]]
    return found


def by_data_set() -> dict[str, dict[str, Models]]:
    """By heading of a data set, by protocol, by model: the rows of all experiments that are no benchmark."""
    found: dict[str, dict[str, Models]] = {}
    for name, result in results().items():
        for row in [] if is_benchmark(name) else result["rows"]:
            dataset, _, part = row["dataset"].partition(", ")
            protocol = f"{part}: {row['protocol']}" if part else row["protocol"]
            models = found.setdefault(NAMES[dataset], {}).setdefault(protocol, {})
            models.setdefault(row["model"], []).append(row | {"experiment": name})
    return dict(sorted(found.items()))


def is_benchmark(name: str) -> bool:
    """Whether an experiment is about time alone."""
    return name.startswith("bench_") or name in ("live_session", "scale_model")


def anchor(heading: str) -> str:
    """How a link names a heading."""
    return "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def class_of(model: str) -> str:
    """The class that a row's model is: its name without its variant."""
    first = model.split(",")[0].split(" ")[0]
    return ALIASES.get(first, first)


def family(model: str) -> str:
    """The family of a row's model; a recommender without a class of its own is a baseline."""
    kind = getattr(rezoo.models, class_of(model), None)
    return kind.__module__.split(".")[2] if kind else "baselines"


def lower_is_better(metric: str) -> bool:
    """Whether less of it is better."""
    return metric.startswith(LOWER)


def best(rows: dict[str, Row], metric: str) -> set[str]:
    """The models that are best as written; none where neither side is better, or of a single model."""
    contenders = {model: row for model, row in rows.items() if model.split(",")[0] not in LIMITS}
    if metric.startswith(NEUTRAL) or len(contenders) < 2:
        return set()
    side = min if lower_is_better(metric) else max
    first = number(side(row["mean"] for row in contenders.values()))
    return {model for model, row in contenders.items() if number(row["mean"]) == first}


def number(value: float) -> str:
    """A figure; large ones are rounded to whole ones."""
    digits = 4 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"


def figure(row: Row, bold: bool = False) -> str:
    """Mean, standard error, and in brackets the published figure."""
    digits = 4 if abs(row["mean"]) < 10 else 1 if abs(row["mean"]) < 1000 else 0
    mean = f"**{number(row['mean'])}**" if bold else number(row["mean"])
    error = "" if row["sem"] is None else f" ± {row['sem']:,.{digits}f}"
    return f"{mean}{error}" + ("" if row["published"] is None else f" ({row['published']:g})")


def accelerated(row: Row) -> bool:
    """Whether a row was made on something other than a CPU."""
    return "CPU" not in row["device"]


def seconds(rows: list[Row]) -> float:
    """Of one run."""
    return max(row["seconds"] / len(row["values"]) for row in rows)


def markdown(head: list[str], rows: list[list[str]], text: tuple[int, ...] = (0,)) -> str:
    """A table; the columns whose numbers are in `text` are set to the left, the others to the right."""
    rule = ["---" if i in text else "---:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])
