"""AdvInfoNCE's weights: what the softmax loss makes of them, that the adversary climbs, and the cap."""

from __future__ import annotations

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.losses import softmax
from negsieve.rng import streams
from negsieve.samplers.draw import Weighted
from negsieve.samplers.generator import Generator
from negsieve.samplers.hardness import AdversarialWeight
from negsieve.scorers import Towers
from negsieve.types import Batch, Negatives

N, T, K = 6, 0.5, 3.0
BATCH = Batch(torch.tensor([0, 3, 11, 3]), torch.tensor([1, 4, 2, 9]))


def towers():
    return Towers(*(torch.randn(n, 4, generator=streams("view", n), dtype=torch.float64) for n in (12, 30)))


def made(seen, cosine=False, std=1.0, lr=0.1, **given) -> AdversarialWeight:
    adversary = Generator(12, 30, width=4, lr=lr, rule="sgd", cosine=cosine).double()
    for side in (adversary.user, adversary.item):
        side.table.mul_(std / 0.1)
    source = Weighted(30, seen=seen, n_negatives=N)
    return AdversarialWeight(adversary, source, seen=seen, **{"k": K, "temperature": T, "max_kl": 9.0} | given)


def drawn(seen) -> Negatives:
    return Weighted(30, seen=seen, n_negatives=N).sample(BATCH, None, streams("d"))


def test_the_loss_is_the_papers(seen):
    stage, given, scorer = made(seen), drawn(seen), towers()(BATCH)
    found = stage.refine(given, BATCH, scorer, streams("t"))
    own, other = scorer.score(BATCH.item[:, None]) / T, scorer.score(given.item) / T
    p = stage.adversary(BATCH).score(given.item).softmax(1)
    total = own.exp()[:, 0] + K * N * (p * other.exp()).sum(1)
    wanted = -(own.exp()[:, 0] / total).log()
    loss = softmax(own[:, 0] * T, other * T, found, temperature=T)
    assert torch.allclose(loss, wanted, atol=1e-12)
    assert torch.allclose(found.weight.sum(1), torch.tensor(K * N, dtype=torch.float64))


def test_an_even_adversary_weighs_all_by_k(seen):
    stage = made(seen, std=0.0)
    weight = stage.refine(drawn(seen), BATCH, None, streams("t")).weight
    assert torch.allclose(weight, torch.full_like(weight, K))


def test_dropped_negatives_count_nowhere(seen):
    keep = torch.ones(4, N, dtype=torch.bool)
    keep[0, 2:], keep[1] = False, False
    given = drawn(seen)
    found = made(seen).refine(Negatives(given.item, keep=keep), BATCH, None, streams("t")).weight
    assert torch.allclose(found.sum(1), K * torch.tensor([2.0, 0.0, N, N], dtype=torch.float64))
    assert (found[~keep] == 0).all()


@pytest.mark.parametrize("cosine", [False, True])
def test_the_climb_is_the_gradient_upwards(seen, cosine):
    """One step of SGD on the adversary adds lr times the gradient of the summed loss: not against it."""
    stage, encode, place = made(seen, cosine=cosine), towers(), torch.arange(0, 40, 3)
    batch = Batch(seen.owner[place], seen.item[place])
    given = stage.source.sample(batch, None, streams("c"))
    user, item = (side.table.clone().requires_grad_() for side in (stage.adversary.user, stage.adversary.item))
    query, vector = user[batch.user], item[given.item]
    if cosine:
        query, vector = (torch.nn.functional.normalize(side, dim=-1) for side in (query, vector))
    p = torch.einsum("bd,bmd->bm", query, vector).softmax(1)
    scorer = encode(batch)
    keep = torch.ones(len(place), dtype=torch.bool) if given.keep is None else given.keep[:, 0]
    loss = softmax(
        scorer.score(batch.item[:, None])[:, 0], scorer.score(given.item), Negatives(given.item, weight=K * N * p),
        temperature=T,
    )  # fmt: skip
    gradients = torch.autograd.grad(loss[keep].sum(), (user, item))
    stage._climb(place, encode, streams("c"))
    for side, old, gradient in zip((stage.adversary.user, stage.adversary.item), (user, item), gradients, strict=True):
        assert torch.allclose(side.table, old.detach() + 0.1 * gradient, atol=1e-10)


def test_climbing_raises_the_loss_and_the_divergence(seen):
    stage, encode = made(seen, std=0.1, lr=0.5, every=1, adv_epochs=40), towers()
    scorer, given = encode(BATCH), drawn(seen)

    def loss():
        found = stage.refine(given, BATCH, scorer, streams("t"))
        return softmax(scorer.score(BATCH.item[:, None])[:, 0], scorer.score(given.item), found, temperature=T).mean()

    before = loss()
    stage.refresh(1, encode, streams("r", 1))
    first = float(stage.kl)
    for epoch in range(2, 20):
        stage.refresh(epoch, encode, streams("r", epoch))
    assert loss() > before + 0.05 and float(stage.kl) > first + 0.05


@pytest.mark.parametrize("cap", [0.01, 0.3])
def test_no_row_is_sharper_than_the_cap(seen, cap):
    stage = made(seen, std=3.0, max_kl=cap)
    given = drawn(seen)
    p, kl = stage.shares(given, BATCH)
    found = (p * (p * N).log()).sum(1)
    assert (kl > cap).any() and (found <= cap + 1e-12).all() and torch.allclose(p.sum(1), torch.ones(4).double())
    order = stage.adversary(BATCH).score(given.item).argsort(1)
    assert (p.gather(1, order).diff(dim=1) >= -1e-15).all()  # an item drawn twice ties with itself
    assert torch.allclose(kl, (made(seen, std=3.0).shares(given, BATCH)[0].clamp_min(1e-300) * N).log().mul(
        made(seen, std=3.0).shares(given, BATCH)[0]).sum(1))  # fmt: skip


def test_rows_at_the_cap_climb_no_further(seen):
    stage = made(seen, std=3.0, max_kl=1e-6)
    before = stage.adversary.item.table.clone()
    stage._climb(torch.arange(20), towers(), streams("c"))
    assert torch.equal(stage.adversary.item.table, before)


def test_climbs_come_when_they_should_and_end(seen):
    stage, moved = made(seen, every=2, adv_epochs=2), []
    for epoch in range(10):
        old = stage.adversary.item.table.clone()
        stage.refresh(epoch, towers(), streams("r", epoch))
        moved.append(not torch.equal(old, stage.adversary.item.table))
    assert [epoch for epoch, one in enumerate(moved) if one] == [2, 4]


def test_a_cap_of_nothing_is_refused(seen):
    with pytest.raises(UsageError, match="max_kl=0"):
        made(seen, max_kl=0)
