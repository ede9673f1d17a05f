"""Combinators of samplers: their laws, what they join, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.base import Chain, Learner, Sampler
from negsieve.samplers.combine import Concat, Mix, Route, With, join, spread, where
from negsieve.samplers.draw import Shared, Weighted, powered
from negsieve.samplers.select import Hardest
from negsieve.samplers.synthesise import MixPositive
from negsieve.scorers import Dot, Function, Towers
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import Batch, Negatives

U, ITEMS = 12, 30
OPEN = [user for user in range(U) if user != 7]  # user 7 has everything
BATCH = Batch(torch.tensor(OPEN), torch.arange(len(OPEN)))


def uniform(seen, many: int = 3) -> Weighted:
    return Weighted(ITEMS, seen=seen, n_negatives=many)


def popular(seen, many: int = 3) -> Weighted:
    return Weighted(ITEMS, seen=seen, n_negatives=many, weight=powered(seen.popularity() + 1, alpha=1))


def dot() -> Dot:
    return Dot(*(torch.randn(n, 4, generator=streams("x", n)) for n in (len(OPEN), ITEMS)))


class Lawless(Sampler):
    def sample(self, batch, scorer, rng):
        return Negatives(torch.zeros(len(batch), 3, dtype=torch.long))


def test_all_keep_the_contract(seen):
    makes = (
        lambda: Concat(uniform(seen), Shared(ITEMS, seen=seen, n_negatives=2)),
        lambda: Concat(uniform(seen), popular(seen), mixture=True),
        lambda: Concat(*(Shared(ITEMS, seen=seen, n_negatives=many) for many in (2, 5)), mixture=True),
        lambda: Mix((0.5, uniform(seen)), (0.5, popular(seen))),
        lambda: Route(lambda batch: batch.user % 2 == 0, uniform(seen), popular(seen)),
        lambda: Chain(
            uniform(seen, 9),
            With(Towers(*(torch.randn(n, 4, generator=streams("t", n)) for n in (U, ITEMS))), Hardest(2)),
        ),
    )
    for make in makes:
        check_sampler(make, n_users=U, n_items=ITEMS, seen=seen)


def total(log_q: torch.Tensor) -> torch.Tensor:
    return log_q.double().exp().sum(1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_mixtures_law_sums_to_one_and_is_the_one_its_draws_carry(seen, share):
    sampler = Mix((share, uniform(seen)), (1 - share, popular(seen)))
    every = torch.arange(ITEMS)[None]
    law = sampler.log_prob(BATCH, every)
    assert torch.allclose(total(law), torch.ones(len(OPEN)).double(), atol=1e-5)
    wanted = (
        share * uniform(seen).log_prob(BATCH, every).exp() + (1 - share) * popular(seen).log_prob(BATCH, every).exp()
    )
    assert torch.allclose(law.exp(), wanted, atol=1e-6)
    found = sampler.sample(BATCH, dot(), streams("t"))
    assert torch.allclose(found.log_q, law.gather(1, found.item), atol=1e-6)


def test_a_mix_draws_by_its_law(seen, judge):
    sampler, trials = Mix((0.7, uniform(seen, 4000)), (0.3, popular(seen, 4000))), []
    found = sampler.sample(BATCH, dot(), streams("law"))
    law = sampler.log_prob(BATCH, torch.arange(ITEMS)[None]).double().exp()
    for row in (0, 4, 10):
        able = law[row] > 0
        counts = torch.bincount(found.item[row], minlength=ITEMS)
        assert not counts[~able].any()
        trials.append((counts[able].numpy(), law[row][able].numpy()))
    judge(trials)


def test_one_share_of_a_mix_is_that_sampler(seen):
    only = Mix((1.0, uniform(seen)), (0.0, popular(seen))).sample(BATCH, dot(), streams("t"))
    assert torch.equal(only.item, uniform(seen).sample(BATCH, dot(), streams("t")).item)


def test_a_concat_with_a_mixture_corrects_every_negative_by_the_law_of_them_all(seen):
    parts = (uniform(seen, 2), popular(seen, 6))
    sampler = Concat(*parts, mixture=True)
    found = sampler.sample(BATCH, dot(), streams("t"))
    assert found.item.shape == (len(OPEN), 8)
    one, two = (part.log_prob(BATCH, found.item).exp() for part in parts)
    assert torch.allclose(found.log_q.exp(), 0.25 * one + 0.75 * two, atol=1e-6)
    assert found.positive_log_q is None or bool(found.positive_log_q.isfinite().all())
    mine = Batch(BATCH.user[:1], seen.of(BATCH.user[:1])[1][:1])  # a train positive, which neither part draws
    assert sampler.sample(mine, dot().rows(torch.tensor([0])), streams("t")).positive_log_q is None
    own = Concat(*(Shared(ITEMS, seen=seen, n_negatives=many) for many in (3, 5)), mixture=True)
    drawn = own.sample(BATCH, dot(), streams("t"))
    assert drawn.item.shape == (1, 8) and torch.allclose(
        total(own.samplers[0].log_prob(BATCH, torch.arange(ITEMS)[None])), torch.ones(1).double()
    )
    assert torch.allclose(drawn.positive_log_q.exp(), torch.full((len(OPEN),), 1 / ITEMS), atol=1e-6)


def test_without_a_mixture_each_negative_keeps_its_own_law(seen):
    parts = (uniform(seen, 2), popular(seen, 3))
    rng = streams("t")
    apart = [part.sample(BATCH, dot(), rng) for part in parts]
    found = Concat(*parts).sample(BATCH, dot(), streams("t"))
    assert torch.equal(found.item, torch.cat([one.item for one in apart], 1))
    assert torch.equal(found.log_q, torch.cat([one.log_q for one in apart], 1))
    assert Concat(parts[0], Lawless()).sample(BATCH, dot(), streams("t")).log_q is None


def test_shared_and_own_sets_join_row_by_row(seen):
    shared, own = Shared(ITEMS, seen=seen, n_negatives=4), uniform(seen, 2)
    one, two = shared.sample(BATCH, dot(), streams("a")), own.sample(BATCH, dot(), streams("b"))
    found = join([one, two], len(OPEN), dot())
    assert found.item.shape == found.keep.shape == (len(OPEN), 6)
    assert torch.equal(found.item[:, :4], one.item.expand(len(OPEN), -1)) and torch.equal(found.item[:, 4:], two.item)
    assert torch.equal(found.keep[:, :4], one.keep)
    assert torch.equal(found.keep[:, 4:], torch.ones_like(two.item, dtype=torch.bool) if two.keep is None else two.keep)
    both = join([one, one], len(OPEN), dot())
    assert both.item.shape == (1, 8) and both.keep.shape == (len(OPEN), 8) and both.log_q.shape == (1, 8)


def test_synthetic_and_plain_negatives_join_as_vectors(seen):
    scorer, plain = dot(), uniform(seen, 2).sample(BATCH, dot(), streams("t"))
    mixed = MixPositive(0.5).refine(plain, BATCH, scorer, streams("t"))
    found = join([mixed, plain], len(OPEN), scorer)
    assert torch.equal(found.vector[:, :2], mixed.vector) and torch.equal(
        found.vector[:, 2:], scorer.vectors(plain.item)
    )
    with pytest.raises(UsageError, match="need a scorer that shows vectors"):
        join([mixed, plain], len(OPEN), Function(lambda item: item.float()))


def test_weights_that_one_side_lacks_are_one_and_masks_are_kept():
    item = torch.zeros(2, 1, dtype=torch.long)
    light = Negatives(item, weight=torch.full((2, 1), 0.5), keep=torch.zeros(2, 1, dtype=torch.bool))
    found = join([light, Negatives(item + 1)], 2, dot())
    assert found.weight.tolist() == [[0.5, 1.0]] * 2 and found.keep.tolist() == [[False, True]] * 2
    picked = where(torch.tensor([[True], [False]]), light, Negatives(item + 1, log_q=torch.zeros(2, 1)))
    assert picked.item.tolist() == [[0], [1]] and picked.weight.tolist() == [[0.5], [1.0]]
    assert picked.keep.tolist() == [[False], [True]] and picked.log_q is None


def test_spreading_changes_no_value():
    one = spread(Negatives(torch.arange(3)[None], log_q=torch.zeros(1, 3), keep=torch.ones(2, 3, dtype=torch.bool)), 2)
    assert one.item.tolist() == [[0, 1, 2]] * 2 and one.log_q.shape == (2, 3) and one.keep.shape == (2, 3)


class Even(nn.Module):
    """A rule with memory."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("remainder", torch.tensor(0))

    def forward(self, batch):
        return batch.user % 2 == self.remainder


def test_a_route_asks_the_sampler_of_the_row(seen):
    first, second = uniform(seen), popular(seen)
    found = Route(Even(), first, second).sample(BATCH, dot(), streams("t"))
    rng = streams("t")
    one, two = (sampler.sample(BATCH, dot(), rng) for sampler in (first, second))
    even = BATCH.user % 2 == 0
    assert torch.equal(found.item[even], one.item[even]) and torch.equal(found.item[~even], two.item[~even])
    assert torch.equal(found.log_q[even], one.log_q[even])
    assert list(Route(Even(), first, second).state_dict()) == ["rule.remainder"]


class Noting(Learner):
    """A view with hooks of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("refreshed", torch.tensor(0))
        self.tables = Towers(*(torch.randn(n, 4, generator=streams("t", n)) for n in (U, ITEMS)))

    def __call__(self, batch):
        return self.tables(batch)

    def refresh(self, epoch, view, rng):
        self.refreshed += 1


def test_with_another_model_that_model_judges_and_is_refreshed(seen):
    other = Noting()
    sampler = Chain(uniform(seen, 9), With(other, Hardest()))
    found = sampler.sample(BATCH, dot(), streams("t"))
    candidates = uniform(seen, 9).sample(BATCH, dot(), streams("t"))
    best = other(BATCH).score(candidates.item).argmax(1, keepdim=True)
    assert torch.equal(found.item, candidates.item.gather(1, best))
    sampler.begin(0, other.tables, streams("t"))
    assert int(other.refreshed) == 1


class Witness(Hardest):
    """Notes which scores its hooks are shown."""

    def __init__(self):
        super().__init__()
        self.shown = {}

    def refresh(self, epoch, view, rng):
        self.shown["refresh"] = view(BATCH).score(BATCH.item[:, None])

    def auxiliary(self, batch, negatives, scorer):
        self.shown["auxiliary"] = scorer.score(batch.item[:, None])

    def observe(self, batch, negatives, scorer, loss, rng):
        self.shown["observe"] = scorer.score(batch.item[:, None])


def test_the_hooks_of_a_stage_see_the_model_that_it_runs_against(seen):
    other, stage, trained = Noting(), Witness(), dot()
    sampler = Chain(uniform(seen, 9), With(other, stage))
    sampler.begin(0, lambda batch: trained, streams("t"))
    found = sampler.sample(BATCH, trained, streams("t"))
    assert sampler.auxiliary(BATCH, found, trained) is None
    assert sampler.observe(BATCH, found, trained, torch.zeros(len(BATCH)), streams("t")) is None
    wanted = other(BATCH).score(BATCH.item[:, None])
    assert set(stage.shown) == {"refresh", "auxiliary", "observe"}
    assert all(torch.equal(scores, wanted) for scores in stage.shown.values())


def test_what_cannot_be_combined_is_refused(seen):
    one = uniform(seen)
    for make, said in (
        (lambda: Concat(one), "Concat of 1 sampler"),
        (lambda: Concat(one, Lawless(), mixture=True), "Lawless does not know the law"),
        (lambda: Mix((0.5, one), (0.4, one)), "sum to 1"),
        (lambda: Mix((1.5, one), (-0.5, one)), "sum to 1"),
        (lambda: Mix((1.0, Lawless())), "Lawless does not know the law"),
        (lambda: Mix((0.5, one), (0.5, uniform(seen, 2))).sample(BATCH, dot(), streams("t")), r"draw \[2, 3\]"),
        (lambda: Route(Even(), one, uniform(seen, 2)).sample(BATCH, dot(), streams("t")), "draw 3 and 2"),
    ):
        with pytest.raises(UsageError, match=said):
            make()
