"""Clusters by cosine equal a slow loop, and their tightness equals its definition."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from negsieve.rng import streams
from negsieve.samplers.kmeans import concentration, k_means, means, nearest

VECTORS = normalize(torch.randn(200, 6, generator=streams("vectors")), dim=1)


def slow(vector, centre, rounds):
    for _ in range(rounds):
        near = [max(range(len(centre)), key=lambda c, v=v: float(v @ centre[c] / centre[c].norm())) for v in vector]
        own = [[v for v, at in zip(vector, near, strict=True) if at == c] for c in range(len(centre))]
        centre = torch.stack([torch.stack(some).mean(0) if some else centre[c] for c, some in enumerate(own)])
    return centre


def test_clusters_by_cosine_equal_a_slow_loop():
    start = VECTORS[:7].clone()
    near, centre = k_means(VECTORS, 7, streams("k"), rounds=4, cosine=True, start=start)
    torch.testing.assert_close(centre, slow(VECTORS, start, 4), atol=1e-5, rtol=1e-5)
    assert torch.equal(near, (VECTORS @ normalize(centre, dim=1).T).argmax(1))
    assert torch.equal(start, VECTORS[:7])


def test_distance_and_cosine_differ():
    near = [k_means(VECTORS * torch.arange(1, 201)[:, None], 7, streams("k"), cosine=way)[0] for way in (False, True)]
    assert not torch.equal(*near)


@pytest.mark.parametrize("clusters", [1, 9, 40])
def test_tightness_is_the_mean_product_of_rows_and_their_means(clusters):
    near, _ = k_means(VECTORS, clusters, streams("k"), rounds=3, cosine=True)
    near[near == 0] = min(1, clusters - 1)  # a cluster without rows does not count
    each = []
    for c in range(clusters):
        own = VECTORS[near == c]
        if len(own):
            each.append(float((own @ own.mean(0)).mean()))
    found = concentration(VECTORS, near, clusters)
    assert float(found) == pytest.approx(sum(each) / len(each), rel=1e-6)
    assert found.isfinite()


def test_tightness_runs_from_nothing_to_one():
    one = VECTORS[:1].expand(50, -1)
    assert float(concentration(one, torch.zeros(50, dtype=torch.long), 3)) == pytest.approx(1.0)
    both = torch.cat([one, -one])
    assert float(concentration(both, torch.zeros(100, dtype=torch.long), 1)) == pytest.approx(0.0, abs=1e-7)


def test_a_clustering_goes_on_from_another_and_stops_when_it_rests():
    _, rested = k_means(VECTORS, 5, streams("k"), rounds=100, cosine=True, tolerance=1e-6)
    _, again = k_means(VECTORS, 5, streams("other"), rounds=1, cosine=True, start=rested)
    torch.testing.assert_close(rested, again, atol=1e-4, rtol=0)
    first, _ = k_means(VECTORS, 5, streams("k"), rounds=100, cosine=True, tolerance=1e9)
    once, _ = k_means(VECTORS, 5, streams("k"), rounds=1, cosine=True)
    assert torch.equal(first, once)


def test_means_of_clusters_and_of_none():
    mean, many = means(VECTORS, torch.full((200,), 2), 4)
    torch.testing.assert_close(mean[2], VECTORS.mean(0))
    assert many.tolist() == [0, 0, 200, 0] and not mean[[0, 1, 3]].any()
    assert nearest(VECTORS, VECTORS[:3], cosine=True)[:3].tolist() == [0, 1, 2]
