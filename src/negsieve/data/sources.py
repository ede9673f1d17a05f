"""What a source is: a file, a folder of one of the known shapes, a data frame or an Arrow table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from negsieve.data.columns import resolve
from negsieve.errors import DataError, MissingInput, UsageError, nearest

FORMATS = ("csv", "tsv", "jsonl", "parquet", "inter", "lightgcn")
_FORMAT_WORDS = {"json": "jsonl", "ndjson": "jsonl", "recbole": "inter", "mixgcf": "lightgcn", "pq": "parquet"}
_SUFFIXES = {
    **{".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"},
    **{".parquet": "parquet", ".pq": "parquet", ".inter": "inter", ".item": "inter", ".txt": "text"},
}
_PART_STEMS = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}


@dataclass(frozen=True)
class Piece:
    """One table of a source: a file, or a table in memory, and the part that all its rows belong to.

    kind   one of FORMATS, "text" (a .txt: a table or LightGCN lines, told by its first line) or "table"
    place  the file, or the Arrow table
    label  how messages name it
    part   0 train, 1 valid, 2 test when the file says so; else None
    """

    kind: str
    place: Path | pa.Table
    label: str
    part: int | None = None


@dataclass(frozen=True)
class Source:
    """All tables of a source, in order train, valid, test; ``titles`` is the items' table, if any."""

    pieces: tuple[Piece, ...]
    titles: Piece | None
    name: str


def open_source(source: Any, *, format: str | None = None, said: Mapping[str, str] = MappingProxyType({})) -> Source:
    """Finds out what ``source`` is, without reading its rows; ``said`` are the user's words on columns.

    Raises MissingInput when it is not there, DataError when a folder holds nothing readable,
    UsageError for an unknown format or a thing that is no source at all.
    """
    kind = _format_word(format)
    if not isinstance(source, str | Path):
        return _in_memory(source, said)
    try:
        path = Path(source)
        there, folder = path.exists(), path.is_dir()
    except (ValueError, OSError) as fault:
        raise MissingInput(f"{str(source)!r} cannot be a path: {fault}") from None
    if not there:
        raise MissingInput(f"{path}: no such file or folder.{_sibling(path)}")
    return _folder(path, kind) if folder else _file(path, kind)


def _format_word(format: str | None) -> str | None:
    if format is None:
        return None
    kind = _FORMAT_WORDS.get(format.lower(), format.lower())
    if kind not in FORMATS:
        raise UsageError(f"format {format!r} is none of {', '.join(FORMATS)}.{nearest(kind, FORMATS)}")
    return kind


def _sibling(path: Path) -> str:
    return nearest(path.name, [one.name for one in path.parent.iterdir()]) if path.parent.is_dir() else ""


def _kind_of(path: Path) -> str | None:
    name = path.name.lower()
    return _SUFFIXES.get(Path(name.removesuffix(".gz")).suffix)


def _stem(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).stem


def _file(path: Path, kind: str | None) -> Source:
    kind = kind or _kind_of(path)
    if kind is None:
        raise DataError(
            f"found the ending {path.suffix!r}, wanted one of {', '.join(sorted(_SUFFIXES))} (text also with .gz); "
            f"rename it, or say format= one of {', '.join(FORMATS)}",
            file=path,
        )
    return Source((Piece(kind, path, str(path)),), None, path.name.removesuffix(".gz").rpartition(".")[0] or path.name)


def _folder(path: Path, kind: str | None) -> Source:
    if (path / "dataset.json").is_file():
        raise UsageError(f"{path} is a snapshot that is already split; load it with snapshot.load")
    files = sorted(one for one in path.iterdir() if one.is_file() and (kind or _kind_of(one)))
    pieces = _log_files(path, files, kind)
    if not pieces:
        found = ", ".join(one.name for one in sorted(path.iterdir())[:10]) or "nothing"
        raise DataError(
            f"found {found}; wanted interactions.parquet, or train/valid/test files, or one .inter file",
            file=path,
        )
    titles = [one for one in files if _stem(one) == "items" or one.suffix == ".item"]
    return Source(
        tuple(pieces),
        Piece(_kind_of(titles[0]) or "csv", titles[0], str(titles[0])) if titles else None,
        path.resolve().name,
    )


def _log_files(folder: Path, files: list[Path], kind: str | None) -> list[Piece]:
    """The log of a folder: interactions.*, else files by part, else the RecBole file."""
    whole = [one for one in files if _stem(one) == "interactions"]
    if len(whole) > 1:
        raise DataError(f"found {' and '.join(one.name for one in whole)}, wanted one interactions file", file=folder)
    if whole:
        return [Piece(kind or _kind_of(whole[0]), whole[0], str(whole[0]))]
    parts: dict[int, Path] = {}
    for one in files:
        part = _PART_STEMS.get(_stem(one).split(".")[-1])
        if part is None or one.suffix == ".item":
            continue
        if part in parts:
            raise DataError(f"found {parts[part].name} and {one.name}, wanted one file a part", file=folder)
        parts[part] = one
    if parts:
        if 0 not in parts:
            raise DataError(f"found {', '.join(one.name for one in parts.values())} but no train file", file=folder)
        return [Piece(kind or _kind_of(one), one, str(one), part) for part, one in sorted(parts.items())]
    atomic = [one for one in files if one.suffix == ".inter"]
    named = [one for one in atomic if one.stem == folder.resolve().name]
    chosen = named or atomic
    if len(chosen) > 1:
        raise DataError(f"found {', '.join(one.name for one in chosen)}, wanted one .inter file", file=folder)
    return [Piece("inter", one, str(one)) for one in chosen]


def _in_memory(source: Any, said: Mapping[str, str]) -> Source:
    """An Arrow table, a pandas or polars frame, or anything with Arrow's own interface."""
    if hasattr(source, "collect") and hasattr(source, "collect_schema"):  # a polars LazyFrame
        source = source.collect()
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if isinstance(source, pa.Table):
        table = source
    elif hasattr(source, "iloc") and hasattr(source, "columns"):
        table = _from_pandas(source, said)
    elif hasattr(source, "to_arrow"):
        table = source.to_arrow()
    elif hasattr(source, "__arrow_c_stream__"):
        table = pa.table(source)
    else:
        raise UsageError(
            f"found {type(source).__name__}, wanted a path, a pandas or polars frame, or an Arrow table",
        )
    return Source((Piece("table", table, "<table>"),), None, "table")


def _from_pandas(frame: Any, said: Mapping[str, str]) -> pa.Table:
    """The columns that have a role, one by one: mixed Python objects keep their spelling, NaN stays NaN."""
    names = [str(name) for name in frame.columns]
    wanted = sorted(set(resolve(names, file="<table>", said=said, row=None).place.values()))
    return pa.table([_column(frame.iloc[:, at], names[at]) for at in wanted], names=[names[at] for at in wanted])


def _column(series: Any, name: str) -> pa.Array:
    try:
        column = pa.array(series, from_pandas=series.dtype.kind != "f")
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return pa.array(list(_spelled(series, name)), type=pa.large_string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _spelled(values: Iterable[Any], name: str):
    for row, value in enumerate(values, start=1):
        if value is None or value != value:  # NaN is pandas' word for nothing
            yield None
        elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            yield str(value)
        else:
            raise DataError(
                f"found {str(value)[:40]!r} ({type(value).__name__}) beside other types, wanted text or whole numbers",
                file="<table>",
                row=row,
                column=name,
            )
