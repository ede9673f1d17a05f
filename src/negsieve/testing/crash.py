"""Stops a process at every point where it touches the disk, so that resuming can be proven.

A crash at a random moment seldom hits the narrow gap between two writes. So the I/O calls of
``os`` are counted, and a forked child is killed at each of them in turn: *clean*, just before the
call, and at a write also *torn*, with half of it on disk. What a library writes past ``os``
(Parquet, pictures) is seen at its fsync and rename only.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CALLS = ("mkdir", "write", "ftruncate", "fsync", "rename", "replace", "unlink", "rmdir")


@dataclass(frozen=True)
class Crash:
    """One trial: ``work`` was killed at I/O call number ``point`` and then run again to its end."""

    point: int
    torn: bool
    folder: Path


def every_crash(work: Callable[[Path], object], *, folder: Path, timeout: float = 60.0) -> Iterator[Crash]:
    """Kills ``work`` at every I/O call, at writes also half done, runs it again, and yields each folder.

    ``work(path)`` must start afresh in an empty folder and resume in one that it left half done.
    Raises AssertionError when the second run fails. Cost: two forks a trial; call ``work`` once
    beforehand, or each child pays for the imports that its first call makes.

    >>> for crash in every_crash(train, folder=tmp_path):
    ...     assert (crash.folder / "result.json").read_bytes() == expected
    """
    whole = folder / "whole"
    whole.mkdir(parents=True)
    for point, call in enumerate(points(lambda: work(whole), timeout=timeout)):
        for torn in (False, True) if call == "write" else (False,):
            path = folder / f"{point}-{'torn' if torn else 'clean'}"
            path.mkdir()
            killed = kill_at(lambda path=path: work(path), point, torn=torn, timeout=timeout)
            if killed:
                run_child(lambda path=path: work(path), timeout=timeout)
            yield Crash(point, torn, path)


def points(work: Callable[[], object], *, timeout: float = 60.0) -> list[str]:
    """The I/O calls that ``work()`` makes in a child, by name, in order. Raises AssertionError if it fails."""
    with tempfile.TemporaryFile() as file:  # not a pipe, which a long list would fill

        def noted() -> None:
            with _patched() as seen:
                work()
            os.write(file.fileno(), " ".join(seen).encode())

        run_child(noted, timeout=timeout)
        file.seek(0)
        return file.read().decode().split()


def kill_at(work: Callable[[], object], point: int, *, torn: bool = False, timeout: float = 60.0) -> bool:
    """Runs ``work()`` in a child killed (SIGKILL) at its I/O call number ``point``, counted from 0.

    torn: half of a write is done first; any other call is done whole, even if it raises.
    True if it was killed, False if it ended well before that point. Raises AssertionError when it
    failed in any other way.
    """

    def doomed() -> None:
        with _patched(point, torn=torn):
            work()

    status = _child(doomed, timeout)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status != 0:
        raise AssertionError(f"the child failed before I/O call {point}: {_words(status)}; its traceback is on stderr")
    return False


def run_child(work: Callable[[], object], *, timeout: float = 60.0) -> None:
    """Runs ``work()`` in a forked child. Raises AssertionError unless it ends well within ``timeout`` seconds."""
    status = _child(work, timeout)
    if status != 0:
        raise AssertionError(f"the child failed: {_words(status)}; its traceback is on stderr")


def _child(work: Callable[[], object], timeout: float) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads: the child never touches them
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    end = time.monotonic() + timeout
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"the child did not end within {timeout} s")
        time.sleep(0.002)


def _words(status: int) -> str:
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"


@contextmanager
def _patched(point: int | None = None, *, torn: bool = False) -> Iterator[list[str]]:
    """Notes the I/O calls of ``os`` and dies at number ``point``."""
    true = {name: getattr(os, name) for name in CALLS}
    seen: list[str] = []

    def watch(name: str):
        def call(*args, **named):
            seen.append(name)
            if len(seen) - 1 == point:
                try:
                    if torn and name == "write":
                        true[name](args[0], memoryview(args[1])[: len(args[1]) // 2])
                    elif torn:
                        true[name](*args, **named)
                finally:
                    os.kill(os.getpid(), signal.SIGKILL)
            return true[name](*args, **named)

        return call

    for name in CALLS:
        setattr(os, name, watch(name))
    try:
        yield seen
    finally:
        for name, call in true.items():
            setattr(os, name, call)
