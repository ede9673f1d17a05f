"""Even draws and the choice of the hardest in one pass: the negatives of the parts one after the other, to the bit."""

from dataclasses import fields, replace

import pytest
import torch

from negsieve.kernels import native
from negsieve.rng import streams
from negsieve.samplers.base import Chain, Stage
from negsieve.samplers.draw import Weighted, powered
from negsieve.samplers.fused import hardest_unseen
from negsieve.samplers.methods.dynamic import dns, dns_mn
from negsieve.samplers.rankband import RankBand
from negsieve.samplers.select import Hardest
from negsieve.samplers.similar import SimilarTo
from negsieve.samplers.topdraw import TopDraw
from negsieve.scorers import Crossed, Dot, Function, Towers
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
USERS, ITEMS = 30, 70


def crowd(*, full: bool = False) -> Seen:
    share = torch.linspace(0, 0.95, USERS)[:, None]
    has = torch.rand(USERS, ITEMS, generator=streams("crowd")) < share
    has[:, 3] = False
    has[-1] |= full  # who has seen everything has no negative
    user, item = has.nonzero(as_tuple=True)
    return Seen(user, item, n_users=USERS, n_items=ITEMS)


def setting(**options) -> tuple[Batch, Dot]:
    rng = streams("setting")
    user = torch.arange(USERS).repeat(9)[torch.randperm(9 * USERS, generator=rng)]
    query, table = (torch.randn(n, 24, generator=rng) for n in (len(user), ITEMS))
    table[5:12] = table[40]  # ties
    return Batch(user, torch.zeros_like(user), torch.arange(len(user)) + 1000), Dot(query, table, **options)


def same(found: Negatives, expected: Negatives) -> bool:
    pairs = [(getattr(found, one.name), getattr(expected, one.name)) for one in fields(Negatives)]
    return all(a is b if a is None or b is None else a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


@compiled
@pytest.mark.parametrize("options", [{}, {"cosine": True, "temperature": 0.2}])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda seen: dns(ITEMS, seen=seen),
        lambda seen: dns(ITEMS, seen=seen, candidates=32, n_negatives=3),
        lambda seen: dns_mn(ITEMS, seen=seen, m=5, n=50),
        lambda seen: dns_mn(ITEMS, seen=seen, m=5, n=50, mode="sum"),
        lambda seen: dns_mn(ITEMS, seen=seen, m=5, n=50, mode="one"),
        lambda seen: Chain(Weighted(ITEMS, seen=seen, n_negatives=9), Hardest(6), Hardest(2)),
    ],
)
def test_all_fields_are_those_of_the_parts(make, full, options, monkeypatch):
    sampler, (batch, scorer) = make(crowd(full=full)), setting(**options)
    assert hardest_unseen(sampler.source, 1, batch, scorer, streams("n")) is not None
    found = sampler.sample(batch, scorer, streams("n"))
    monkeypatch.setattr(Hardest, "drawn_from", Stage.drawn_from)
    expected = sampler.sample(batch, scorer, streams("n"))
    assert same(found, expected)
    assert (found.keep is not None) == full


@compiled
def test_what_no_kernel_serves_goes_the_general_way():
    batch, scorer = setting()
    rng = streams("n")
    before = rng.get_state()
    even = Weighted(ITEMS, seen=crowd(), n_negatives=8)
    weighted = Weighted(ITEMS, seen=crowd(), weight=powered(crowd().popularity(), alpha=1.0), n_negatives=8)
    wide = Dot(scorer.query.double(), scorer.table.double())
    others = [
        (Weighted(ITEMS, seen=crowd(), n_negatives=8, exclude="positive"), scorer),
        (weighted, scorer),
        (even, wide),
        (even, Function(scorer.score)),
        (even, Dot(scorer.query, torch.cat([scorer.table, scorer.table]))),
    ]
    assert all(hardest_unseen(source, 1, batch, one, rng) is None for source, one in others)
    assert hardest_unseen(even, 9, batch, scorer, rng) is None
    assert torch.equal(rng.get_state(), before)


@compiled
def test_a_model_that_learns_is_rated_without_gradient():
    batch, scorer = setting()
    live = Dot(scorer.query.requires_grad_(), scorer.table.requires_grad_())
    sampler = dns(ITEMS, seen=crowd())
    assert same(sampler.sample(batch, live, streams("n")), sampler.sample(batch, scorer, streams("n")))


def band_of(seen: Seen, rng, *, filtered: bool, many: int = 60, **how) -> list:
    """A refreshed band with users who lack candidates, and its filter."""
    view = Towers(torch.randn(USERS, 24, generator=rng), torch.randn(ITEMS, 24, generator=rng))
    parts = [RankBand(ITEMS, seen=seen, p_min=0, p_max=95, k=many)]
    parts += [SimilarTo(ITEMS, clusters=7, chi=1.0, **how)] if filtered else []
    for one in parts:
        one.refresh(9, view, rng)
    return parts


@compiled
@pytest.mark.parametrize("options", [{}, {"cosine": True, "temperature": 0.2}])
@pytest.mark.parametrize(
    ("distinct", "how"),
    [
        (False, {"filtered": True}),
        (True, {"filtered": True}),
        (False, {"filtered": False}),
        (False, {"filtered": True, "inverted": True}),
    ],
)
def test_a_draw_of_places_in_a_band_is_that_of_the_parts(distinct, how, options, monkeypatch):
    batch, scorer = setting(**options)
    batch = replace(batch, item=torch.randint(ITEMS, (len(batch),), generator=streams("positives")))
    last = TopDraw(5, low=2, high=40, distinct=distinct)
    sampler = Chain(*band_of(crowd(full=True), streams("band"), **how), last)
    found = sampler.sample(batch, scorer, streams("draw"))
    assert last.drawn_from(sampler.parts()[:-1], batch, scorer, streams("draw")) is not None
    monkeypatch.setattr(TopDraw, "drawn_from", Stage.drawn_from)
    wanted = sampler.sample(batch, scorer, streams("draw"))
    assert torch.equal(found.keep, wanted.keep) and found.keep.any() and not found.keep.all()
    assert torch.equal(found.item[found.keep], wanted.item[wanted.keep])


@compiled
def test_a_scorer_that_rates_in_its_own_way_is_asked():
    """Somebody's ``Dot`` with another score; one of two domains has that of ``Dot``."""

    class Offset(Dot):
        def score(self, item):
            return super().score(item) + item

    (batch, scorer), last = setting(), TopDraw(5, high=40)
    batch, band = replace(batch, item=batch.user), band_of(crowd(), streams("band"), filtered=False)
    sides = {"source": scorer.query, "target": scorer.query, "met": batch.user >= 0, "fuse": torch.add}
    for kind, how in ((Offset, {}), (Crossed, sides)):
        one = kind(scorer.query, scorer.table, **how)
        quick = last.drawn_from(band, batch, one, streams("draw"))
        assert (quick is None) == (kind is Offset)


@compiled
def test_a_band_before_its_first_refresh_other_parts_and_other_scorers_go_one_by_one():
    (batch, scorer), seen, last = setting(), crowd(), TopDraw(5, high=40)
    rng = streams("draw")
    state = rng.get_state()
    band = band_of(seen, streams("band"), filtered=True)
    unlike = Function(lambda item: item.float().expand(len(batch), -1))
    for parts, rates in (
        ([RankBand(ITEMS, seen=seen, k=60)], scorer),
        ([Weighted(ITEMS, seen=seen, n_negatives=60)], scorer),
        ([*band, last], scorer),
        (band, unlike),
        (band, Dot(scorer.query.double(), scorer.table.double())),
    ):
        assert last.drawn_from(parts, batch, rates, rng) is None
    assert torch.equal(rng.get_state(), state)
