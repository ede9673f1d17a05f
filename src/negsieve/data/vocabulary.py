"""External ids and the dense numbers that stand for them, both ways, spelling untouched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from negsieve.errors import MissingInput, nearest


class Vocabulary(Sequence[str]):
    """The ids of users or of items: place ``i`` holds the id that dense number ``i`` stands for."""

    def __init__(self, ids: Iterable[str], *, kind: str = "id") -> None:
        self.kind = kind
        self._ids = list(ids)
        if (distinct := len(set(self._ids))) != len(self._ids):
            raise ValueError(f"{kind} ids repeat: {len(self._ids)} given, {distinct} distinct")

    @cached_property
    def _place(self) -> dict[str, int]:
        """The number of each id; most runs only ever name numbers, and do without."""
        return {text: place for place, text in enumerate(self._ids)}

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, place):
        return self._ids[place]

    def __contains__(self, text) -> bool:
        return text in self._place

    def numbers(self, ids: Iterable[str]) -> np.ndarray:
        """Dense numbers ``int64[n]`` of external ids. Raises MissingInput naming the first unknown one."""
        ids = [str(one) for one in ids]
        try:
            return np.fromiter((self._place[one] for one in ids), dtype=np.int64, count=len(ids))
        except KeyError as unknown:
            text = unknown.args[0]
            near = nearest(text, self._ids) if len(self._ids) <= 100_000 else ""
            raise MissingInput(f"no {self.kind} has the id {text!r} among {len(self._ids)} known.{near}") from None
