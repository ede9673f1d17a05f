"""Draws of unseen items: kernel and twin give the same bits, follow the law, and depend on their counters alone."""

import pytest
import torch
from scipy import stats

from negsieve.kernels import native
from negsieve.kernels.draw import (
    Weights,
    draw_even,
    draw_even_reference,
    draw_weighted,
    draw_weighted_reference,
    propose,
)
from negsieve.rng import streams
from negsieve.samplers.aliastable import alias_table
from negsieve.seen import Seen

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
N_ITEMS = 300
# nothing, a little, most, nearly all (one item is left), all
DEGREES = [0, 1, 3, 33, 65, 100, 270, 299, 300]


def index(degrees=DEGREES, n_items=N_ITEMS) -> Seen:
    rng = streams("rows")
    own = [torch.randperm(n_items, generator=rng)[:many] for many in degrees]
    user = torch.repeat_interleave(torch.arange(len(own)), torch.tensor(degrees))
    return Seen(user, torch.cat(own), n_users=len(own), n_items=n_items)


def weighed(seen: Seen, *, spread: int = 1000) -> tuple[torch.Tensor, Weights]:
    weight = torch.randint(spread, (seen.n_items,), generator=streams("weight", spread)) + 1
    weight[::7] = 0
    held = torch.cat([torch.zeros(1, dtype=torch.long), weight[seen.item].cumsum(0)])
    return weight, Weights(alias_table(weight), weight.cumsum(0), held)


def both(law, seen, **given):
    """The kernel's and the twin's draws under a law."""
    if law == "even":
        return draw_even(rows=seen.rows, **given), draw_even_reference(rows=seen.rows, **given)
    more = {"rows": seen.rows, "weights": weighed(seen)[1]}
    return draw_weighted(**more, **given), draw_weighted_reference(**more, **given)


@pytest.fixture(params=["even", "weighted"])
def law(request):
    return request.param


@compiled
@pytest.mark.parametrize("n", [0, 1, 3, 33, 64, 65, 100])
def test_kernel_and_twin_give_the_same_bits(law, n):
    seen = index()
    user = torch.randint(len(DEGREES), (200,), generator=streams("users", n))
    sample = torch.randint(2**40, (200,), generator=streams("samples", n))
    for key in (0, -3, 2**63 - 1):
        one, two = both(law, seen, key=key, sample=sample, user=user, n=n)
        assert one.shape == (200, n) and torch.equal(one, two)


@compiled
@pytest.mark.parametrize(
    ("degrees", "n_items"), [([0, 1], 1), ([0, 1, 2], 2), ([5], 2**31 - 1), ([0], 77), ([0, 0], 5)]
)
def test_small_and_huge_catalogues(degrees, n_items):
    if n_items > 1000:
        seen = Seen([0] * 5, [0, 1, 2**30, 2**31 - 3, 2**31 - 2], n_users=1, n_items=n_items)
    else:
        seen = index(degrees, n_items)
    user = torch.arange(len(degrees)).repeat(20)
    one, two = both("even", seen, key=5, sample=torch.arange(len(user)), user=user, n=3)
    assert torch.equal(one, two) and int(one.max()) < n_items


@compiled
def test_an_empty_batch_and_one_row(law):
    seen, nobody = index(), torch.zeros(0, dtype=torch.long)
    one, two = both(law, seen, key=1, sample=nobody, user=nobody, n=4)
    assert one.shape == two.shape == (0, 4)
    one, two = both(law, seen, key=1, sample=torch.tensor([9]), user=torch.tensor([6]), n=1)
    assert torch.equal(one, two)


def test_nothing_seen_ever_comes_out(law):
    seen = index()
    user = torch.arange(len(DEGREES) - 1).repeat(50)
    for drawn in both(law, seen, key=8, sample=torch.arange(len(user)), user=user, n=9):
        assert not seen.contains(user, drawn)[user < 7].any()
        if law == "even":  # by weight the last item of user 7 may have none
            assert not seen.contains(user, drawn).any()
    everything = torch.full((10,), 8)
    for drawn in both(law, seen, key=8, sample=torch.arange(10), user=everything, n=2):
        assert not drawn.any()  # the stated item, which callers mask


@pytest.mark.parametrize("user", [0, 3, 6, 7])
def test_draws_follow_the_law(law, user):
    seen = index()
    free = ~seen.contains(torch.tensor([user]), torch.arange(N_ITEMS)[None])[0]
    weight = free.long() * (1 if law == "even" else weighed(seen)[0])
    many = 20_000
    for drawn in both(law, seen, key=4, sample=torch.arange(many), user=torch.full((many,), user), n=3):
        count = torch.bincount(drawn.flatten(), minlength=N_ITEMS)
        if not weight.any():
            continue
        assert not count[weight == 0].any()
        share = weight[weight > 0].double() / weight.sum()
        if len(share) > 1:
            assert stats.chisquare(count[weight > 0].numpy(), share.numpy() * 3 * many).pvalue > 1e-4


def test_draws_depend_on_key_sample_and_user_alone(law):
    seen = index()
    user = torch.randint(len(DEGREES), (300,), generator=streams("users"))
    sample, order = torch.arange(300) + 7, torch.randperm(300, generator=streams("order"))
    for place in (0, 1):
        found = both(law, seen, key=2, sample=sample, user=user, n=5)[place]
        assert torch.equal(both(law, seen, key=2, sample=sample[order], user=user[order], n=5)[place], found[order])
        assert torch.equal(both(law, seen, key=2, sample=sample, user=user, n=2)[place], found[:, :2])
        assert not torch.equal(both(law, seen, key=3, sample=sample, user=user, n=5)[place], found)


@compiled
def test_any_number_of_threads_gives_the_same_bits(law, monkeypatch):
    seen, found = index(), []
    user = torch.randint(len(DEGREES), (6000,), generator=streams("users"))
    for many in (1, 2, 4):
        monkeypatch.setattr(native, "threads", lambda many=many: many)
        found.append(both(law, seen, key=2, sample=torch.arange(6000), user=user, n=3)[0])
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("user", [-1, len(DEGREES), 2**40])
def test_users_without_a_row_are_refused(law, user):
    seen, user = index(), torch.tensor([0, user])
    weights = {"weights": weighed(seen)[1]} if law == "weighted" else {}
    draws = (draw_even, draw_even_reference) if law == "even" else (draw_weighted, draw_weighted_reference)
    for draw in draws:
        with pytest.raises(IndexError):
            draw(1, torch.arange(2), user=user, rows=seen.rows, n=2, **weights)


@compiled
def test_arrays_that_do_not_fit_are_refused():
    seen = index()
    weights, user = weighed(seen)[1], torch.arange(3)
    with pytest.raises(ValueError, match="same rows"):
        draw_even(1, torch.arange(2), user=user, rows=seen.rows, n=2)
    for wrong in (
        weights._replace(table=weights.table[1:]),
        weights._replace(table=weights.table[:, :1].contiguous()),
        weights._replace(held=weights.held[1:]),
    ):
        with pytest.raises(ValueError, match="draw_weighted"):
            draw_weighted(1, user, user=user, rows=seen.rows, weights=wrong, n=2)


def test_a_word_picks_the_bucket_by_its_upper_and_the_place_by_its_lower_half():
    weight = torch.tensor([1, 0, 6, 3])
    table = alias_table(weight)
    word = torch.tensor([0, 1, -1, -(2**63), 2**62, 2**62 - 1, -(2**62), 12345678901234567])
    wide = [(int(one) % 2**64) * 4 for one in word]
    wanted = []
    for one in wide:
        bucket, place = one >> 64, (one & (2**64 - 1)) >> 1
        wanted.append(bucket if place < int(table[bucket, 0]) else int(table[bucket, 1]))
    assert propose(word, table).tolist() == wanted
