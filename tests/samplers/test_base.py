"""A chain passes draws along in order, and gives each part its own evidence back."""

from __future__ import annotations

import torch

from negsieve.rng import streams
from negsieve.samplers.base import Chain, Sampler, Stage
from negsieve.samplers.draw import Weighted
from negsieve.samplers.select import Hardest
from negsieve.testing.check_sampler import check_sampler
from negsieve.types import Batch, Negatives


class Zero(Sampler):
    """Always item 0, and counts the epochs it was told of."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("epochs", torch.zeros(1))

    def sample(self, batch, scorer, rng):
        return Negatives(torch.zeros(len(batch), 1, dtype=torch.long))

    def refresh(self, epoch, view, rng):
        self.epochs += 1


class Add(Stage):
    """Adds a number, and remembers how many rows each shard had."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.register_buffer("rows", torch.zeros(2))

    def refine(self, negatives, batch, scorer, rng):
        return Negatives((negatives.item * 10 + self.number) % 50)

    def observe(self, batch, negatives, scorer, loss, rng):
        return {"rows": torch.tensor(float(len(batch) * self.number))}

    def learn(self, evidence):
        self.rows += torch.stack([one["rows"] for one in evidence])


BATCH = Batch(torch.arange(3), torch.arange(3))


def test_stages_apply_in_order():
    found = Chain(Zero(), Add(1), Add(2)).sample(BATCH, None, streams("t"))
    assert found.item.tolist() == [[12]] * 3


def test_each_part_learns_from_its_own_evidence_of_all_shards():
    chain = Chain(Zero(), Add(1), Add(2))
    shards = [chain.observe(Batch(torch.arange(n)), None, None, None, None) for n in (3, 5)]
    chain.learn(shards)
    assert [stage.rows.tolist() for stage in chain.stages] == [[3.0, 5.0], [6.0, 10.0]]
    assert "stages.0.rows" in chain.state_dict()


def test_a_part_without_evidence_is_not_asked_to_learn():
    assert Chain(Zero()).observe(BATCH, None, None, None, None) is None
    chain = Chain(Zero())
    chain.learn([{}])
    chain.refresh(0, None, streams("t"))
    assert float(chain.source.epochs) == 1


def test_a_chain_with_memory_keeps_the_contract():
    report = check_sampler(lambda: Chain(Zero(), Add(1), Add(2)))
    assert report.learns and report.deterministic


def test_data_stay_out_of_checkpoints_and_move_with_the_sampler(seen):
    sampler = Chain(Weighted(30, seen=seen, n_negatives=4), Hardest())
    assert not sampler.state_dict()
    assert {"source.seen.packed", "source.free"} <= dict(sampler.named_buffers()).keys()
    assert sampler.to("meta").source.free.device.type == "meta"
