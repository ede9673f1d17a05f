"""Who is told how training goes: a progress bar, a notebook, nobody."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Protocol


class Watcher(Protocol):
    """Told of every step and epoch. It must not touch the run."""

    def begin(self, run: str, *, epochs: int, steps: int, epoch: int, memory: str = "") -> None:
        """Training starts at ``epoch`` (0 unless resumed) of ``epochs``, with ``steps`` in each.

        ``memory`` says what it will take.
        """

    def step(self, epoch: int, step: int) -> None:
        """All steps up to this one are done; an engine that does many in a call tells of the last alone."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is done; ``record`` is its line of metrics.jsonl."""

    def end(self, result: dict[str, Any]) -> None:
        """The run is finished; ``result`` is its result.json."""


class Silent:
    """A watcher that says nothing."""

    def begin(self, run, *, epochs, steps, epoch, memory=""):
        pass

    def step(self, epoch, step):
        pass

    def epoch(self, record):
        pass

    def end(self, result):
        pass


class Stopwatch:
    """Seconds by stage; ``lap(stage)`` books the time since the last lap.

    On a GPU the stages of a step overlap, so only their sum is meaningful there.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def take(self) -> dict[str, float]:
        """The seconds so far, rounded to milliseconds; the count starts again."""
        taken, self.seconds = {stage: round(value, 3) for stage, value in self.seconds.items()}, {}
        return taken
