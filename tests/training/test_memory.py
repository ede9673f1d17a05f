"""What a run will take is told before it trains, and grows as it says with the tables, the batch and the catalogue."""

import ctypes
import re
import sys
import weakref

import pytest

from negsieve.config import resolve
from negsieve.kernels import native
from negsieve.samplers.named import srns, uniform
from negsieve.training import build, memory, session
from negsieve.training.trainer import Trainer


def told(small, model="mf:dim=16", remembered=0, **train):
    config = resolve({"model": model, "train": train})
    made = build.make_model(config, small)
    sampler = uniform(small.n_items, seen=small.train)
    return memory.expected(made, sampler, config.train, chunk=256, by_autograd=False, remembered=remembered)


def test_parts_are_linear_in_what_they_hold(small):
    one, wide = told(small), told(small, model="mf:dim=32")
    tables = (small.n_users + small.n_items) * 16 * 4
    assert one["optimiser"] == 2 * tables and wide["optimiser"] == 4 * tables
    assert told(small, optimiser="sgd")["optimiser"] == 0
    assert told(small, remembered=2 * tables)["optimiser"] == 0, "what is held already is counted once"
    assert told(small, batch_size=4096)["step"] == 2 * told(small, batch_size=2048)["step"]
    assert one["ranking"] == (1 if native.module() is not None else 3) * 4 * 256 * small.n_items
    assert one["total"] == sum(value for name, value in one.items() if name != "total")
    assert told(small, model="lightgcn:dim=16")["step"] > one["step"]
    assert told(small, model="sasrec:dim=16,order=given")["step"] > one["step"]


def test_a_sampler_whose_parts_do_not_say_how_many_they_draw_is_estimated_too(small):
    config = resolve({"model": "mf:dim=16"})
    made, sampler = build.make_model(config, small), srns(small.n_items, seen=small.train)
    assert any(getattr(one, "n_negatives", 1) is None for one in sampler.modules())
    found = memory.expected(made, sampler, config.train, chunk=256, by_autograd=False)
    assert found["step"] >= told(small)["step"]


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_run_tells_before_it_trains_and_records_its_peak(small, tmp_path, engine):
    config = resolve({"train": {"epochs": 1, "engine": engine, "device": "cpu"}, "model": "mf:dim=8"})
    session.start(config, small, path=tmp_path / "run")
    log = (tmp_path / "run" / "log.txt").read_text()
    line = re.search(r"memory about (\d+) MB: (\d+) held", log)
    assert int(line[1]) >= int(line[2]) > 0
    most = re.search(r"memory (\d+) MB at most", log)
    assert int(most[1]) >= int(line[2])
    assert line.start() < log.index("finished after") < most.start()


def test_more_memory_before_the_run_than_in_it_is_told(monkeypatch):
    told = {"held": 300_000_000, "step": 20_000_000, "optimiser": 0, "total": 320_000_000}
    monkeypatch.setattr(memory, "peak", lambda: 900_000_000)
    assert memory.words(told) == "about 320 MB: 300 held, 20 step; 900 MB were held for a while before"
    monkeypatch.setattr(memory, "peak", lambda: 310_000_000)
    assert memory.words(told) == "about 320 MB: 300 held, 20 step"


def test_memory_that_was_freed_goes_back_to_the_system():
    """Small blocks stay with glibc below any that is in use; after ``give_back`` only what is in use is held."""
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this libc keeps or returns memory by its own rules")
    blocks = [bytearray(60_000) for _ in range(2000)]  # 120 MB, each under any threshold of mmap
    kept, before = blocks[-1], memory.held()
    del blocks
    memory.give_back()
    assert memory.held() < before - 90_000_000 and len(kept)


def test_the_final_evaluation_finds_the_optimiser_gone(small, tmp_path, monkeypatch):
    config = resolve({"train": {"epochs": 1, "device": "cpu"}, "model": "mf:dim=8"})
    made, alive = [], []

    class Kept(Trainer):
        def fit(self):
            made.append(weakref.ref(self.engine))
            return super().fit()

        def restore_best(self):
            alive.append(made[0]() is not None)
            return super().restore_best()

    monkeypatch.setattr(session, "Trainer", Kept)
    session.start(config, small, path=tmp_path / "run")
    assert alive == [False]
