"""``negsieve list``: what can be named on the command line, each with a line and its parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from negsieve.cli import complete, data, options, screen
from negsieve.errors import UsageError, nearest

EXAMPLES = options.examples(
    ("everything", "negsieve list"),
    ("samplers with their parameters", "negsieve list samplers"),
    ("for a script", "negsieve list losses --json"),
)
KINDS = ("samplers", "models", "losses", "metrics", "data")
_GIVEN = {
    *("n_items", "n_users", "seen", "train", "last_row", "seed", "explicit"),
    *("positive", "negative", "negatives", "batch", "scorer"),
}
_METRICS = {
    "recall": "share of a user's held-out items in the list",
    "recall_capped": "recall with min(k, held-out items) below the line",
    "ndcg": "held-out items in the list, earlier places counting more; 1 is the best list there is",
    "hr": "whether any held-out item is in the list",
    "precision": "share of the list that is held out",
    "mrr": "one over the place of the first held-out item",
    "map": "mean precision at the places of held-out items",
    "map_capped": "map with min(k, held-out items) below the line",
    "auc": "chance that a held-out item outranks another; no list length",
    "coverage": "share of all items that are in any list",
    "gini": "how unevenly items share the lists: 0 alike, towards 1 a few take all",
    "avg_popularity": "mean number of train users of the items in the lists",
    "novelty": "mean surprise, in bits, of the items in the lists",
}


def show(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="samplers, models, losses, metrics or data; all without it",
            metavar="KIND",
            autocompletion=complete.kinds,
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """List samplers, models, losses, metrics and data sets."""
    if kind is not None and kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r}; known: {', '.join(KINDS)}.{nearest(kind, KINDS)}")
    if kind == "data":
        data.known(json=json)
        return
    wanted = [kind] if kind else [one for one in KINDS if one != "data"]
    found = {one: _LISTED[one]() for one in wanted}
    if json:
        screen.write_json(found)
        return
    out = screen.console()
    for title, entries in found.items():
        out.print()
        out.print(screen.plain(title, "bold"))
        out.print(_grid(entries))
    out.print()
    if kind is None:
        out.print(screen.plain("Data sets: negsieve data list", "dim"))


def samplers() -> list[dict[str, Any]]:
    """Samplers by name, then those that other installed packages offer, which are not imported."""
    from negsieve.samplers import named
    from negsieve.samplers.plugins import plugins

    found = [
        _entry(name, function, named.ALIASES, given=("dim",)) | {"loss": named.default_loss(name, {})}
        for name, function in named.METHODS.items()
    ]
    for name, point in plugins().items():
        package = point.dist.name if point.dist else point.value.partition(":")[0]
        found.append(
            {"name": name, "about": f"from the installed package {package} ({point.value})", "package": package}
        )
    return found


def models() -> list[dict[str, Any]]:
    """The known models, for ``negsieve list`` and for messages."""
    from negsieve.models import named

    return [_entry(name, function, named.ALIASES) for name, function in named.MODELS.items()]


def losses() -> list[dict[str, Any]]:
    """The known losses, for ``negsieve list`` and for messages."""
    from negsieve.losses import LOSSES

    return [_entry(name, function, {}) for name, function in LOSSES.items()]


def metrics() -> list[dict[str, Any]]:
    """The known metrics, for ``negsieve list`` and for messages."""
    return [
        {"name": name if name == "auc" else f"{name}@20", "about": about, "parameters": {}}
        for name, about in _METRICS.items()
    ]


_LISTED: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "samplers": samplers,
    "models": models,
    "losses": losses,
    "metrics": metrics,
}


def _entry(name: str, function: Callable, aliases: dict[str, str], *, given: tuple[str, ...] = ()) -> dict[str, Any]:
    """A name with what there is to know of it; ``given`` are parameters that the run fills in."""
    parameters = {key: value for key, value in _parameters(function).items() if key not in given}
    return {
        "name": name,
        "about": first_sentence(function.__doc__ or ""),
        "parameters": parameters,
        "aliases": [alias for alias, meant in aliases.items() if meant == name],
    }


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring, on one line and without its marks; ``et al.`` ends none."""
    paragraph = " ".join(inspect.cleandoc(docstring).split("\n\n")[0].split()).replace("``", "")
    return re.split(r"(?<!al)\.\s+(?=[A-Z])", paragraph)[0].rstrip(".")


def _parameters(function: Callable) -> dict[str, Any]:
    signature = inspect.signature(function).parameters
    return {name: one.default for name, one in signature.items() if name not in _GIVEN and one.default is not one.empty}


def _grid(entries: list[dict[str, Any]]):
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for entry in entries:
        told = screen.plain(entry["about"])
        if entry.get("parameters"):
            values = ", ".join(f"{name}={value}" for name, value in entry["parameters"].items())
            told.append_text(screen.plain(f"\n{values}", "dim", keep="\n"))
        if entry.get("loss"):
            told.append_text(screen.plain(f"\nloss: {entry['loss']}", "dim", keep="\n"))
        grid.add_row(screen.plain(entry["name"], "cyan"), told)
    return grid
