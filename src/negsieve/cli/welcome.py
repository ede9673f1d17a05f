"""What ``negsieve`` says when it is called alone: what it is and where to begin."""

from __future__ import annotations

from typing import Annotated

import typer

from negsieve.cli import screen
from negsieve.cli.options import examples

EXAMPLES = examples(
    ("compare samplers on the data that comes with negsieve", "negsieve compare"),
    ("train on a log of your own", "negsieve train log.csv --sampler dns_mn:m=4,n=32 --out runs/first"),
    ("see what it would recommend", "negsieve recommend runs/first"),
)
_ABOUT = (
    "Trains recommenders on negatives that are hard but not false: it draws the items that a model learns "
    "most from, and counts how many of them the user would have wanted."
)
_FIRST = (
    ("negsieve compare", "compare samplers on data that comes along: a table and a page"),
    ("negsieve train log.csv", "train on your own log: columns user_id, item_id"),
    ("negsieve recommend RUN", "lists for the users of a run that train made"),
)


def _version(asked: bool) -> None:
    if asked:
        from negsieve import __version__

        screen.write_raw(f"negsieve {__version__}\n")
        raise typer.Exit


def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop", callback=_version, is_eager=True, metavar="")
    ] = False,
) -> None:
    """Train recommenders on negatives that are hard but not false."""
    if context.invoked_subcommand is not None:
        return
    from negsieve import __version__

    out = screen.console()
    out.print()
    line = screen.plain("negsieve", "bold")
    line.append(f" {__version__}", "dim")
    out.print(line)
    out.print(screen.plain(_ABOUT))
    _block(out, "Start with one of these", list(_FIRST))
    commands = context.command.commands
    told = [(name, (one.help or "").partition("\n")[0].rstrip(".")) for name, one in commands.items()]
    _block(out, "Commands", told)
    out.print()
    out.print(screen.plain("negsieve COMMAND --help explains a command, with examples.", "dim"))
    out.print()


def _block(out, title: str, rows: list[tuple[str, str]]) -> None:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, words in rows:
        grid.add_row("", screen.plain(name, "cyan"), screen.plain(words))
    out.print()
    out.print(screen.plain(title, "bold"))
    out.print(grid)
