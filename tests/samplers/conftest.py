"""Small data, and a way to judge many chi-square tests at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from negsieve.seen import Seen


@pytest.fixture
def seen() -> Seen:
    """Twelve users and thirty items; user 7 has seen them all, user 11 none."""
    rng = np.random.default_rng(5)
    pairs = {
        (int(u), int(i)) for u, i in zip(rng.integers(0, 11, 150), rng.integers(0, 30, 150) ** 2 // 30, strict=True)
    }
    pairs |= {(7, i) for i in range(30)}
    user, item = zip(*sorted(pairs), strict=True)
    return Seen(torch.tensor(user), torch.tensor(item), n_users=12, n_items=30)


@pytest.fixture
def judge():
    """Fails unless every (counts, probabilities) pair passes a chi-square test, Holm-corrected at 1e-4."""

    def judged(trials) -> None:
        values = sorted(
            chisquare(counts, np.asarray(law) / np.sum(law) * np.sum(counts)).pvalue for counts, law in trials
        )
        assert len(values) >= 2
        for place, value in enumerate(values):
            assert value * (len(values) - place) > 1e-4, f"chi-square p = {value} among {len(values)} trials"

    return judged
