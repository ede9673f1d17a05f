"""Errors that name the thing at fault and say what to do, each with its own exit code."""

from __future__ import annotations

from pathlib import Path


class NegsieveError(ValueError):
    """The root of every error that a user can cause. ``exit_code`` follows sysexits."""

    exit_code = 70

    def __reduce__(self):
        # errors come back from worker processes, whatever their constructors ask for
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[NegsieveError], args: tuple, state: dict) -> NegsieveError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(NegsieveError):
    """An argument that makes no sense, or a name that does not exist."""

    exit_code = 2


class ConfigError(NegsieveError):
    """A configuration that does not fit its schema."""

    exit_code = 78


class DataError(NegsieveError):
    """Bad data. The message reads ``file:line:column: found ..., wanted ...`` as far as known."""

    exit_code = 65

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        self.file, self.row, self.column = file, row, column
        place = ":".join(str(part) for part in (file, row, column) if part is not None)
        super().__init__(f"{place}: {message}" if place else message)


class MissingInput(NegsieveError):
    """A file, folder, run or known dataset that is not there."""

    exit_code = 66


class CannotCreate(NegsieveError):
    """An output that may not be written: it exists, or its folder refuses."""

    exit_code = 73


class CheckpointError(NegsieveError):
    """A checkpoint that is truncated, altered or of another format. Never loaded in part."""

    exit_code = 74

    def __init__(self, message: str, *, file: str | Path) -> None:
        self.file = file
        super().__init__(f"{file}: {message}")


class StorageError(NegsieveError):
    """A write that failed: the disk is full, or the folder vanished."""

    exit_code = 74


class Locked(NegsieveError):
    """A run directory that another process is writing."""

    exit_code = 75


class CapabilityError(NegsieveError):
    """A sampler asks for something that the model, or the data, does not have."""

    exit_code = 78


class NonFiniteLoss(NegsieveError):
    """A NaN or infinite loss, stopped before the optimiser could spread it."""

    exit_code = 70


class Interrupted(NegsieveError):
    """Ctrl-C or SIGTERM: the step was finished and the state saved."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def nearest(word: str, known) -> str:
    """A did-you-mean clause for ``word`` among ``known`` names; empty when nothing is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
