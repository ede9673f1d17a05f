"""Methods that are provably the same method, compared in double precision."""

from __future__ import annotations

import pytest
import torch

from negsieve.losses import bpr, soft_bpr, softmax
from negsieve.models.lightgcn import LightGCN
from negsieve.models.mf import MF
from negsieve.rng import streams
from negsieve.samplers import named
from negsieve.samplers.select import Hardest
from negsieve.samplers.synthesise import MixPositive
from negsieve.scorers import Dot
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives

B, ITEMS, D = 32, 50, 8
BATCH = Batch(torch.arange(B), torch.arange(B))


def tables() -> tuple[torch.Tensor, torch.Tensor]:
    rng = streams("tables")
    query, item = (torch.randn(n, D, generator=rng, dtype=torch.float64) for n in (B, ITEMS))
    return query.requires_grad_(), item.requires_grad_()


def graded(loss: torch.Tensor, leaves) -> tuple[torch.Tensor, ...]:
    return (loss.detach(), *torch.autograd.grad(loss.sum(), leaves))


def mixed(alpha: float, *, cosine: bool = False, detach: bool = False):
    """Loss and gradients of the mixing form of PDNS."""
    leaves = tables()
    scorer = Dot(*leaves, cosine=cosine)
    found = MixPositive(alpha, detach=detach).refine(chosen(scorer), BATCH, scorer, streams("t"))
    return graded(bpr(scorer.score(BATCH.item[:, None])[:, 0], scorer.score_vectors(found.vector), found), leaves)


def soft(beta: float, *, cosine: bool = False):
    """Loss and gradients of its loss form."""
    leaves = tables()
    scorer = Dot(*leaves, cosine=cosine)
    found = chosen(scorer)
    loss = soft_bpr(scorer.score(BATCH.item[:, None])[:, 0], scorer.score(found.item), found, beta=beta)
    return graded(loss, leaves)


def chosen(scorer) -> Negatives:
    item = torch.randint(B, ITEMS, (B, 10), generator=streams("candidates"))
    return Hardest().refine(Negatives(item), BATCH, scorer, streams("t"))


@pytest.mark.parametrize("alpha", [0.9, 0.7, 0.0])
def test_pdns_mixing_is_the_soft_factor_for_dot_products(alpha):
    for one, two in zip(mixed(alpha), soft(1 - alpha), strict=True):
        assert torch.allclose(one, two, atol=1e-13)


def test_pdns_mixing_is_another_method_when_detached_or_with_a_cosine():
    apart, whole = mixed(0.9, detach=True), soft(0.1)
    assert torch.allclose(apart[0], whole[0], atol=1e-13)
    assert not torch.allclose(apart[2], whole[2], atol=1e-3)
    assert not torch.allclose(mixed(0.9, cosine=True)[0], soft(0.1, cosine=True)[0], atol=1e-3)


@pytest.fixture
def seen() -> Seen:
    rng = streams("pairs")
    user, item = (torch.randint(n, (400,), generator=rng) for n in (B, ITEMS))
    return Seen(user, item, n_users=B, n_items=ITEMS)


def draws(sampler, key: int = 0) -> Negatives:
    query, item = tables()
    return sampler.sample(BATCH, Dot(query.detach(), item.detach()), streams("negatives", key))


def test_dns_of_the_top_one_is_dns(seen):
    one, two = named.dns_mn(ITEMS, seen=seen, m=1, n=16), named.dns(ITEMS, seen=seen, candidates=16)
    assert all(torch.equal(draws(one, key).item, draws(two, key).item) for key in range(5))


def test_dns_with_one_candidate_is_uniform(seen):
    one, two = named.dns(ITEMS, seen=seen, candidates=1), named.uniform(ITEMS, seen=seen)
    assert all(torch.equal(draws(one, key).item, draws(two, key).item) for key in range(5))


def test_the_top_n_of_n_is_mean_bpr(seen):
    query, item = tables()
    scorer = Dot(query, item)
    positive = scorer.score(BATCH.item[:, None])[:, 0]
    top, all_of_them = (
        draws(named.dns_mn(ITEMS, seen=seen, m=16, n=16)),
        draws(named.uniform(ITEMS, seen=seen, n_negatives=16)),
    )
    assert torch.equal(top.item.sort(1).values, all_of_them.item.sort(1).values)
    one, two = (bpr(positive, scorer.score(found.item), found) for found in (top, all_of_them))
    assert torch.allclose(one, two, atol=1e-13)


def test_the_sum_over_the_top_m_is_m_times_the_mean(seen):
    query, item = tables()
    scorer = Dot(query, item)
    positive = scorer.score(BATCH.item[:, None])[:, 0]
    means, sums = (draws(named.dns_mn(ITEMS, seen=seen, m=4, n=16, mode=mode)) for mode in ("mean", "sum"))
    one, two = (bpr(positive, scorer.score(found.item), found) for found in (means, sums))
    assert torch.allclose(4 * one, two, atol=1e-12)


def test_softmax_v_runs_from_mean_bpr_to_dns(seen):
    query, item = tables()
    scorer = Dot(query, item)
    positive = scorer.score(BATCH.item[:, None])[:, 0]

    def loss(sampler):
        found = draws(sampler)
        return bpr(positive, scorer.score(found.item), found)

    flat = loss(named.softmax_v(ITEMS, seen=seen, n=16, rho=1e-14))
    assert torch.allclose(flat, loss(named.uniform(ITEMS, seen=seen, n_negatives=16)), atol=1e-5)
    sharp = loss(named.softmax_v(ITEMS, seen=seen, n=16, rho=1e14))
    assert torch.allclose(sharp, loss(named.dns(ITEMS, seen=seen, candidates=16)), atol=1e-12)


def test_a_uniform_log_q_on_both_sides_changes_nothing(seen):
    query, item = tables()
    scorer = Dot(query, item)
    found = draws(named.shared(ITEMS, seen=seen, n_negatives=16))
    positive, negative = scorer.score(BATCH.item[:, None])[:, 0], scorer.score(found.item)
    plain, fixed = (softmax(positive, negative, found, correct=how) for how in ("none", "log_q"))
    assert torch.allclose(plain, fixed, atol=1e-12)


def train(kind: str, seen: Seen, *, beta: float, lr: float, std: float, decay: float, optimiser: str, mapped: bool):
    """Some steps of PDNS in its loss form; ``mapped``: of plain DNS and BPR at the equal settings."""
    root = beta**0.5
    scale = {"adam": root, "sgd": beta}[optimiser] if mapped else 1.0
    make = {"mf": MF, "lightgcn": lambda u, i, **rest: LightGCN(u, i, train=seen, layers=3, **rest)}[kind]
    model = make(B, ITEMS, dim=D, init_std=std, seed=3).double()
    if mapped:
        with torch.no_grad():
            for table in model.parameters():
                table *= root
    kinds = {
        "adam": lambda rate: torch.optim.Adam(model.parameters(), lr=rate, eps=1e-200),
        "sgd": lambda rate: torch.optim.SGD(model.parameters(), lr=rate),
    }
    steps = kinds[optimiser](lr * scale)
    sampler = named.pdns(ITEMS, seen=seen, candidates=8, beta=beta, form="soft")
    for step in range(40):
        place = torch.randint(len(seen), (64,), generator=streams("batch", step))
        batch = Batch(seen.owner[place], seen.item[place])
        scorer = model.encode(batch)
        found = sampler.sample(batch, scorer, streams("negatives", step))
        scores = scorer.score(batch.item[:, None])[:, 0], scorer.score(found.item)
        loss = bpr(*scores, found) if mapped else soft_bpr(*scores, found, beta=beta)
        loss = loss.mean() + (decay / beta if mapped else decay) * model.penalty(batch, found).mean()
        steps.zero_grad()
        loss.backward()
        steps.step()
    return [table.detach() / (root if mapped else 1.0) for table in model.parameters()]


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
@pytest.mark.parametrize(("optimiser", "lr"), [("adam", 0.01), ("sgd", 0.5)])
def test_pdns_is_dns_at_another_learning_rate_initial_scale_and_l2(seen, kind, optimiser, lr):
    given = {"beta": 0.1, "lr": lr, "std": 0.1, "decay": 0.01, "optimiser": optimiser}
    one = train(kind, seen, mapped=False, **given)
    two = train(kind, seen, mapped=True, **given)
    for a, b in zip(one, two, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
    plain = train(kind, seen, mapped=True, **given | {"decay": 0.001})
    assert not torch.allclose(one[0], plain[0], rtol=1e-3)  # each of the three counts
