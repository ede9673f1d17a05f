"""The shuffle: kernel and twin give the same permutation, at every size."""

import pytest
import torch

from negsieve.kernels import native
from negsieve.kernels.shuffle import MASK, ROUNDS, picked, picked_reference, shuffle, shuffle_reference
from negsieve.rng import derive, streams

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


def constants(key):
    return [derive("round", key, i) & MASK for i in range(ROUNDS)]


@compiled
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 15, 16, 17, 255, 256, 257, 1000, 4096, 4097])
def test_kernel_and_twin_give_the_same_permutation(n):
    for key in range(3):
        found = shuffle(torch.arange(n), n, constants=constants(key))
        assert torch.equal(found, shuffle_reference(torch.arange(n), n, constants=constants(key)))
        assert torch.equal(found.sort().values, torch.arange(n))


@compiled
@pytest.mark.parametrize("n", [2**31 - 1, 2**31 + 1, 2**40 + 7, 2**61 + 1, 2**62])
def test_large_shuffles_are_the_same_too(n):
    place = torch.cat([torch.arange(50), n - 1 - torch.arange(50)])
    found = shuffle(place, n, constants=constants(n))
    assert torch.equal(found, shuffle_reference(place, n, constants=constants(n)))
    assert found.unique().numel() == 100 and int(found.min()) >= 0 and int(found.max()) < n


@compiled
def test_any_number_of_threads_gives_the_same(monkeypatch):
    place = torch.arange(50_000)
    wanted = shuffle_reference(place, 50_000, constants=constants(1))
    for many in (1, 2, 4):
        monkeypatch.setattr(native, "threads", lambda many=many: many)
        assert torch.equal(shuffle(place, 50_000, constants=constants(1)), wanted)


@pytest.mark.parametrize("run", [shuffle, shuffle_reference])
def test_places_outside_are_refused(run):
    for n in (0, 7):
        assert run(torch.zeros(0, dtype=torch.long), n, constants=constants(0)).shape == (0,)
    for place in (-1, 7, 2**40):
        with pytest.raises(IndexError, match="of a shuffle of 7"):
            run(torch.tensor([0, place]), 7, constants=constants(0))


@compiled
@pytest.mark.parametrize("many", [0, 1, 31, 33, 20_000])
def test_what_is_picked_stands_at_the_places(many, threads):
    rng = streams("places", many)
    one, other = torch.arange(1000).flip(0), torch.arange(1000) ** 2
    place = torch.randint(1000, (many,), generator=rng)
    for count in (1, 2):
        threads(count)
        found = picked(place, one, other)
        assert torch.equal(torch.stack(found), torch.stack(picked_reference(place, one, other)))


@pytest.mark.parametrize("pick", [picked, picked_reference])
@pytest.mark.parametrize("place", [-1, 5, 2**40])
def test_places_outside_the_columns_are_refused(pick, place):
    with pytest.raises(IndexError):
        pick(torch.tensor([0, place]), torch.arange(5), torch.arange(5))
