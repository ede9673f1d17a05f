"""Data sets that are known by name: the shipped one, and folders below ``NEGSIEVE_DATA``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from negsieve.errors import MissingInput, nearest

DEFAULT = "online-retail"
VARIABLE = "NEGSIEVE_DATA"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_LOG = "interactions.parquet"


@dataclass(frozen=True)
class Entry:
    """A data set that can be asked for by name. ``where`` is "shipped" or its folder.

    domains  those of a log of several, for ``--target`` and ``--source``
    """

    name: str
    users: int
    items: int
    interactions: int
    licence: str
    where: str
    domains: tuple[str, ...] = ()


_SHIPPED = (Entry(DEFAULT, 4_074, 3_145, 264_514, "CC0", "shipped"),)


def find(name_or_path: str | Path) -> Path:
    """The folder of a known data set, or the path itself where it exists. Names come before paths.

    Raises MissingInput with a did-you-mean when it is neither.
    """
    text = str(name_or_path)
    if _NAME.fullmatch(text) and (folder := _folder(text)) is not None:
        return folder
    try:
        if text and Path(text).exists():
            return Path(text)
    except (ValueError, OSError):
        pass  # a NUL, or a name too long: no path
    names = _names()
    raise MissingInput(
        f"no data set or file {text[:200]!r}; known are {', '.join(names)}.{nearest(text[:200], names)} "
        f"({VARIABLE} may name a folder with more.)"
    )


def by_name(name: str) -> Path:
    """The folder of a known data set, for names that come from outside: never a path.

    Names are 1 to 64 of ``A-Z a-z 0-9 . _ -`` without a leading dot, and the folder must lie,
    links followed, in the place where known data sets lie. Raises MissingInput otherwise.
    """
    folder = _folder(name) if _NAME.fullmatch(name) else None
    if folder is None:
        names = _names()
        raise MissingInput(f"no data set is named {name[:64]!r}.{nearest(name[:64], names)}")
    return folder


def known() -> list[Entry]:
    """All data sets known by name, with their counts. Reads the id columns of those that are not shipped."""
    return [*_SHIPPED, *(_entry(name) for name in _names() if name not in {entry.name for entry in _SHIPPED})]


def _roots() -> list[Path]:
    """Where known data sets lie: in the package, and below the folder that the variable names."""
    outside = os.environ.get(VARIABLE)
    return [Path(__file__).parent / "shipped", *([Path(outside)] if outside else [])]


def _folder(name: str) -> Path | None:
    for root in _roots():
        folder = root / name
        if (folder / _LOG).is_file() and folder.resolve().is_relative_to(root.resolve()):
            return folder
    return None


def _names() -> list[str]:
    found: dict[str, None] = {}
    for root in _roots():
        if root.is_dir():
            inside = sorted(one.name for one in root.iterdir() if one.is_dir())
            found |= dict.fromkeys(name for name in inside if _NAME.fullmatch(name) and _folder(name) is not None)
    return list(found)


def _entry(name: str) -> Entry:
    folder = _folder(name)
    try:
        several = ["domain"] if "domain" in pq.read_schema(folder / _LOG).names else []
        ids = pq.read_table(folder / _LOG, columns=["user_id", "item_id", *several])
        counts = [len(ids[column].unique()) for column in ("user_id", "item_id")]
        domains = tuple(str(one) for one in ids["domain"].unique().to_pylist()) if several else ()
        rows = ids.num_rows
    except (pa.ArrowException, OSError, ValueError, KeyError):
        counts, rows, domains = [0, 0], 0, ()
    return Entry(name, *counts, rows, _licence(folder), str(folder), domains if len(domains) > 1 else ())


def _licence(folder: Path) -> str:
    """The first line below a heading that says licence in the folder's README, cut at 80 characters."""
    readme = folder / "README.md"
    if not readme.is_file():
        return "not stated"
    text = readme.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^#+ *Licen[cs]e[^\n]*\n+([^\n]+)|^\*\*Licen[cs]e\.?\*\* *([^\n]+)", text, re.M | re.I)
    line = next((group for group in found.groups() if group), "not stated") if found else "not stated"
    return line if len(line) <= 80 else line[:79] + "…"
