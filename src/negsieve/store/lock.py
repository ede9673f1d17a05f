"""One writer a run directory: an flock that the kernel frees the moment its holder dies."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from negsieve.errors import Locked, StorageError


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Holds the lock file ``path`` for the block. Raises Locked naming the holder's pid, host and start.

    A killed holder frees it at once. Forked workers close their copy of the descriptor, so an
    orphan cannot keep it. The file itself stays: removing it would race. POSIX only, and not to be
    trusted on network file systems.
    """
    import fcntl

    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as problem:
        raise StorageError(f"{path}: cannot make the lock: {problem.strerror}") from problem
    held = [fd]

    def let_go() -> None:
        while held:
            os.close(held.pop())

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = _holder(fd)
        let_go()
        raise Locked(
            f"{path}: another process writes here ({holder}). Wait for it, or choose another folder."
        ) from None
    os.register_at_fork(after_in_child=let_go)
    try:
        start = datetime.now(UTC).isoformat(timespec="seconds")
        note = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "start": start})
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, note.encode(), 0)
        except OSError as problem:
            raise StorageError(f"{path}: cannot write the lock: {problem.strerror}") from problem
        yield
    finally:
        let_go()


def _holder(fd: int) -> str:
    """Who holds the lock, in words; the note may be torn while the holder writes it."""
    try:
        note = json.loads(os.pread(fd, 4096, 0))
        return f"pid {int(note['pid'])} on {note['host']!s:.64} since {note['start']!s:.40}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not said who it is yet"
