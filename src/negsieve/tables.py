"""Tables out: CSV, Parquet or JSON lines, whole or absent, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa

from negsieve.errors import CannotCreate, UsageError
from negsieve.store import table as store_table
from negsieve.store.atomic import write_text

FORMATS = ("csv", "parquet", "jsonl")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(table: pa.Table, path: str | Path, *, format: str | None = None) -> Path:
    """Writes ``table`` to ``path``; the format is guessed from the ending unless given.

    Ids keep their bytes. In CSV a title that a spreadsheet would run as a formula gets a leading
    apostrophe. Raises UsageError for an unknown format, CannotCreate where there is no such folder,
    StorageError when the disk refuses.
    """
    path = Path(path)
    ending = path.suffix[1:].lower()
    format = format or {"json": "jsonl", "ndjson": "jsonl"}.get(ending, ending)
    if format not in FORMATS:
        raise UsageError(f"{path}: format {format!r}, wanted one of {', '.join(FORMATS)}, by ending or by --format")
    if not path.parent.is_dir():
        raise CannotCreate(f"{path}: there is no folder {path.parent}; make it first, or name another with --out")
    if format == "parquet":
        store_table.write_table(path, table)
    else:
        write_text(path, as_text(table, format))
    return path


def as_text(table: pa.Table, format: str) -> str:
    """The table as CSV or JSON lines."""
    out = io.StringIO()
    if format == "jsonl":
        for batch in table.to_batches(10_000):
            for row in batch.to_pylist():
                out.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        return out.getvalue()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.column_names)
    guarded = [name == "title" for name in table.column_names]
    for batch in table.to_batches(10_000):
        for row in zip(*batch.to_pydict().values(), strict=True):
            writer.writerow([_guard(cell) if guard else cell for cell, guard in zip(row, guarded, strict=True)])
    return out.getvalue()


def _guard(cell: str | None) -> str | None:
    return "'" + cell if cell is not None and cell.startswith(_FORMULA) else cell
