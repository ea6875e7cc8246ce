import io
import time

from rich.console import Console

from rezoo.training import loop
from rezoo.training.progress import Lines


def test_a_log_file_has_lines_of_what_is_running():
    out = io.StringIO()
    with Lines(console=Console(file=out, width=200), every=0.01) as progress:
        task = progress.add_task("MF, seed 3", total=8, note="loss 0.5")
        progress.add_task("done", total=1, completed=1)
        progress.update(task, completed=2)
        for _ in range(500):
            if "MF, seed 3: 2 of 8, 0:00:00" in out.getvalue():
                break
            time.sleep(0.01)
    printed = out.getvalue()
    assert "left  loss 0.5" in printed and "done: " not in printed
    assert progress._printer is not None and not progress._printer.is_alive()


def test_a_bar_is_drawn_in_a_terminal_only(monkeypatch):
    assert isinstance(loop.progress_bar(), Lines)
    monkeypatch.setattr(loop, "get_console", lambda: Console(force_terminal=True))
    assert not isinstance(loop.progress_bar(), Lines)
