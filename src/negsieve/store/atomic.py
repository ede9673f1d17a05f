"""A file is whole or absent: written beside its name, fsynced, renamed, and its folder fsynced.

Everything goes through ``os.write``, ``os.fsync`` and ``os.replace``, looked up at each call, so that
``negsieve.testing.crash`` can stop a process at every one of them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from negsieve.errors import CannotCreate, StorageError
from negsieve.store.strict import read_json, read_lines, read_yaml

__all__ = [
    "append_line",
    "json_text",
    "need",
    "read_json",
    "read_lines",
    "read_yaml",
    "remove",
    "replacing",
    "whole_folder",
    "write_bytes",
    "write_json",
    "write_new",
    "write_text",
    "yaml_text",
]

_CHUNK = 16 << 20


def write_bytes(path: str | Path, data: bytes) -> str:
    """Puts ``data`` under ``path`` in one step and returns its SHA-256 in hex.

    A reader, and a process killed at any moment, finds the former file or the new one, never a
    part. Raises StorageError naming the path and the bytes. Cost: two fsyncs.
    """
    path = Path(path)
    with replacing(path, size=len(data)) as temporary:
        return write_new(temporary, data, named=path)


def write_text(path: str | Path, text: str) -> str:
    """``write_bytes`` of the text in UTF-8."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, value) -> str:
    """``write_bytes`` of ``value`` as JSON in the given key order. NaN and infinity raise ValueError."""
    return write_text(path, json_text(value, indent=2) + "\n")


def json_text(value, *, indent: int | None = None, undefined: bool = False) -> str:
    """JSON text of ``value``; scalars of NumPy and torch become plain numbers, tuples lists.

    undefined  True: numbers that are not finite become null. False: they raise ValueError.
    """
    if undefined:
        value = _finite(value)
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=_plain)


def yaml_text(value) -> str:
    """YAML text of plain values that ``read_yaml`` reads back equal, with letters as letters where it can."""
    import yaml

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    # PyYAML writes some line breaks, such as U+0085, raw and reads them as spaces
    return text if yaml.safe_load(text) == value else yaml.safe_dump(value, sort_keys=False)


def _plain(value):
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_new(
    path: str | Path,
    data: bytes | Iterable[bytes | memoryview],
    *,
    named: str | Path | None = None,
    size: int | None = None,
) -> str:
    """Writes and fsyncs a file that must not exist yet; returns its SHA-256. Errors speak of ``named`` and ``size``.

    data  the bytes, or pieces of them in order
    """
    pieces = [data] if isinstance(data, bytes) else data
    digest = hashlib.sha256()
    with _writing(named or path, len(data) if isinstance(data, bytes) else size):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            for piece in pieces:
                digest.update(piece)
                view, done = memoryview(piece), 0
                while done < len(view):
                    done += os.write(fd, view[done : done + _CHUNK])
            os.fsync(fd)
        finally:
            os.close(fd)
    return digest.hexdigest()


@contextmanager
def replacing(path: str | Path, *, size: int | None = None) -> Iterator[Path]:
    """Yields a temporary path in the same folder; it becomes ``path`` when the block ends well.

    For writers that want a file name (Parquet, pictures). ``size`` is the number of bytes, if
    known, for the error message. Nothing is left when the block raises.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        with _writing(path, size):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        remove(temporary)


@contextmanager
def whole_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields a hidden temporary folder that becomes ``path`` when the block ends well.

    Every file in it is fsynced first. Raises CannotCreate where ``path`` exists, unless
    ``replace``: then the old folder is moved aside just before, and a process killed between the
    two renames leaves neither under the name.
    """
    path = Path(path)
    if path.exists() and not replace:
        raise CannotCreate(f"{path}: exists already; choose another name or remove it")
    temporary = _temporary(path)
    old = temporary.with_suffix(".old")
    try:
        with _writing(path, None):
            os.mkdir(temporary)
            yield temporary
            for part in sorted(temporary.rglob("*")):
                sync(part)
            sync(temporary)
            remove(old)
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        remove(temporary)
        remove(old)


def append_line(path: str | Path, text: str, *, durable: bool = True) -> None:
    """Adds one line in a single write. A torn last line, left by a crash, is cut off first.

    Raises StorageError when the disk is full; the file is then as before. ``durable=False`` skips
    the fsync.
    """
    path = Path(path)
    if "\n" in text:
        raise ValueError(f"a line may not hold a line break: {text[:80]!r}")
    data = text.encode() + b"\n"
    with _writing(path, len(data)):
        new = not path.exists()
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = _cut_torn(fd)
            if os.write(fd, data) != len(data):
                os.ftruncate(fd, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        if new and durable:
            sync(path.parent)


def _cut_torn(fd: int) -> int:
    """Cuts what follows the last line break, and returns the size that remains."""
    size = end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - 4096)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
    return end


def sync(path: Path) -> None:
    """fsync of a file or a folder; file systems that cannot sync a folder are let be."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as problem:
        if not (path.is_dir() and problem.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(fd)


def remove(path: str | Path) -> None:
    """Removes a file or a folder that may not exist, best effort: a leftover harms nobody."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return


def need(folder: str | Path, size: int) -> None:
    """Raises StorageError before anything is written when the disk has fewer than ``size`` bytes free."""
    free = _free(Path(folder))
    if free is not None and free < size:
        raise StorageError(
            f"{folder}: {size} bytes are needed and {free} are free. Free some space or choose another folder."
        )


def _temporary(path: Path) -> Path:
    """A hidden name beside ``path`` that is this process's own; names of dead processes are cleared."""
    for old in [*path.parent.glob(f".{_escaped(path.name)}.*.tmp"), *path.parent.glob(f".{_escaped(path.name)}.*.old")]:
        pid = old.name.rsplit(".", 2)[1]
        if pid.isdecimal() and (int(pid) == os.getpid() or not _alive(int(pid))):
            remove(old)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _escaped(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _free(folder: Path) -> int | None:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


@contextmanager
def _writing(path: str | Path, size: int | None) -> Iterator[None]:
    """Turns an OSError into a StorageError that names the path, the bytes and what to do."""
    try:
        yield
    except OSError as problem:
        wanted = "" if size is None else f" {size} bytes"
        free = _free(Path(path).parent)
        room = "" if free is None else f"; {free} bytes are free there"
        reason = problem.strerror or str(problem)
        raise StorageError(
            f"{path}: cannot write{wanted}: {reason}{room}. What was there before is untouched. "
            "Free some space or check the folder's permissions, then try again."
        ) from problem
