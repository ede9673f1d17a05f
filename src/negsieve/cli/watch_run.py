"""How one training run goes, live on a terminal or a line an epoch elsewhere. Always on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from negsieve.cli import screen
from negsieve.report import words

_EVERY = 0.1  # seconds between updates of the bar: a step may take a millisecond


class Count(ProgressColumn):
    """How far a task is, and for a timed one what is left at the present speed; early stopping may end it sooner."""

    def render(self, task: Task) -> Text:
        told = Text(task.fields["count"], style="dim")
        left = task.time_remaining
        if task.fields.get("timed") and not task.finished and left is not None:
            told.append(f"   at most {words.duration(max(left, 10.0))} left")
        return told


@contextmanager
def told(best: Best, *, quiet: bool) -> Iterator[RunBars | RunLines | None]:
    """Whom to tell of a run: live bars on a terminal, lines where stderr is none, nobody when quiet."""
    console = screen.console(stderr=True)
    if quiet:
        yield None
    elif not console.is_terminal:
        yield RunLines(console, best)
    else:
        bars = RunBars(console, best)
        with Live(bars.group, console=console, transient=True, refresh_per_second=8, redirect_stdout=False):
            console.show_cursor(True)  # a second Ctrl-C ends the process at once and must not leave it hidden
            yield bars


class Best:
    """The best validation so far, as the trainer sees it: higher is better, the first of equals stays.

    metric, part  what the best epoch is chosen by, and on which part
    past          the epochs of a run that goes on
    """

    def __init__(self, metric: str, part: str, past: Sequence[dict[str, Any]] = ()) -> None:
        self.metric, self.part = metric, part
        self.value: float | None = None
        self.epoch: int | None = None
        for record in past:
            self.see(record)

    def see(self, record: dict[str, Any]) -> float | None:
        """This epoch's value, or None where it was not validated."""
        value = record.get(self.part, {}).get(self.metric)
        if value is not None and (self.value is None or value > self.value):
            self.value, self.epoch = value, record["epoch"]
        return value

    def words(self, record: dict[str, Any]) -> list[str]:
        """An epoch in short pieces: loss, false negatives, this value, the best."""
        value = self.see(record)
        told = [f"loss {words.number(record.get('loss'))}"]
        if record.get("false_negative_rate") is not None:
            told.append(f"false neg. {words.share(record['false_negative_rate'])}")
        if value is not None:
            told.append(f"{self.part} {self.metric} {words.number(value)}")
        if self.value is not None:
            told.append("best yet" if self.epoch == record["epoch"] else f"best {words.number(self.value)}")
        return told


class RunBars:
    """Two bars (epochs, the steps of this one) over a line with the last epoch's figures."""

    def __init__(self, console: Console, best: Best) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28, complete_style="cyan", finished_style="cyan"),
            Count(),
            console=console,
        )
        self._line = screen.plain("", "dim")
        self.group = Group(self._progress, self._line)
        self._best = best
        self._last = 0.0

    def begin(self, run: str, *, epochs: int, steps: int, epoch: int, memory: str = "") -> None:
        self._epochs, self._steps = epochs, steps
        self._line.plain = f"memory: {memory}" if memory else ""
        self._whole = self._progress.add_task(
            "epochs ", total=epochs, completed=epoch, count=f"{epoch}/{epochs}", timed=True
        )
        self._inner = self._progress.add_task(f"epoch {epoch}", total=steps, count=f"0/{steps} steps")

    def step(self, epoch: int, step: int) -> None:
        now = monotonic()
        if now - self._last < _EVERY:
            return
        self._last = now
        done = step + 1
        self._progress.update(self._whole, completed=epoch + done / self._steps)
        self._progress.update(
            self._inner, completed=done, description=f"epoch {epoch}", count=f"{done}/{self._steps} steps"
        )

    def epoch(self, record: dict[str, Any]) -> None:
        done = record["epoch"] + 1
        self._progress.update(self._whole, completed=done, count=f"{done}/{self._epochs}")
        self._line.plain = "  ".join([f"epoch {record['epoch']}", *self._best.words(record)])

    def end(self, result: dict[str, Any]) -> None:
        pass


class RunLines:
    """A plain line for every epoch that was validated, and for the last."""

    def __init__(self, console: Console, best: Best) -> None:
        self._console, self._best = console, best
        self._epochs = 0

    def begin(self, run: str, *, epochs: int, steps: int, epoch: int, memory: str = "") -> None:
        self._epochs = epochs
        if memory:
            self._console.print(screen.plain(f"memory: {memory}"), soft_wrap=True)

    def step(self, epoch: int, step: int) -> None:
        pass

    def epoch(self, record: dict[str, Any]) -> None:
        validated = self._best.part in record
        told = self._best.words(record)
        if validated or record["epoch"] + 1 == self._epochs:
            took = words.duration(sum(record.get("seconds", {}).values()))
            line = "  ".join([f"[{record['epoch'] + 1}/{self._epochs}] epoch {record['epoch']}", *told, took])
            self._console.print(screen.plain(line), soft_wrap=True)

    def end(self, result: dict[str, Any]) -> None:
        pass
