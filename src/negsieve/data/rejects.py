"""Rows that are refused: each with its place, what was found and what was wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

from negsieve.errors import DataError

SHOWN = 10


@dataclass(frozen=True, order=True)
class Reject:
    """One refused row. ``line`` counts from 1: lines of a text file, rows of a Parquet file or a table."""

    order: int  # place of the file in the source
    line: int
    column: str
    file: str = field(compare=False)
    found: str = field(compare=False)
    wanted: str = field(compare=False)

    def words(self) -> str:
        return f"found {self.found}, wanted {self.wanted}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.words()}"


@dataclass
class Rejects:
    """All refused rows of a source: the first ten kept, all counted."""

    count: int = 0
    first: list[Reject] = field(default_factory=list)

    def add(self, rejects: list[Reject], count: int) -> None:
        """Takes note of ``count`` more refused rows, of which ``rejects`` are (at least) the first ten."""
        self.count += count
        self.first = sorted([*self.first, *rejects])[:SHOWN]

    def settle(self, *, skip_bad: int) -> None:
        """Raises DataError unless the refused rows are at most ``skip_bad``."""
        if self.count <= skip_bad:
            return
        head, *rest = self.first
        lines = [head.words()]
        if rest:
            lines += ["also:", *(f"  {reject}" for reject in rest)]
        hidden = self.count - len(self.first)
        if hidden:
            lines.append(f"  and {hidden} more")
        allowed = f"skip_bad={skip_bad} allows fewer" if skip_bad else "none is allowed by default"
        rows = "1 bad row" if self.count == 1 else f"{self.count} bad rows"
        lines.append(
            f"{rows}; {allowed}. Correct the file, or leave bad rows out with "
            f"--set data.skip_bad={self.count} (in Python skip_bad={self.count})."
        )
        raise DataError("\n".join(lines), file=head.file, row=head.line, column=head.column)


def shown(value: object) -> str:
    """A found value as messages print it: quoted, escaped, at most 60 characters."""
    text = str(value)
    return ascii(text[:60] + "..." if len(text) > 60 else text) if not text.isprintable() else repr(text[:60])
