"""Selection equals a slow twin, never takes what is filtered, and reads scores without gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.select import Hardest, SoftmaxWeight
from negsieve.scorers import Dot, Function
from negsieve.types import Batch, Negatives

BATCH = Batch(torch.arange(6), torch.arange(6))


@pytest.fixture
def table() -> torch.Tensor:
    return torch.randn(6, 40, generator=streams("scores"), dtype=torch.float64)


@pytest.fixture
def scorer(table):
    def rate(item):
        assert not torch.is_grad_enabled()
        return table.gather(1, item.expand(6, -1))

    return Function(rate)


def candidates(key: int = 0, m: int = 12) -> Negatives:
    rng = streams("candidates", key)
    item = torch.randint(40, (6, m), generator=rng)
    return Negatives(item, keep=torch.rand(6, m, generator=rng) < 0.6, log_q=-item.double())


@pytest.mark.parametrize("m", [1, 3, 12])
def test_hardest_equals_a_slow_twin(table, scorer, m):
    given = candidates()
    found = Hardest(m).refine(given, BATCH, scorer, streams("t"))
    assert found.item.shape == found.keep.shape == (6, m)
    for row in range(6):
        order = sorted(range(12), key=lambda c: (not given.keep[row, c], -table[row, given.item[row, c]]))
        some = min(m, int(given.keep[row].sum()))
        assert found.item[row, :some].tolist() == given.item[row, order[:some]].tolist()
        assert found.keep[row].tolist() == [True] * some + [False] * (m - some)
    assert torch.equal(found.log_q, -found.item.double())
    assert found.weight is None


def test_a_kept_candidate_with_the_lowest_score_beats_every_filtered_one():
    scorer = Function(lambda item: torch.where(item == 0, -torch.inf, 5.0))
    given = Negatives(torch.tensor([[1, 0, 2]]), keep=torch.tensor([[False, True, False]]))
    found = Hardest().refine(given, Batch(torch.tensor([0])), scorer, streams("t"))
    assert found.item.tolist() == [[0]] and found.keep.tolist() == [[True]]


def test_shared_candidates_become_a_choice_a_row(table, scorer):
    item = torch.arange(10)[None]
    found = Hardest(2).refine(Negatives(item, log_q=-item.double()), BATCH, scorer, streams("t"))
    assert torch.equal(found.item, table[:, :10].topk(2).indices)
    assert torch.equal(found.log_q, -found.item.double()) and found.keep is None


def test_sum_gives_weights_of_one(scorer):
    found = Hardest(3, mode="sum").refine(candidates(), BATCH, scorer, streams("t"))
    assert torch.equal(found.weight, torch.ones(6, 3, dtype=torch.float64))


def test_one_draws_uniformly_from_the_kept_of_the_top(judge, table, scorer):
    given, trials = candidates(), []
    top = Hardest(4).refine(given, BATCH, scorer, streams("t"))
    picks = [Hardest(4, mode="one").refine(given, BATCH, scorer, streams("one", key)) for key in range(1500)]
    chosen = torch.cat([pick.item for pick in picks], dim=1)  # [6, 1500]
    for row in range(6):
        allowed = sorted(set(top.item[row][top.keep[row]].tolist()))
        counts = np.array([int((chosen[row] == item).sum()) for item in allowed])
        assert counts.sum() == 1500
        law = np.array([int((top.item[row][top.keep[row]] == item).sum()) for item in allowed])
        if len(allowed) > 1:
            trials.append((counts, law))
    judge(trials)


def test_the_hardest_carry_their_vectors_and_parts(scorer):
    rng = streams("vectors")
    vector, parts = torch.randn(6, 12, 5, generator=rng), torch.randint(9, (6, 12, 2), generator=rng)
    given = Negatives(torch.randint(40, (6, 12), generator=rng), vector=vector, ego=-vector, parts=parts)
    found = Hardest(2).refine(given, BATCH, scorer, streams("t"))
    for row in range(6):
        for place in range(2):
            source = (parts[row] == found.parts[row, place]).all(1) & (vector[row] == found.vector[row, place]).all(1)
            assert source.any() and torch.equal(found.ego[row, place], -found.vector[row, place])


def test_bad_parameters_are_refused(scorer):
    with pytest.raises(UsageError, match="the hardest 13 of 12"):
        Hardest(13).refine(candidates(), BATCH, scorer, streams("t"))
    with pytest.raises(UsageError, match="Did you mean 'mean'"):
        Hardest(2, mode="meen")
    with pytest.raises(UsageError, match="m=0"):
        Hardest(0)
    with pytest.raises(UsageError, match="rho=0"):
        SoftmaxWeight(0)


def test_softmax_weight_follows_its_formula(table, scorer):
    given = candidates()
    weight = SoftmaxWeight(0.7).refine(given, BATCH, scorer, streams("t")).weight
    for row in range(6):
        kept = given.keep[row]
        gap = table[row, given.item[row]][kept] - table[row, BATCH.item[row]]
        loss = torch.log1p(gap.exp())
        tau = (loss.var(correction=0) / 1.4).sqrt()
        assert torch.allclose(weight[row][kept], torch.softmax(loss / tau, 0), atol=1e-12)
        assert (weight[row][~kept] == 0).all()


def test_softmax_weight_runs_from_uniform_to_the_hardest(table, scorer):
    given = candidates(m=5)
    given = Negatives(torch.stack([row.roll(i) for i, row in enumerate(torch.arange(30).reshape(6, 5))]))
    flat = SoftmaxWeight(1e-12).refine(given, BATCH, scorer, streams("t")).weight
    assert torch.allclose(flat, torch.full_like(flat, 0.2), atol=1e-5)
    sharp = SoftmaxWeight(1e12).refine(given, BATCH, scorer, streams("t")).weight
    hardest = table.gather(1, given.item).argmax(1, keepdim=True)
    assert torch.allclose(sharp, torch.zeros_like(sharp).scatter(1, hardest, 1.0), atol=1e-12)


def test_softmax_weight_without_spread_or_candidates():
    even = Function(lambda item: torch.full((2, item.shape[1]), 3.0))
    given = Negatives(torch.tensor([[1, 2, 3], [1, 2, 3]]), keep=torch.tensor([[True, False, True], [False] * 3]))
    weight = SoftmaxWeight().refine(given, Batch(torch.arange(2), torch.arange(2)), even, streams("t")).weight
    assert weight.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]


def test_selection_leaves_no_graph_behind():
    query = torch.ones(6, 4, requires_grad=True)
    scorer = Dot(query, torch.ones(40, 4, requires_grad=True))
    weight = SoftmaxWeight().refine(candidates(), BATCH, scorer, streams("t")).weight
    assert not weight.requires_grad
