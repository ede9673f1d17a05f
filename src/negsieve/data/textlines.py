"""Text whose lines Python reads: JSON objects, and LightGCN's ``user item item ...``.

Numbers are never parsed here: ``007``, ``18446744073709551617`` and ``4.50`` come out as they are written.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from negsieve.data.columns import REQUIRED, resolve
from negsieve.data.rejects import SHOWN, Reject, shown
from negsieve.errors import DataError

BATCH = 100_000
_SNIFF = 1_000
_LINE_LIMIT = 64 << 20


class Whole(str):
    """A JSON number without a point, as written."""


class Real(str):
    """Any other JSON number, ``NaN`` and ``Infinity`` too, as written."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a text file, unpacked where it ends in .gz. A broken archive is a DataError."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise DataError(f"found a broken gzip file ({fault}), wanted a whole one", file=path) from None
    except OSError as fault:
        raise DataError(f"cannot be read: {fault.strerror or fault}", file=path) from None


def numbered(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, without their ends; blank ones are left out."""
    number = 0
    while line := file.readline(_LINE_LIMIT):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        line = line.rstrip(b"\r\n")
        if line.strip():
            yield number, line


class Lines:
    """One file of lines on its way in: rows out in batches, refused lines noted.

    Iterate ``rows()`` to its end; then ``rejects`` holds the first ten refused lines, ``count`` all
    of them, ``lonely`` the users that a LightGCN file names without any item.
    """

    def __init__(self, path: Path, *, order: int, roles: tuple[str, ...]) -> None:
        self.path, self.order, self.roles = path, order, roles
        self.rejects: list[Reject] = []
        self.count = 0
        self.lonely = 0

    def refuse(self, line: int, column: str, found: str, wanted: str) -> None:
        self.count += 1
        if len(self.rejects) < SHOWN:
            self.rejects.append(Reject(self.order, line, column, str(self.path), found, wanted))

    def rows(self, parse: Callable[[Lines, int, str], list[tuple]]) -> Iterator[tuple[int, tuple]]:
        """(line, row) of every row that ``parse`` makes of a line; a row holds a text or None a role."""
        with opened(self.path) as file:
            for number, raw in numbered(file):
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError as fault:
                    self.refuse(number, "line", f"bytes that are not UTF-8 at {fault.start}", "UTF-8 text")
                    continue
                for row in parse(self, number, text):
                    yield number, row


def batches(rows: Iterator[tuple[int, tuple]]) -> Iterator[list[tuple]]:
    """The rows, without their line numbers, in lists of BATCH."""
    batch: list[tuple] = []
    for _, row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def line_of(rows: Iterator[tuple[int, tuple]], places: set[int]) -> dict[int, int]:
    """The line numbers of the rows at ``places``, counted from 0."""
    lines = {}
    for place, (line, _) in enumerate(rows):
        if place in places:
            lines[place] = line
            if len(lines) == len(places):
                break
    return lines


def pairs(lines: Lines, number: int, text: str) -> list[tuple]:
    """LightGCN's line: a user, then the items, parted by single spaces."""
    for mark, word in (("\t", "a tab"), (",", "a comma"), (";", "a semicolon")):
        if mark in text:
            lines.refuse(
                number, "line", f"{word} in {shown(text)}", "`user item item ...` parted by spaces, or a header line"
            )
            return []
    user, *items = [word for word in text.split(" ") if word] or [""]
    lines.lonely += not items
    return [(user, item) for item in items]


def json_columns(path: Path, *, said: Mapping[str, str], roles: tuple[str, ...]):
    """The columns of a JSONL file, from the keys of its first thousand lines (in order of appearance)."""
    keys: dict[str, None] = {}
    with opened(path) as file:
        for at, (number, raw) in enumerate(numbered(file)):
            if at == 0 and raw.lstrip()[:1] == b"[":
                raise DataError("found a JSON array, wanted one object a line", file=path, row=number)
            if at == _SNIFF:
                break
            try:
                found = _parsed(raw.decode("utf-8"))
            except (ValueError, RecursionError):
                continue
            keys.update(dict.fromkeys(found))
    if not keys:
        raise DataError("found no JSON object, wanted one a line", file=path, row=1)
    return resolve(list(keys), file=str(path), said=said, roles=roles)


def objects(names: Mapping[str, str], roles: tuple[str, ...]) -> Callable[[Lines, int, str], list[tuple]]:
    """A parser of JSON lines that takes the value of ``names[role]`` for each role."""

    def parse(lines: Lines, number: int, text: str) -> list[tuple]:
        try:
            found = _parsed(text)
        except (ValueError, RecursionError) as fault:
            lines.refuse(number, "line", f"{shown(text)} ({str(fault)[:80]})", "one JSON object a line")
            return []
        row = []
        for role in roles:
            value = found.get(names[role])
            if wanted := _misfit(role, value):
                lines.refuse(number, names[role], shown(value), wanted)
                return []
            row.append(None if value is None else str(value))
        return [tuple(row)]

    return parse


def _misfit(role: str, value: object) -> str | None:
    """What was wanted of a JSON value for a role, or None where it will do (emptiness is judged later)."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str):
        return "text or a number"
    if role in REQUIRED and isinstance(value, Real):
        return "an id: text or a whole number"
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        return "text without lone surrogates"
    return None


def _parsed(text: str) -> dict:
    found = json.loads(text, parse_int=Whole, parse_float=Real, parse_constant=Real, object_pairs_hook=_unique)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _unique(pairs: list[tuple]) -> dict:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is given twice")
    return made
