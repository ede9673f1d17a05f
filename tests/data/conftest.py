"""A small data set with everything in it: ratings, times, domains, titles, parts, cold rows."""

from __future__ import annotations

import numpy as np
import pytest

from negsieve.data.dataset import Dataset
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary


@pytest.fixture
def small() -> Dataset:
    """Four users, four items; u3 is only in test, i3 only in test, u1 has all items of train and more."""
    part = np.array([0, 0, 0, 0, 1, 2, 2], dtype=np.int8)
    log = Interactions(
        user=np.array([0, 0, 1, 2, 0, 3, 2]),
        item=np.array([0, 1, 2, 0, 2, 1, 3]),
        users=Vocabulary(["007", "ü", "a b", "👩"], kind="user"),
        items=Vocabulary(["18446744073709551617", "x", "y", "z"], kind="item"),
        rating=np.array([1.0, 2.5, np.nan, 4.0, 5.0, 1.0, 2.0]),
        timestamp=np.array([0.0, 60.0, 60.5, 61.0, 70.0, 80.0, 90.0]),
        domain=np.array([0, 0, 1, 0, 1, 0, 1], dtype=np.int16),
        domains=("toy", "game"),
        part=part,
        titles=["one", "two, with a comma", "", "=4"],
        facts={
            "name": "small",
            "rows_read": 9,
            "rows_rejected": 1,
            "rejects": ["f.csv:3:user: found nothing"],
            "dropped": {"duplicates": 1, "parts_overlap": 0},
            "columns": {"user": "who"},
            "guessed": {"user": "who"},
        },
    )
    return Dataset("small", log, part, {"method": "given", "asked": "auto"})
