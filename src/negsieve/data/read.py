"""Strict ingest: from a file, a folder, a frame or a table to ``Interactions``.

Everything is read as text first, so that ids keep their spelling; every bad row is named by file,
line and column, and the source is refused unless the user allows a number of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np

from negsieve.data.clean import clean, rules
from negsieve.data.columns import LOG_ROLES, TITLE_ROLES, overrides
from negsieve.data.intake import Intake, translated
from negsieve.data.interactions import Interactions
from negsieve.data.judge import judge, time_kind
from negsieve.data.numbering import numbered
from negsieve.data.sources import Source, open_source
from negsieve.errors import DataError, UsageError

MAX_DOMAINS = 32_767


def read(
    source: Any,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    rating_min: float | None = None,
    duplicates: str = "first",
    core: int | Sequence[int] = 0,
    since: object = None,
    until: object = None,
    skip_bad: int = 0,
    memory_limit: str | None = None,
    negatives_below: float | None = None,
    item_ids: str = "shared",
    positions: bool = False,
) -> Interactions:
    """Reads, judges, numbers and cleans a log.

    source        a CSV, TSV, JSONL (all also .gz), Parquet, RecBole .inter or LightGCN file; a folder
                  of such (docs/data.md lists the shapes); a pandas or polars frame; an Arrow table
    format        csv, tsv, jsonl, parquet, inter or lightgcn, where the file's ending does not say
    columns       ``{"user": "col", ...}`` where the names are not recognised; "" leaves a column out
    rating_min    keep rows rated at least this
    duplicates    of rows that repeat a (user, item) pair keep the "first" or "last" by time (by row
                  without times), or the first with the ratings added up: "sum"; "keep" keeps all
    core          keep users and items with at least so many rows, until none is left to drop;
                  two numbers: of users, of items
    since, until  keep times from ``since`` on and before ``until``: numbers, dates or ISO texts
    skip_bad      leave out up to so many bad rows (they are counted and the first ten recorded)
    memory_limit  DuckDB's limit such as "600MB"; what does not fit goes to a temporary folder
    negatives_below  rows rated lower are explicit negatives instead of interactions
    item_ids      "shared": an id is the same item in all domains; "by-domain": an id that occurs in
                  several domains is an item of each, spelled ``domain:id``; "apart": an item of each, spelled
                  as it is, for domains that ``domains.take_apart`` parts
    positions     a column called ``position`` says in which order a user's rows stand; so does the column that
                  ``columns`` names for it. Files by part have an order of their own and pass it over

    Returns ``Interactions`` with users, items and domains numbered by first appearance among the
    rows kept, and ``facts`` that say what was guessed, refused and dropped. The result does not
    depend on threads or on the memory limit.

    Raises DataError (bad data, with its place), MissingInput (nothing there), UsageError (an
    argument that makes no sense), StorageError (no room to spill).
    """
    said = overrides(columns)
    rule = rules(
        rating_min=rating_min,
        duplicates=duplicates,
        core=core,
        since=since,
        until=until,
        negatives_below=negatives_below,
        apart=item_ids == "apart",
    )
    if isinstance(skip_bad, bool) or int(skip_bad) != skip_bad or skip_bad < 0:
        raise UsageError(f"skip_bad is {skip_bad!r}, wanted a whole number from 0 on")
    if item_ids not in ("shared", "by-domain", "apart"):
        raise UsageError(f"item_ids {item_ids!r} is none of 'shared', 'by-domain' and 'apart'")
    opened = open_source(source, format=format, said=said)
    try:
        with Intake(memory_limit=memory_limit) as intake:
            wanted = tuple(role for role in LOG_ROLES if role != "position" or positions or role in said)
            log = _ingest(intake, opened, wanted, said=said, skip_bad=int(skip_bad), item_ids=item_ids)
    except duckdb.Error as fault:
        raise translated(fault, file=opened.pieces[0].label) from None
    except UnicodeDecodeError:
        raise DataError("found text that is not UTF-8, wanted UTF-8", file=opened.pieces[0].label) from None
    return clean(log, rule, source=opened.pieces[0].label)


def _ingest(
    intake: Intake, source: Source, wanted: tuple[str, ...], *, said: Mapping[str, str], skip_bad: int, item_ids: str
) -> Interactions:
    for piece in source.pieces:
        intake.take(piece, table="log", roles=wanted, said=said)
    roles = _roles(intake, source)
    kind = time_kind(intake, "log") if "timestamp" in roles else "numbers"
    judge(intake, table="log", roles=roles, kind=kind)
    rows = intake.run("SELECT count(*) FROM log")[0][0]
    spread = _spread(intake) if "domain" in roles else 0
    titles = _titles(intake, source, said)
    intake.rejects.settle(skip_bad=skip_bad)
    if not rows:
        raise DataError("found no row below the header, wanted at least one", file=source.pieces[0].label)
    if spread and item_ids != "shared":
        titles = None if titles is None else _titles_by_domain(intake, titles)
        if item_ids == "by-domain":
            _part_items(intake)
    log = numbered(intake, table="log", roles=roles, kind=kind)
    if len(log.domains) > MAX_DOMAINS:
        raise DataError(f"found {len(log.domains)} domains, wanted at most {MAX_DOMAINS}", file=source.pieces[0].label)
    return replace(
        log,
        part=_parts(intake, source, log),
        titles=None if titles is None else [titles.get(one, "") for one in log.items],
        facts=_facts(intake, source, log, roles=roles, kind=kind, spread=spread, item_ids=item_ids),
    )


def _roles(intake: Intake, source: Source) -> tuple[str, ...]:
    """The roles that the log has. Raises DataError when only some of its files have one."""
    given = [set(taken.columns.place) for taken in intake.taken]
    for taken, own in zip(intake.taken, given, strict=True):
        lacking = set.union(*given) - own - {"split", "position"}
        if lacking:
            other = next(one.piece.label for one, has in zip(intake.taken, given, strict=True) if lacking & has)
            role = sorted(lacking)[0]
            raise DataError(
                f"found no {role} column, though {other} has one; wanted the same in all", file=taken.piece.label
            )
    by_file = any(piece.part is not None for piece in source.pieces)
    in_all = set.intersection(*given) | ({"split"} & given[0])
    return tuple(role for role in LOG_ROLES if role in in_all and not (role in ("split", "position") and by_file))


def _parts(intake: Intake, source: Source, log: Interactions) -> np.ndarray | None:
    """The part of each row: as a split column says, or as the files say."""
    if source.pieces[0].part is None:
        return log.part
    query = "SELECT count(*) FROM log WHERE rowid >= ? AND rowid < ?"
    counts = [intake.run(query, [one.first, one.end])[0][0] for one in intake.taken[: len(source.pieces)]]
    return np.repeat(np.array([piece.part for piece in source.pieces], dtype=np.int8), counts)


def _spread(intake: Intake) -> int:
    """How many item ids occur in more than one domain; the table ``spread`` holds them."""
    intake.run("CREATE TABLE spread AS SELECT item FROM log GROUP BY item HAVING min(domain) <> max(domain)")
    return intake.run("SELECT count(*) FROM spread")[0][0]


def _part_items(intake: Intake) -> None:
    intake.run("UPDATE log SET item = domain || ':' || item WHERE item IN (SELECT item FROM spread)")


def _titles(intake: Intake, source: Source, said: Mapping[str, str]) -> dict[str, str] | None:
    """Titles by item id, of the items' table where there is one with titles; the first of an item counts."""
    if source.titles is None:
        return None
    own = {"item": said["item"]} if "item" in said else {}
    intake.take(source.titles, table="titles", roles=TITLE_ROLES, said=own)
    if "title" not in intake.taken[-1].columns.place:
        return None
    found = intake.run(
        """SELECT item, arg_min(title, titles.rowid) FROM titles
        WHERE item IN (SELECT item FROM log) AND title IS NOT NULL GROUP BY item"""
    )
    return dict(found)


def _titles_by_domain(intake: Intake, titles: dict[str, str]) -> dict[str, str]:
    """A title of an id that means several things fits none of them."""
    apart = {row[0] for row in intake.run("SELECT item FROM spread")}
    return {item: title for item, title in titles.items() if item not in apart}


def _facts(
    intake: Intake, source: Source, log: Interactions, *, roles: Sequence[str], kind: str, spread: int, item_ids: str
) -> dict:
    taken = intake.taken[: len(source.pieces)]
    first = taken[0].columns
    return {
        "name": source.name,
        "format": taken[0].kind,
        "files": [getattr(one.piece.place, "name", one.piece.label) for one in taken],
        "columns": {role: first.names[role] for role in roles},
        "guessed": {role: first.names[role] for role in first.guessed if role in roles},
        "rows_read": len(log) + intake.rejects.count,
        "rows_rejected": intake.rejects.count,
        "rejects": [str(reject) for reject in intake.rejects.first],
        "unrated": 0 if log.rating is None else int(np.isnan(log.rating).sum()),
        "times": kind if log.timestamp is not None else None,
        "users_without_items": intake.lonely,
        "items_in_several_domains": spread,
        "item_ids": item_ids,
    }
