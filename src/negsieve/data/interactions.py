"""A cleaned interaction log with dense numbers beside the ids that they stand for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from negsieve.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class ExplicitNegatives:
    """m pairs that users turned down, numbered as the log that they stand beside.

    user, item  ``int64[m]``
    timestamp   ``float64[m]``, NaN where unknown
    part        ``int8[m]`` as the source says: 0 train (or not said), 1 valid, 2 test
    domain      ``int16[m]`` into the log's ``domains``, -1 where not said, -2 for one that the log has no more; or
                None: not said of any
    facts       counts of reading them
    """

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    part: np.ndarray
    facts: dict = field(default_factory=dict)
    domain: np.ndarray | None = None


@dataclass(frozen=True)
class Interactions:
    """n interactions in input order.

    user, item   ``int64[n]`` dense numbers into ``users`` and ``items``
    rating       ``float64[n]`` or None
    timestamp    ``float64[n]`` seconds (or any increasing number) or None
    domain       ``int16[n]`` into ``domains`` or None
    part         ``int8[n]`` as given by the source: 0 train, 1 valid, 2 test; or None
    titles       one a item, or None
    negatives    explicit negatives that no split has judged yet, or None
    facts        what reading and cleaning did: counts, guesses, rules, for the summary
    """

    user: np.ndarray
    item: np.ndarray
    users: Vocabulary
    items: Vocabulary
    rating: np.ndarray | None = None
    timestamp: np.ndarray | None = None
    domain: np.ndarray | None = None
    domains: tuple[str, ...] = ()
    part: np.ndarray | None = None
    titles: list[str] | None = None
    negatives: ExplicitNegatives | None = None
    facts: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)
