"""Atomic writes: a kill, a full disk or a read-only folder never destroys what was there before.

with durable.file("figures.json") as partial:        # the old file is there until the new one is whole
    partial.write_text(text)
"""

import contextlib
import errno
import glob
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_COUNT = itertools.count()
"""Temporary names of this process."""


class BusyError(RuntimeError):
    """Another process works in the folder."""


@contextlib.contextmanager
def file(target: str | Path) -> Iterator[Path]:
    """A temporary path to write to, which takes the place of `target` when the block ends without an error.

    The content is flushed to the disk before it takes its name. Permissions of a file that is replaced
    are kept.

    Raises:
      OSError: if the folder cannot be written to or the disk is full; `target` is then as it was.
    """
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target)
    try:
        with named(target):
            yield partial
        _flush(partial)
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, partial)
        os.replace(partial, target)
        _flush(target.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def folder(target: str | Path) -> Iterator[Path]:
    """A temporary folder, which takes the place of `target` when the block ends without an error.

    A folder of that name is moved aside, the new one is moved in, and the old one is deleted: at every
    moment one of the two is whole, and `survivor` finds it. The caller decides whether `target` may be
    replaced.

    Raises:
      OSError: as `file`.
    """
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, aside = _partial(target), _aside(target)
    partial.mkdir()
    try:
        with named(target):
            yield partial
        for inner in [*partial.rglob("*"), partial]:
            _flush(inner)
        with _turn(target.parent):
            if target.exists():
                if aside.exists():  # left by a process that was killed after it had moved the new one in
                    shutil.rmtree(aside)
                os.rename(target, aside)
            os.rename(partial, target)
            _flush(target.parent)
            shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def survivor(target: str | Path) -> Path:
    """`target`, or the folder it replaced if a process was killed between moving one out and the other in.

    >>> survivor("no/such/folder").name
    'folder'
    """
    target = Path(target)
    aside = _aside(Path(os.path.realpath(target)))
    return aside if not target.exists() and aside.exists() else target


@contextlib.contextmanager
def named(place: str | Path) -> Iterator[None]:
    """The error of a full disk has no file name: in this block it gets that of `place`."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(place)
        raise


@contextlib.contextmanager
def lock(where: str | Path) -> Iterator[None]:
    """Hold a folder for this process; the lock ends with the block or with the process, however it ends.

    Raises:
      BusyError: if another process holds it.
      OSError: if the folder cannot be written to.
    """
    import fcntl

    where = Path(where)
    where.mkdir(parents=True, exist_ok=True)
    with (where / ".lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            handle.seek(0)
            holder = handle.read().strip() or "?"
            raise BusyError(
                f"{where}: process {holder} works in this folder; wait for it, stop it, "
                "or give another folder"
            ) from error
        with contextlib.suppress(OSError):  # of a full disk: the lock holds without the number, too
            os.ftruncate(handle.fileno(), 0)
            os.write(handle.fileno(), str(os.getpid()).encode())
        yield


@contextlib.contextmanager
def _turn(where: Path) -> Iterator[None]:
    """One process or thread at a time in a folder; the others wait."""
    import fcntl

    handle = os.open(where, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _partial(target: Path) -> Path:
    """A temporary name beside `target`, used once; those of processes that were killed are deleted."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        number = left.name.removesuffix(".partial").rpartition(".")[2].partition("-")[0]
        if number.isdecimal() and not _alive(int(number)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return target.with_name(f".{target.name}.{os.getpid()}-{next(_COUNT)}.partial")


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _flush(path: Path) -> None:
    """To the disk, for a file or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
