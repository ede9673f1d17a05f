"""Kill -9 at any moment, any number of times: resuming gives bit-identical metrics and tables on CPU."""

from __future__ import annotations

import os
import random
import signal
import time
import warnings

import pytest
import torch

from negsieve.config import resolve
from negsieve.rng import derive
from negsieve.store.run import Run
from negsieve.training import session

TRIALS = 3
WAYS = [("mf:dim=8", "dns_mn:m=2,n=6,mode=one"), ("lightgcn:dim=8,layers=2", "mixgcf:candidates=4")]


@pytest.fixture(autouse=True)
def one_thread():
    """A forked child has none of the threads that its parent computed with, and would wait for them for ever."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def left_behind(path) -> dict:
    run, timed = Run(path), ("seconds", "run", "name")
    files = [file for folder in ("best", "data") for file in (path / folder).rglob("*") if file.is_file()]
    newest = max((path / "checkpoints").iterdir())
    files += [file for file in newest.rglob("*") if file.is_file()]
    found = {str(file.relative_to(path)): file.read_bytes() for file in files}
    found["per_user"] = run.per_user().to_pydict()
    found["metrics"] = [{key: record[key] for key in record if key not in timed} for record in run.metrics()]
    found["result"] = {key: value for key, value in run.result().items() if key not in timed}
    return found


def attempt(config, dataset, path, *, seconds: float) -> bool:
    """Trains in a child that is killed after ``seconds``; whether it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads: the child never touches them
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            session.start(config, dataset, path=path)
            code = 0
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, "the run failed by itself; its traceback is on stderr"
            return False
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        time.sleep(0.001)


@pytest.mark.parametrize(("model", "sampler"), WAYS)
def test_promise(small, tmp_path, model, sampler):
    train = {"epochs": 4, "batch_size": 48, "device": "cpu", "checkpoint_every": 3, "checkpoint_seconds": 0}
    config = resolve(
        {"model": model, "sampler": sampler, "train": train, "evaluate": {"metrics": ["ndcg@20"], "test_metrics": []}}
    )
    session.start(config, small, path=tmp_path / "warm")  # its lazy imports, which each child would else repeat
    begun = time.monotonic()
    session.start(config, small, path=tmp_path / "whole")
    whole, wanted = time.monotonic() - begun, left_behind(tmp_path / "whole")
    lot, kills = random.Random(derive("kill", seed=len(model))), 0
    for trial in range(5 * TRIALS):  # a run that outruns its killer proves nothing
        if kills >= TRIALS:
            break
        path = tmp_path / f"trial-{trial}"
        while attempt(config, small, path, seconds=lot.uniform(0.02, 0.6) * whole if kills < 4 * TRIALS else 60):
            kills += 1
            assert kills <= 4 * TRIALS, "a run that nobody killed did not end"
        assert left_behind(path) == wanted, f"trial {trial}"
    assert kills >= TRIALS
