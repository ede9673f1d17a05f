"""Which column of a log means what: the names that people use, and what was guessed from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from negsieve.errors import DataError, UsageError, nearest

LOG_ROLES = ("user", "item", "rating", "timestamp", "domain", "split", "position")
TITLE_ROLES = ("item", "title")
REQUIRED = {"user", "item"}

ALIASES: Mapping[str, tuple[str, ...]] = {
    "user": (
        *("user_id", "user", "userid", "users", "uid", "u", "user_idx", "customer_id", "customerid", "customer"),
        *("visitor_id", "visitorid", "visitor", "reviewer_id", "reviewerid", "member_id", "account_id", "session_id"),
        *("query_id", "external_user_id", "author_id", "person_id", "profile_id"),
    ),
    "item": (
        *("item_id", "item", "itemid", "items", "iid", "i", "item_idx", "movie_id", "movieid", "movie", "product_id"),
        *("productid", "product", "asin", "parent_asin", "business_id", "book_id", "bookid", "isbn", "track_id"),
        *("song_id", "artist_id", "artistid", "anime_id", "article_id", "news_id", "stock_code", "stockcode", "sku"),
        *("external_item_id", "gmap_id", "game_id", "app_id", "video_id", "venue_id", "location_id", "poi_id"),
    ),
    "rating": ("rating", "ratings", "score", "stars", "overall", "weight", "label", "preference"),
    "timestamp": (
        *("timestamp", "timestamps", "time", "ts", "datetime", "date", "unixreviewtime", "unix_time", "event_time"),
        *("time_stamp", "created_at", "review_time", "purchase_date", "invoice_date", "invoicedate"),
    ),
    "domain": ("domain", "category_domain", "domain_id", "domains"),
    "split": ("split", "fold", "set", "part", "subset"),
    "position": ("position",),
    "title": ("title", "titles", "name", "item_name", "movie_title", "product_title", "item_title"),
}
"""Names of a role, lower case; the first of each is its own name and wins over the others."""

_SAME_ROLE = {"user_id": "user", "item_id": "item", "time": "timestamp"}


@dataclass(frozen=True)
class Columns:
    """Where the roles stand in one file.

    place    role -> place of its column, from 0
    names    role -> the column's own name
    guessed  roles whose column was recognised by an alias rather than by its own name or by order
    """

    place: Mapping[str, int]
    names: Mapping[str, str]
    guessed: tuple[str, ...]


def overrides(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Checks what the user said about columns: ``{"user": "col", ...}``; an empty name leaves a role out.

    Raises UsageError for a word that is no role, or one column given to two roles.
    """
    said: dict[str, str] = {}
    for word, name in (columns or {}).items():
        role = _SAME_ROLE.get(word, word)
        if role not in LOG_ROLES:
            raise UsageError(f"columns: {word!r} is none of {', '.join(LOG_ROLES)}.{nearest(word, LOG_ROLES)}")
        said[role] = name or ""
    twice = [name for name, times in Counter(filter(None, said.values())).items() if times > 1]
    if twice:
        raise UsageError(f"columns: {twice[0]!r} is given to two roles; each column has one")
    if any(role in said and not said[role] for role in REQUIRED):
        raise UsageError("columns: user and item cannot be left out")
    return said


def resolve(
    names: Sequence[str],
    *,
    file: str,
    said: Mapping[str, str],
    roles: Sequence[str] = LOG_ROLES,
    row: int | None = 1,
) -> Columns:
    """Finds the roles among a file's column ``names``; ``said`` is what ``overrides`` returned.

    A role's own name (``user_id``) wins over its aliases; two aliases of one role are refused
    rather than guessed between. Raises DataError when a name is doubled, when user or item is
    missing (or the header is), and when an override names no column.
    """
    names = [name.strip() for name in names]
    doubled = [name for name, times in Counter(name for name in names if name).items() if times > 1]
    if doubled:
        raise DataError(
            f"found the column {doubled[0]!r} {names.count(doubled[0])} times, wanted each once",
            file=file,
            row=row,
            column=doubled[0],
        )
    place, guessed = {}, []
    taken = {name for name in said.values() if name}
    for role in roles:
        if role in said:
            if said[role]:
                place[role] = _named(said[role], names, role=role, file=file, row=row)
            continue
        found, by_alias = _by_alias(role, names, taken=taken, file=file, row=row)
        if found is not None:
            place[role] = found
            if by_alias:
                guessed.append(role)
    _demand(place, names, roles=roles, file=file, row=row)
    return Columns(place, {role: names[at] for role, at in place.items()}, tuple(guessed))


def _named(name: str, names: Sequence[str], *, role: str, file: str, row: int | None) -> int:
    if name not in names:
        raise DataError(
            f"found no column {name!r} for the {role} among {_listing(names)}.{nearest(name, names)}",
            file=file,
            row=row,
        )
    return names.index(name)


def _by_alias(role: str, names: Sequence[str], *, taken: set[str], file: str, row: int | None):
    """Place of the role's column, or None, and whether an alias (not the own name) told."""
    lowered = [name.lower() for name in names]
    fits = [at for at, name in enumerate(lowered) if name in ALIASES[role] and names[at] not in taken]
    own = [at for at in fits if lowered[at] == ALIASES[role][0]]
    if len(own) == 1:
        return own[0], False
    if len(fits) > 1:
        which = " and ".join(repr(names[at]) for at in fits)
        raise DataError(
            f"found {which}, wanted one {role} column; say which: --columns {role}={names[fits[0]]} "
            f"(in Python columns={{{role!r}: {names[fits[0]]!r}}})",
            file=file,
            row=row,
        )
    return (fits[0], True) if fits else (None, False)


def _demand(
    place: Mapping[str, int], names: Sequence[str], *, roles: Sequence[str], file: str, row: int | None
) -> None:
    missing = [role for role in roles if role in REQUIRED and role not in place]
    if missing:
        wanted = " and ".join(f"a column for the {role} (such as {ALIASES[role][0]!r})" for role in missing)
        hint = ",".join(f"{role}=NAME" for role in missing)
        raise DataError(
            f"found the header {_listing(names)}, wanted {wanted}; add a header line, or say --columns {hint}",
            file=file,
            row=row,
        )


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
