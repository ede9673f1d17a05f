"""One meaning of a score, by whichever way it is asked for."""

import pytest
import torch

from negsieve.scorers import Dot, Function, Narrowing, Scorer, Towers, VectorScorer
from negsieve.types import Batch


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_gather_matmul_vectors_rows_and_all_agree(cosine, temperature):
    rng = torch.Generator().manual_seed(0)
    user, table = torch.randn(5, 7, generator=rng), torch.randn(11, 7, generator=rng)
    scorer = Towers(user, table, cosine=cosine, temperature=temperature)(Batch(torch.tensor([4, 0, 2])))
    item = torch.arange(11).expand(3, 11)
    full = scorer.all()
    truth = torch.nn.functional.cosine_similarity(user[[4, 0, 2]][:, None], table[None], dim=-1)
    if not cosine:
        truth = user[[4, 0, 2]] @ table.T
    torch.testing.assert_close(full, truth / temperature)
    for other in (scorer.score(item), scorer.score(item[:1]), scorer.score_vectors(scorer.vectors(item))):
        torch.testing.assert_close(other, full)
    torch.testing.assert_close(scorer.rows(torch.tensor([2, 1])).score(item[:2]), full[[2, 1]])


def test_protocols_are_told_apart():
    dot = Dot(torch.zeros(2, 3), torch.zeros(4, 3))
    function = Function(lambda item: item.double())
    assert isinstance(dot, VectorScorer) and isinstance(dot, Narrowing) and isinstance(function, Scorer)
    assert not isinstance(function, VectorScorer) and not isinstance(function, Narrowing)


@pytest.mark.parametrize("cosine", [False, True])
def test_scoring_in_blocks_equals_scoring_at_once(cosine, monkeypatch):
    rng = torch.Generator().manual_seed(1)
    scorer = Dot(torch.randn(33, 8, generator=rng), torch.randn(50, 8, generator=rng), cosine=cosine, temperature=0.3)
    item = torch.randint(50, (33, 7), generator=rng)
    whole = scorer.score(item)
    monkeypatch.setattr("negsieve.kernels.score._IN_CACHE", 4 * 7 * 8)
    with torch.no_grad():
        torch.testing.assert_close(scorer.score(item), whole)
        assert scorer.score(item[:, :0]).shape == (33, 0)
