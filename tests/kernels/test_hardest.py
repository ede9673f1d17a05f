"""The hardest of some candidates: kernel and twin choose alike, and ties go to the one drawn first."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.hardest import highest, highest_reference
from negsieve.rng import streams

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


@compiled
@pytest.mark.parametrize(
    ("rows", "many", "m"), [(0, 3, 2), (1, 1, 1), (5, 2, 2), (300, 32, 4), (300, 33, 1), (9, 200, 60)]
)
def test_kernel_and_twin_choose_alike(rows, many, m):
    rng = streams("scores", rows, many)
    score = torch.randint(-4, 4, (rows, many), generator=rng) / 2  # many ties
    score[score == 1.0] = -0.0  # which equals 0
    score[score == -1.0] = -torch.inf
    if rows > 2:
        score[2, many // 2] = torch.nan
        score[1] = -torch.inf
    found = native_place(score, m)
    assert torch.equal(found, highest_reference(score, m))
    assert torch.equal(highest(score, m), found)


def native_place(score, m):
    """The kernel's answer where ``highest`` may prefer the twin."""
    place = torch.empty(len(score), m, dtype=torch.long)
    native.module().highest(score, place, 1)
    return place


def test_of_equal_scores_the_first_wins_and_what_is_no_number_stands_above_all():
    score = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, -0.0, 0.0, 0.0], [5.0, torch.nan, torch.inf, torch.nan]])
    for kind in (torch.float32, torch.float64):
        assert highest(score.to(kind), 3).tolist() == [[1, 2, 3], [0, 1, 2], [1, 3, 2]]
        assert highest(score.to(kind), 1).tolist() == [[1], [0], [1]]


def test_no_more_can_be_chosen_than_there_are():
    for m in (0, 3):
        with pytest.raises(ValueError, match=f"the {m} highest of 2 scores"):
            highest(torch.zeros(1, 2), m)
