"""The tables and pictures of the results, made from experiments/results/*.json.

    python experiments/leaderboard.py

writes `experiments/results/README.md`: a table for each data set and protocol, whichever experiments its
rows are from, then the benchmarks, each with the commands that made it. It writes the tables between the
markers of the README: `<!-- headline -->`, `<!-- speed -->`, the last column of `<!-- models -->`, and the
links at `<!-- places -->`. For each data set with three timed models or more under a protocol it draws
quality against training time. With --smoke it only says whether the pages are up to date.
"""

from collections.abc import Callable
from pathlib import Path

import tyro
from pages import headline, pictures, recorded, tables

from rezoo.storage import durable

README = recorded.ROOT / "README.md"
PAGE = recorded.RESULTS / "README.md"


def main(smoke: bool = False, out: Path | None = None) -> None:
    """Bring the tables and the pictures up to date.

    Args:
      smoke: change nothing, only compare.
      out: not used; every experiment takes it.
    """
    wanted = {README: with_results(README.read_text("utf-8")), PAGE: tables.page()}
    for file, text in wanted.items():
        if not smoke:
            with durable.file(file) as partial:
                partial.write_text(text, "utf-8")
        differs = not file.exists() or file.read_text("utf-8") != text
        state = "differs: run without --smoke" if differs else "is up to date"
        print(f"{file.relative_to(recorded.ROOT)} {state}")
    if not smoke:
        for heading, by_protocol in recorded.by_data_set().items():
            pictures.draw(heading, by_protocol)


def with_results(text: str) -> str:
    """The README with the tables of now between its markers."""
    makes: dict[str, Callable[[str], str]] = {
        "headline": lambda _: headline.results(),
        "speed": lambda _: headline.speed(),
        "models": headline.statuses,
        "places": lambda _: headline.places(text),
    }
    for name, make in makes.items():
        head, rest = text.split(f"<!-- {name} -->\n")
        inside, tail = rest.split(f"<!-- /{name} -->")
        text = f"{head}<!-- {name} -->\n{make(inside)}\n<!-- /{name} -->{tail}"
    return text


if __name__ == "__main__":
    tyro.cli(main)
