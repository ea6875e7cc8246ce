"""The README's results, made from experiments/results/*.json.

    python experiments/leaderboard.py

writes them between the README's markers: at `<!-- speed -->` and `<!-- speed-gpu -->` how fast we are beside
other libraries on CPU cores and on an accelerator (`results/gpu`), at `<!-- results -->` a table for each
data set and protocol, whichever experiments its rows are from, then the benchmarks, and the command that
makes each file. For a data set with three models or more under a
protocol it draws quality against training time, `experiments/results/leaderboard-DATASET.png`. With
--smoke it only says whether the README is up to date.
"""

import json
import textwrap
from pathlib import Path
from typing import Any

import tyro

from rezoo.errors import needed
from rezoo.storage import durable

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
GPU = RESULTS / "gpu"
Table = dict[str, list[dict[str, Any]]]
"""Rows by model."""


def main(smoke: bool = False, out: Path | None = None) -> None:
    """Bring the README's tables and the pictures up to date.

    Args:
      smoke: change nothing, only compare.
      out: not used; every experiment takes it.
    """
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    wanted = with_results(text)
    if smoke:
        print("README is up to date" if wanted == text else "README differs: run without --smoke")
    else:
        for dataset, by_protocol in leaderboards().items():
            draw(dataset, by_protocol)
        with durable.file(readme) as partial:
            partial.write_text(wanted, "utf-8")
        print(f"wrote {readme.name}")


def with_results(text: str) -> str:
    """The README with the tables of now between its markers."""
    made_now = {"speed": speed(results()), "speed-gpu": speed(results(GPU)), "results": tables()}
    for name, made in made_now.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        head, rest = text.split(start)
        text = f"{head}{start}\n{made}\n{end}{rest.split(end)[1]}"
    return text


def speed(found: dict[str, dict[str, Any]]) -> str:
    """How many times as fast as each peer: the ratios of all benchmarks."""
    ratios: dict[tuple[str, str, str], dict[str, float]] = {}
    for name, result in found.items():
        for row in result["rows"]:
            what, _, peer = row["protocol"].rpartition(", rezoo over ")
            if row["metric"] == "ratio" and what and not peer.startswith("rezoo"):
                key = row["model"], row["dataset"], f"[{what}](experiments/{name}.py)"
                ratios.setdefault(key, {})[peer] = row["mean"]
    peers = list(dict.fromkeys(peer for times_as_fast in ratios.values() for peer in times_as_fast))
    head = ["model", "data", "work", *(f"× {peer}" for peer in peers)]
    lines = [head, ["---"] * 3 + ["---:"] * len(peers)]
    for key, by_peer in ratios.items():
        lines.append([*key, *(times(by_peer[peer]) if peer in by_peer else "" for peer in peers)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def times(ratio: float) -> str:
    """A ratio, to two or three figures."""
    return f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Every result file, by its experiment; each row says on what it was made."""
    found = {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    for result in found.values():
        for row in result["rows"]:
            row["device"] = ", ".join(dict.fromkeys(result["runs"][i]["device"] for i in row["runs"]))
    return found


def leaderboards() -> dict[str, dict[str, Table]]:
    """By data set, by protocol, by model: the rows of all experiments that are no benchmark."""
    found: dict[str, dict[str, Table]] = {}
    for name, result in results().items():
        for row in [] if is_benchmark(name) else result["rows"]:
            models = found.setdefault(row["dataset"], {}).setdefault(row["protocol"], {})
            models.setdefault(row["model"], []).append(row | {"experiment": name})
    return dict(sorted(found.items()))


def is_benchmark(name: str) -> bool:
    """Whether an experiment is about time alone."""
    return name.startswith("bench_") or name == "live_session"


def tables() -> str:
    """All that stands between the markers."""
    parts = []
    for dataset, by_protocol in leaderboards().items():
        parts.append(f"### {dataset}")
        if drawable(by_protocol):
            parts.append(
                f"![Quality against training time, {dataset}](experiments/results/{picture(dataset)})"
            )
        parts += [f"*{protocol}*\n\n{table(models)}" for protocol, models in by_protocol.items()]
    parts.append("### Benchmarks")
    parts += [benchmark(name, result) for name, result in results().items() if is_benchmark(name)]
    parts.append("### Benchmarks on an accelerator")
    parts += [benchmark(name, result) for name, result in results(GPU).items()]
    return "\n\n".join([*parts, "### The commands", commands()])


def table(models: Table) -> str:
    """Models by metrics, with the published figure in brackets."""
    metrics = list(dict.fromkeys(row["metric"] for rows in models.values() for row in rows))
    head = ["model", *metrics, "runs", "seconds a run", "experiment"]
    lines = [head, ["---", *["---:"] * (len(head) - 2), "---"]]
    for model, rows in models.items():
        by_metric = {row["metric"]: row for row in rows}
        runs = max(len(row["values"]) for row in rows)
        cells = [figure(by_metric[metric]) if metric in by_metric else "" for metric in metrics]
        lines.append([model, *cells, str(runs), duration(rows), link(rows[0]["experiment"])])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def benchmark(name: str, result: dict[str, Any]) -> str:
    """A benchmark's rows, a line each for what was timed: who took part at what speed."""
    lines = [f"{link(name)}", "", "| model | data | what | figures |", "| --- | --- | --- | --- |"]
    contests = [row["protocol"].removesuffix(", rezoo") for row in result["rows"]]
    timed: dict[tuple[str, str, str], list[str]] = {}
    for row in result["rows"]:
        what = next((c for c in contests if row["protocol"].startswith(f"{c}, ")), row["protocol"])
        who = row["protocol"][len(what) + 2 :]
        unit = "" if row["metric"] == "ratio" else f"{row['metric']} "
        text = f"{who} {unit}{figure(row)}" if who else f"{unit}{figure(row)}"
        timed.setdefault((row["model"], row["dataset"], what), []).append(text)
    lines += [f"| {' | '.join(key)} | {' · '.join(texts)} |" for key, texts in timed.items()]
    return "\n".join(lines)


def commands() -> str:
    """The runs that made the rows of each file."""
    lines = [
        "| experiment | command | rows | device | jax | date |",
        "| --- | --- | ---: | --- | --- | --- |",
    ]
    for name, result in (*results().items(), *results(GPU).items()):
        for index, run in enumerate(result["runs"]):
            rows = sum(index in row["runs"] for row in result["rows"])
            shown = f"`{run['command']}`" if run["command"] else "not kept"
            jax = run["versions"]["jax"] if run["versions"] else ""
            lines.append(f"| {link(name)} | {shown} | {rows} | {run['device']} | {jax} | {run['date']} |")
    return "\n".join(lines)


def link(name: str) -> str:
    """To an experiment."""
    return f"[{name}](experiments/{name}.py)"


def figure(row: dict[str, Any]) -> str:
    """Mean, standard error, and what was published; large numbers are rounded to whole ones."""
    digits = 4 if abs(row["mean"]) < 10 else 1 if abs(row["mean"]) < 1000 else 0
    error = "" if row["sem"] is None else f" ± {row['sem']:,.{digits}f}"
    published = "" if row["published"] is None else f" ({row['published']:g})"
    return f"**{row['mean']:,.{digits}f}**{error}{published}"


def duration(rows: list[dict[str, Any]]) -> str:
    """Seconds of one run, and on what, if not a CPU; what takes less than a tenth of one was only counted."""
    spent = seconds(rows)
    where = f" ({rows[0]['device'].split()[-1]})" if accelerated(rows[0]) else ""
    return f"{spent:,.0f}{where}" if spent >= 10 else f"{spent:.1f}{where}" if spent >= 0.1 else ""


def accelerated(row: dict[str, Any]) -> bool:
    """Whether a row was made on something other than a CPU."""
    return "CPU" not in row["device"]


def seconds(rows: list[dict[str, Any]]) -> float:
    """Of one run."""
    return max(row["seconds"] / len(row["values"]) for row in rows)


def picture(dataset: str) -> str:
    """The name of a data set's picture."""
    return f"leaderboard-{dataset.lower().replace(' ', '-').replace(',', '')}.png"


def drawable(by_protocol: dict[str, Table]) -> dict[str, dict[str, tuple[float, dict[str, Any]]]]:
    """Of the protocols with 3 to 12 timed models: each one's seconds and row of the first metric.

    More is a study, such as that of losses, with a picture of its own.
    """
    found = {}
    for protocol, models in by_protocol.items():
        timed = {m: (seconds(rows), rows[0]) for m, rows in models.items() if seconds(rows) >= 0.1}
        timed = {m: p for m, p in timed.items() if m != "Oracle" and p[1]["metric"] != "difference"}
        if 2 < len(timed) <= 12 and len({row["metric"] for _, row in timed.values()}) == 1:
            found[protocol] = timed
    return found


def draw(dataset: str, by_protocol: dict[str, Table]) -> None:
    """Quality against training time, a panel each for six protocols at most.

    Those come first that have the most models with a published figure, then those with the most models.
    """

    def weight(panel: tuple[str, dict[str, Any]]) -> tuple[int, int]:
        published = [row for _, row in panel[1].values() if row.get("published")]
        return -len(published), -len(panel[1])

    panels = sorted(drawable(by_protocol).items(), key=weight)[:6]
    if not panels:
        return
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    drawn = needed("matplotlib.figure").Figure(figsize=(6 * columns, 4 * rows), layout="constrained")
    axes = drawn.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (protocol, timed) in zip(axes.flat, panels, strict=False):
        draw_panel(axis, protocol, timed)
    with durable.file(RESULTS / picture(dataset)) as partial:
        drawn.savefig(partial, format="png", dpi=110)


def draw_panel(axis: Any, protocol: str, timed: dict[str, tuple[float, dict[str, Any]]]) -> None:
    """A mark for each model, its name beside it; below, with a line to it, where another name is."""
    points = sorted(timed.items(), key=lambda point: -point[1][1]["mean"])
    for _, (spent, row) in points:
        fill = "white" if accelerated(row) else "black"
        style: dict[str, Any] = dict(fmt="o", color="black", markerfacecolor=fill, markersize=4, capsize=2)
        axis.errorbar(spent, row["mean"], yerr=row["sem"], **style)
    metric = points[0][1][1]["metric"]
    better = "lower" if metric in ("rmse", "mae", "logloss") else "higher"
    axis.set(xscale="log", ylabel=f"{metric}, {better} is better")
    hollow = ", hollow: on a GPU" if any(accelerated(row) for _, row in timed.values()) else ""
    axis.set_xlabel(f"seconds of a run, compilation included{hollow}")
    ticker = needed("matplotlib.ticker")
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 3), numticks=20))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(ticker.NullFormatter())
    axis.margins(x=0.3, y=0.15)
    axis.set_title(textwrap.shorten(protocol, 64, placeholder=" …"), fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.autoscale_view()
    taken: list[tuple[float, float]] = []
    for model, (spent, row) in points:
        x, y = axis.transData.transform((spent, row["mean"]))
        height = min([y, *(there - 11 for left, there in taken if abs(left - x) < 110)])
        taken.append((x, height))
        shift = (5, (height - y) * 72 / axis.figure.dpi)
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": "gray"} if height < y else None
        place = spent, row["mean"]
        axis.annotate(model, place, shift, textcoords="offset points", fontsize=7, arrowprops=line)


if __name__ == "__main__":
    tyro.cli(main)
