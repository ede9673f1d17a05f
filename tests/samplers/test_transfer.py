"""Users by their source states: centroids, who is an outlier, and the view that goes by way of the source."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import normalize

from negsieve.errors import CapabilityError, UsageError
from negsieve.rng import streams
from negsieve.samplers.kmeans import k_means
from negsieve.samplers.prior import PriorStates
from negsieve.samplers.rankband import RankBand
from negsieve.samplers.transfer import Through, Transfer, lowest_share
from negsieve.scorers import Dot
from negsieve.testing.check_sampler import check_sampler
from negsieve.testing.standin import CrossedTowers
from negsieve.types import Batch

USERS, ITEMS, D = 60, 50, 6
TABLES = [torch.randn(n, D, generator=streams("tables", n)) for n in (USERS, ITEMS)]
VIEW = CrossedTowers(*TABLES)
EVERYBODY = Batch(torch.arange(USERS))
STATES = VIEW(EVERYBODY)


def made(**settings) -> Transfer:
    transfer = Transfer(USERS, **{"clusters": 4, "outliers": 0.3} | settings)
    transfer.begin(0, VIEW, streams("refresh"))
    return transfer


def slow(transfer: Transfer, *, raw=True, first=False, dot=False, share=0.3):
    """Centroids and outliers by loops, from the clusters that were found."""
    cluster = transfer.cluster.tolist()
    target = STATES.target if raw else normalize(STATES.target, dim=1)
    centroid = [
        torch.stack([target[u] for u in range(USERS) if cluster[u] == c]).mean(0) if c in cluster else torch.zeros(D)
        for c in range(5)
    ]
    outliers = set()
    for c in range(4):
        own = [u for u in range(USERS) if cluster[u] == c]
        facing = centroid[0 if first else c]

        def alike(u, facing=facing):
            if dot:
                return float(STATES.target[u] @ facing)
            return float(normalize(STATES.target[u], dim=0) @ normalize(facing, dim=0))

        outliers |= set(sorted(own, key=alike)[: int(len(own) * share)])
    return torch.stack(centroid), outliers


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_centroids_and_outliers_equal_a_loop(raw, first, dot):
    transfer = made(
        centroid="raw" if raw else "normalised",
        outlier_centroid="first" if first else "own",
        outlier_score="dot" if dot else "cosine",
    )
    centroid, outliers = slow(transfer, raw=raw, first=first, dot=dot)
    torch.testing.assert_close(transfer.centroid, centroid)
    assert set(transfer.outlier.nonzero().flatten().tolist()) == outliers and outliers


def test_random_outliers_are_as_many_of_each_cluster_and_others():
    chosen, random = made(), made(outlier_score="random")
    assert torch.equal(chosen.cluster, random.cluster) and not torch.equal(chosen.outlier, random.outlier)
    counts = [torch.bincount(one.cluster[one.outlier], minlength=5) for one in (chosen, random)]
    assert torch.equal(*counts) and counts[1][4] == 0 < counts[1].sum()


def test_clusters_are_by_the_cosine_of_source_states_of_those_who_have_one():
    transfer = made()
    met = STATES.met
    near, _ = k_means(
        normalize(STATES.source[met], dim=1), 4, streams("refresh"), rounds=25, cosine=True, tolerance=1e-4
    )
    assert torch.equal(transfer.cluster[met].long(), near)
    assert (transfer.cluster[~met] == 4).all() and not transfer.outlier[~met].any()
    assert not torch.equal(made(cosine=False).cluster, transfer.cluster)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_outlier_or_all_who_have_a_source(share):
    assert torch.equal(made(outliers=share).outlier, STATES.met & (share == 1))


def test_users_without_source_may_be_clustered_like_others():
    transfer = made(without_source="clustered", outliers=1.0)
    assert transfer.outlier.all() and (transfer.cluster < 4).all()
    assert len(transfer.cluster[~STATES.met].unique()) == 1  # they all have one state


def test_the_share_of_a_group_is_cut_off():
    value = torch.tensor([3.0, 1, 2, 5, 4, 0, 9])
    group = torch.tensor([0, 0, 0, 0, 0, 2, 2])
    assert lowest_share(value, group, 0.5).tolist() == [False, True, True, False, False, True, False]
    assert lowest_share(value, group, 0.3).tolist() == [False, True, False, False, False, False, False]
    assert not lowest_share(value, group, 0.0).any() and lowest_share(value, group, 1.0).all()
    assert lowest_share(torch.zeros(4), torch.zeros(4, dtype=torch.long), 0.5).tolist() == [True, True, False, False]


def test_the_view_is_the_own_source_state_beside_the_centroid():
    transfer, batch = made(), Batch(torch.tensor([5, 9, 3]), torch.tensor([0, 1, 2]))
    seen_by = transfer.view_of(batch, VIEW(batch))
    wanted = (STATES.source[batch.user] + transfer.centroid[transfer.cluster[batch.user].long()]) / 2
    torch.testing.assert_close(seen_by.query, wanted)
    assert isinstance(seen_by, Dot) and not seen_by.query.requires_grad
    fresh = Transfer(USERS).view_of(batch, VIEW(batch))
    torch.testing.assert_close(fresh.query, STATES.source[batch.user] / 2)


def test_what_runs_through_it_sees_the_view_at_steps_and_at_refreshes(seen):
    shown = []

    class Watching(RankBand):
        def refresh(self, epoch, view, rng):
            shown.append(view(batch))

        def sample(self, batch, scorer, rng):
            shown.append(scorer)
            return super().sample(batch, scorer, rng)

    batch = Batch(torch.arange(10), torch.arange(10))
    transfer = Transfer(12, clusters=2)
    sampler = Through(transfer, Watching(30, seen=seen))
    sampler.begin(0, VIEW, streams("r"))
    sampler.sample(batch, VIEW(batch), streams("t"))
    wanted = transfer.view_of(batch, VIEW(batch)).query
    assert len(shown) == 2 and all(torch.equal(one.query, wanted) for one in shown)
    assert torch.equal(sampler.scorer_of(sampler.inner, batch, VIEW(batch)).query, wanted)


def test_the_contract_holds(seen):
    for settings in ({}, {"without_source": "clustered", "centroid": "normalised"}):
        check_sampler(
            lambda settings=settings: Through(Transfer(12, clusters=3, **settings), RankBand(30, seen=seen, k=4)),
            n_users=12,
            n_items=30,
            seen=seen,
        )


def test_few_users_and_none_at_all():
    alone = SimpleNamespace(source=torch.ones(3, D), target=torch.ones(3, D), met=torch.tensor([False, False, False]))
    transfer = Transfer(3, clusters=5)
    transfer.begin(0, lambda batch: alone, streams("r"))
    assert not transfer.outlier.any() and (transfer.cluster == 5).all() and transfer.centroid.isfinite().all()
    alone.met = torch.tensor([True, False, False])
    transfer.begin(1, lambda batch: alone, streams("r"))
    assert transfer.cluster.tolist() == [0, 5, 5] and transfer.centroid.isfinite().all()
    nobody = Transfer(3, states=PriorStates(3, torch.full((3,), -1)))
    nobody.begin(0, lambda batch: alone, streams("r"))
    assert not nobody.outlier.any()


def test_bad_settings_and_models_of_one_domain_are_refused():
    for settings in ({"clusters": 0}, {"outliers": 1.5}, {"centroid": "mean"}, {"without_source": "no"}):
        with pytest.raises(UsageError, match="wanted"):
            Transfer(USERS, **settings)
    with pytest.raises(CapabilityError, match="sasrec_cdr"):
        made().view_of(Batch(torch.tensor([0])), Dot(torch.ones(1, 2), torch.ones(3, 2)))
