"""The tables and pictures of the results, made from experiments/results/*.json.

    python experiments/leaderboard.py

writes `experiments/results/README.md`: a table for each data set and protocol, whichever experiments its
rows are from, then the benchmarks, each with the commands that made it; beside it `SETTINGS.md`, with which
settings. It writes the last column of the tables of `rezoo/models/README.md`, and the tables between the
markers of the README: `<!-- headline -->`, `<!-- speed -->` and `<!-- models -->`. Both have their links at
`<!-- places -->`. For each data set with three timed models or more under a protocol it draws quality against
training time. With --smoke it only says whether the pages are up to date.
"""

from collections.abc import Callable
from pathlib import Path

import tyro
from pages import headline, pictures, recorded, settings, tables

from rezoo.storage import durable

README = recorded.ROOT / "README.md"
MODELS = recorded.ROOT / "rezoo" / "models" / "README.md"
PAGE = recorded.RESULTS / "README.md"
SETTINGS = recorded.RESULTS / "SETTINGS.md"


def main(smoke: bool = False, out: Path | None = None) -> None:
    """Bring the tables and the pictures up to date.

    Args:
      smoke: change nothing, only compare.
      out: not used; every experiment takes it.
    """
    for file, text in pages().items():
        if not smoke:
            with durable.file(file) as partial:
                partial.write_text(text, "utf-8")
        differs = not file.exists() or file.read_text("utf-8") != text
        state = "differs: run without --smoke" if differs else "is up to date"
        print(f"{file.relative_to(recorded.ROOT)} {state}")
    if not smoke:
        for heading, by_protocol in recorded.by_data_set().items():
            pictures.draw(heading, by_protocol)


def pages() -> dict[Path, str]:
    """Each page, as it is with the results of now."""
    models = between("models", MODELS.read_text("utf-8"), headline.statuses)
    models = between("places", models, lambda _: headline.places(models, "../../"))
    readme = README.read_text("utf-8")
    readme = between("headline", readme, lambda _: headline.results())
    readme = between("speed", readme, lambda _: headline.speed())
    readme = between("models", readme, lambda _: headline.families(models))
    readme = between("places", readme, lambda _: headline.places(readme))
    return {README: readme, MODELS: models, PAGE: tables.page(), SETTINGS: settings.page()}


def between(name: str, text: str, make: Callable[[str], str]) -> str:
    """A text with what stands between the markers of this name made from what stood there."""
    head, rest = text.split(f"<!-- {name} -->\n")
    inside, tail = rest.split(f"<!-- /{name} -->")
    return f"{head}<!-- {name} -->\n{make(inside)}\n<!-- /{name} -->{tail}"


if __name__ == "__main__":
    tyro.cli(main)
