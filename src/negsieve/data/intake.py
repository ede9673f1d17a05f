"""The intake: a throw-away DuckDB database that holds a source as text, row for row, in order.

Everything enters as text, whatever it was. DuckDB keeps to its memory limit by spilling into a
temporary folder, so a log may be larger than memory until only dense numbers are left of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from negsieve.arrow import texts
from negsieve.data import delimited, textlines
from negsieve.data.columns import ALIASES, Columns, resolve
from negsieve.data.rejects import Rejects
from negsieve.data.sources import Piece
from negsieve.errors import DataError, StorageError, UsageError

_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_ID_TYPES = {"VARCHAR", "UUID", *_WHOLE, *(f"U{name}" for name in _WHOLE)}
_TIME_TYPES = {"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"}


@dataclass(frozen=True)
class Taken:
    """One piece that is in: where its rows lie in the table, and what was refused of it."""

    piece: Piece
    kind: str
    columns: Columns
    first: int  # rowid of its first row
    end: int
    refused: frozenset[int]
    top: delimited.Header | None


class Intake:
    """A DuckDB session with one text column a role. Use as a context manager; the spill folder goes with it.

    memory_limit  DuckDB's limit such as "600MB"; None: DuckDB's own (80 % of memory)
    """

    def __init__(self, *, memory_limit: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="negsieve-")
        self.con = duckdb.connect(config={"temp_directory": self._folder.name})
        try:
            if memory_limit is not None:
                self.run("SET memory_limit = ?", [str(memory_limit)])
        except duckdb.Error:
            self.close()
            raise UsageError(f"memory_limit {memory_limit!r} is no size; write it as 600MB or 2GB") from None
        self.run("SET preserve_insertion_order = true")
        self.rejects = Rejects()
        self.taken: list[Taken] = []
        self.lonely = 0

    def __enter__(self) -> Intake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.con.close()
        self._folder.cleanup()

    def run(self, query: str, values: Sequence[object] = ()) -> list[tuple]:
        """Runs one statement to its end; its rows. A result left half fetched would bar the next statement."""
        return self.con.execute(query, list(values)).fetchall()

    def take(self, piece: Piece, *, table: str, roles: tuple[str, ...], said: Mapping[str, str]) -> None:
        """Appends a piece to ``table`` (one VARCHAR column a role; absent roles are NULL).

        Refused rows go into ``rejects``. Raises DataError when the piece as a whole cannot be read.
        """
        columns_sql = ", ".join(f'"{role}" VARCHAR' for role in roles)
        self.run(f"CREATE TABLE IF NOT EXISTS {table} ({columns_sql})")
        first = self._size(table)
        kind, top = _settled(piece)
        order = len(self.taken)
        try:
            columns, refused = self._append(piece, kind, top, table=table, roles=roles, said=said, order=order)
        except duckdb.Error as fault:
            raise translated(fault, file=piece.label) from None
        self.taken.append(Taken(piece, kind, columns, first, self._size(table), refused, top))

    def _append(self, piece: Piece, kind: str, top, *, table: str, roles, said, order: int):
        if kind in ("csv", "tsv", "inter"):
            columns = delimited.columns_of(piece.place, top, said=said, roles=roles)
            values = ", ".join(f"c{columns.place[role]}" if role in columns.place else "NULL" for role in roles)
            rejects, refused = delimited.insert(self.run, piece.place, top, table=table, values=values, order=order)
            self.rejects.add(rejects, len(refused))
            return columns, refused
        if kind in ("jsonl", "lightgcn"):
            return self._append_lines(piece, kind, table=table, roles=roles, said=said, order=order)
        return self._append_typed(piece, kind, table=table, roles=roles, said=said), frozenset()

    def _append_lines(self, piece: Piece, kind: str, *, table: str, roles, said, order: int):
        columns = _line_columns(piece, kind, said=said, roles=roles)
        own = tuple(role for role in roles if role in columns.place)
        lines = textlines.Lines(piece.place, order=order, roles=own)
        target = ", ".join(f'"{role}"' for role in own)
        for batch in textlines.batches(lines.rows(_parser(kind, columns, own))):
            arrays = [texts(side, pa.large_string()) for side in zip(*batch, strict=True)]
            self.con.register("batch", pa.table(arrays, names=list(own)))
            self.run(f"INSERT INTO {table} ({target}) SELECT {target} FROM batch")
            self.con.unregister("batch")
        self.lonely += lines.lonely
        self.rejects.add(lines.rejects, lines.count)
        return columns, frozenset()

    def _append_typed(self, piece: Piece, kind: str, *, table: str, roles, said) -> Columns:
        """Parquet and tables in memory: columns have types, and ids must have exact ones."""
        if kind == "parquet":
            try:
                names = pq.read_schema(piece.place).names
            except (pa.ArrowException, OSError, ValueError) as fault:
                reason = (str(fault).splitlines() or [type(fault).__name__])[0]
                raise DataError(f"cannot be read as Parquet: {reason}", file=piece.label) from None
            columns = resolve(names, file=piece.label, said=said, roles=roles, row=None)
            source = f"read_parquet({delimited.quoted(str(piece.place))})"
        else:
            columns = resolve(piece.place.column_names, file=piece.label, said=said, roles=roles, row=None)
            self.con.register("frame", piece.place.select(list(columns.names.values())))
            source = "frame"
        quoted = {role: '"' + name.replace('"', '""') + '"' for role, name in columns.names.items()}
        described = self.run(f"DESCRIBE SELECT {', '.join(quoted.values())} FROM {source}")
        types = {role: kind_of[1] for role, kind_of in zip(quoted, described, strict=True)}
        values = [
            _as_text(role, quoted[role], types[role], columns, piece.label) if role in quoted else "NULL"
            for role in roles
        ]
        self.run(f"INSERT INTO {table} SELECT {', '.join(values)} FROM {source}")
        if kind != "parquet":
            self.con.unregister("frame")
        return columns

    def _size(self, table: str) -> int:
        return self.run(f"SELECT count(*) FROM {table}")[0][0]

    def places(self, rows: list[int]) -> dict[int, tuple[int, int]]:
        """For rowids of the log: (place of the file, line or row in it, from 1). Reads text again; for messages."""
        made: dict[int, tuple[int, int]] = {}
        for order, taken in enumerate(self.taken):
            mine = {row - taken.first: row for row in rows if taken.first <= row < taken.end}
            if not mine:
                continue
            lines = {at: at + 1 for at in mine} | textlines.line_of(self._rows_again(taken), set(mine))
            made |= {row: (order, lines[at]) for at, row in mine.items()}
        return made

    def _rows_again(self, taken: Taken) -> Iterator[tuple[int, tuple]]:
        if taken.top is not None:
            return delimited.accepted_lines(taken.piece.place, taken.top, taken.refused)
        if taken.kind in ("jsonl", "lightgcn"):
            own = tuple(taken.columns.place)
            lines = textlines.Lines(taken.piece.place, order=0, roles=own)
            return lines.rows(_parser(taken.kind, taken.columns, own))
        return iter(())


def _settled(piece: Piece) -> tuple[str, delimited.Header | None]:
    """The kind of a piece, where a .txt is told by its first line, and its header if it is delimited."""
    kind = piece.kind
    if kind == "text":
        top = delimited.header(piece.place, kind="csv")
        names = {name.strip().lower().partition(":")[0] for name in top.names}
        table = bool(names & set(ALIASES["user"])) and bool(names & set(ALIASES["item"]))
        return ("csv", top) if table else ("lightgcn", None)
    if kind in ("csv", "tsv", "inter"):
        return kind, delimited.header(piece.place, kind=kind)
    return kind, None


def _line_columns(piece: Piece, kind: str, *, said: Mapping[str, str], roles: tuple[str, ...]) -> Columns:
    if kind == "jsonl":
        return textlines.json_columns(piece.place, said=said, roles=roles)
    return Columns({"user": 0, "item": 1}, {"user": "first on the line", "item": "the others"}, ())


def _parser(kind: str, columns: Columns, own: tuple[str, ...]):
    return textlines.objects(columns.names, own) if kind == "jsonl" else textlines.pairs


def _as_text(role: str, column: str, kind: str, columns: Columns, label: str) -> str:
    """SQL that spells a typed column out. Raises DataError for a type that cannot carry the role exactly."""
    base = kind.split("(")[0]
    whole = base in _ID_TYPES or base in ("ENUM", '"NULL"', "NULL") or (base == "DECIMAL" and kind.endswith(",0)"))
    if role == "timestamp" and base in _TIME_TYPES:
        return f"epoch({column})::VARCHAR"
    numbers = ("rating", "timestamp", "position")
    if role in numbers and (whole or base in ("FLOAT", "DOUBLE", "DECIMAL")):
        return f"{column}::VARCHAR"
    if role not in numbers and whole:
        return f"{column}::VARCHAR"
    wanted = "numbers" if role in numbers else "text or whole numbers"
    wanted = "numbers, dates or times" if role == "timestamp" else wanted
    hint = (
        "; cast it first, for numbers that were read as floats may have changed" if base in ("FLOAT", "DOUBLE") else ""
    )
    raise DataError(f"found values of type {kind}, wanted {wanted}{hint}", file=label, column=columns.names[role])


def translated(fault: duckdb.Error, *, file: str) -> Exception:
    """What a DuckDB error means to the person who gave the file."""
    reason = str(fault).strip().splitlines()[0][:300]
    if isinstance(fault, duckdb.OutOfMemoryException):
        return StorageError(f"{file}: the memory limit is too small for this log; give more ({reason})")
    if "state machine reached an invalid state" in reason:
        reason = "the line endings or the quotes change on the way"
    return DataError(f"cannot be read: {reason}", file=file)
