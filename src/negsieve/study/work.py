"""Does the runs of a plan, here or in other processes, and tells a watcher how they go.

A finished run is never done twice; an unfinished one goes on where it stopped. A run that fails is
recorded with the reason and the others go on.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

from negsieve.config import RunConfig, resolve
from negsieve.cores import usable_cores
from negsieve.data import snapshot
from negsieve.data.dataset import Dataset
from negsieve.errors import Interrupted, NegsieveError
from negsieve.report import run_page
from negsieve.store.run import Run
from negsieve.study.plan import Outcome, Plan
from negsieve.training import session
from negsieve.training.watch import Silent


class StudyWatcher(Protocol):
    """Told how a study goes; ``label`` names one of its runs. It must not touch the runs."""

    def begin(self, *, runs: int, done: int) -> None:
        """The study starts with ``done`` of ``runs`` already finished."""

    def event(self, label: str, kind: str, facts: dict[str, Any]) -> None:
        """``kind`` is begin, epoch, end or failed."""


def work(
    plan: Plan,
    root: Path,
    dataset: Dataset,
    *,
    jobs: int = 1,
    trusted: Collection[str] = (),
    watch: StudyWatcher | None = None,
) -> list[Outcome]:
    """Does every run of the plan under ``root`` and returns an outcome for each, in the plan's order.

    Raises Interrupted on Ctrl-C, with every run saved. Cost: the runs'; with ``jobs`` > 1 each
    process has its share of the processors and loads the data set once.
    """
    outcomes = [Outcome(method, seed, plan.path_of(root, method, seed)) for method, seed in plan.runs()]
    todo = []
    for outcome in outcomes:
        run = Run(outcome.path)
        if run.exists and run.finished:
            outcome.result = run.result()
        else:
            todo.append(outcome)
    if watch:
        watch.begin(runs=len(outcomes), done=len(outcomes) - len(todo))
    orders = [(plan.config_of(one.method, one.seed).plain(), str(one.path), label(one)) for one in todo]
    results = _here(orders, root, dataset, trusted, watch) if jobs <= 1 else _apart(orders, root, jobs, trusted, watch)
    by_label = {label(one): one for one in todo}
    for name, result, why in results:
        by_label[name].result, by_label[name].why = result, why
        if watch and why:
            watch.event(name, "failed", {"why": why})
    return outcomes


def label(outcome: Outcome) -> str:
    """What a watcher knows the run by."""
    return f"{outcome.method.name} seed {outcome.seed}"


class _Forward(Silent):
    """Turns a run's watcher calls into study events."""

    def __init__(self, name: str, tell) -> None:
        self.name, self.tell, self.epochs = name, tell, 0

    def begin(self, run, *, epochs, steps, epoch, memory=""):
        self.epochs = epochs
        self.tell(self.name, "begin", {"epochs": epochs, "epoch": epoch})

    def epoch(self, record):
        self.tell(self.name, "epoch", record | {"epochs": self.epochs})

    def end(self, result):
        self.tell(self.name, "end", {"metrics": result["metrics"], "seconds": result["seconds"]})


def _attempt(
    config: RunConfig, path: str, dataset: Dataset, root: Path, trusted, watch
) -> tuple[dict | None, str | None]:
    """A run's result, or why there is none. Only an interruption passes through."""
    try:
        found = session.start(config, dataset, path=Path(path), trusted=trusted, watch=watch, data_from=root / "data")
        run_page(Path(path))
        return found, None
    except Interrupted:
        raise
    except NegsieveError as problem:
        return None, f"{type(problem).__name__}: {problem}"
    except Exception as problem:  # a defect in one method must not cost the others their runs
        if Path(path).is_dir():
            Run(path).log(f"failed: {type(problem).__name__}: {problem}")
        return None, f"{type(problem).__name__}: {problem}"


def _here(orders, root, dataset, trusted, watch) -> Iterator[tuple[str, dict | None, str | None]]:
    for config, path, name in orders:
        forward = _Forward(name, watch.event) if watch else None
        yield name, *_attempt(resolve(config), path, dataset, root, trusted, forward)


def _apart(orders, root, jobs, trusted, watch) -> Iterator[tuple[str, dict | None, str | None]]:
    """Runs in ``jobs`` spawned processes; events come back over a queue."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    listener = threading.Thread(target=_listen, args=(queue, watch), daemon=True)
    listener.start()
    threads = max(1, usable_cores() // jobs)
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_prepare, initargs=(str(root), threads, tuple(trusted), queue)
    )
    try:
        waiting = {pool.submit(_remote, order): order[2] for order in orders}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for one in done:
                yield waiting.pop(one), *_arrived(one)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        queue.put(None)
        listener.join(timeout=5)


def _arrived(future) -> tuple[dict | None, str | None]:
    """What a worker sent back; a worker that was killed takes the others' unfinished runs with it."""
    try:
        return future.result()
    except BrokenProcessPool:
        return None, "a worker process was killed, perhaps for memory; the same call again goes on from what is saved"


def _listen(queue, watch: StudyWatcher | None) -> None:
    while (event := queue.get()) is not None:
        if watch:
            watch.event(*event)


class _Here:
    """What a worker process keeps between its runs."""

    dataset: Dataset
    root: Path
    trusted: tuple[str, ...]
    queue: Any


def _prepare(root: str, threads: int, trusted: tuple[str, ...], queue) -> None:
    import torch

    torch.set_num_threads(threads)
    _Here.root, _Here.trusted, _Here.queue = Path(root), trusted, queue
    _Here.dataset = snapshot.load(Path(root) / "data")


def _remote(order) -> tuple[dict | None, str | None]:
    config, path, name = order
    forward = _Forward(name, lambda *event: _Here.queue.put(event))
    return _attempt(resolve(config), path, _Here.dataset, _Here.root, _Here.trusted, forward)
