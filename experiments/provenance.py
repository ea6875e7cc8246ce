"""Where the rows of a result file come from: the command, date, versions, commit and device of each.

A result file lists the runs of commands that made it, and each row names by index those that made its values:

    {"experiment": "movielens_mf",
     "runs": [{"command": "python experiments/movielens_mf.py --record", "date": "2026-11-24",
               "versions": {"python": "3.11.7", …}, "commit": "44947d1", "device": "2 CPU cores"}],
     "rows": [{"model": "BiasedMF", …, "values": […], "runs": [0]}]}

Runs from before this was kept have `recorded`, the commit that added their rows to the repository, and no
`commit`, which is null. A command that is not known is null, and `date` is then the day of `recorded`.
"""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from rezoo.devices.backend import cores

HERE = Path(__file__).parent
PLACES = ("--data-dir", "--json", "--out", "--recommendations")
"""Flags that say where something is, which differs by machine."""
PACKAGES = ("rezoo", "jax", "jaxlib", "flax", "optax", "numpy")
KEY = ("model", "dataset", "protocol", "metric")


def run(name: str) -> dict[str, Any]:
    """The run of experiment `name` that this process is."""
    versions = {"python": platform.python_version()}
    return {
        "command": command(name),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions | {package: importlib.metadata.version(package) for package in PACKAGES},
        "commit": commit(),
        "device": device(),
    }


def command(name: str) -> str:
    """The command of this process; places, which differ by machine, are left out."""
    words, skip = [], False
    for word in sys.argv[1:]:
        flag = word.split("=")[0]
        is_place = flag in PLACES or flag.endswith("-python")
        if not (skip or is_place):
            words.append(Path(word).name)
        skip = is_place and "=" not in word
    return " ".join(["python", f"experiments/{name}.py", *map(quoted, words)])


def quoted(word: str) -> str:
    """A word as a shell takes it, an apostrophe in double quotes."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\') else shlex.quote(word)


def commit() -> str | None:
    """The git commit of the code, with a `+` if rezoo or experiments differ from it; None outside git."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=HERE.parent, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "rezoo", "experiments/*.py")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def device() -> str:
    """What the run computes on, in words."""
    kind = jax.devices()[0].device_kind
    cpu = f"{cores()} CPU core{'' if cores() == 1 else 's'}"
    return cpu if jax.default_backend() == "cpu" else f"{len(jax.devices())} × {kind}"


def key(row: dict[str, Any]) -> tuple[str, ...]:
    """The key of a row within its file."""
    return tuple(row[name] for name in KEY)


def joined(*files: dict[str, Any]) -> dict[str, Any]:
    """The runs and rows of several result files as one; of rows with the same key the last one counts.

    Runs without a row are left out, and a row's `runs` are indices into the joined list.
    """
    last = {key(row): (row, [file["runs"][i] for i in row["runs"]]) for file in files for row in file["rows"]}
    runs: list[dict[str, Any]] = []
    for _, made in last.values():
        runs += [run for run in made if run not in runs]
    rows = [row | {"runs": [runs.index(run) for run in made]} for row, made in last.values()]
    return {"runs": runs, "rows": rows}
