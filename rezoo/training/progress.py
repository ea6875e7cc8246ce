"""Progress as lines of a log file, where there is no terminal to draw a bar in."""

import threading
from datetime import timedelta

from rich.console import Console
from rich.progress import Progress, ProgressColumn


class Lines(Progress):
    """A rich `Progress` that prints a line for what is running every ten seconds, also amid an epoch."""

    def __init__(self, *columns: ProgressColumn, console: Console | None = None, every: float = 10.0):
        super().__init__(*columns, console=console)
        self._every, self._over = every, threading.Event()
        self._printer = threading.Thread(target=self._print, daemon=True)

    def start(self) -> None:
        """Begin to print."""
        super().start()
        self._printer.start()

    def stop(self) -> None:
        """Print no more."""
        self._over.set()
        if self._printer.is_alive():
            self._printer.join()
        super().stop()

    def _print(self) -> None:
        while not self._over.wait(self._every):
            for task in self.tasks:
                if task.started and task.total and task.completed < task.total:
                    since, left = (
                        "?" if seconds is None else timedelta(seconds=round(seconds))
                        for seconds in (task.elapsed, task.time_remaining)
                    )
                    line = f"{task.description}: {task.completed:g} of {task.total:g}, {since}, {left} left"
                    self.console.print(f"{line}  {task.fields.get('note', '')}".rstrip(), soft_wrap=True)
                    self.console.file.flush()
