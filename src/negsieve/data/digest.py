"""What a data hash is made of: texts and columns, in a layout that is the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def add_texts(digest, kind: str, texts: Sequence[str]) -> None:
    """Adds texts to a hash, each with its length, so that no two lists of texts look alike."""
    digest.update(f"\n{kind} {len(texts)}\n".encode())
    for text in texts:
        raw = text.encode("utf-8")
        digest.update(b"%d:" % len(raw))
        digest.update(raw)


def add_column(digest, kind: str, column: np.ndarray | None, *, layout: str) -> None:
    """Adds a column to a hash in a layout that is the same on every machine; None is told from empty."""
    digest.update(f"\n{kind} {-1 if column is None else len(column)}\n".encode())
    if column is not None:
        digest.update(np.ascontiguousarray(column, dtype=layout).data)
