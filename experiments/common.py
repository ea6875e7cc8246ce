"""What every experiment shares: its flags, its result file, and the table it prints."""

import contextlib
import copy
import errno
import json
import os
import re
import shlex
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import provenance
import tyro
from rich.console import Console
from rich.table import Table

from rezoo.errors import DataError
from rezoo.storage import durable, fingerprint

HERE = Path(__file__).parent
CHOICES = ("--dataset", "--data", "--model", "--models", "--parts", "--refit", "--rows")
"""Flags that choose which rows are measured, but do not change what a row says."""
DISK = (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
"""Errors of a disk that is full or cannot be written to; those of checkpoints have no number."""


@dataclass(frozen=True)
class Flags:
    """Flags of every experiment."""

    smoke: bool = False
    """A few seconds on a small piece of the data, to see that everything runs."""
    seeds: int = 5
    """Independent runs of each model."""
    data_dir: Path | None = Path(os.environ["REZOO_DATA"]) if "REZOO_DATA" in os.environ else None
    """Folder of the real data sets; REZOO_DATA if not given."""
    record: bool = False
    """Put the finished result file into experiments/results, from which the README's tables are made."""
    json: Path | None = None
    """Where the finished result file goes instead; in --out if not given."""
    out: Path | None = None
    """Working folder; runs/NAME. The same data, arguments and code have a folder of their own in it, with
    checkpoints, finished rows and pictures. Run again to go on there."""


def start(
    script: str, doc: str | None, flags: type = Flags, data: Sequence[str] = ()
) -> tuple[Any, "Results"]:
    """Read the command line of the experiment `script` (its `__file__`) and open its results.

    Args:
      script: the file.
      doc: what `--help` says.
      flags: the class of its flags.
      data: patterns of the published data sets that it reads: files, or folders of them, in --data-dir.
    """
    sys.excepthook = partial(say, flags=[field.name for field in fields(flags)])
    name = Path(script).stem
    given = tyro.cli(flags, prog=f"python experiments/{name}.py", description=doc)
    check_counts(given, *{"seeds"} & vars(given).keys())
    if given.record and given.smoke:
        raise DataError(
            "--record keeps results, and --smoke makes none worth keeping: leave one of the two out"
        )
    out = given.out or Path("runs") / (f"{name}-smoke" if given.smoke else name)
    own = fingerprint.place(out, identity(given, () if given.smoke else data))
    recorded = HERE / "results" / f"{name}.json" if given.record else own / f"{name}.json"
    return given, Results(name, own, given.json or recorded)


def identity(flags: Any, data: Sequence[str] = ()) -> dict[str, str]:
    """The fingerprint of an experiment: its data, arguments and code."""
    read = sorted(place for pattern in data if flags.data_dir for place in flags.data_dir.glob(pattern))
    arguments = {}
    for name, value in vars(flags).items():
        flag = f"--{name.replace('_', '-')}"
        if flag in (*provenance.PLACES, *CHOICES, "--record") or flag.endswith("-python"):
            continue
        file = Path(str(value).partition("!")[0])  # of a member of an archive: the archive
        if (name == "file" or isinstance(value, Path)) and file.exists():
            read.append(file)
            value = Path(value).name
        arguments[name] = repr(value)
    modules = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    scripts = sorted({Path(file) for file in modules if file and Path(file).is_relative_to(HERE)})
    return {
        "data": fingerprint.content(*read),
        "arguments": fingerprint.of(arguments),
        "code": fingerprint.source(*scripts),
    }


def say(
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    flags: Sequence[str] = (),
) -> None:
    """An exception hook: one line for an error that the user can correct; for others the traceback.

    Arguments that are flags of the command, such as user='client', are spelt as such: --user 'client'.
    """
    if isinstance(error, DataError | durable.BusyError):
        named = re.compile(rf"(?<![\w-])({'|'.join(flags)})=(\[[^][]*\]|(?=\S))") if flags else None
        print(f"error: {named.sub(_as_flag, str(error)) if named else error}", file=sys.stderr)
    elif isinstance(error, OSError) and error.errno in DISK:
        print(f"error: {error}; what was finished is kept: run the same command to go on", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _as_flag(argument: re.Match[str]) -> str:
    """`--user `, before its value; a list is one word with commas."""
    name, value = argument.groups()
    if value:
        value = shlex.quote(",".join(re.findall(r"'([^']*)'", value))) if "'" in value else "…"
    return f"--{name.replace('_', '-')} {value}"


def check_names(flag: str, given: Iterable[str], known: Iterable[str], *, all_by_none: bool = False) -> None:
    """Refuse names that a flag does not know, and none at all, but where that stands for all.

    Raises:
      DataError: that says which there are.
    """
    known, given = list(known), list(given)
    if not given and not all_by_none:
        raise DataError(f"{flag}: name one or more of {', '.join(known)}")
    if unknown := set(given) - set(known):
        raise DataError(f"{flag}={sorted(unknown)}: there are {', '.join(known)}")


def check_counts(flags: Any, *names: str) -> None:
    """Refuse numbers below 1 of these flags; None is left out.

    Raises:
      DataError: that names the flag.
    """
    for name in names:
        number = getattr(flags, name)
        if number is not None and number < 1:
            raise DataError(f"{name}={number}: give 1 or more")


def check_port(port: int, several: int = 1) -> None:
    """Refuse a port that there is not, or where not so many follow; 0 stands for a free one.

    Raises:
      DataError: that says which there are.
    """
    if not 0 <= port <= 2**16 - several:
        raise DataError(f"port={port}: give a port from 1 to {2**16 - several}")


class Results:
    """The rows of a result file, kept on disk as they come, so that a run can go on later."""

    def __init__(self, name: str, out: Path, json_file: Path):
        self.name, self.out, self.json = name, out, json_file
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(durable.lock(out))
        self._file = out / "rows.json"
        self._together = False
        self._now: dict[str, Any] | None = None
        before = _read(self._file) if self._file.exists() else {"runs": [], "rows": []}
        self.runs: list[dict[str, Any]] = before["runs"]
        self.rows: list[dict[str, Any]] = before["rows"]
        if self.rows:
            print(f"{name}: going on with {len(self.rows)} rows in {out}; delete that folder to start again")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Rows added in the block are one measurement: all are written to disk at its end, or none."""
        before, self._together = copy.deepcopy(self.rows), True
        try:
            yield
            self._keep()
        except BaseException:
            self.rows = before
            raise
        finally:
            self._together = False

    def values(self, model: str, dataset: str, protocol: str, metric: str) -> list[float]:
        """The values of a row so far."""
        row = self._find(model, dataset, protocol, metric)
        return row["values"] if row else []

    def add(
        self,
        model: str,
        dataset: str,
        protocol: str,
        metric: str,
        values: float | Sequence[float],
        *,
        seconds: float,
        published: float | None = None,
        **notes: Any,
    ) -> None:
        """Append values (one a seed or a fold) to a row, and write it to disk.

        Args:
          model: the class's name.
          dataset: its short name, such as `ml-1m`.
          protocol: how it was split and measured, in words.
          metric: its key, such as `ndcg@10`; a fraction, not per cent.
          values: what was measured.
          seconds: spent on these values.
          published: the figure to compare with.
          notes: anything more that the row should say.
        """
        row: dict[str, Any] | None = self._find(model, dataset, protocol, metric)
        if row is None:
            row = dict(model=model, dataset=dataset, protocol=protocol, metric=metric)
            row |= dict(values=[], published=published, seconds=0.0, runs=[])
            self.rows.append(row)
        if (run := self._run()) not in row["runs"]:
            row["runs"].append(run)
        new = [values] if isinstance(values, int | float) else values
        row["values"] += [float(value) for value in new]
        row["mean"] = statistics.fmean(row["values"])
        row["sem"] = standard_error(row["values"])
        row["seconds"] = round(row["seconds"] + seconds, 3)
        row |= notes
        if not self._together:
            self._keep()

    def put(
        self,
        model: str,
        dataset: str,
        protocol: str,
        metric: str,
        values: float | Sequence[float],
        *,
        seconds: float,
        published: float | None = None,
        **notes: Any,
    ) -> None:
        """As `add`, in place of the values that are there: for what is measured, or computed, as a whole."""
        if row := self._find(model, dataset, protocol, metric):
            row |= {"values": [], "seconds": 0.0, "runs": []}
        self.add(model, dataset, protocol, metric, values, seconds=seconds, published=published, **notes)

    def finish(self, *, keep: bool = False) -> None:
        """Write the result file and print its table.

        With `keep`, or of a command that chooses some of the rows (`CHOICES`), the file keeps its others.
        """
        parts = [{"runs": self.runs, "rows": self.rows}]
        if self.json.exists() and (keep or any(word.split("=")[0] in CHOICES for word in sys.argv)):
            parts.insert(0, _read(self.json))
        _write(self.json, {"experiment": self.name, **provenance.joined(*parts)})
        Console(width=None if sys.stdout.isatty() else 150).print(self.table())
        print(f"results: {self.json}")

    def table(self) -> Table:
        """The rows as a table."""
        table = Table(title=self.name)
        for column in ("model", "data", "protocol", "metric", "mean ± s.e.", "published", "runs", "seconds"):
            right = column not in ("model", "data", "protocol", "metric")
            table.add_column(column, justify="right" if right else "left", overflow="fold")
        for row in self.rows:
            spread = f" ± {row['sem']:.4f}" if row["sem"] is not None else ""
            published = "" if row["published"] is None else f"{row['published']:.4g}"
            cells = [row["model"], row["dataset"], row["protocol"], row["metric"]]
            cells += [
                f"{row['mean']:.4f}{spread}",
                published,
                str(len(row["values"])),
                f"{row['seconds']:.1f}",
            ]
            table.add_row(*cells)
        return table

    def _find(self, *key: str) -> dict[str, Any] | None:
        return next((row for row in self.rows if provenance.key(row) == key), None)

    def _run(self) -> int:
        """The index of the run that this process is."""
        if self._now is None:
            self._now = provenance.run(self.name)
        if self._now not in self.runs:
            self.runs.append(self._now)
        return self.runs.index(self._now)

    def _keep(self) -> None:
        _write(self._file, {"runs": self.runs, "rows": self.rows})


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of the mean; None for a single value."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def keep(figure: Any, file: Path, dpi: int = 110) -> None:
    """Write a matplotlib figure as PNG, whole."""
    with durable.file(file) as partial:
        figure.savefig(partial, format="png", dpi=dpi)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}): delete it to measure its rows again") from error


def _write(file: Path, content: Any) -> None:
    with durable.file(file) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
