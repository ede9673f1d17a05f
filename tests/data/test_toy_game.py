"""The two directions of Amazon Toy and Game: who is judged, what is trained on, what came before it."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from negsieve.config import resolve
from negsieve.loading import load_data

DIRECTIONS = [("toy", "game"), ("game", "toy")]


@pytest.fixture(scope="module")
def load(request):
    def one(shared, target, source, **split):
        data = {"target": target, "source_domains": source, "duplicates": "keep", "split": {"method": "loo"} | split}
        return load_data(shared("amazon-toy-game"), config=resolve({"data": data}).data)

    return one


@pytest.mark.parametrize(
    ("target", "source", "users", "positives"), [("toy", "game", 7159, 84_974), ("game", "toy", 7614, 56_614)]
)
def test_who_is_judged_and_what_is_trained_on(shared, load, target, source, users, positives):
    dataset = load(shared, target, source, drop_last_user=True)
    assert dataset.split["users_judged"] == len(dataset.rows("test")) == len(dataset.rows("valid")) == users
    train = np.bincount(dataset.pairs("train")[0].numpy(), minlength=dataset.n_users)
    assert np.minimum(np.maximum(train - 1, 0), 200).sum() == positives
    whole = load(shared, target, source)
    assert whole.split["users_judged"] == users + 1, "with the user that the reference loses"
    assert (
        whole.n_items == {"toy": 37_868, "game": 11_735}[target]
        and len(whole.interactions)
        == {
            "toy": 114_487,
            "game": 82_871,
        }[target]
    )
    assert (whole.split["users_without_earlier_source"], whole.split["users_too_short"]) == {
        "toy": (734, 119),
        "game": (278, 122),
    }[target]


@pytest.mark.parametrize(("target", "source"), DIRECTIONS)
def test_what_came_before_is_a_walk_of_the_merged_lists(shared, load, target, source):
    dataset = load(shared, target, source)
    rows = pq.read_table(shared("amazon-toy-game") / "interactions.parquet").to_pydict()
    merged: dict[str, list] = {}
    for user, item, place, domain in zip(*(rows[n] for n in ("user_id", "item_id", "position", "domain")), strict=True):
        merged.setdefault(str(user), []).append((place, str(item), domain))
    wanted, latest = [], {"train": [], "train+valid": []}
    judged = np.unique(dataset.interactions.user[dataset.rows("test")])
    for number in judged:
        entries, last, own = sorted(merged[dataset.users[number]]), None, []
        for _, item, domain in entries:  # the state beside each target row is the last source item so far
            if domain == target:
                own.append(last)
            else:
                last = item
        wanted += own[:-2]
        latest["train"].append(own[-2])
        latest["train+valid"].append(own[-1])
    for parts in (("train",), ("train", "valid")):
        aside = dataset.asides(*parts)
        found = named(dataset, aside, aside.latest(torch.from_numpy(judged)))
        assert found == latest["+".join(parts)]
    aside = dataset.asides("train")
    order = np.argsort(dataset.interactions.user[dataset.rows("train")], kind="stable")
    assert named(dataset, aside, aside.before[torch.from_numpy(order)]) == wanted


def named(dataset, aside, place):
    items = aside.source.item[place.clamp_min(0)].tolist()
    return [None if at < 0 else dataset.aside.items[0][item] for at, item in zip(place.tolist(), items, strict=True)]
