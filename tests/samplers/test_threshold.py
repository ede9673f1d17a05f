"""The top-K threshold of every user, from a sample and from all items; and the sampler that draws nothing."""

from __future__ import annotations

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.base import Chain
from negsieve.samplers.draw import Shared, Weighted
from negsieve.samplers.nothing import Nothing
from negsieve.samplers.threshold import Threshold
from negsieve.scorers import Towers
from negsieve.seen import Seen
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import Batch

USERS, ITEMS = 12, 30


def view() -> Towers:
    return Towers(*(torch.randn(n, 5, generator=streams("towers", n)) for n in (USERS, ITEMS)))


def chain(seen: Seen, *, n: int = 10, **how) -> Chain:
    return Chain(Weighted(ITEMS, seen=seen, n_negatives=n), Threshold(seen=seen, **how))


def step(sampler: Chain, batch: Batch, key: int = 0):
    """Draws, observes and learns once, and returns the negatives."""
    scorer = view()(batch)
    found = sampler.sample(batch, scorer, streams("draw", key))
    evidence = sampler.observe(batch, found, scorer, torch.zeros(len(batch)), streams("observe", key))
    if evidence is not None:
        sampler.learn([evidence])
    return found


@pytest.mark.parametrize("quantile", ["sample", "exact"])
@pytest.mark.parametrize("every", [1, 3])
def test_it_keeps_the_contract(seen, quantile, every):
    report = check_sampler(
        lambda: chain(seen, k=4, every=every, quantile=quantile), n_users=USERS, n_items=ITEMS, seen=seen
    )
    assert report.learns == (quantile == "sample" and every == 1)
    assert report.n_negatives == 10


@pytest.mark.parametrize("k", [1, 4, 30])
def test_the_exact_threshold_is_the_kth_score_of_each_user(seen, k):
    sampler = chain(seen, k=k, every=2, quantile="exact")
    everyone = Batch(torch.arange(USERS))
    score = view()(everyone).score(torch.arange(ITEMS)[None])
    assert (step(sampler, everyone).bound == 0).all()
    sampler.begin(0, view(), streams("t"))
    found = step(sampler, everyone).bound
    torch.testing.assert_close(found, score.sort(dim=1, descending=True).values[:, k - 1])
    assert ((score >= found[:, None]).sum(1) == k).all()


def test_exact_looks_every_so_many_epochs(seen):
    sampler = chain(seen, k=3, every=2, quantile="exact")
    sampler.begin(1, view(), streams("t"))
    assert not sampler.stages[0].bound.any()
    sampler.begin(2, view(), streams("t"))
    assert sampler.stages[0].bound.all()


def test_the_samples_threshold_is_the_kth_of_positives_and_draws(seen):
    sampler = chain(seen, k=4, every=3)
    batch = Batch(torch.tensor([0, 1, 2, 3, 5]))
    for epoch in range(3):
        sampler.begin(epoch, view(), streams("t"))
        found = step(sampler, batch, epoch)
        assert (found.bound == 0).all()  # what the step saw; it learns afterwards
    bound, scorer = sampler.stages[0].bound, view()(batch)
    most = sampler.stages[0].most
    for row, user in enumerate(batch.user.tolist()):
        own = seen.item[seen.offset[user] : seen.offset[user + 1]][:most]
        items = torch.cat([own, found.item[row]])
        score = scorer.score(items.expand(len(batch), -1))[row]
        torch.testing.assert_close(bound[user], score.sort(descending=True).values[3])
    assert not bound[[4, 6, 7, 8, 9, 10, 11]].any()


def test_the_samples_threshold_lies_below_the_true_one_unless_draws_repeat(seen):
    sampler, truth = chain(seen, n=6, k=4, every=1), chain(seen, k=4, every=1, quantile="exact")
    batch = Batch(torch.tensor([0, 1, 2, 3, 5]))
    for one in (sampler, truth):
        one.begin(0, view(), streams("t"))
    gaps = []
    for key in range(20):
        found = step(sampler, batch, key)
        once = torch.tensor([len(row.unique()) == len(row) for row in found.item])
        gaps.append((truth.stages[0].bound - sampler.stages[0].bound)[batch.user[once]])
    gap = torch.cat(gaps)
    assert len(gap) > 5 and (gap >= -1e-6).all() and (gap > 1e-6).any()  # a few rated are summed in another order


def test_of_several_rows_of_a_user_the_last_counts_over_shards(seen):
    stage = Threshold(seen=seen, k=2)
    shards = [
        {"user": torch.tensor([3, 3, 1]), "bound": torch.tensor([1.0, 2.0, 3.0])},
        {"user": torch.tensor([1, 5]), "bound": torch.tensor([4.0, 5.0])},
    ]
    stage.learn(shards)
    assert stage.bound[[1, 3, 5]].tolist() == [4.0, 2.0, 5.0] and stage.bound.sum() == 11


def test_a_user_with_everything_has_a_finite_threshold(seen):
    sampler = chain(seen, k=9, every=1)
    sampler.begin(0, view(), streams("t"))
    found = step(sampler, Batch(torch.tensor([7, 0])))
    assert not found.keep[0].any() and sampler.stages[0].bound.isfinite().all()
    assert sampler.stages[0].bound[7] != 0


def test_shared_draws_have_thresholds_too(seen):
    sampler = Chain(Shared(ITEMS, seen=seen, n_negatives=8), Threshold(seen=seen, k=4, every=1))
    sampler.begin(0, view(), streams("t"))
    step(sampler, Batch(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2])))
    assert (sampler.stages[0].bound != 0).sum() == 3


def test_what_cannot_work_is_refused(seen):
    for how, said in {
        ("k", 0): "k=0, wanted 1 to 30",
        ("k", 31): "k=31, wanted 1 to 30",
        ("every", 0): "every=0, wanted 1 epoch or more",
        ("quantile", "exakt"): "Did you mean 'exact'",
    }.items():
        with pytest.raises(UsageError, match=said):
            Threshold(seen=seen, **dict([how]))
    with pytest.raises(UsageError, match="top-12 threshold of a sample needs at least 12 negatives, and 10 are drawn"):
        step(chain(seen, k=12), Batch(torch.tensor([0])))
    assert (step(chain(seen, k=12, quantile="exact"), Batch(torch.tensor([0]))).bound == 0).all()


def test_nothing_draws_nothing(seen):
    report = check_sampler(lambda: Nothing(), n_users=USERS, n_items=ITEMS, seen=seen)
    assert report.n_negatives == 0 and report.deterministic and not report.learns
