"""A run directory: everything that one training run leaves behind, each file whole or absent.

``config.yaml`` (which re-runs it, and is written last of the first three), ``env.json``,
``data.json``, ``metrics.jsonl`` (a line an epoch), ``log.txt``, ``per_user.parquet``,
``checkpoints/``, ``best/`` (checkpoints too), ``data/`` (a snapshot that the caller writes),
``result.json`` (written last: a run that has it is finished), ``report.html``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from torch import Tensor

from negsieve.errors import CannotCreate, MissingInput, StorageError, UsageError
from negsieve.store import checkpoint
from negsieve.store.atomic import (
    append_line,
    json_text,
    read_json,
    read_lines,
    read_yaml,
    remove,
    write_text,
    yaml_text,
)
from negsieve.store.environment import environment
from negsieve.store.lock import locked
from negsieve.store.table import read_table, write_table

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_BEFORE_CONFIG = {"lock", "env.json", "data.json", "log.txt"}


def check_name(name: str, *, kind: str = "run") -> str:
    """``name`` if it may become part of a path: 1 to 64 of ``A-Za-z0-9._-``, no leading dot. Else UsageError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"{kind} name {str(name)[:80]!r}: wanted 1 to 64 letters, digits, dots, dashes and underscores, "
            "not starting with a dot"
        )
    return name


class Run:
    """One run directory. Make it with ``create`` or ``open``; write to it inside ``lock()``."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(
        cls, path: str | Path, *, config: dict, data: dict | None = None, env: dict | None = None, device: str = "cpu"
    ) -> Run:
        """A new run directory, or the one already there if its config is the same.

        config  what re-runs it, values that JSON can hold; tuples are kept as lists
        data    name, hash and counts of the data set
        env     what it runs on; ``environment(device)`` by default

        Raises CannotCreate where the folder holds something else, or a run of another config.
        """
        run, config = cls(path), json.loads(json_text(config))
        if run.exists:
            if run.config() != config:
                raise CannotCreate(
                    f"{run.path}: holds a run of another configuration. Choose another folder, or resume that run."
                )
            return run
        run._claim()
        write_text(run.path / "env.json", json_text(environment(device) if env is None else env, indent=2) + "\n")
        if data is not None:
            write_text(run.path / "data.json", json_text(data, indent=2) + "\n")
        write_text(run.path / "config.yaml", yaml_text(config))
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run directory at ``path``. Raises MissingInput saying what was looked for."""
        run = cls(path)
        if not run.exists:
            what = "the folder has no such file" if run.path.is_dir() else "no such folder"
            raise MissingInput(f"{run.path}: looked for a run directory, which holds config.yaml; {what}")
        return run

    def _claim(self) -> None:
        try:
            os.makedirs(self.path, exist_ok=True)
            found = sorted(one.name for one in self.path.iterdir())
        except (FileExistsError, NotADirectoryError):
            raise CannotCreate(f"{self.path}: is a file, wanted a folder or nothing") from None
        except OSError as problem:
            raise CannotCreate(f"{self.path}: cannot make the folder: {problem.strerror}") from None
        foreign = [name for name in found if name not in _BEFORE_CONFIG and not name.startswith(".")]
        if foreign:
            raise CannotCreate(
                f"{self.path}: holds {len(foreign)} other things ({foreign[0]!r} first) and is no run directory. "
                "Choose an empty or a new folder."
            )

    @property
    def exists(self) -> bool:
        """Whether the directory holds a run, finished or not."""
        return (self.path / "config.yaml").is_file()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        return self.path / "best"

    def lock(self) -> AbstractContextManager[None]:
        """Holds the run for the block; Locked (exit code 75) names the process that has it."""
        return locked(self.path / "lock")

    def config(self) -> dict:
        return read_yaml(self.path / "config.yaml")

    def env(self) -> dict:
        return read_json(self.path / "env.json")

    def data(self) -> dict | None:
        """What is known of the data set, or None where nothing was given."""
        path = self.path / "data.json"
        return read_json(path) if path.is_file() else None

    def log(self, text: str) -> None:
        """Adds a line with the time to ``log.txt``; control characters are escaped. Not fsynced."""
        clean = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(self.path / "log.txt", f"{stamp} {clean}", durable=False)

    def append_metrics(self, record: dict) -> None:
        """Adds a line to ``metrics.jsonl``. Numbers that are not finite become null."""
        append_line(self.path / "metrics.jsonl", json_text(record, undefined=True))

    def metrics(self) -> list[dict]:
        """The epochs' records so far; a line torn by a crash is dropped."""
        path = self.path / "metrics.jsonl"
        return read_lines(path) if path.is_file() else []

    def truncate_metrics(self, last_epoch: int) -> None:
        """Drops records of epochs after ``last_epoch``, which a resumed run writes again."""
        known = self.metrics()
        kept = [record for record in known if record["epoch"] <= last_epoch]
        if len(kept) < len(known):
            text = "".join(json_text(record) + "\n" for record in kept)
            write_text(self.path / "metrics.jsonl", text)

    def save(
        self, step: int, groups: Mapping[str, Mapping[str, Tensor]], state: dict, *, keep: Iterable[int] = ()
    ) -> Path:
        """Writes a checkpoint; the two newest stay, and those of the steps in ``keep``."""
        return checkpoint.save(self.checkpoints, step, groups, state, keep=keep)

    def save_best(self, step: int, groups: Mapping[str, Mapping[str, Tensor]], state: dict) -> Path:
        """Writes the best model so far; the former best goes once this one is in place."""
        return checkpoint.save(self.best, step, groups, state, newest=1)

    def load_latest(self, *, warn: Callable[[str], object] | None = None) -> checkpoint.Checkpoint | None:
        """The newest good checkpoint, or None; bad ones are set aside and told to ``warn`` (the log by default)."""
        found = checkpoint.latest(self.checkpoints, warn=warn or self.log)
        return None if found is None else checkpoint.load(found)

    def load_best(self) -> checkpoint.Checkpoint:
        """The best model. Raises MissingInput where no epoch was ever the best, CheckpointError where it is damaged."""
        found = checkpoint.steps(self.best)
        if not found:
            raise MissingInput(
                f"{self.best}: looked for the best model of the run, found none. "
                f"Train it first: negsieve train --resume {shlex.quote(str(self.path))}"
            )
        return checkpoint.load(found[max(found)])

    def rewind(self, *, last_epoch: int, step: int) -> None:
        """Forgets what was written after a checkpoint: metrics of later epochs, a best model of a later step."""
        self.truncate_metrics(last_epoch)
        for later, folder in checkpoint.steps(self.best).items():
            if later > step:
                remove(folder)

    def write_per_user(self, table) -> None:
        """Writes ``per_user.parquet`` from columns or a pyarrow Table."""
        write_table(self.path / "per_user.parquet", table)

    def per_user(self):
        """The pyarrow Table of per-user metrics. Raises MissingInput where there is none."""
        return read_table(self.path / "per_user.parquet")

    def finish(self, result: dict) -> None:
        """Writes ``result.json``, after which the run counts as finished. Not finite numbers become null."""
        write_text(self.path / "result.json", json_text(result, indent=2, undefined=True) + "\n")

    @property
    def finished(self) -> bool:
        return (self.path / "result.json").is_file()

    def result(self) -> dict | None:
        """The result, or None while the run is not finished; its ``run`` is where the directory is now."""
        return read_json(self.path / "result.json") | {"run": str(self.path)} if self.finished else None


def inside(root: str | Path, name: str, *, kind: str = "run") -> Path:
    """``root/name`` for a checked name, resolved; UsageError where a link would lead out of ``root``."""
    root = Path(root)
    path = root / check_name(name, kind=kind)
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as problem:
        raise StorageError(f"{path}: cannot be resolved: {problem}") from None
    if not real.is_relative_to(root.resolve()):
        raise UsageError(f"{path}: leads to {real}, outside {root}")
    return path
