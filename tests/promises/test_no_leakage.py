"""Validation and test positives reach neither training, nor exclusion from negatives, nor popularity."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from negsieve.config import resolve
from negsieve.data.dataset import Dataset
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.evaluation.reference import popularity
from negsieve.rng import streams
from negsieve.samplers.named import METHODS
from negsieve.scorers import Function
from negsieve.seen import Seen
from negsieve.store.run import Run
from negsieve.training import session
from negsieve.training.build import make_sampler
from negsieve.types import Batch

USERS, ITEMS, PLANTED = 12, 20, (18, 19)
TURNED_DOWN = Seen(
    range(USERS), [18 - user % 7 for user in range(USERS)], n_users=USERS, n_items=ITEMS, part="negatives"
)


@pytest.fixture(scope="module")
def planted() -> Dataset:
    """Items 18 and 19 are in test alone, with everybody; the rest is train, with an item of each user in valid."""
    rng = np.random.default_rng(3)
    rows = [(user, int(item), 0) for user in range(USERS) for item in rng.choice(16, size=5, replace=False)]
    rows += [(user, 16 + user % 2, 1) for user in range(USERS)]
    rows += [(user, item, 2) for user in range(USERS) for item in PLANTED]
    user, item, part = np.array(rows).T
    users, items = Vocabulary(map(str, range(USERS)), kind="user"), Vocabulary(map(str, range(ITEMS)), kind="item")
    log = Interactions(user=user, item=item, users=users, items=items)
    return Dataset("planted", log, part.astype(np.int8), explicit=TURNED_DOWN)


def drawn(planted: Dataset, spec: str, score) -> torch.Tensor:
    """Items that count, drawn for every user a hundred times: ``Bool[U, I]``."""
    sampler, found = make_sampler(spec, planted), torch.zeros(USERS, ITEMS, dtype=torch.bool)
    batch = Batch(
        torch.arange(USERS), torch.tensor([int(planted.train.of(torch.tensor([u]))[1][0]) for u in range(USERS)])
    )
    for step in range(100):
        negatives = sampler.sample(batch, Function(score), streams("t", step))
        item = negatives.item.expand(USERS, -1)
        keep = torch.ones_like(item, dtype=torch.bool) if negatives.keep is None else negatives.keep.expand(USERS, -1)
        found[torch.arange(USERS)[:, None].expand_as(item)[keep], item[keep]] = True
    return found


@pytest.mark.parametrize("spec", ["popularity:alpha=1,n_negatives=8", "popularity:alpha=0.5", "shared:alpha=0.75"])
def test_items_that_only_test_has_carry_no_popularity(planted, spec):
    found = drawn(planted, spec, lambda item: item.expand(USERS, -1).float())
    assert not found[:, list(PLANTED)].any()
    assert torch.equal(found.any(0), planted.train.popularity() > 0)
    assert popularity(planted).count[list(PLANTED)].tolist() == [0, 0]


@pytest.mark.parametrize(
    "spec", ["uniform:n_negatives=4", "dns:candidates=16", "dns_mn:m=2,n=16", "softmax_v:n=16", "shared"]
)
def test_what_is_held_out_may_be_drawn_like_any_item_not_in_train(planted, spec):
    found = drawn(planted, spec, lambda item: (item >= 16).float().expand(USERS, -1))
    assert found[:, list(PLANTED)].all(), "somebody's test items are excluded: the sampler knows them"
    mine = torch.zeros_like(found)
    mine[planted.train.owner, planted.train.item] = True
    assert not (found & mine).any()


# what needs two domains is tried in tests/training/test_realhns_in_runs.py
@pytest.mark.parametrize("sampler", sorted(set(METHODS) - {"realhns"}))
def test_moving_held_out_rows_changes_no_bit_of_the_model(planted, tmp_path, sampler):
    log, rng = planted.interactions, np.random.default_rng(1)
    item = np.where(planted.part > 0, rng.permutation(log.item), log.item)
    moved = Interactions(user=log.user, item=item, users=log.users, items=log.items)
    moved = Dataset("moved", moved, planted.part, explicit=planted.explicit)
    train = {"epochs": 2, "batch_size": 16, "patience": 0, "device": "cpu"}
    config = resolve(
        {"model": "lightgcn:dim=4,layers=1", "sampler": sampler, "train": train, "evaluate": {"test_metrics": []}}
    )
    models = []
    for name, dataset in (("planted", planted), ("moved", moved)):
        session.start(config, dataset, path=tmp_path / name)
        models.append(Run(tmp_path / name).load_latest().groups["model"])
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
