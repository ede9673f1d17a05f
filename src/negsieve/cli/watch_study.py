"""How a comparison goes: one bar over all runs and a line for each that is active, or plain lines. On stderr."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

from negsieve.cli import screen
from negsieve.cli.watch_run import Count
from negsieve.report import words


@contextmanager
def told(*, metric: str, part: str, quiet: bool) -> Iterator[StudyBars | StudyLines | None]:
    """Whom to tell of a study: live bars on a terminal, lines where stderr is none, nobody when quiet."""
    console = screen.console(stderr=True)
    if quiet:
        yield None
    elif not console.is_terminal:
        yield StudyLines(console, metric, part)
    else:
        bars = StudyBars(console, metric, part)
        with Live(bars.progress, console=console, transient=True, refresh_per_second=4, redirect_stdout=False):
            console.show_cursor(True)  # a second Ctrl-C ends the process at once and must not leave it hidden
            yield bars


class StudyBars:
    """A bar over all runs, counted in epochs so that it moves, and one for each run at work.

    Events may come from another thread.
    """

    def __init__(self, console: Console, metric: str, part: str) -> None:
        self._console, self._metric, self._part = console, metric, part
        self._lock = threading.Lock()
        self._shares: dict[str, float] = {}
        self._tasks: dict[str, Any] = {}
        self._width = 34 if console.width < 100 else 50
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=14 if console.width < 100 else 24, complete_style="cyan", finished_style="cyan"),
            Count(),
            console=console,
        )

    def begin(self, *, runs: int, done: int) -> None:
        self._runs, self._done = runs, done
        name = f"{'all runs':{self._width}}"
        self._all = self.progress.add_task(name, total=runs, completed=done, count=f"{done}/{runs} runs", timed=True)

    def event(self, label: str, kind: str, facts: dict[str, Any]) -> None:
        with self._lock:
            if kind == "begin":
                self._start(label, facts)
            elif kind == "epoch":
                self._advance(label, facts)
            elif label in self._tasks or kind == "failed":
                self._close(label, kind, facts)
            self._move()

    def _start(self, label: str, facts: dict[str, Any]) -> None:
        shown = f"{screen.shortened(screen.escaped(label), self._width):{self._width}}"
        task = self.progress.add_task(shown, total=facts["epochs"], completed=facts["epoch"], count="starting")
        self._tasks[label], self._shares[label] = task, facts["epoch"] / facts["epochs"]

    def _advance(self, label: str, facts: dict[str, Any]) -> None:
        done = facts["epoch"] + 1
        value = facts.get(self._part, {}).get(self._metric)
        told = f"epoch {done}/{facts['epochs']}" + (f"  {self._metric} {words.number(value)}" if value else "")
        self.progress.update(self._tasks[label], completed=done, count=told)
        self._shares[label] = done / facts["epochs"]

    def _close(self, label: str, kind: str, facts: dict[str, Any]) -> None:
        if label in self._tasks:
            self.progress.remove_task(self._tasks.pop(label))
        self._shares.pop(label, None)
        self._done += 1
        if kind == "failed":
            self._console.print(screen.plain(f"missing  {label}: {facts['why']}", "red"), soft_wrap=True)

    def _move(self) -> None:
        whole = self._done + sum(self._shares.values())
        self.progress.update(self._all, completed=whole, count=f"{self._done}/{self._runs} runs")


class StudyLines:
    """A plain line for every run that ends."""

    def __init__(self, console: Console, metric: str, part: str) -> None:
        self._console, self._metric = console, metric
        self._lock = threading.Lock()

    def begin(self, *, runs: int, done: int) -> None:
        self._runs, self._done = runs, done
        self._say(f"{runs} runs, {done} of them finished before" if done else f"{runs} runs")

    def event(self, label: str, kind: str, facts: dict[str, Any]) -> None:
        with self._lock:
            if kind == "end":
                self._done += 1
                value = facts["metrics"].get("test", {}).get(self._metric)
                told = f"test {self._metric} {words.number(value)}  {words.duration(facts['seconds'])}"
                self._say(f"[{self._done}/{self._runs}] {label}  {told}")
            elif kind == "failed":
                self._done += 1
                self._say(f"[{self._done}/{self._runs}] {label}  missing: {facts['why']}")

    def _say(self, line: str) -> None:
        self._console.print(screen.plain(line), soft_wrap=True)
