"""An alias table holds exactly its law, and what a row may not have is masked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.alias import Alias
from negsieve.samplers.aliastable import alias_table, buckets
from negsieve.samplers.draw import powered
from negsieve.samplers.named import alias, popularity
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import Batch

laws = st.lists(st.integers(0, 40), min_size=1, max_size=40).filter(any)


def mass(cut: torch.Tensor, other: torch.Tensor, length: int) -> torch.Tensor:
    """How much of all buckets each item holds: ``Long[I]``."""
    return torch.zeros_like(cut).index_add_(0, torch.arange(len(cut)), cut).index_add_(0, other, length - cut)


@given(laws)
@settings(max_examples=300, deadline=None)
def test_buckets_hold_exactly_their_law(weight):
    weight = torch.tensor(weight)
    length = int(weight.sum())
    cut, other = buckets(weight * len(weight) - length, length)
    assert torch.equal(mass(cut, other, length), weight * len(weight))
    assert (cut >= 0).all() and (cut <= length).all()


@given(laws)
@settings(max_examples=300, deadline=None)
def test_a_table_of_2_to_the_63_places_keeps_the_law(weight):
    weight = torch.tensor(weight)
    place, other = alias_table(weight).unbind(1)
    own = (place.double() / 2.0**63).index_add(0, other, 1 - place.double() / 2.0**63)
    assert torch.allclose(own / len(weight), weight / weight.sum().double(), rtol=1e-14, atol=0)


def test_large_tables_are_exact_too():
    count = torch.from_numpy(np.random.default_rng(2).zipf(1.3, 50_000).clip(max=10**6) - 1)
    weight = powered(count, alpha=0.75)
    length = int(weight.sum())
    assert torch.equal(mass(*buckets(weight * len(weight) - length, length), length), weight * len(weight))


def test_draws_follow_the_law(seen, judge):
    trials = []
    for place, alpha in enumerate((0.0, 0.5, 0.75, 1.0)):
        weight = powered(seen.popularity(), alpha=alpha)
        sampler = Alias(30, seen=seen, weight=weight, n_negatives=40_000)
        batch = Batch(torch.tensor([3]), torch.tensor([2]))
        found = sampler.sample(batch, None, streams("alias", place))
        law = sampler.log_prob(batch, torch.arange(30)[None])[0].double().exp()
        assert law.sum() == pytest.approx(1, abs=1e-5)
        assert torch.allclose(found.log_q[0].exp(), law[found.item[0]].float())
        assert found.positive_log_q.exp() == pytest.approx(float(law[2]), rel=1e-4)
        trials.append((torch.bincount(found.item[0], minlength=30)[law > 0].numpy(), law[law > 0].numpy()))
    judge(trials)


def test_what_is_kept_follows_popularity(seen, judge):
    """Masking leaves the law of ``popularity``, which never draws what it may not."""
    batch, trials = Batch(torch.tensor([0, 3, 9]), torch.tensor([1, 2, 3])), []
    masked = alias(30, seen=seen, n_negatives=30_000).sample(batch, None, streams("a"))
    exact = popularity(30, seen=seen)
    item = torch.arange(30).expand(3, -1)
    law = exact.log_prob(batch, item).double().exp().masked_fill(item == batch.item[:, None], 0.0)
    for row in range(3):
        count = torch.bincount(masked.item[row][masked.keep[row]], minlength=30)
        assert not count[law[row] == 0].any()
        trials.append((count[law[row] > 0].numpy(), law[row][law[row] > 0].numpy()))
    judge(trials)


@pytest.mark.parametrize("exclude", ["positive", "none"])
def test_wider_draws_keep_the_contract(seen, exclude):
    check_sampler(lambda: alias(30, seen=seen, exclude=exclude, n_negatives=4), n_users=12, n_items=30)


def test_bad_tables_and_samplers_are_refused(seen):
    with pytest.raises(UsageError, match="sum to 0"):
        alias_table(torch.zeros(3, dtype=torch.long))
    with pytest.raises(UsageError, match="n_items=31"):
        Alias(31, seen=seen)
    with pytest.raises(UsageError, match="Did you mean 'train'"):
        Alias(30, seen=seen, exclude="trian")
