"""What a data set is like, in numbers: counts, quantiles, domains, cold rows, and what cleaning did."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from negsieve.data.clean import LAST_SECOND
from negsieve.data.dataset import PARTS, Dataset
from negsieve.data.explicit import words

_QUANTILES = (0, 25, 50, 75, 95, 100)
_QUANTILE_NAMES = ("min", "25%", "50%", "75%", "95%", "max")


def summary(dataset: Dataset) -> dict:
    """A JSON-ready description of a data set.

    name, hash, counts (users, items, interactions, by part), density (share of all pairs),
    activity (quantiles of rows a user and an item), rejected, duplicates, dropped, time range,
    domains and their overlaps, the target and what stands beside it, cold (users, items and rows
    of valid and test that train does not know), saturated users, negatives (the explicit ones,
    where there are any), columns and which were guessed, cleaning rules, split.
    Cost: a few passes over the rows.
    """
    log, facts = dataset.interactions, dataset.interactions.facts
    return {
        "name": dataset.name,
        "hash": dataset.hash,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": len(log),
        "parts": {word: len(dataset.rows(word)) for word in PARTS},
        "density": len(log) / max(dataset.n_users * dataset.n_items, 1),
        "per_user": _quantiles(np.bincount(log.user, minlength=dataset.n_users)),
        "per_item": _quantiles(np.bincount(log.item, minlength=dataset.n_items)),
        "rows_read": facts.get("rows_read", len(log)),
        "rows_rejected": facts.get("rows_rejected", 0),
        "rejects": list(facts.get("rejects", [])),
        "duplicates": facts.get("dropped", {}).get("duplicates", 0),
        "dropped": dict(facts.get("dropped", {})),
        "core_rounds": facts.get("core_rounds", 0),
        "unrated": 0 if log.rating is None else int(np.isnan(log.rating).sum()),
        "users_without_items": facts.get("users_without_items", 0),
        "time": _time(log.timestamp),
        "domains": _domains(dataset),
        "target": _target(dataset),
        "items_in_several_domains": facts.get("items_in_several_domains", 0),
        "cold": {word: _cold(dataset, word) for word in PARTS[1:]},
        "saturated_users": int(dataset.saturated_users.sum()),
        "negatives": dict(facts.get("negatives", {})),
        "titles": None if log.titles is None else sum(bool(title) for title in log.titles),
        "columns": dict(facts.get("columns", {})),
        "guessed": dict(facts.get("guessed", {})),
        "rules": dict(facts.get("rules", {})),
        "split": dict(dataset.split),
    }


def summary_lines(summary: dict) -> list[tuple[str, str]]:
    """The summary as (label, text) pairs in reading order, for a terminal. Ids and titles are not in it."""
    lines = [
        ("data", f"{summary['name']}  ({summary['hash'][:12]})"),
        ("users, items", f"{summary['users']:,} users, {summary['items']:,} items"),
        ("interactions", f"{summary['interactions']:,}  (density {summary['density']:.4%})"),
        ("parts", ", ".join(f"{word} {count:,}" for word, count in summary["parts"].items())),
        ("split", _split_words(summary["split"])),
        ("rows a user", _quantile_words(summary["per_user"])),
        ("rows an item", _quantile_words(summary["per_item"])),
        ("time", _time_words(summary["time"])),
        ("columns", _column_words(summary["columns"], summary["guessed"])),
        ("rows read", f"{summary['rows_read']:,}, {summary['rows_rejected']:,} refused"),
        *(("  refused", reject) for reject in summary["rejects"]),
        ("left out", _dropped_words(summary)),
        ("explicit negatives", words(summary["negatives"])),
    ]
    for name, domain in summary["domains"].get("each", {}).items():
        counts = f"{domain['users']:,} users, {domain['items']:,} items, {domain['rows']:,} rows"
        lines.append((f"domain {name}", counts))
    for pair in summary["domains"].get("shared", []):
        lines.append(
            (f"shared by {pair['of'][0]} and {pair['of'][1]}", f"{pair['users']:,} users, {pair['items']:,} items")
        )
    if summary["items_in_several_domains"]:
        lines.append(("item ids in several domains", f"{summary['items_in_several_domains']:,}"))
    lines += target_lines(summary["target"])
    for word, cold in summary["cold"].items():
        if cold["rows"]:
            lines.append((f"cold in {word}", _cold_words(cold)))
    if summary["unrated"]:
        lines.append(("rows without a rating", f"{summary['unrated']:,}"))
    if summary["users_without_items"]:
        lines.append(("lines without an item", f"{summary['users_without_items']:,}"))
    if summary["saturated_users"]:
        lines.append(("users who have every item", f"{summary['saturated_users']:,}: no negative is left for them"))
    return [(label, text) for label, text in lines if text]


def _quantiles(counts: np.ndarray) -> dict[str, float]:
    return dict(zip(_QUANTILE_NAMES, np.percentile(counts, _QUANTILES).tolist(), strict=True))


def _time(times: np.ndarray | None) -> dict | None:
    """First and last time, as numbers, and as dates where they can be seconds since 1970."""
    if times is None:
        return None
    first, last = float(times.min()), float(times.max())
    dates = last < LAST_SECOND
    return {
        "first": first,
        "last": last,
        "from": datetime.fromtimestamp(first, UTC).isoformat() if dates else None,
        "to": datetime.fromtimestamp(last, UTC).isoformat() if dates else None,
        "distinct": len(np.unique(times)),
    }


def _domains(dataset: Dataset) -> dict:
    """Users, items and rows of each domain, and what each two share; empty without domains."""
    log = dataset.interactions
    if log.domain is None:
        return {}
    rows = [np.flatnonzero(log.domain == at) for at in range(len(log.domains))]
    users = [np.bincount(log.user[own], minlength=dataset.n_users) > 0 for own in rows]
    items = [np.bincount(log.item[own], minlength=dataset.n_items) > 0 for own in rows]
    each = {
        name: {"users": int(users[at].sum()), "items": int(items[at].sum()), "rows": len(rows[at])}
        for at, name in enumerate(log.domains)
    }
    pairs = [(a, b) for a in range(len(rows)) for b in range(a + 1, len(rows))] if len(rows) <= 10 else []
    shared = [
        {
            "of": [log.domains[a], log.domains[b]],
            "users": int((users[a] & users[b]).sum()),
            "items": int((items[a] & items[b]).sum()),
        }
        for a, b in pairs
    ]
    several = int((np.sum(users, axis=0) > 1).sum())
    return {"each": each, "shared": shared, "users_in_several": several}


def _target(dataset: Dataset) -> dict:
    """The target domain, its sources, and for how many nothing of them came before; empty without a target.

    "without_source": users with train rows and, before what comes after train, no source row. "alone": train rows
    that are no user's first and have no source row before them.
    """
    told = dict(dataset.interactions.facts.get("target", {}))
    if dataset.aside is None:
        return told
    aside, history = (of("train", order=dataset.order) for of in (dataset.asides, dataset.histories))
    later = np.ones(len(history), dtype=bool)
    first = history.offset[:-1][history.offset.diff() > 0]
    later[history.row[first].numpy()] = False
    trained = history.offset.diff() > 0
    return told | {
        "source_items": dataset.aside.n_items,
        "users": int(trained.sum()),
        "without_source": int((trained & (aside.last < 0)).sum()),
        "positives": int(later.sum()),
        "alone": int((aside.before.numpy()[later] < 0).sum()),
    }


def target_lines(told: dict) -> list[tuple[str, str]]:
    """What ``summary`` says of the target as (label, text) pairs; none where there is no target."""
    if not told:
        return []
    if "alone" not in told:
        return [("target", f"{told['domain']}, without a source")]
    shared = [f"{count:,} users {word}" for word, count in told.items() if word.startswith("shared with ")]
    share = f"{told['alone'] / max(told['positives'], 1):.1%}"
    return [
        ("target", f"{told['domain']}: {', '.join(shared)}"),
        ("source rows", f"{told['source_rows']:,} of {told['source_items']:,} items"),
        ("users without source", f"{told['without_source']:,} of the {told['users']:,} in train"),
        (
            "positives without",
            f"{told['alone']:,} of {told['positives']:,} ({share}) have no source row before them",
        ),
    ]


def _cold(dataset: Dataset, part: str) -> dict:
    """Users, items and rows of a part that train does not know, and their shares of the part."""
    rows = dataset.rows(part)
    user, item = dataset.interactions.user[rows], dataset.interactions.item[rows]
    cold_user, cold_item = dataset.cold_users.numpy()[user], dataset.cold_items.numpy()[item]
    users, items = len(np.unique(user)), len(np.unique(item))
    unknown_users, unknown_items = len(np.unique(user[cold_user])), len(np.unique(item[cold_item]))
    cold = int((cold_user | cold_item).sum())
    return {
        "users": unknown_users,
        "user_share": unknown_users / users if users else 0.0,
        "items": unknown_items,
        "item_share": unknown_items / items if items else 0.0,
        "rows": cold,
        "row_share": cold / len(rows) if len(rows) else 0.0,
    }


def _quantile_words(quantiles: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:,.0f}" for name, value in quantiles.items())


def _time_words(time: dict | None) -> str:
    if time is None:
        return ""
    if time["from"] is None:
        return f"{time['first']:g} to {time['last']:g} (not seconds since 1970), {time['distinct']:,} distinct"
    return f"{time['from']} to {time['to']}, {time['distinct']:,} distinct"


def _column_words(columns: dict[str, str], guessed: dict[str, str]) -> str:
    return ", ".join(f"{role} = {name}{' (guessed)' if role in guessed else ''}" for role, name in columns.items())


def _dropped_words(summary: dict) -> str:
    core = "/".join(map(str, summary["rules"].get("core", [])))
    words = {
        "negatives": "turned into explicit negatives",
        "rating": "under the rating threshold",
        "unrated": "unrated under a rating threshold",
        "dates": "outside the dates",
        "parts_overlap": "repeats of a pair in a later part",
        "duplicates": "repeats of a pair",
        "core": f"by the {core}-core in {summary['core_rounds']} rounds",
    }
    dropped = summary["dropped"]
    return ", ".join(f"{dropped[step]:,} {text}" for step, text in words.items() if step in dropped)


def _split_words(told: dict) -> str:
    counts = {"train", "valid", "test", "method", "asked"}
    more = ", ".join(f"{word} {value}" for word, value in told.items() if word not in counts)
    return f"{told.get('method', '')}{f' ({more})' if more else ''}"


def _cold_words(cold: dict) -> str:
    return (
        f"{cold['users']:,} users ({cold['user_share']:.1%}), {cold['items']:,} items ({cold['item_share']:.1%}), "
        f"{cold['rows']:,} rows ({cold['row_share']:.1%})"
    )
