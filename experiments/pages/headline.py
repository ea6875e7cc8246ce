"""The README's tables: headline results, speed, and how far each model is from its published figures."""

import re
from typing import Any

from pages import recorded
from pages.recorded import Models, Row, markdown

PAGE = "experiments/results/README.md"
BUDGETS = ("peak", "latency")
"""How the metrics begin whose `published` is a budget that the experiment set itself."""
STATUSES = ("reached", "near", "below", "not tried")
NEAR = 0.02
"""A figure this much worse, relative to the published one, is near it."""


def results() -> str:
    """For each protocol with a published figure: the best of the zoo beside the best published one."""
    lines = []
    for heading, by_protocol in recorded.by_data_set().items():
        for protocol, models in by_protocol.items():
            metric = next(iter(models.values()))[0]["metric"]
            rows = {m: r for m, some in models.items() for r in some if r["metric"] == metric}
            published = {m: r for m, r in rows.items() if r["published"] is not None}
            if not published or metric.startswith(BUDGETS):
                continue
            side = min if recorded.lower_is_better(metric) else max
            ours = side(rows, key=lambda m: rows[m]["mean"])
            theirs = side(published, key=lambda m: published[m]["published"])
            shared = len({row["published"] for row in published.values()}) == 1 < len(published)
            source = "" if shared else f" ({theirs})"
            name = rows[ours]["experiment"]
            lines.append(
                [
                    f"[{heading}]",
                    f"[{protocol.partition('; ')[0]}](experiments/{name}.py)",
                    metric,
                    f"{recorded.figure(rows[ours] | {'published': None})} ({ours})",
                    f"{published[theirs]['published']:g}{source}",
                ]
            )
    return markdown(["data", "protocol", "metric", "best of the zoo", "published"], lines, text=(0, 1, 2))


def places(text: str, root: str = "") -> str:
    """What each `[data set]` of a text links to, from a page with this way to the project's root."""
    named = [heading for heading in recorded.by_data_set() if f"[{heading}]" in text]
    return "\n".join(f"[{heading}]: {root}{PAGE}#{recorded.anchor(heading)}" for heading in named)


def speed() -> str:
    """By model, how many times as fast as PyTorch and as other libraries, on CPU cores and on a GPU."""
    found = {}
    for place, folder in (("CPU", recorded.RESULTS), ("H200", recorded.GPU)):
        for (model, _, _), by_peer in ratios(recorded.results(folder)).items():
            for peer, ratio in by_peer.items():
                kind = "PyTorch" if peer == "torch" else "libraries"
                found.setdefault(model, {}).setdefault((place, kind), []).append(ratio)
    columns = [(place, kind) for place in ("CPU", "H200") for kind in ("PyTorch", "libraries")]
    alike: dict[tuple[str, ...], list[str]] = {}
    for model, by_place in found.items():
        cells = tuple(span(by_place.get(column, [])) for column in columns)
        alike.setdefault(cells, []).append(f"`{model}`")
    lines = [[", ".join(models), *cells] for cells, models in alike.items()]
    return markdown(["model", *(f"{kind}, {place}" for place, kind in columns)], lines)


def ratios(found: dict[str, dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, float]]:
    """By model, data and work: by peer how many times as fast we are."""
    by_work: dict[tuple[str, str, str], dict[str, float]] = {}
    for result in found.values():
        for row in result["rows"]:
            work, _, peer = row["protocol"].rpartition(", rezoo over ")
            if row["metric"] == "ratio" and work and not peer.startswith("rezoo"):
                by_work.setdefault((row["model"], row["dataset"], work), {})[peer] = row["mean"]
    return by_work


def span(ratios: list[float]) -> str:
    """The least and the most of some ratios, to two or three figures."""
    said = [f"{x:.2f}" if x < 1 else f"{x:.1f}" if x < 10 else f"{x:.0f}" for x in sorted(ratios)]
    return "" if not said else said[0] if said[0] == said[-1] else f"{said[0]} to {said[-1]}"


def families(text: str) -> str:
    """By family, the models of each status, from the tables of `rezoo/models/README.md`."""
    found, lines = recorded.by_data_set(), []
    for family in re.split(r"^## ", text, flags=re.M)[1:]:
        title = family.partition("\n")[0]
        by_word: dict[str, list[str]] = {word: [] for word in STATUSES}
        for model in (name for line in family.splitlines() for name in named(line)):
            word = status(model, found)
            by_word[re.sub(r"\[(.+?)\].*", r"\1", word)].append(f"`{model}`")
        words = (", ".join(names) for names in by_word.values())
        lines.append([f"[{title}](rezoo/models/README.md#{recorded.anchor(title)})", *words])
    return markdown(["family", *STATUSES], lines, text=(0, 1, 2, 3, 4))


def named(line: str) -> list[str]:
    """The models of a line of a table of models."""
    names = re.findall(r"\[`(\w+(?:`, `\w+)*)`\]", line)
    return names[0].split("`, `") if names else []


def statuses(text: str) -> str:
    """The tables of models with the status of each in the last column."""
    found = recorded.by_data_set()
    lines = []
    for line in text.strip("\n").splitlines():
        if models := named(line):
            line = (
                f"{line.rsplit(' | ', 1)[0]} | {'; '.join(dict.fromkeys(status(m, found) for m in models))} |"
            )
        lines.append(line)
    return "\n".join(lines)


def status(model: str, found: dict[str, dict[str, Models]]) -> str:
    """The worst of `reached`, `near` and `below` over its published figures; `not tried` if it has none."""
    compared: dict[str, str] = {}
    measured = ""
    for heading, by_protocol in found.items():
        for models in by_protocol.values():
            mine = [r for name, rows in models.items() if recorded.class_of(name) == model for r in rows]
            measured = measured or (heading if mine else "")
            words = [nearness(row) for row in mine if row["published"] is not None and own(row, models)]
            for word in words:
                compared.setdefault(word, heading)
    word = next((word for word in ("below", "near", "reached") if word in compared), None)
    if word:
        return f"[{word}][{compared[word]}]"
    return f"[not tried][{measured}]" if measured else "not tried"


def own(row: Row, models: Models) -> bool:
    """Whether a published figure is the model's own, and not a budget or the same for all models."""
    all_of_them = [r["published"] for rows in models.values() for r in rows if r["metric"] == row["metric"]]
    return not row["metric"].startswith(BUDGETS) and (len(models) == 1 or len({*all_of_them}) > 1)


def nearness(row: Row) -> str:
    """`reached` within two standard errors, `near` within 2%, else `below`."""
    sign = 1 if recorded.lower_is_better(row["metric"]) else -1
    behind = sign * (row["mean"] - row["published"])
    if behind <= 2 * (row["sem"] or 0.0):
        return "reached"
    return "near" if behind <= NEAR * abs(row["published"]) else "below"
