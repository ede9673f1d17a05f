"""Delimited text: the header is read and judged here, the rows by DuckDB, all as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from negsieve.data.columns import Columns, resolve
from negsieve.data.rejects import SHOWN, Reject, shown
from negsieve.data.textlines import opened
from negsieve.errors import DataError

Run = Callable[..., list[tuple]]
"""Runs a statement of SQL to its end and returns its rows."""

_HEADER_LIMIT = 1 << 20
_DELIMITERS = ",\t;|"
_TYPED = ("token", "token_seq", "float", "float_seq")
_FAULTS = {
    "UNQUOTED VALUE": ("a quote out of place", "quotes that open and close around a whole value"),
    "INVALID ENCODING": ("bytes that are not UTF-8", "UTF-8 text"),
    "INVALID UNICODE": ("bytes that are not UTF-8", "UTF-8 text"),  # the same, in DuckDB 1.2
}


@dataclass(frozen=True)
class Header:
    """The first line of a delimited file: its column names and what parts them."""

    names: tuple[str, ...]
    delimiter: str


def header(path: Path, *, kind: str) -> Header:
    """Reads the first line. ``kind``: csv (the delimiter is told from the line), tsv or inter (a tab).

    Raises DataError for an empty file, or a first line that is blank, not UTF-8 or badly quoted.
    """
    with opened(path) as file:
        line = file.readline(_HEADER_LIMIT)
    line = line.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")[0].split(b"\r")[0]
    if not line.strip():
        found = "an empty file" if not path.stat().st_size else "a blank first line"
        raise DataError(f"found {found}, wanted a header line such as user_id,item_id", file=path, row=1)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError("found a header that is not UTF-8 text; save the file as UTF-8", file=path, row=1) from None
    delimiter = _delimiter(text) if kind == "csv" else "\t"
    try:
        names = next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as fault:
        raise DataError(f"found a badly quoted header ({fault}): {shown(text)}", file=path, row=1) from None
    if kind == "inter":
        names = [name.rpartition(":")[0] if name.rpartition(":")[2] in _TYPED else name for name in names]
    return Header(tuple(names), delimiter)


def _delimiter(text: str) -> str:
    """The mark that parts a header: the first of comma, tab, semicolon and bar that it holds."""
    return next((mark for mark in _DELIMITERS if mark in text), ",")


def columns_of(path: Path, top: Header, *, said: Mapping[str, str], roles: tuple[str, ...]) -> Columns:
    """Which role stands in which column of a delimited file."""
    return resolve(top.names, file=str(path), said=said, roles=roles)


def insert(
    run: Run, path: Path, top: Header, *, table: str, values: str, order: int
) -> tuple[list[Reject], frozenset[int]]:
    """Appends the file's rows to ``table``; ``values`` is SQL over its columns ``c0, c1, ...``.

    Returns the first refused rows and the record numbers (the header's is 1) of all. Where any row is refused
    the file is read again on one thread, so that the verdict cannot depend on how it was cut up.
    """
    run("BEGIN")
    rejects = _insert_once(run, path, top, table=table, values=values, name=f"rejects_{order}")
    run("ROLLBACK" if rejects else "COMMIT")  # a rollback gives the row numbers back as well
    if rejects:
        threads = run("SELECT current_setting('threads')")[0][0]
        run("SET threads = 1")
        rejects = _insert_once(run, path, top, table=table, values=values, name=f"rejects_{order}")
        run(f"SET threads = {threads}")
    return _rejects(rejects, path, top, order=order), frozenset(record for record, *_ in rejects)


def _insert_once(run, path: Path, top: Header, *, table: str, values: str, name: str) -> list[tuple]:
    columns = ", ".join(f"c{at}: 'VARCHAR'" for at in range(len(top.names)))
    run(
        f"""INSERT INTO {table} SELECT {values} FROM read_csv(?, delim={quoted(top.delimiter)}, quote='"', escape='"',
        header=false, skip=1, columns={{{columns}}}, auto_detect=false, strict_mode=true, null_padding=false,
        store_rejects=true, rejects_table='{name}', rejects_scan='{name}_scan', rejects_limit=0)""",
        [str(path)],
    )
    return run(
        f"SELECT line, column_idx, error_type::VARCHAR, csv_line, error_message FROM {name} ORDER BY line, column_idx"
    )


def _rejects(rows: list[tuple], path: Path, top: Header, *, order: int) -> list[Reject]:
    """The first refused rows, at most one a record. DuckDB counts records, people count lines."""
    first: dict[int, tuple] = {}
    for record, *fault in rows:
        first.setdefault(record, tuple(fault))
        if wide := _swallowing(*fault[1:3]):
            line = _lines(path, top, {record})[record]
            raise DataError(f"{wide}, wanted it closed; skip_bad cannot pass over it", file=path, row=line)
    listed = dict(list(first.items())[:SHOWN])
    lines = _lines(path, top, set(listed))
    return [
        _reject(*fault, file=str(path), top=top, order=order, line=lines[record]) for record, fault in listed.items()
    ]


def _lines(path: Path, top: Header, wanted: set[int]) -> dict[int, int]:
    """The lines where records start; a record that cannot be found again keeps its own number."""
    lines = {record: record for record in wanted}
    for record, line, _ in _records(path, top) if wanted else ():
        if record in wanted:
            lines[record] = line
        if record >= max(wanted):
            break
    return lines


def _reject(at: int, error: str, text: str, message: str, *, file: str, top: Header, order: int, line: int) -> Reject:
    at += error == "MISSING COLUMNS"  # DuckDB names the last column there is
    column = top.names[at - 1] if 0 < at <= len(top.names) else f"column {at}"
    if error in ("MISSING COLUMNS", "TOO MANY COLUMNS"):
        found = f"{message.rpartition('Found: ')[2].strip()} values in {shown(text)}"
        wanted = f"{len(top.names)}"
    else:
        fault, wanted = _FAULTS.get(error, (error.lower(), "a well-formed row"))
        found = f"{fault} in {shown(text)}"
    return Reject(order, line, column, file, found, wanted)


def _swallowing(error: str, text: str) -> str | None:
    """What was found, for a fault that swallows the lines after it: leaving out one row would lose many."""
    if error == "LINE SIZE OVER MAXIMUM":
        return "found a line over 2 MB, or a quote that never closes"
    if error == "UNQUOTED VALUE" and "\n" in text.replace("\r", "\n"):
        return f"found a quote that does not close on its line in {shown(text)}"
    return None


def accepted_lines(path: Path, top: Header, refused: frozenset[int]) -> Iterator[tuple[int, tuple]]:
    """(line, ()) of each row that ``insert`` took, in order: a slow second look, for messages only."""
    for record, line, blank in _records(path, top):
        if record > 1 and not blank and record not in refused:
            yield line, ()


def _records(path: Path, top: Header) -> Iterator[tuple[int, int, bool]]:
    """(record number, line where it starts, whether it is blank) of each record, the header being 1."""
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        reader = csv.reader(text, delimiter=top.delimiter)
        line = 1
        try:
            for record, row in enumerate(reader, start=1):
                yield record, line, not row
                line = reader.line_num + 1
        except csv.Error:
            return  # a field over the csv module's limit: places from here on stay record numbers


def quoted(text: str) -> str:
    """``text`` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
