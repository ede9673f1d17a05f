"""Exclusion on a real log of 810,128 pairs: nothing collides, where careless drawing often does."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from negsieve.rng import streams
from negsieve.samplers.draw import Weighted, powered
from negsieve.seen import Seen
from negsieve.types import Batch

FILE = Path(__file__).parents[2] / "../shared/data/gowalla/interactions.parquet"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.parent.name} is not on this machine")


@pytest.fixture(scope="module")
def gowalla() -> Seen:
    table = pq.read_table(FILE)
    table = table.filter(pc.equal(table["split"], "train"))
    user, item = (
        torch.from_numpy(table[name].combine_chunks().dictionary_encode().indices.to_numpy().copy()).long()
        for name in ("user_id", "item_id")
    )
    return Seen(user, item, n_users=int(user.max()) + 1, n_items=int(item.max()) + 1)


def batch(gowalla: Seen, rows: int) -> Batch:
    place = torch.randint(len(gowalla), (rows,), generator=streams("gowalla"))
    return Batch(gowalla.owner[place], gowalla.item[place])


@pytest.mark.parametrize("alpha", [0.0, 0.75])
def test_a_million_draws_never_collide(gowalla, alpha):
    weight = powered(gowalla.popularity(), alpha=alpha)
    some = batch(gowalla, 4096)
    found = Weighted(gowalla.n_items, seen=gowalla, n_negatives=256, weight=weight).sample(some, None, streams("t"))
    assert found.keep is None
    assert not gowalla.contains(some.user, found.item).any()
    assert found.item.min() >= 0 and found.item.max() < gowalla.n_items


def test_drawing_from_all_items_collides_in_a_quarter_of_the_rows(gowalla):
    some = batch(gowalla, 4096)
    careless = Weighted(gowalla.n_items, seen=gowalla, n_negatives=200, exclude="none")
    found = careless.sample(some, None, streams("t"))
    share = gowalla.contains(some.user, found.item).any(1).double().mean()
    assert float(share) == pytest.approx(0.25, abs=0.04)
