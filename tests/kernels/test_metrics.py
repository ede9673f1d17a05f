"""Rank metrics: the kernel gives the twin's numbers, whatever the lists."""

import numpy as np
import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.metrics import (
    METRICS,
    count_below,
    count_below_reference,
    rank_metrics,
    rank_metrics_reference,
)

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


def case(rows, width, seed):
    rng = np.random.default_rng(seed)
    hit = torch.from_numpy(rng.random((rows, width)) < 0.2)
    hit[:1], hit[1:2] = False, True
    relevant = hit.sum(1) + torch.from_numpy(rng.integers(0, 4, size=rows))
    return hit, relevant


@compiled
@pytest.mark.parametrize(("rows", "width"), [(0, 5), (1, 1), (40, 7), (3000, 50)])
def test_the_kernel_gives_the_numbers_of_the_twin(rows, width):
    hit, relevant = case(rows, width, rows)
    asked = [(name, k) for name in METRICS for k in (1, 5, 50, 80)]
    found, twin = rank_metrics(hit, relevant, asked), rank_metrics_reference(hit, relevant, asked)
    assert found.shape == twin.shape == (len(asked), rows) and found.dtype == torch.float64
    assert torch.allclose(found, twin, rtol=1e-14, atol=0, equal_nan=True)
    assert torch.equal(found.isnan(), (relevant == 0).expand(len(asked), rows))
    counted = [i for i, (name, _) in enumerate(asked) if name in ("recall", "recall_capped", "precision", "hr", "mrr")]
    assert torch.equal(found[counted].nan_to_num(9), twin[counted].nan_to_num(9))  # no sum: the same bits


@compiled
def test_threads_change_no_bit():
    hit, relevant = case(5000, 20, 1)
    asked = [(name, 20) for name in METRICS]
    wanted, before = rank_metrics(hit, relevant, asked), torch.get_num_threads()
    try:
        for threads in (2, 4):
            torch.set_num_threads(threads)
            assert torch.equal(rank_metrics(hit, relevant, asked).nan_to_num(9), wanted.nan_to_num(9))
    finally:
        torch.set_num_threads(before)


def test_what_cannot_be_measured_is_refused():
    hit, relevant = case(3, 4, 2)
    assert rank_metrics(hit, relevant, []).shape == (0, 3)
    for asked in ([("recal", 3)], [("recall", 0)]):
        with pytest.raises(ValueError, match="rank_metrics: no metric"):
            rank_metrics(hit, relevant, asked)
    with pytest.raises(ValueError, match="3 lists beside 2"):
        rank_metrics(hit, relevant[:2], [("recall", 1)])


@compiled
@pytest.mark.parametrize(("rows", "width", "pairs"), [(3, 1, 7), (5, 33, 200), (2, 100, 0), (9, 4096, 31)])
def test_counts_below_a_bar_are_the_twins(rows, width, pairs):
    rng = torch.Generator().manual_seed(width)
    score = torch.randint(-3, 4, (rows, width), generator=rng).float()  # many ties
    score[0, 0] = -torch.inf
    row = torch.randint(0, rows, (pairs,), generator=rng)
    bar = torch.randint(-4, 5, (pairs,), generator=rng).float()
    bar[:1] = -torch.inf
    for found, twin in zip(count_below(score, row, bar), count_below_reference(score, row, bar), strict=True):
        assert torch.equal(found, twin)
    with pytest.raises(IndexError, match=f"row {rows}"):
        count_below(score, torch.tensor([rows]), torch.zeros(1))
