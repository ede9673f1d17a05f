"""Candidates stand at the ranks asked for, on every path; own items never; narrow bands give what they have."""

from __future__ import annotations

import math

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.prior import PriorStates, Remembered, due
from negsieve.samplers.rankband import RankBand
from negsieve.scorers import Function, Towers
from negsieve.seen import Seen
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import Batch

USERS, ITEMS = 40, 300
OWNER = torch.arange(USERS).repeat_interleave(6)
SEEN = Seen(OWNER, torch.randint(ITEMS, (len(OWNER),), generator=streams("pairs")), n_users=USERS, n_items=ITEMS)
TABLES = [torch.randn(n, 8, generator=streams("tables", n)) for n in (USERS, ITEMS)]
VIEW = Towers(*TABLES)


def made(**settings) -> RankBand:
    sampler = RankBand(ITEMS, **{"seen": SEEN, "p_min": 10, "p_max": 20, "k": 12} | settings)
    sampler.begin(0, VIEW, streams("refresh"))
    return sampler


def slow_band(user: int, low: int, width: int) -> list[int]:
    """Ranked by a sort; the user's own taken out; from rank ``low`` on as wide as asked."""
    order = (TABLES[1] @ TABLES[0][user]).argsort(descending=True, stable=True).tolist()
    own = set(SEEN.of(torch.tensor([user]))[1].tolist())
    return [item for item in order[low:] if item not in own][:width]


@pytest.mark.parametrize(
    ("p_min", "p_max", "k"),
    [(10, 20, 12), (0, 10, 5), (30, 40, 30), (30, 40, 1000), (90, 100, 50), (0, 100, 290), (0, 0.1, 4)],
)
def test_exact_candidates_are_of_the_band_of_a_sort(p_min, p_max, k):
    sampler = made(p_min=p_min, p_max=p_max, k=k)
    low, high = math.floor(ITEMS * p_min / 100), math.ceil(ITEMS * p_max / 100)
    assert sampler.k == min(k, high - low)
    for user in range(USERS):
        wanted = slow_band(user, low, high - low)
        found = [item for item in sampler.candidate[user].tolist() if item >= 0]
        assert set(found) <= set(wanted) and len(set(found)) == len(found)
        if k >= high - low:
            assert set(found) == set(wanted)
        elif len(wanted) == high - low:
            assert len(found) == k


def test_the_sizes_of_the_paper():
    seen = Seen([0], [0], n_users=1, n_items=11_735)
    game = RankBand(11_735, seen=seen, p_min=10, p_max=20)
    assert (game.low, game.low + game.width, game.width, game.rated) == (1173, 2347, 1174, 11_735)
    seen = Seen([0], [0], n_users=1, n_items=37_868)
    for low, high, first, last in ((30, 40, 11_360, 15_148), (20, 30, 7573, 11_361)):
        toy = RankBand(37_868, seen=seen, p_min=low, p_max=high, mode="exact")
        assert (toy.low, toy.low + toy.width, toy.width) == (first, last, 3788)
    assert RankBand(37_868, seen=seen, p_min=30, p_max=40).rated == 10_000


def test_every_user_draws_for_itself_and_every_member_of_the_band_is_drawn():
    sampler, counts = made(k=10), torch.zeros(ITEMS)
    ranks = []
    for epoch in range(1, 60):
        sampler.begin(epoch, VIEW, streams("refresh", epoch))
        wanted = slow_band(3, 30, 30)
        ranks += [wanted.index(item) for item in sampler.candidate[3].tolist()]
        counts += torch.bincount(sampler.candidate[3].long(), minlength=ITEMS)
    drawn = torch.bincount(torch.tensor(ranks), minlength=30)
    assert drawn.min() > 5 and drawn.max() < 45  # 590 draws of 30
    places = [
        {slow_band(user, 30, 30).index(item) for item in sampler.candidate[user].tolist()} for user in range(USERS)
    ]
    assert len({frozenset(one) for one in places}) > USERS / 2


def test_shared_columns_are_the_same_ranks_and_top_is_the_top():
    shared, top = made(columns="shared"), made(columns="top")
    places = {
        tuple(slow_band(user, 30, 30).index(item) for item in shared.candidate[user].tolist()) for user in range(USERS)
    }
    assert len(places) == 1
    for user in range(USERS):
        assert top.candidate[user].tolist() == slow_band(user, 30, 12)


def test_sampled_candidates_lie_near_the_band_and_are_nobodys_own():
    items = 4000
    table = torch.randn(items, 8, generator=streams("many"))
    seen = Seen(OWNER, torch.randint(items, (len(OWNER),), generator=streams("p")), n_users=USERS, n_items=items)
    sampler = RankBand(items, seen=seen, p_min=30, p_max=40, k=100, mode="sampled")
    sampler.begin(0, Towers(TABLES[0], table), streams("refresh"))
    assert sampler.rated == 1000
    rank = (TABLES[0] @ table.T).argsort(1, descending=True).argsort(1).double() / items
    found = sampler.candidate.long()
    assert (found >= 0).all() and not seen.contains(torch.arange(USERS), found).any()
    place = rank.gather(1, found)
    inside = ((place >= 0.3) & (place < 0.4)).double().mean()
    deviation = (0.35 * 0.65 / 1000) ** 0.5
    assert inside > 0.85 and place.min() > 0.3 - 5 * deviation and place.max() < 0.4 + 5 * deviation
    assert all(len(set(row)) == 100 for row in found.tolist())


def test_only_those_who_need_candidates_have_any():
    some = made(whose=lambda user: user % 3 == 0)
    assert (some.candidate[::3] >= 0).all() and (some.candidate[1::3] == -1).all()
    found = some.sample(Batch(torch.tensor([0, 1])), None, streams("t"))
    assert found.keep.tolist() == [[True] * 12, [False] * 12]
    with pytest.raises(ValueError, match="rows alone"):
        some.begin(1, lambda batch: Function(lambda item: item.expand(len(batch), -1).float()), streams("r"))


def test_candidates_are_rebuilt_when_they_are_due():
    sampler = made(every=3)
    first = sampler.candidate.clone()
    for epoch, same in ((0, True), (1, True), (2, True), (3, False)):
        sampler.begin(epoch, VIEW, streams("refresh", 10 + epoch))
        assert torch.equal(first, sampler.candidate) == same
    assert due(torch.tensor(-1), 5, 3) and not due(torch.tensor(5), 5, 1) and due(torch.tensor(9), 0, 3)


def test_before_the_first_refresh_draws_are_uniform_and_the_contract_holds(seen):
    for settings in ({}, {"p_min": 0, "p_max": 100, "k": 40}, {"mode": "sampled", "k": 2}, {"columns": "shared"}):
        check_sampler(lambda settings=settings: RankBand(30, seen=seen, **settings), n_users=12, n_items=30, seen=seen)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"p_min": 30, "p_max": 20}, "0 <= p_min < p_max"),
        ({"k": 0}, "k=0"),
        ({"mode": "fast"}, "wanted one of auto, exact, sampled"),
        ({"columns": "all"}, "wanted one of own, shared, top"),
        ({"mode": "sampled", "columns": "top"}, "need mode=exact"),
    ],
)
def test_what_makes_no_band_is_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        RankBand(ITEMS, seen=SEEN, **settings)


def test_held_out_pairs_are_refused_unless_an_oracle_says_so():
    pairs = [SEEN.owner, SEEN.item]
    with pytest.raises(UsageError, match="leaks the answers"):
        RankBand(ITEMS, seen=Seen(*pairs, n_users=USERS, n_items=ITEMS, part="test"))
    RankBand(ITEMS, seen=Seen(*pairs, n_users=USERS, n_items=ITEMS, part="test", oracle=True))


def test_states_are_asked_for_once_a_user_and_by_the_last_row():
    asked = []

    def view(batch):
        asked.append(batch)
        return VIEW(batch)

    last = torch.arange(USERS) * 3
    last[5] = -1
    states, known = PriorStates(USERS, last), Remembered(view)
    both = [[known(batch) for batch in states.batches()] for _ in range(2)]
    assert len(asked) == len(both[0]) and all(a is b for a, b in zip(*both, strict=True))
    user = torch.cat([batch.user for batch in asked])
    assert sorted(user.tolist()) == [one for one in range(USERS) if one != 5]
    assert torch.equal(torch.cat([batch.row for batch in asked]), last[user])
    known(Batch(torch.tensor([1])))
    known(Batch(torch.tensor([2])))
    assert len(asked) == len(both[0]) + 2
    assert next(iter(PriorStates(USERS).batches())).row is None
    sampler = made(states=states)
    assert (sampler.candidate[5] == -1).all() and (sampler.candidate[4] >= 0).all()
