"""The page of all results: a table for each data set and protocol, the benchmarks, and what made each row."""

from typing import Any

from pages import pictures, recorded, replications
from pages.recorded import Models, Row, markdown

HEAD = """# Results

All tables are made by

```bash
python experiments/leaderboard.py
```

from the `.json` files of this folder, which experiments write when they are run with `--record`, each with
the value of every seed. A cell is the mean ± its standard error over the runs, then in brackets the figure
that the experiment compares with (its source is in the experiment's docstring). The best model of each
column is bold; `Oracle` and `Hindsight` know more than a model can, and do not compete. Seconds are of one
run on CPU cores, or on the GPU that stands beside them.

Below each table stand the commands that made its rows, with the device, the day, the version of JAX and the
commit of the code. Older files kept their last command only: of their rows "recorded in" is the commit that
added them, and where several commands had made a file, "command not kept" is all that can be said.
"""
REPLICATIONS = """Session models beside the figures of their papers and of somebody else who ran them on
the same data. Where nothing else is said, the protocol is ours: MovieLens 1M with the last item of each user
as the test, ranked among all that the user has not seen; SR-GNN's sessions, every prefix, ranked among all
items.
"""


def page() -> str:
    """The whole page."""
    by_data_set = recorded.by_data_set()
    headings = ["Replications", *by_data_set, "Benchmarks", "Benchmarks on an accelerator"]
    parts = [HEAD, contents(headings), "## Replications", REPLICATIONS, replications.table()]
    for heading, by_protocol in by_data_set.items():
        parts.append(f"## {heading}")
        if pictures.drawable(by_protocol):
            parts.append(f"![{heading}: quality against training time]({pictures.name(heading)})")
        for protocol, models in by_protocol.items():
            rows = [row for of_model in models.values() for row in of_model]
            parts += [f"*{protocol}*", table(models), commands(rows)]
    for heading, folder in (
        ("Benchmarks", recorded.RESULTS),
        ("Benchmarks on an accelerator", recorded.GPU),
    ):
        parts.append(f"## {heading}")
        for name, result in recorded.results(folder).items():
            if recorded.is_benchmark(name):
                parts += [f"### {name}" + (" (GPU)" if folder == recorded.GPU else ""), benchmark(result)]
                parts.append(commands(result["rows"]))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def contents(headings: list[str]) -> str:
    """Links to the headings."""
    return " · ".join(f"[{heading}](#{recorded.anchor(heading)})" for heading in headings)


def table(models: Models) -> str:
    """Models by metrics."""
    metrics = list(dict.fromkeys(row["metric"] for rows in models.values() for row in rows))
    cells = {metric: column(models, metric) for metric in metrics}
    lines = []
    for model, rows in models.items():
        runs = str(max(len(row["values"]) for row in rows))
        figures = [cells[metric].get(model, "") for metric in metrics]
        lines.append([model, *figures, runs, duration(rows), link(rows[0]["experiment"])])
    head = ["model", *metrics, "runs", "seconds a run", "experiment"]
    return markdown(head, lines, text=(0, len(head) - 1))


def column(models: Models, metric: str) -> dict[str, str]:
    """The cells of a metric by model, the best of them bold."""
    rows = {model: row for model, some in models.items() for row in some if row["metric"] == metric}
    best = recorded.best(rows, metric)
    return {model: recorded.figure(row, model in best) for model, row in rows.items()}


def benchmark(result: dict[str, Any]) -> str:
    """A benchmark's rows, a line each for what was timed: who took part, at what speed, and the ratios."""
    contests = [row["protocol"].removesuffix(", rezoo") for row in result["rows"]]
    timed: dict[tuple[str, ...], list[str]] = {}
    for row in result["rows"]:
        what = next((c for c in contests if row["protocol"].startswith(f"{c}, ")), row["protocol"])
        who = row["protocol"][len(what) + 2 :]
        unit = "" if row["metric"] == "ratio" else row["metric"]
        key = row["model"], row["dataset"], what
        timed.setdefault(key, []).append(" ".join(filter(None, [who, unit, recorded.figure(row)])))
    lines = [[*key, " · ".join(texts)] for key, texts in timed.items()]
    return markdown(["model", "data", "what", "figures"], lines, text=(0, 1, 2, 3))


def commands(rows: list[Row]) -> str:
    """The runs that made some rows, each once."""
    runs: dict[str, None] = {}
    for row in rows:
        for run in row["made"]:
            said = f"`{run['command']}`" if run["command"] else "command not kept"
            where = f"JAX {run['versions']['jax']}" if run["versions"] else ""
            commit = run["commit"] or f"recorded in {run['recorded']}"
            runs[f"{said} ({', '.join(filter(None, [run['device'], run['date'], where, commit]))})"] = None
    return "\n".join(f"- {run}" for run in runs)


def link(name: str) -> str:
    """To an experiment."""
    return f"[{name}](../{name}.py)"


def duration(rows: list[Row]) -> str:
    """Seconds of one run, and on what, if not a CPU; what takes less than a tenth of one was only counted."""
    spent = recorded.seconds(rows)
    where = f" ({rows[0]['device'].split()[-1]})" if recorded.accelerated(rows[0]) else ""
    return f"{spent:,.0f}{where}" if spent >= 10 else f"{spent:.1f}{where}" if spent >= 0.1 else ""
