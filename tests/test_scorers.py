"""One meaning of a score, by whichever way it is asked for."""

import pytest
import torch

from negsieve.scorers import Crossed, Dot, Function, Narrowing, Scorer, Towers, VectorScorer, offered
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


@pytest.mark.parametrize("cosine", [False, True])
def test_a_query_of_two_domains_shows_both_and_takes_other_target_states(cosine):
    rng = torch.Generator().manual_seed(3)
    source, target, other = torch.randn(3, 4, 6, generator=rng)
    table, met = torch.randn(9, 6, generator=rng), torch.tensor([True, False, True, True])
    sides = {"source": source, "target": target, "met": met, "fuse": lambda one, two: one + 2 * two}
    crossed = Crossed(source + 2 * target, table, **sides, cosine=cosine, temperature=0.2)
    plain = Dot(source + 2 * target, table, cosine=cosine, temperature=0.2)
    assert torch.equal(crossed.all(), plain.all())
    assert offered(crossed) == offered(plain) | {"domains"}
    moved = crossed.crossed(other)
    assert torch.equal(moved.all(), Dot(source + 2 * other, table, cosine=cosine, temperature=0.2).all())
    assert "domains" not in offered(moved)
    place = torch.tensor([2, 0])
    some = crossed.rows(place)
    torch.testing.assert_close(some.all(), crossed.all()[place])
    assert some.met.tolist() == [True, True]
    assert torch.equal(some.crossed(other[place]).query, moved.query[place])
