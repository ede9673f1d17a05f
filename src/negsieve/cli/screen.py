"""What reaches the terminal: two calm consoles, and text that can never act on it.

Ids, titles, paths and messages come from files. They are shown as ``Text``, so markup in them stays
text, and with control characters spelled out, so an escape sequence in a title prints instead of acting.
"""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 100
_JOINERS = "\u200c\u200d"  # letters of some scripts, and emoji, need them
_ACTING = ("Cc", "Cf", "Cs", "Zl", "Zp")
RULE = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, as wide as the terminal, or 100 columns where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=wide)


def escaped(text: Any, *, keep: str = "") -> str:
    """``text`` with characters that act (control, direction, line separators) as ``\\x1b`` and the like.

    keep  characters to let through, such as the line break of a message of several lines
    """
    return "".join(
        sign.encode("unicode_escape").decode() if unicodedata.category(sign) in _ACTING and sign not in keep else sign
        for sign in str(text)
    )


def plain(text: Any, style: str = "", *, keep: str = "") -> Text:
    """Text to print as it is: no markup, nothing that acts."""
    return Text(escaped(text, keep=keep + _JOINERS), style=style)


def write_json(value: Any) -> None:
    """One JSON value and a line break on stdout, in UTF-8 whatever the locale; nan and infinity are null."""
    from negsieve.store.atomic import json_text

    write_raw(json_text(value, undefined=True) + "\n")


def write_raw(text: str) -> None:
    """``text`` on stdout byte for byte in UTF-8, for other programs to read."""
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        sys.stdout.write(text)
    else:
        binary.write(text.encode("utf-8", "surrogatepass"))
        binary.flush()


def table(*columns: str, right: int = 1, fold: int | None = None) -> Table:
    """A table without lines but one below its head.

    right  columns from this number on are right-aligned and never broken
    fold   columns before this number may be broken over lines; those before ``right`` by default
    """
    fold = right if fold is None else fold
    made = Table(box=RULE, pad_edge=False, padding=(0, 1), header_style="bold", border_style="dim", show_edge=False)
    for place, name in enumerate(columns):
        if place < right:
            made.add_column(name, overflow="fold", no_wrap=place >= fold)
        else:
            made.add_column(name, justify="right", no_wrap=True)
    return made


def facts(pairs: list[tuple[str, Any]]) -> Table:
    """Label and value beside each other, the labels dimmed; a value that is None is left out."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for label, value in pairs:
        if value is not None:
            made.add_row(plain(label), value if isinstance(value, Text) else plain(value))
    return made


def shortened(text: str, width: int) -> str:
    """``text``, its end replaced by an ellipsis where it is longer than ``width``."""
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"


@contextmanager
def busy(text: str, *, quiet: bool) -> Iterator[None]:
    """A spinner on stderr while something without steps goes on; on a terminal only."""
    made = console(stderr=True)
    with contextlib.nullcontext() if quiet or not made.is_terminal else made.status(plain(text, "dim")):
        yield
