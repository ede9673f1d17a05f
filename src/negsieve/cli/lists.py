"""``negsieve recommend``, ``similar`` and ``export``: what a finished run is good for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from negsieve.cli import complete, failure, options, screen
from negsieve.errors import MissingInput, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 3
"""For how many users lists are shown when none is named."""

RECOMMEND_EXAMPLES = options.examples(
    ("a look at a few users", "negsieve recommend runs/first"),
    ("two users, ten items each", "negsieve recommend runs/first --user 12347 --user 12348 --k 10"),
    ("all users into a file; Parquet and JSON lines by their ending", "negsieve recommend runs/first --out lists.csv"),
    (
        "the users of a file, an id a line, into a pipe",
        "negsieve recommend runs/first --users-file ids.txt --format csv",
    ),
)
SIMILAR_EXAMPLES = options.examples(
    ("what is like an item", "negsieve similar runs/first --item 85123A --k 5"),
    ("all items into a file", "negsieve similar runs/first --all --out similar.parquet"),
)
EXPORT_EXAMPLES = options.examples(
    ("vectors with their ids, for a nearest-neighbour index", "negsieve export runs/first vectors"),
    ("as NumPy arrays", "negsieve export runs/first vectors --format npy"),
)

K = Annotated[int, options.option("--k", "-k", help="How many items a list (20)", metavar="K", min=1)]
Out = Annotated[
    Path | None,
    options.option("--out", "-o", help="Write all into this .csv, .parquet or .jsonl file", metavar="FILE"),
]
TableFormat = Annotated[
    str | None,
    options.option(
        "--format",
        help="csv, parquet or jsonl, whatever the ending says; csv and jsonl go to stdout without --out",
        metavar="FORMAT",
        completion=complete.table_formats,
    ),
]


def recommend(
    run: options.RunPath,
    user: Annotated[
        list[str] | None, options.option("--user", "-u", help="A user's id; repeatable", metavar="ID")
    ] = None,
    users_file: Annotated[
        Path | None,
        options.option("--users-file", help="A text file of user ids, one a line", metavar="FILE"),
    ] = None,
    k: K = 20,
    out: Out = None,
    format: TableFormat = None,
    include_seen: Annotated[
        bool,
        options.option("--include-seen", help="Items that the user has already may come up, too"),
    ] = False,
    json: options.Json = False,
) -> None:
    """Recommend items to users of a finished run.

    Without --user and --users-file: to all users into a file or as CSV, JSON; else to a few, to look at.
    """
    from negsieve import lists
    from negsieve.trained import open_trained

    users = _ids(user, users_file)
    trained = open_trained(run)
    look = users is None and out is None and format is None and not json
    if look:
        users = [trained.dataset.users[number] for number in range(min(SHOWN, trained.dataset.n_users))]
    table = lists.recommend(trained, users, k=k, exclude_seen=not include_seen)
    about = {"run": str(run), "k": k, "users": len(set(table["user_id"].to_pylist()))}
    _deliver(table, about, group="user_id", out=out, format=format, json=json)
    if look and trained.dataset.n_users > SHOWN:
        failure.note(f"{SHOWN} of {trained.dataset.n_users:,} users. For one: --user ID; for all: --out lists.csv")


def similar(
    run: options.RunPath,
    item: Annotated[
        list[str] | None, options.option("--item", "-i", help="An item's id; repeatable", metavar="ID")
    ] = None,
    all_items: Annotated[bool, options.option("--all", help="Every item of the run")] = False,
    k: K = 20,
    out: Out = None,
    format: TableFormat = None,
    json: options.Json = False,
) -> None:
    """Find the items most like an item, by the angle between their vectors."""
    from negsieve import lists
    from negsieve.trained import open_trained

    if bool(item) == all_items:
        raise UsageError("name items with --item ID (repeatable), or all of them with --all")
    trained = open_trained(run)
    table = lists.similar(trained, list(trained.dataset.items) if all_items else item or [], k=k)
    about = {"run": str(run), "k": k, "items": len(set(table["item_id"].to_pylist()))}
    _deliver(table, about, group="item_id", out=out, format=format, json=json)


def export(
    run: options.RunPath,
    out: Annotated[Path, typer.Argument(help="A new folder", metavar="OUT", show_default=False)],
    format: Annotated[
        str,
        options.option("--format", help="parquet or npy", metavar="FORMAT", completion=complete.vector_formats),
    ] = "parquet",
    json: options.Json = False,
) -> None:
    """Write the vectors of users and items with their ids.

    The plain dot product of a user's and an item's vector is the model's score.
    """
    from negsieve.store.atomic import read_json
    from negsieve.vectors import export as write

    folder = write(run, out, format=format)
    about = read_json(folder / "about.json")
    files = sorted(one.name for one in folder.iterdir())
    if json:
        screen.write_json({"out": str(folder), "files": files, **about})
        return
    shown = [
        ("folder", folder),
        ("files", ", ".join(files)),
        ("vectors", f"{about['users']:,} users, {about['items']:,} items, width {about['dim']}"),
        ("similarity", "dot product"),
    ]
    screen.console().print(screen.facts(shown))


def _ids(given: list[str] | None, file: Path | None) -> list[str] | None:
    """The ids of --user and --users-file, in that order; None where neither was given."""
    if file is None:
        return given or None
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise MissingInput(f"{file}: cannot read the user ids ({problem.strerror})") from None
    except UnicodeDecodeError as problem:
        raise MissingInput(f"{file}: not UTF-8 at byte {problem.start}; wanted a user id a line") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    found = [*(given or []), *(line for line in lines if line)]
    if not found:
        raise MissingInput(f"{file}: holds no user id; wanted one a line")
    return found


def _deliver(
    table: pa.Table, about: dict[str, Any], *, group: str, out: Path | None, format: str | None, json: bool
) -> None:
    """Into a file, a pipe, a JSON object or a readable table."""
    from negsieve import tables

    if out is None and json and format is not None:
        raise UsageError("--json and --format both want stdout: leave out one, or name a file with --out")
    if out is not None:
        path = tables.write_table(table, out, format=format)
        told = about | {"out": str(path), "rows": table.num_rows}
        screen.write_json(told) if json else failure.note(f"{table.num_rows:,} rows in {path}")
    elif json:
        screen.write_json(about | {"lists": table.to_pylist()})
    elif format is not None:
        if format not in ("csv", "jsonl"):
            raise UsageError(f"--format {format} needs --out FILE; csv and jsonl can go to stdout")
        screen.write_raw(tables.as_text(table, format))
    else:
        _show(table, group)


def _show(table: pa.Table, group: str) -> None:
    """A readable table, the lists under each other."""
    from itertools import groupby

    out = screen.console()
    listed = "similar_id" if group == "item_id" else "item_id"
    with_titles = "title" in table.column_names
    for key, rows in groupby(table.to_pylist(), key=lambda row: row[group]):
        rows = list(rows)
        popular = rows[0].get("by") == "popularity"
        head = screen.plain(f"{group.removesuffix('_id')} {key}", "bold")
        if popular:
            head.append("   not in train: the most popular items", "dim not bold")
        made = screen.table("", "item", *(["title"] if with_titles else []), "score", right=2 + with_titles)
        for row in rows:
            title = [screen.plain(row["title"] or "")] if with_titles else []
            made.add_row(
                screen.plain(row["rank"], "dim"), screen.plain(row[listed], "cyan"), *title, f"{row['score']:.4f}"
            )
        out.print()
        out.print(head)
        out.print(made)
    out.print()
