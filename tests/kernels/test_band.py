"""A band of each row's ranking: kernel, twin and a slow loop name the same places, whatever the scores are like."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.band import band, band_reference
from negsieve.rng import streams

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
INF, NAN = torch.inf, torch.nan
NOBODY = (torch.zeros(0, dtype=torch.long),) * 2


def slow(score, taken, low, width, ranked):
    """A row at a time: sorted, cut, what is taken left out."""
    rows = []
    for b, row in enumerate(score.tolist()):
        gone = {place for at, place in zip(*(side.tolist() for side in taken), strict=True) if at == b}
        gone |= {place for place, one in enumerate(row) if one == -INF}
        order = sorted(range(len(row)), key=lambda place, row=row: (row[place] == row[place], -row[place], place))
        nan = [place for place in order if row[place] != row[place]]
        order = sorted(nan) + [place for place in order if row[place] == row[place]]
        found = [place for place in order[low:] if place not in gone][:width]
        found = found if ranked else sorted(found)
        rows.append(found + [-1] * (width - len(found)))
    return torch.tensor(rows).reshape(len(score), width)


def kinds(rows, many):
    """Scores of every kind that a model may show, by name."""
    rng = streams("scores", rows, many)
    normal = torch.randn(rows, many, generator=rng)
    odd = normal.clone()
    odd[torch.rand(rows, many, generator=rng) < 0.2] = -INF
    odd[torch.rand(rows, many, generator=rng) < 0.02] = INF
    odd[torch.rand(rows, many, generator=rng) < 0.02] = NAN
    huge = normal.clone()
    huge[:, 0] = 1e30
    zeros = torch.where(torch.rand(rows, many, generator=rng) < 0.5, -0.0, 0.0)
    return {
        "normal": normal,
        "ties": (2 * normal).round(),
        "equal": torch.full((rows, many), 0.3),
        "zeros of both signs": zeros,
        "an outlier": huge,
        "the widest": normal * 2e38,
        "the smallest": normal * 1e-42,
        "no numbers": torch.full((rows, many), NAN),
        "nothing": torch.full((rows, many), -INF),
        "all kinds": odd,
        "descending": normal.sort(1, descending=True).values,
    }


def some_taken(rows, many, share=0.2):
    """Some places of each row in no order, two of them twice; the last row has all taken."""
    gone = torch.rand(rows, many, generator=streams("taken")) < share
    gone[-1] = True
    row, place = gone.nonzero(as_tuple=True)
    order = torch.randperm(len(row), generator=streams("order"))
    order = torch.cat([order, order[:2]])
    return row[order], place[order]


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize(("many", "low", "width"), [(1, 0, 1), (40, 7, 9), (40, 0, 40), (40, 39, 5), (33, 40, 3)])
def test_kernel_and_twin_name_what_a_slow_loop_does(many, low, width, ranked):
    how = {"low": low, "width": width, "ranked": ranked}
    for name, score in kinds(5, many).items():
        for taken in (NOBODY, some_taken(5, many)):
            wanted = slow(score, taken, low, width, ranked)
            before = score.clone()
            assert torch.equal(band(score, taken, **how), wanted), name
            assert torch.equal(band_reference(score, taken, **how), wanted), name
            assert torch.equal(score.nan_to_num(), before.nan_to_num())


@compiled
@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize(("low", "width"), [(0, 30), (900, 300), (2990, 100), (2999, 1), (0, 3000), (500, 4000)])
def test_kernel_and_twin_name_the_same_of_many(low, width, ranked):
    how = {"low": low, "width": width, "ranked": ranked}
    for name, score in kinds(6, 3000).items():
        for taken in (NOBODY, some_taken(6, 3000)):
            assert torch.equal(band(score, taken, **how), band_reference(score, taken, **how)), name


@compiled
def test_a_row_is_its_own(threads):
    score, taken = kinds(64, 700)["ties"], some_taken(64, 700, 0.1)
    threads(1)
    found = band(score, taken, low=100, width=80)
    for many in (2, 4):
        threads(many)
        assert torch.equal(band(score, taken, low=100, width=80), found)
    alone = [
        band(score[b : b + 1], (taken[0][taken[0] == b] * 0, taken[1][taken[0] == b]), low=100, width=80)
        for b in range(64)
    ]
    assert torch.equal(torch.cat(alone), found)


def test_what_is_taken_counts_as_a_rank_before_the_band_and_makes_room_in_it():
    score = torch.tensor([[3.0, 3, 3, 2, 2, 1, 1, 1]])
    assert band(score, NOBODY, low=6, width=2).tolist() == [[6, 7]]
    taken = (torch.zeros(3, dtype=torch.long), torch.tensor([5, 6, 0]))
    for kind in (torch.float32, torch.float64):
        assert band(score.to(kind), taken, low=5, width=3, ranked=True).tolist() == [[7, -1, -1]]
        assert band(score.to(kind), taken, low=2, width=3).tolist() == [[2, 3, 4]]


def test_no_rows_and_pairs_that_are_not_there():
    assert band(torch.zeros(0, 5), NOBODY, low=1, width=2).shape == (0, 2)
    for row, place in ((2, 0), (0, 4)):
        with pytest.raises(IndexError):
            band(torch.zeros(2, 4), (torch.tensor([row]), torch.tensor([place])), low=0, width=1)
