"""What cannot work is refused before anything is written."""

import numpy as np
import pytest
import torch

from negsieve.config import resolve
from negsieve.data.dataset import Dataset
from negsieve.errors import CapabilityError, ConfigError, UsageError
from negsieve.rng import streams
from negsieve.samplers.base import Chain, Sampler
from negsieve.samplers.combine import With
from negsieve.samplers.draw import Weighted
from negsieve.samplers.synthesise import MixPositive
from negsieve.scorers import Function, Towers
from negsieve.seen import Seen
from negsieve.training import build, session
from negsieve.types import Negatives


class Beyond(Sampler):
    """Draws an item that does not exist."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items

    def sample(self, batch, scorer, rng):
        return Negatives(torch.full((len(batch), 1), self.n_items))


def beyond(n_items: int) -> Sampler:
    return Beyond(n_items)


def three(n_items: int) -> int:
    return 3


def boom(n_items: int) -> Sampler:
    raise RuntimeError("no shelf left")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"model": "mf:dim=0"}, "dim"),
        ({"model": "mf:dim=-3"}, "dim"),
        ({"model": "mf:similarity=angle"}, "similarity"),
        ({"model": "mf:init=ones"}, "init"),
        ({"model": "mf:temperature=0"}, "temperature"),
        ({"model": "lightgcn:layers=-1"}, "layers"),
        ({"sampler": "dns_mn:m=40,n=32"}, "40"),
        ({"sampler": "dns:candidates=4,n_negatives=8"}, "8"),
        ({"sampler": "in_batch:x=1"}, "x"),
        ({"loss": "hinge:margin=abc"}, "margin"),
        ({"train": {"metric": "recal@20"}}, "recal"),
    ],
)
def test_a_bad_part_is_refused_by_name_and_nothing_is_written(small, tmp_path, parts, words):
    with pytest.raises(UsageError, match=words):
        session.start(resolve(parts), small, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("beyond", r"drew items 60\.\.60, wanted 0\.\.59"), ("three", "returned int"), ("boom", "no shelf left")],
)
def test_a_faulty_sampler_from_outside_is_named(small, tmp_path, name, words, monkeypatch):
    import sys
    import types

    shop = types.ModuleType("shop_for_a_test")
    shop.beyond, shop.three, shop.boom = beyond, three, boom
    monkeypatch.setitem(sys.modules, "shop_for_a_test", shop)
    text = f"shop_for_a_test:{name}"
    with pytest.raises(UsageError, match=words):
        session.start(resolve({"sampler": text}), small, path=tmp_path / "run", trusted=[text])
    with pytest.raises(UsageError, match="repeat it as --sampler"):
        session.start(resolve({"sampler": text}), small, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ratios_that_are_no_shares_are_refused():
    with pytest.raises(ConfigError, match=r"data\.split\.ratios: .*sum to 1"):
        resolve({"data": {"split": {"ratios": [0.5, 0.5, 0.5]}}})


def test_a_stage_on_another_model_needs_nothing_of_the_trained_one():
    towers = Towers(torch.randn(4, 3, generator=streams("u")), torch.randn(5, 3, generator=streams("i")))
    seen = Seen([0], [1], n_users=4, n_items=5)
    plain = Function(lambda item: item.float().expand(2, -1))
    sampler = Chain(Weighted(5, seen=seen, n_negatives=3), With(towers, MixPositive(0.5)))
    build.refuse_unserved(sampler, plain, sampler_name="mine", model="mf:dim=3")
    with pytest.raises(CapabilityError, match="sampler mine cannot train mf:dim=3: its MixPositive needs"):
        build.refuse_unserved(Chain(sampler.source, MixPositive(0.5)), plain, sampler_name="mine", model="mf:dim=3")


@pytest.mark.parametrize(
    ("text", "instead"), [("enmf:c0=0.1", "--sampler none --loss enmf:c0=0.1"), ("psl", "--loss psl")]
)
def test_a_loss_in_place_of_a_sampler_is_told_apart(small, text, instead):
    with pytest.raises(UsageError, match=f"is a loss, not a sampler: {instead}$"):
        build.make_sampler(text, small)


class Told(Sampler):
    """Keeps what it was made with."""

    def __init__(self, last_row, train) -> None:
        super().__init__()
        self.last_row, self.train_pairs = last_row, train

    def sample(self, batch, scorer, rng):
        return Negatives(torch.zeros(len(batch), 1, dtype=torch.long))


def told(last_row, train) -> Sampler:
    return Told(last_row, train)


@pytest.mark.parametrize("order", [None, "given", "time"])
def test_a_sampler_may_ask_for_last_rows_and_for_the_train_pairs_alone(small, monkeypatch, order):
    import sys
    import types
    from dataclasses import replace

    shop = types.ModuleType("shop_for_a_test")
    shop.told = told
    monkeypatch.setitem(sys.modules, "shop_for_a_test", shop)
    dataset = small
    timed = np.arange(len(dataset.interactions.user))[::-1] % 7
    log = replace(dataset.interactions, timestamp=timed.astype(float))
    for has_times in (False, True):
        one = Dataset("timed", log if has_times else dataset.interactions, dataset.part)
        if order == "time" and not has_times:
            continue
        text = "shop_for_a_test:told"
        made = build.make_sampler(text, one, trusted=(text,), oracle=("valid",), order=order)
        rows = one.rows("train")
        user = one.interactions.user[rows]
        when = timed[rows] if has_times and order != "given" else np.zeros(len(rows))
        for person in range(one.n_users):
            own = np.flatnonzero(user == person)
            wanted = max(own, key=lambda row: (when[row], row)) if len(own) else -1
            assert int(made.last_row[person]) == wanted
        assert made.train_pairs.part == "train" and len(made.train_pairs) == len(one.train)
