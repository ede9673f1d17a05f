"""From rows to runs: encoders trained once, then a comparison for each model and start, in folders that go on.

Below the output folder stand ``pretrained/<domain>-<key>``, one run for all that start from it, and
``<preset>/<target>-<model>-<start>``, a study of negsieve with a run a method and seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from negsieve.api import compare, train
from negsieve.data.dataset import Dataset
from negsieve.store.run import Run
from negsieve.study.plan import make_method

from .plan import Experiment, Row
from .settings import SOURCE, Preset, load, model_of, pretraining, settings

SECONDS = {"mf": (2, 1), "sasrec": (2, 3), "sasrec_cdr": (4, 4), "dasl": (5, 6)}
"""CPU seconds of an epoch of 20 random negatives and a measurement, on games and on toys: docs/models.md, and .9 and .8
for the measurement."""

SELECTION = (9, 8)
"""CPU seconds that RealHNS adds to an epoch with all ten columns hard: docs/methods/realhns.md."""

ASSUMED = 60
"""Epochs that a run is assumed to take until it stops early, for estimates alone."""


@dataclass(frozen=True)
class Cell:
    """Runs that share everything but sampler and seed: a study in a folder of its own."""

    target: str
    model: str
    start: str


@dataclass(frozen=True)
class Work:
    """Where the data are, where runs go, and what limits them.

    epochs  at most, of every run and of the encoders' training too; None: as published, until patience ends
    failed  why, by the run's path, of those that failed in this call
    """

    data: Path
    out: Path
    preset: Preset
    seeds: int = 3
    epochs: int | None = None
    jobs: int = 1
    tell: Callable[[str], None] = print
    failed: dict[Path, str] = field(default_factory=dict)
    _loaded: dict[str, Dataset] = field(default_factory=dict)

    def cell_of(self, one: Experiment, row: Row) -> Cell:
        return Cell(one.target, row.model, row.start)

    @property
    def name(self) -> str:
        """Of the folder of its studies, and of its tables."""
        return self.preset.name + (f"-{self.epochs}-epochs" if self.epochs else "")

    def folder(self, cell: Cell) -> Path:
        return self.out / self.name / f"{cell.target}-{cell.model}-{cell.start}"

    def method(self, row: Row) -> Any:
        return make_method(model_of(row.model, self.preset), row.sampler, "bce", oracle=row.oracle)

    def path(self, one: Experiment, row: Row, seed: int) -> Path:
        """Where a run of the row is, or will be."""
        return self._run(self.cell_of(one, row), row, seed)

    def _run(self, cell: Cell, row: Row, seed: int) -> Path:
        return self.folder(cell) / "runs" / f"{self.method(row).slug}-s{seed}"

    def todo(self, rows: Iterable[tuple[Experiment, Row]]) -> dict[Cell, list[Row]]:
        """The rows by cell, each method once."""
        cells: dict[Cell, dict[str, Row]] = {}
        for one, row in rows:
            cells.setdefault(self.cell_of(one, row), {}).setdefault(self.method(row).name, row)
        return {cell: list(methods.values()) for cell, methods in cells.items()}

    def finished(self, cell: Cell, row: Row) -> int:
        """How many of the seeds are done."""
        return sum(Run(self._run(cell, row, seed)).finished for seed in self.numbers)

    @property
    def numbers(self) -> range:
        return range(1, self.seeds + 1)

    def run(self, cell: Cell, rows: list[Row]) -> None:
        """Does what is missing of a cell; failed runs are noted, the others go on. Raises Interrupted, all saved."""
        begin = self._begin(cell) if cell.start == "pretrained" else {}
        shared = settings(cell.target, cell.model, self.preset, epochs=self.epochs, begin=begin)
        table = compare(
            self._load(shared["data"]),
            models=(),
            samplers=(),
            methods=[self.method(row).name for row in rows],
            seeds=self.numbers,
            settings=shared,
            out=self.folder(cell),
            jobs=self.jobs,
            name=f"realhns-{self.folder(cell).name}",
            watch=_Told(self.tell),
        )
        for row, found in zip(rows, table["rows"], strict=False):  # reference lines stand behind
            for one in found["missing"]:
                self.failed[self._run(cell, row, one["seed"])] = one["why"]

    def _begin(self, cell: Cell) -> dict[str, Path]:
        """The finished runs of both encoders, trained where they are not."""
        sides = {"target": cell.target, "source": SOURCE[cell.target]}
        return {part: self._pretrained(domain) for part, domain in sides.items()}

    def _pretrained(self, domain: str) -> Path:
        """One run a domain, by the content of its data and settings, whoever starts from it."""
        how = pretraining(domain, self.preset, epochs=self.epochs)
        data = self._load(how["data"])
        key = hashlib.blake2b(json.dumps([how, data.hash], sort_keys=True).encode(), digest_size=5).hexdigest()
        path = self.out / "pretrained" / f"{domain}-{key}"
        self.tell(f"encoder of {domain}: {path}")
        train(data, settings=how, out=path)
        return path

    def _load(self, data: dict[str, Any]) -> Dataset:
        key = json.dumps(data, sort_keys=True)
        if key not in self._loaded:
            self._loaded[key] = load(self.data, data)
        return self._loaded[key]

    def estimate(self, cell: Cell, rows: list[Row]) -> float:
        """Hours of one core for what is missing, if runs took ``ASSUMED`` epochs."""
        place = 0 if cell.target == "game" else 1
        hours = 0.0
        for row in rows:
            epoch = SECONDS[cell.model][place] + SELECTION[place] * row.sampler.startswith("realhns")
            hours += epoch * (self.epochs or ASSUMED) * (self.seeds - self.finished(cell, row)) / 3600
        return hours


class _Told:
    """A line when a run ends or fails, and every tenth epoch."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell

    def begin(self, *, runs: int, done: int) -> None:
        self.tell(f"  {done} of {runs} runs are done")

    def event(self, label: str, kind: str, facts: dict[str, Any]) -> None:
        if kind == "end":
            self.tell(f"  {label}: {facts['seconds']:.0f} s")
        if kind == "failed":
            self.tell(f"  {label} failed: {facts['why']}")
        if kind == "epoch" and (facts["epoch"] + 1) % 10 == 0:
            self.tell(f"  {label}: epoch {facts['epoch'] + 1}, loss {facts['loss']:.4f}")
