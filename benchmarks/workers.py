"""The driver's end of the conversation: starts a side in its own environment, pinned, and lets it take its turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers.environments import PEERS, installed, python_of

ROOT = Path(__file__).resolve().parents[1]
POOLS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA", "VECLIB")


class Absent(Exception):
    """A side cannot work here: its library is not installed, or it failed, which the text says."""


@dataclass(frozen=True)
class Place:
    """Where a benchmark finds and leaves things.

    peers    folder of the peers' environments
    cache    arrays, vectors and logs of this run
    arrays   the file that every side reads
    threads  how many each side may use
    """

    peers: Path
    cache: Path
    arrays: Path
    threads: int = 1


class Worker:
    """One side, started and loaded. Use as a context: the process ends with it."""

    def __init__(self, peer: str, name: str, spec: dict, *, place: Place) -> None:
        self.name = name
        if peer in PEERS and not installed(peer, place.peers):
            raise Absent(f"{peer} is not installed in {place.peers.name}: make bench-peers")
        place.cache.mkdir(parents=True, exist_ok=True)
        self.log = place.cache / f"{spec['work']}-{name.replace(' ', '_').replace('/', '_')}.log"
        runner = ROOT / "benchmarks" / "peers" / f"run_{peer}.py"
        python = python_of(peer, place.peers) if peer in PEERS else Path(sys.executable)
        spec = {**spec, "arrays": str(place.arrays), "threads": place.threads}
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", str(runner), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
            env=pinned(place.threads),
            cwd=place.cache,
        )
        self.started = self._hear()

    def go(self) -> dict:
        """One unit of work; what it cost: ``cpu``, ``wall``, ``share``, ``peak_mb`` and what the side adds."""
        return self._ask("go")

    def factors(self, path: Path) -> dict[str, np.ndarray] | None:
        """The side's vectors of users and items now, through ``path``; None where it has none."""
        if not self._ask(f"factors {path}")["factors"]:
            return None
        with np.load(path) as found:
            return dict(found)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        if self._process.poll() is None:
            self._process.stdin.write("stop\n")
            self._process.stdin.close()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _ask(self, order: str) -> dict:
        try:
            self._process.stdin.write(order + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: hearing says so
        return self._hear()

    def _hear(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            last = self.log.read_text().strip().splitlines()[-1:] or ["nothing"]
            raise Absent(f"{self.name} ended with {self._process.wait()}: {last[0][:200]}")
        return json.loads(line)


def pinned(threads: int) -> dict[str, str]:
    """The environment with every thread pool held to ``threads``, and none that spins while it waits."""
    pools = {f"{pool}_NUM_THREADS": str(threads) for pool in POOLS}
    own = {"PYTHONPATH": str(ROOT / "src"), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore"}
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONHOME"}
    return kept | pools | own
