"""Tables out: CSV, Parquet or JSON lines, whole or absent, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from negsieve.errors import UsageError
from negsieve.store.atomic import replacing

FORMATS = ("csv", "parquet", "jsonl")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(table: pa.Table, path: str | Path, *, format: str | None = None) -> Path:
    """Writes ``table`` to ``path``; the format is guessed from the ending unless given.

    Ids keep their bytes. In CSV a title that a spreadsheet would run as a formula gets a leading
    apostrophe. Raises UsageError for an unknown format, StorageError when the disk refuses.
    """
    path = Path(path)
    ending = path.suffix[1:].lower()
    format = format or {"json": "jsonl", "ndjson": "jsonl"}.get(ending, ending)
    if format not in FORMATS:
        raise UsageError(f"{path}: format {format!r}, wanted one of {', '.join(FORMATS)}, by ending or by --format")
    with replacing(path) as temporary:
        if format == "parquet":
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        else:
            temporary.write_text(as_text(table, format), encoding="utf-8", newline="")
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
