"""A bar of progress, where somebody looks at it, which ends as a plain line in a log."""

import time
from importlib.util import find_spec
from typing import Any


class Bar:
    """Shows how many items of a map have an outcome. ``wanted`` is None to show it on a terminal or in a notebook;
    where it is true a log gets the line at the end, too."""

    def __init__(self, title: str, wanted: bool | None = None, unit: str = "items") -> None:
        self._title, self._wanted, self._unit = title, wanted, unit
        self.total: int | None = None
        self.done = 0
        self._began = 0.0
        self._console: Any = None
        self._progress: Any = None
        self._task: Any = None

    def start(self, total: int | None) -> None:
        self.total, self._began = total, time.monotonic()
        if self._wanted is False:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        if not (self._wanted or console.is_terminal or console.is_jupyter):
            return
        self._console = console
        if not console.is_terminal and not (console.is_jupyter and find_spec("ipywidgets")):
            return  # In a log, and in a notebook without widgets, no bar can move, and there is the line at the end.
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task(self._title, total=total, rate="")
        self._progress.start()

    def advance(self, n: int = 1) -> None:
        self.done += n
        if self._progress is not None:
            self._progress.update(self._task, advance=n, rate=f"{self._rate():,.1f} {self._unit}/s")

    def _rate(self) -> float:
        return self.done / max(time.monotonic() - self._began, 1e-9)

    def stop(self) -> None:
        """Ends the bar, with a line that stays."""
        if self._progress is not None:
            self._progress.stop()
        console, self._console, self._progress = self._console, None, None
        if console is None:
            return
        of = "" if self.total is None else f" of {self.total:,}"
        took = time.monotonic() - self._began
        console.print(
            f"{self._title}: {self.done:,}{of} {self._unit} in {took:.1f} s, {self._rate():,.1f} {self._unit}/s",
            highlight=False,
        )
