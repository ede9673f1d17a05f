"""Judging values: what is no id, no number, no time, no part of a split, and where it stands."""

from __future__ import annotations

from negsieve.data.intake import Intake
from negsieve.data.rejects import SHOWN, Reject, shown

PART_WORDS = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}
LATEST = 2.0**53
"""Times and ratings beyond it are refused: floats would no longer keep them apart."""

_NUMBER = r"^[ ]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ ]*$"
_MOMENT = (
    r"^[ ]*([0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?)?)"
    r" ?(Z|z|[+-][01][0-9]:?[0-5][0-9]|[+-][01][0-9])?[ ]*$"
)
WANTED = {
    "user": "an id without control characters",
    "item": "an id without control characters",
    "domain": "a name without control characters",
    "rating": "a finite number, or nothing",
    "position": "a finite number",
    "split": f"one of {', '.join(PART_WORDS)}",
    "numbers": "a time as a number from 0 to 2^53",
    "moments": "a date or time such as 2024-05-31 or 2024-05-31T12:30:00Z, from 1970 on",
}


def number(column: str) -> str:
    """SQL: the finite number that a text column spells, else NULL."""
    cast = f"TRY_CAST({column} AS DOUBLE)"
    return f"CASE WHEN regexp_matches({column}, '{_NUMBER}') AND isfinite({cast}) THEN {cast} END"


def moment(column: str) -> str:
    """SQL: seconds since 1970 (UTC) of an ISO date or time, with or without an offset, else NULL."""
    body = f"TRY_CAST(replace(regexp_extract({column}, '{_MOMENT}', 1), ',', '.') AS TIMESTAMP)"
    zone = f"replace(regexp_extract({column}, '{_MOMENT}', 5), ':', '')"
    minutes = (
        f"(TRY_CAST(substr({zone}, 2, 2) AS INTEGER) * 60 + coalesce(TRY_CAST(substr({zone}, 4, 2) AS INTEGER), 0))"
    )
    offset = f"CASE WHEN length({zone}) < 2 THEN 0 WHEN {zone}[1] = '-' THEN -60 * {minutes} ELSE 60 * {minutes} END"
    return f"CASE WHEN regexp_matches({column}, '{_MOMENT}') THEN epoch({body}) - ({offset}) END"


def time(column: str, *, kind: str) -> str:
    """SQL: the time that a text column spells, from 0 to 2^53, else NULL. ``kind``: numbers or moments."""
    value = number(column) if kind == "numbers" else moment(column)
    return f"CASE WHEN {value} BETWEEN 0 AND {LATEST!r} THEN {value} END"


def part(column: str) -> str:
    """SQL: 0 train, 1 valid, 2 test, else NULL."""
    whens = " ".join(f"WHEN '{word}' THEN {place}" for word, place in PART_WORDS.items())
    return f"CASE lower(trim({column})) {whens} END"


def time_kind(intake: Intake, table: str) -> str:
    """Whether the times of a log are numbers or dates: the first that is either decides for all."""
    looks = f"regexp_matches(\"timestamp\", '{_NUMBER}')"
    iso = f"regexp_matches(\"timestamp\", '{_MOMENT}')"
    query = f"SELECT {looks} FROM {table} WHERE {looks} OR {iso} ORDER BY rowid LIMIT 1"
    found = intake.run(query)
    return "moments" if found and not found[0][0] else "numbers"


def judge(intake: Intake, *, table: str, roles: tuple[str, ...], kind: str) -> None:
    """Takes rows with a bad value out of ``table``; the refused ones are noted in ``intake.rejects``.

    ``roles`` are the columns that the log has; ``kind`` says what times are. A row is named once,
    for its first bad column. Cost: one pass over the table.
    """
    faults = {role: _fault(role, kind) for role in roles}
    which = "CASE " + " ".join(f"WHEN {fault} THEN '{role}'" for role, fault in faults.items()) + " END"
    intake.run(f"CREATE TABLE bad AS SELECT rowid AS place, {which} AS role FROM {table} WHERE {which} IS NOT NULL")
    count = intake.run("SELECT count(*) FROM bad")[0][0]
    if count:
        first = intake.run(f"SELECT place, role FROM bad ORDER BY place LIMIT {SHOWN}")
        intake.rejects.add(
            [_named(intake, table, place, role, kind, at) for place, role, at in _placed(intake, first)], count
        )
        intake.run(f"DELETE FROM {table} WHERE rowid IN (SELECT place FROM bad)")
    intake.run("DROP TABLE bad")


def _fault(role: str, kind: str) -> str:
    """SQL: whether the role's value is bad."""
    column = f'"{role}"'
    if role == "rating":
        return f"({column} IS NOT NULL AND ({number(column)}) IS NULL)"
    if role == "timestamp":
        return f"(({time(column, kind=kind)}) IS NULL)"
    if role == "position":
        return f"(({number(column)}) IS NULL)"
    if role == "split":
        return f"(({part(column)}) IS NULL)"
    return f"({column} IS NULL OR {column} = '' OR regexp_matches({column}, '\\p{{Cc}}'))"


def _placed(intake: Intake, first: list[tuple[int, str]]):
    places = intake.places([place for place, _ in first])
    return [(place, role, places[place]) for place, role in first]


def _named(intake: Intake, table: str, place: int, role: str, kind: str, at: tuple[int, int]) -> Reject:
    value = intake.run(f'SELECT "{role}" FROM {table} WHERE rowid = {place}')[0][0]
    taken = intake.taken[at[0]]
    found = "nothing" if value is None or value == "" else shown(value)
    wanted = WANTED[kind if role == "timestamp" else role]
    return Reject(at[0], at[1], taken.columns.names[role], taken.piece.label, found, wanted)
