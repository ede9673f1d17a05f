"""From text to dense numbers: ids are numbered by first appearance, rows keep their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from negsieve.data import judge
from negsieve.data.intake import Intake
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary

STRETCH = 122_880
"""Rows that are numbered together at least: as many as DuckDB keeps together."""
_TYPES = {
    "user": np.int64,
    "item": np.int64,
    "rating": np.float64,
    "timestamp": np.float64,
    "domain": np.int16,
    "split": np.int8,
    "position": np.float64,
}


@dataclass(frozen=True)
class _Names:
    """The distinct texts of a column, in order of first appearance, and the table that holds them."""

    table: str
    texts: list[str]


def numbered(intake: Intake, *, table: str, roles: tuple[str, ...], kind: str) -> Interactions:
    """The rows of ``table`` in order, as dense numbers. ``roles``: the columns that the log has.

    Neither the number of threads nor the memory limit can change a bit of the result: a number is
    the rank of an id's first row, and rows are put where they stood. Memory: the columns of
    ``Interactions``, the distinct ids and a stretch of rows; everything else may spill.

    A column of positions is spent here: the places of a user's rows stay the user's, and get the rows in the
    order of their positions, those of equal position as they stood.
    """
    names = {role: _names(intake, table, role) for role in ("user", "item", "domain") if role in roles}
    values = {role: f"{role}_names.number" for role in names}
    values["rating"] = judge.number('log."rating"')
    values["timestamp"] = judge.time('log."timestamp"', kind=kind)
    values["split"] = judge.part('log."split"')
    values["position"] = judge.number('log."position"')
    arrays = _in_order(_fetched(intake, table, {role: values[role] for role in roles}, names))
    return Interactions(
        user=arrays["user"],
        item=arrays["item"],
        users=Vocabulary(names["user"].texts, kind="user"),
        items=Vocabulary(names["item"].texts, kind="item"),
        rating=arrays.get("rating"),
        timestamp=arrays.get("timestamp"),
        domain=arrays.get("domain"),
        domains=tuple(names["domain"].texts) if "domain" in names else (),
        part=arrays.get("split"),
    )


def _names(intake: Intake, table: str, role: str) -> _Names:
    held = f"{role}_names"
    intake.run(
        f"""CREATE TABLE {held} AS SELECT text, row_number() OVER (ORDER BY first) - 1 AS number
        FROM (SELECT "{role}" AS text, min(rowid) AS first FROM {table} GROUP BY 1)"""
    )
    texts: list[str] = []
    found = intake.con.execute(f"SELECT text FROM {held} ORDER BY number")
    while rows := found.fetchmany(100_000):
        texts.extend(row[0] for row in rows)
    return _Names(held, texts)


def _fetched(intake: Intake, table: str, values: dict[str, str], names: dict[str, _Names]) -> dict[str, np.ndarray]:
    """The SQL ``values`` of all rows by role, in the order of the rows.

    A stretch of the table at a time, so that beside text and arrays there is never more than a stretch of numbers.
    Each stretch looks its ids up in tables of all ids, which must not cost more to build than the look-ups.
    """
    joins = " ".join(f'JOIN {held.table} ON log."{role}" = {held.table}.text' for role, held in names.items())
    chosen = ", ".join(f'{value} AS "{role}"' for role, value in values.items())
    query = f"SELECT log.rowid AS place, {chosen} FROM {table} AS log {joins} WHERE log.rowid"
    n, last = intake.run(f"SELECT count(*), max(rowid) FROM {table}")[0]
    arrays = {role: np.empty(n, dtype=_TYPES[role]) for role in values}
    stretch, done = max(STRETCH, 2 * sum(len(held.texts) for held in names.values())), 0
    for start in range(0, last + 1 if n else 0, stretch):
        rows = intake.con.execute(f"{query} BETWEEN {start} AND {start + stretch - 1}").fetchnumpy()
        order = rows["place"].argsort(kind="stable")
        for role, array in arrays.items():
            column = rows[role]
            column = column.filled(np.nan) if role == "rating" and np.ma.isMaskedArray(column) else column
            array[done : done + len(order)] = column[order]
        done += len(order)
    return arrays


def _in_order(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    position = arrays.pop("position", None)
    if position is None:
        return arrays
    user = arrays["user"]
    chosen = np.empty(len(user), dtype=np.int64)
    chosen[np.argsort(user, kind="stable")] = np.lexsort((position, user))
    return {role: array[chosen] for role, array in arrays.items()}
