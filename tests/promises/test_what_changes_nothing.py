"""The checkpoints' interval, who watches and where the run lies change no bit of what is learned."""

from __future__ import annotations

from negsieve.config import resolve
from negsieve.store.run import Run
from negsieve.training import session
from negsieve.training.watch import Silent


def left_behind(path) -> tuple:
    run, timed = Run(path), ("seconds", "run", "name")
    tensors = {name: value.tolist() for name, value in run.load_best().groups["model"].items()}
    metrics = [{key: record[key] for key in record if key not in timed} for record in run.metrics()]
    result = {key: value for key, value in run.result().items() if key not in timed}
    return tensors, metrics, result, run.per_user().to_pydict()


def test_promise(small, tmp_path):
    base = {"model": "mf:dim=8", "sampler": "dns:candidates=4", "evaluate": {"metrics": ["ndcg@20"]}}
    train = {"epochs": 3, "batch_size": 64, "device": "cpu"}
    ways = {
        "plain": {},
        "often": {"checkpoint_every": 1, "checkpoint_seconds": 0.0},
        "seldom": {"checkpoint_seconds": 9999.0},
    }
    for name, more in ways.items():
        session.start(resolve(base, {"train": train | more}), small, path=tmp_path / name / "deeper", watch=Silent())
    wanted = left_behind(tmp_path / "plain" / "deeper")
    for name in ways:
        assert left_behind(tmp_path / name / "deeper") == wanted, name
