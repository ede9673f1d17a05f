"""Parquet files whose pages carry checksums: without them most flipped bits read as other numbers."""

from __future__ import annotations

from pathlib import Path

from negsieve.errors import DataError, MissingInput
from negsieve.store.atomic import replacing


def write_table(path: str | Path, table) -> None:
    """Writes columns (a mapping of names to arrays, or a pyarrow Table) in one step, with checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from negsieve import arrow

    if not isinstance(table, pa.Table):
        table = pa.table({name: arrow.column(column) for name, column in table.items()})
    with replacing(path, size=table.nbytes) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True, compression="zstd")


def read_table(path: str | Path):
    """The pyarrow Table in a Parquet file, its page checksums verified.

    Raises MissingInput, or DataError naming the file when it is truncated or altered.
    """
    import pyarrow as pa

    from negsieve.arrow import read_parquet

    path = Path(path)
    if not path.is_file():
        raise MissingInput(f"{path}: no such file")
    try:
        return read_parquet(path)
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"found a truncated or altered Parquet file: {problem}", file=path) from None
