"""A data set on disk, exactly: Parquet with page checksums, and a manifest with SHA-256 of all.

The same data set gives the same bytes, and what comes back equals what went in, or is refused.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from negsieve import arrow
from negsieve.data.dataset import Dataset
from negsieve.data.domains import SourceRows
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import DataError, MissingInput
from negsieve.seen import Seen

FORMAT = 1
MANIFEST = "dataset.json"
_FILES = ("users.parquet", "items.parquet", "interactions.parquet")
_NEGATIVES = "negatives.parquet"
_SOURCE = ("source_items.parquet", "source.parquet")
_PLACE = "place"
"""The column that says where a target row stood in the log of all domains."""
_DENSE = {"user": np.int64, "item": np.int64, "part": np.int8}
_OPTIONAL = {"rating": np.float64, "timestamp": np.float64, "domain": np.int16}


def write(dataset: Dataset, folder: Path) -> None:
    """Writes users, items (with titles), interactions and dataset.json into ``folder``, which exists.

    Explicit negatives, where there are any, have a file of their own, and source domains have two.

    The caller makes the folder whole or absent (write into a temporary one, then rename).
    """
    folder = Path(folder)
    log = dataset.interactions
    items = {"item_id": arrow.texts(log.items, pa.large_string())}
    if log.titles is not None:
        items["title"] = arrow.texts(log.titles, pa.large_string())
    rows = {name: getattr(log, name) for name in ("user", "item")} | {"part": dataset.part}
    rows |= {name: getattr(log, name) for name in _OPTIONAL if getattr(log, name) is not None}
    given = log.part if log.part is not None and not np.array_equal(log.part, dataset.part) else None
    if given is not None:
        rows["given"] = given
    if dataset.aside is not None:
        rows[_PLACE] = dataset.aside.target
    tables = (
        {"user_id": arrow.texts(log.users, pa.large_string())},
        items,
        {name: arrow.numbers(column) for name, column in rows.items()},
    )
    tables = dict(zip(_FILES, tables, strict=True))
    if dataset.explicit is not None:
        pairs = {"user": dataset.explicit.owner, "item": dataset.explicit.item}
        tables[_NEGATIVES] = {name: arrow.numbers(column.cpu().numpy()) for name, column in pairs.items()}
    if dataset.aside is not None:
        tables |= dict(zip(_SOURCE, _source_tables(dataset.aside), strict=True))
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / name, compression="zstd", write_page_checksum=True)
    manifest = {
        "format": FORMAT,
        "name": dataset.name,
        "split": dataset.split,
        "domains": list(log.domains),
        "given_part": "none" if log.part is None else "apart" if given is not None else "same",
        "facts": log.facts,
        "hash": dataset.hash,
        "files": {name: _sha(folder / name) for name in tables},
    }
    if dataset.aside is not None:
        manifest["source_domains"] = list(dataset.aside.domains)
    manifest["manifest"] = _own_sha(manifest)
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def load(folder: Path | str) -> Dataset:
    """Reads what ``write`` wrote, every byte of it checked.

    Raises MissingInput where there is no snapshot, and DataError naming the file that is missing,
    truncated, altered or of another format.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise MissingInput(f"{folder} holds no data snapshot: {MANIFEST} is missing")
    manifest = _manifest(folder / MANIFEST)
    for name in dict.fromkeys([*_FILES, *manifest["files"]]):
        if not (folder / name).is_file():
            raise DataError("is missing, wanted the file that dataset.json lists", file=folder / name)
        if _sha(folder / name) != manifest["files"][name]:
            raise DataError("found another SHA-256 than dataset.json lists: the file was altered", file=folder / name)
    users, items, rows = (_table(folder / name) for name in _FILES)
    columns = {name: _array(rows, name, kind) for name, kind in {**_DENSE, **_OPTIONAL, "given": np.int8}.items()}
    given = {"none": None, "same": columns["part"], "apart": columns["given"]}[manifest["given_part"]]
    log = Interactions(
        user=columns["user"],
        item=columns["item"],
        users=Vocabulary(users["user_id"].to_pylist(), kind="user"),
        items=Vocabulary(items["item_id"].to_pylist(), kind="item"),
        rating=columns["rating"],
        timestamp=columns["timestamp"],
        domain=columns["domain"],
        domains=tuple(manifest["domains"]),
        part=given,
        titles=items["title"].to_pylist() if "title" in items.column_names else None,
        facts=manifest["facts"],
    )
    explicit = _negatives(folder / _NEGATIVES, log) if _NEGATIVES in manifest["files"] else None
    aside = _source(folder, rows, manifest["source_domains"]) if "source_domains" in manifest else None
    dataset = Dataset(manifest["name"], log, columns["part"], manifest["split"], explicit, aside)
    if dataset.hash != manifest["hash"]:
        raise DataError("found data with another hash than dataset.json lists", file=folder / _FILES[2])
    return dataset


def _source_tables(aside: SourceRows) -> tuple[dict[str, pa.Array], dict[str, pa.Array]]:
    texts = [text for ids in aside.items for text in ids]
    domain = np.repeat(np.arange(len(aside.items), dtype=np.int16), [len(ids) for ids in aside.items])
    rows = {name: getattr(aside, name) for name in ("user", "item", "row", "timestamp")}
    return (
        {"item_id": arrow.texts(texts, pa.large_string()), "domain": arrow.numbers(domain)},
        {name: arrow.numbers(column) for name, column in rows.items() if column is not None},
    )


def _source(folder: Path, target_rows: pa.Table, domains: list[str]) -> SourceRows:
    items, rows = (_table(folder / name) for name in _SOURCE)
    texts, domain = items["item_id"].to_pylist(), arrow.array(items["domain"])
    ends = np.searchsorted(domain, np.arange(len(domains) + 1))
    return SourceRows(
        *(_array(rows, name, np.int64) for name in ("user", "item", "row")),
        target=_array(target_rows, _PLACE, np.int64),
        timestamp=_array(rows, "timestamp", np.float64),
        domains=tuple(domains),
        items=tuple(Vocabulary(texts[a:b], kind="item") for a, b in pairwise(ends)),
    )


def _negatives(file: Path, log: Interactions) -> Seen:
    pairs = _table(file)
    user, item = (_array(pairs, name, np.int64) for name in ("user", "item"))
    return Seen(user, item, n_users=len(log.users), n_items=len(log.items), part="negatives")


def _manifest(file: Path) -> dict:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        own = manifest.pop("manifest")
        if manifest["format"] != FORMAT:
            raise DataError(f"found format {manifest['format']!r}, wanted {FORMAT}; write it anew", file=file)
        if own != _own_sha(manifest):
            raise DataError("found another SHA-256 than it states for itself: it was altered", file=file)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        if isinstance(fault, DataError):
            raise
        raise DataError("is no whole manifest, wanted the JSON that was written", file=file) from None
    return manifest


def _table(file: Path) -> pa.Table:
    try:
        return arrow.read_parquet(file)
    except (pa.ArrowException, OSError) as fault:
        raise DataError(f"cannot be read as Parquet: {str(fault).splitlines()[0]}", file=file) from None


def _array(rows: pa.Table, name: str, kind: type) -> np.ndarray | None:
    if name not in rows.column_names:
        return None
    return arrow.array(rows[name]).astype(kind, copy=False)


def _sha(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _own_sha(manifest: dict) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
