"""Ctrl-C and SIGTERM ask for a stop after the step, or block of steps, in hand; a second one stops at once."""

from __future__ import annotations

import os
import signal
import threading


class Stop:
    """A context manager; ``caught`` is the signal's number once one came, else 0.

    Outside the main thread, where Python delivers no signals, it never catches anything.
    """

    def __init__(self) -> None:
        self.caught = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *problem) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame) -> None:
        if self.caught:
            os._exit(128 + number)
        self.caught = number
