"""Cells: draws follow the law that log q says, which sums to one over the unseen; clusters are k-means."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.losses import softmax
from negsieve.rng import streams
from negsieve.samplers.clusters import CellSoftmax
from negsieve.samplers.draw import Weighted, powered
from negsieve.samplers.kmeans import k_means
from negsieve.samplers.named import cluster, midx, pris
from negsieve.scorers import Dot, Towers
from negsieve.seen import Seen
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import Batch

D = 8
MAKES = {"cluster": cluster, "midx": midx}


def towers(scale: float = 1.0, **how) -> Towers:
    user, item = (torch.randn(n, D, generator=streams("x", n), dtype=torch.float64) * scale for n in (12, 30))
    return Towers(user, item, **how)


def begun(sampler, view, epoch: int = 0):
    sampler.begin(epoch, view, streams("refresh", epoch))
    return sampler


@pytest.mark.parametrize("name", MAKES)
@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("cosine", [False, True])
def test_draws_follow_a_law_that_sums_to_one(seen, judge, name, alpha, cosine):
    view, trials = towers(cosine=cosine, temperature=0.7 if cosine else 1.0), []
    sampler = MAKES[name](30, seen=seen, dim=D, n_negatives=40_000, clusters=5, alpha=alpha, temperature=1.5)
    batch = Batch(torch.tensor([0, 3, 11]), torch.tensor([1, 2, 3]))
    every = torch.arange(30)[None]
    for key in (0, 1):  # before the first refresh, and after it
        if key:
            begun(sampler, view)
        law = sampler.law(batch, every, view(batch)).exp()
        assert torch.allclose(law.sum(1), torch.ones(3).double(), atol=1e-9)
        assert (law[seen.contains(batch.user, every)] == 0).all()
        found = sampler.sample(batch, view(batch), streams(name, key))
        drawable = ~seen.contains(batch.user, found.item)
        assert torch.equal(found.keep, drawable & (found.item != batch.item[:, None]))
        for row in range(3):
            item, possible = found.item[row], law[row] > 0
            assert torch.allclose(found.log_q[row].exp()[drawable[row]], law[row, item][drawable[row]].float())
            count = torch.bincount(item[drawable[row]], minlength=30)
            assert not count[~possible].any()
            trials.append((count[possible].numpy(), law[row][possible].numpy()))
    judge(trials)


@pytest.mark.parametrize("books", [1, 2])
def test_the_law_is_weight_times_the_score_of_the_cell(seen, books):
    """By hand: centres are means of their cells' items a codebook, and a cell's law is spread by weight."""
    weight = powered(seen.popularity(), alpha=0.5)
    nobody = Seen([], [], n_users=12, n_items=30)
    sampler = CellSoftmax(30, seen=nobody, dim=D, clusters=4, books=books, weight=weight, temperature=0.5)
    view = towers()
    begun(sampler, view)
    batch = Batch(torch.tensor([2, 5]), torch.tensor([0, 1]))
    score = view.user[batch.user] @ sampler.centre[sampler.cell].T.double() / 0.5  # [2, I]
    wanted = torch.softmax(score + weight.double().log(), 1)
    assert torch.allclose(sampler.law(batch, torch.arange(30)[None], view(batch)).exp(), wanted, atol=1e-9)


def test_cells_partition_the_items(seen):
    sampler = begun(midx(30, seen=seen, dim=D, clusters=4), towers())
    assert len(sampler.centre) == len(sampler.edge_of_cell) == int(sampler.cell.max()) + 1 <= 16
    assert sorted(sampler.order.tolist()) == list(range(30))
    assert (sampler.cell[sampler.order].diff() >= 0).all()
    assert int(sampler.edge_of_cell[-1]) == 30


def test_a_cell_an_item_is_the_softmax_itself(seen):
    """As many clusters as items: the law is the model's softmax over what the user has not seen."""
    view = towers()
    sampler = begun(cluster(30, seen=seen, dim=D, clusters=30), view)
    assert len(sampler.centre) == 30
    batch, every = Batch(torch.tensor([0, 4]), torch.tensor([0, 0])), torch.arange(30)[None]
    score = view(batch).score(every).masked_fill(seen.contains(batch.user, every), -torch.inf)
    assert torch.allclose(sampler.law(batch, every, view(batch)).exp(), score.softmax(1), atol=1e-5)


def test_one_cluster_is_uniform(seen):
    view = towers()
    sampler = begun(cluster(30, seen=seen, dim=D, clusters=1), view)
    batch, every = Batch(torch.tensor([0, 4]), torch.tensor([0, 0])), torch.arange(30)[None]
    assert torch.allclose(
        sampler.law(batch, every, view(batch)).float(), Weighted(30, seen=seen).log_prob(batch, every), atol=1e-5
    )


def test_finer_cells_come_nearer_to_the_softmax(seen):
    """Mean divergence from the model's softmax falls from one cell to clusters to two codebooks to every item."""
    view = towers(0.7)
    batch, every = Batch(torch.arange(7), torch.zeros(7, dtype=torch.long)), torch.arange(30)[None]
    target = view(batch).score(every).masked_fill(seen.contains(batch.user, every), -torch.inf).log_softmax(1)
    apart = []
    for make, clusters in ((cluster, 1), (cluster, 5), (midx, 5), (cluster, 30)):
        law = begun(make(30, seen=seen, dim=D, clusters=clusters), view).law(batch, every, view(batch))
        apart.append(float((target.exp() * (target - law).nan_to_num(0.0)).sum(1).mean()))
    assert apart == sorted(apart, reverse=True) and apart[-1] < 1e-6


@pytest.mark.parametrize("name", MAKES)
def test_the_corrected_sum_is_the_one_over_the_unseen(seen, name):
    view = towers()
    sampler = begun(MAKES[name](30, seen=seen, dim=D, clusters=6, n_negatives=60_000), view)
    user, every = torch.tensor([0, 4]), torch.arange(30)[None]
    had = seen.contains(user, every)
    batch = Batch(user, had.long().argmax(1))
    now = view(batch)
    found = sampler.sample(batch, now, streams("sum"))
    own = torch.zeros(2, dtype=torch.float64)
    loss = softmax(own, now.score(found.item), found, correct="importance", include_positive=False)
    total = torch.logsumexp(now.score(every).masked_fill(had, -torch.inf), 1)
    assert torch.allclose(loss, total, atol=0.05)


def test_refresh_keeps_to_its_epochs_and_to_its_stream(seen):
    view = towers()
    first = begun(cluster(30, seen=seen, dim=D, clusters=5, every=3), view)
    kept = first.cell.clone()
    for epoch in (1, 2):
        begun(first, towers(-1.0), epoch)
        assert torch.equal(first.cell, kept)
    again = begun(cluster(30, seen=seen, dim=D, clusters=5, every=3), view)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


def test_restored_cells_draw_alike(seen):
    view, batch = towers(), Batch(torch.arange(6), torch.arange(6))
    sampler = begun(midx(30, seen=seen, dim=D, clusters=4), view)
    other = midx(30, seen=seen, dim=D, clusters=4)
    other.load_state_dict(sampler.state_dict())
    one, two = (part.sample(batch, view(batch), streams("t")) for part in (sampler, other))
    assert torch.equal(one.item, two.item) and torch.equal(one.log_q, two.log_q)


@pytest.mark.parametrize("name", MAKES)
def test_they_keep_the_contract(seen, name):
    def make():
        return MAKES[name](30, seen=seen, dim=D, clusters=4, n_negatives=6)

    report = check_sampler(make, n_users=12, n_items=30, seen=seen)
    assert not report.shared and not report.deterministic and not report.learns
    check_sampler(lambda: pris(30, seen=seen, dim=D, proposal="cluster", clusters=4), n_users=12, n_items=30, seen=seen)


def test_k_means_finds_clusters_that_are_there():
    place = torch.arange(90) % 3
    vector = 10 * torch.eye(3, 4)[place] + 0.1 * torch.randn(90, 4, generator=streams("blobs"))
    near, centre = k_means(vector, 3, streams("k", 1))
    same = place[:, None] == place[None]
    assert torch.equal(near[:, None] == near[None], same)
    assert torch.allclose(centre[near], torch.stack([vector[place == p].mean(0) for p in range(3)])[place], atol=1e-4)


def test_k_means_never_gets_worse_and_keeps_empty_centres():
    vector = torch.randn(200, 6, generator=streams("v"))
    apart = []
    for rounds in range(6):
        near, centre = k_means(vector, 12, streams("k"), rounds=rounds)
        apart.append(float((vector - centre[near]).square().sum()))
    assert all(b <= a + 1e-3 for a, b in pairwise(apart)) and apart[-1] < apart[0]
    near, centre = k_means(torch.ones(5, 2), 3, streams("k"))
    assert (near == 0).all() and (centre == 1).all()


def test_cells_that_make_no_sense_are_refused(seen):
    for how in ({"clusters": 0}, {"books": 9}, {"every": 0}, {"n_negatives": 0}):
        with pytest.raises(UsageError, match="wanted 1 or more each, and no more books than dimensions"):
            CellSoftmax(30, seen=seen, dim=D, **how)
    with pytest.raises(UsageError, match="the same catalogue"):
        CellSoftmax(31, seen=seen, dim=D)
    assert isinstance(towers()(Batch(torch.tensor([0]))), Dot)
