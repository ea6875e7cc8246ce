"""The README's result tables, made from experiments/results/*.json.

    python experiments/leaderboard.py

writes them between the README's markers `<!-- results -->` and `<!-- /results -->`.
With --smoke it only says whether the README is up to date.
"""

import json
from pathlib import Path

import tyro

ROOT = Path(__file__).parent.parent
START, END = "<!-- results -->", "<!-- /results -->"


def main(smoke: bool = False, out: Path | None = None) -> None:
    """Bring the README's tables up to date.

    Args:
      smoke: change nothing, only compare.
      out: not used; every experiment takes it.
    """
    readme = ROOT / "README.md"
    text = readme.read_text()
    wanted = with_results(text, tables())
    if smoke:
        print("README is up to date" if wanted == text else "README differs: run without --smoke")
    else:
        readme.write_text(wanted)
        print(f"wrote the results into {readme.name}")


def with_results(readme: str, results: str) -> str:
    """The README's text with `results` between its markers."""
    before, rest = readme.split(START)
    return f"{before}{START}\n{results}\n{END}{rest.split(END)[1]}"


def tables() -> str:
    """A Markdown table for each result file."""
    files = sorted((ROOT / "experiments" / "results").glob("*.json"))
    return "\n\n".join(table(json.loads(file.read_text())) for file in files)


def table(result: dict) -> str:
    """One experiment's rows, under the command that makes them: a line for each fit, its metrics together."""
    name = result["experiment"]
    lines = [
        f"**[{name}](experiments/{name}.py)** · `{result['command']}` · {result['device']}, "
        f"jax {result['versions']['jax']}, {result['date']}",
        "",
        "| model | data | protocol | ours ± s.e. (published) | runs | seconds |",
        "| --- | --- | --- | --- | ---: | ---: |",
    ]
    fits: dict[tuple[str, str, str], list[dict]] = {}
    for row in result["rows"]:
        fits.setdefault((row["model"], row["dataset"], row["protocol"]), []).append(row)
    return "\n".join([*lines, *(line(rows) for rows in fits.values())])


def line(rows: list[dict]) -> str:
    """A line of the table, from the rows of one model under one protocol."""
    first = rows[0]
    cells = [first["model"], first["dataset"], first["protocol"], " · ".join(map(figure, rows))]
    cells += [str(max(len(row["values"]) for row in rows)), f"{max(row['seconds'] for row in rows):,.0f}"]
    return "| " + " | ".join(cells) + " |"


def figure(row: dict) -> str:
    """A metric's name and value; large numbers are rounded to whole ones."""
    digits = 4 if abs(row["mean"]) < 10 else 1 if abs(row["mean"]) < 1000 else 0
    error = "" if row["sem"] is None else f" ± {row['sem']:,.{digits}f}"
    published = "" if row["published"] is None else f" ({row['published']:g})"
    return f"{row['metric']} **{row['mean']:,.{digits}f}**{error}{published}"


if __name__ == "__main__":
    tyro.cli(main)
