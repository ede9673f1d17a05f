"""No sampler holds a number for every pair of a user and an item unless asked to."""

from __future__ import annotations

import pytest
import torch

from negsieve.rng import streams
from negsieve.samplers.named import METHODS
from negsieve.seen import Seen
from negsieve.spec import Spec, bind
from negsieve.testing.standin import stand_in
from negsieve.types import Batch

USERS, ITEMS = 4000, 5000


@pytest.fixture(scope="module")
def many() -> Seen:
    rng = streams("pairs")
    user, item = (torch.randint(n, (12_000,), generator=rng) for n in (USERS, ITEMS))
    return Seen(user, item, n_users=USERS, n_items=ITEMS)


@pytest.mark.parametrize("name", METHODS)
def test_memory_grows_with_users_plus_items(name, many):
    rejected = Seen([0], [0], n_users=USERS, n_items=ITEMS, part="negatives")
    offers = {"n_items": ITEMS, "n_users": USERS, "seen": many, "dim": 8, "seed": 0, "explicit": rejected}
    slots = {"slots": "4096"} if name == "gdns" else {}  # a table whose size is the user's own word
    sampler = bind(METHODS[name], Spec(name, slots), offers)
    tables = [torch.randn(n, 8, generator=streams("t", n)) for n in (USERS, ITEMS)]
    encode = stand_in(sampler, *tables)
    sampler.begin(0, encode, streams("refresh"))
    batch = Batch(many.owner[:32], many.item[:32], torch.arange(32))
    with torch.no_grad():
        drawn = sampler.sample(batch, encode(batch), streams("draw"))
        evidence = sampler.observe(batch, drawn, encode(batch), torch.zeros(32), streams("seen"))
    if evidence is not None:
        sampler.learn([evidence])
    for key, value in sampler.named_buffers():
        assert value.numel() <= 120 * (USERS + ITEMS) < USERS * ITEMS / 10, f"{key} holds {value.numel()} numbers"
