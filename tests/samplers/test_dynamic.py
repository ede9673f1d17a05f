"""Methods of dynamic selection as users name them: schedules in their parameters, and AMNS by hand."""

from __future__ import annotations

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers import named
from negsieve.samplers.draw import Shared, powered
from negsieve.samplers.named import find
from negsieve.scorers import Dot
from negsieve.spec import bind, parse
from negsieve.types import Batch

BATCH = Batch(torch.arange(12), torch.arange(12))


def scorer() -> Dot:
    return Dot(*(torch.randn(n, 4, generator=streams("x", n), dtype=torch.float64) for n in (12, 30)))


def test_amns_takes_the_hardest_of_both_kinds(seen):
    sampler = named.amns(30, seen=seen, uniform=12, popular=6, n_negatives=5, alpha=1.0)
    weight = powered(seen.popularity(), alpha=1.0)
    parts = Shared(30, seen=seen, n_negatives=12), Shared(30, seen=seen, n_negatives=6, weight=weight)
    for key in range(5):
        rng = streams("t", key)
        both = [part.sample(BATCH, None, rng) for part in parts]
        item, keep = torch.cat([one.item for one in both], 1), torch.cat([one.keep for one in both], 1)
        found = sampler.sample(BATCH, scorer(), streams("t", key))
        score = scorer().score(item)
        for row in range(12):
            best = sorted(score[row][keep[row]].tolist(), reverse=True)[:5]
            taken = scorer().score(found.item)[row][found.keep[row]]
            assert taken.tolist() == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "epoch", "equal"),
    [
        ("softmax_v:n=8,rho=linear:0.1:10:5", 5, "softmax_v:n=8,rho=10"),
        ("softmax_v:n=8,rho=linear:0.1:10:5", 0, "softmax_v:n=8,rho=0.1"),
        ("ahns:alpha=linear:1:3:4,beta=linear:0.1:0.9:2", 4, "ahns:alpha=3,beta=0.9"),
        ("bns:lam=ramp:4:2,prior_scale=linear:0:40:2", 2, "bns:lam=4,prior_scale=40"),
        ("dns_band:low=linear:0.4:0:4,high=linear:0.8:0.2:4", 4, "dns_band:low=0,high=0.2"),
        ("aobpr:lam=linear:20:2:4", 4, "aobpr:lam=2"),
    ],
)
def test_a_schedule_reaches_its_value(seen, text, epoch, equal):
    found = []
    for one, at in ((text, epoch), (equal, 0)):
        spec = parse(one)
        sampler = bind(find(spec.name), spec, {"n_items": 30, "n_users": 12, "seen": seen, "dim": 4, "seed": 0})
        sampler.begin(at, lambda batch: scorer(), streams("t"))
        found.append(sampler.sample(BATCH, scorer(), streams("draw")))
    assert torch.equal(found[0].item, found[1].item)
    assert found[0].weight is None or torch.allclose(found[0].weight, found[1].weight, rtol=1e-6)


def test_parameters_outside_their_range_are_refused(seen):
    for text, said in {
        "ahns:beta=-1": "beta=-1, wanted a number above 0",
        "ahns:p=0.5": "p=0.5, wanted a number below 0",
        "bns:lam=linear:1:-1:5": "lam=linear:1:-1:5 runs from -1 to 1",
        "dns_band:high=1.2": "high=1.2, wanted 0 to 1",
        "aobpr:lam=0": "lam=0, wanted a number above 0",
        "curriculum:epochs=0": "epochs=0, wanted a whole number above 0",
    }.items():
        spec = parse(text)
        with pytest.raises(UsageError, match=said):
            bind(find(spec.name), spec, {"n_items": 30, "n_users": 12, "seen": seen, "dim": 4, "seed": 0})
