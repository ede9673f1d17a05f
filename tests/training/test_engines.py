"""The choice of an engine: made once, said, kept by a resume, and refused before anything is written."""

import json

import pytest
import torch

from negsieve.config import resolve
from negsieve.errors import CapabilityError, ConfigError
from negsieve.store.run import Run
from negsieve.training import build, session
from negsieve.training.engines import choose

QUICK = {"epochs": 1, "batch_size": 64, "device": "cpu"}


def settings(**layers):
    train = QUICK | layers.pop("train", {})
    return resolve({"train": train, "model": "mf:dim=8"}, layers)


def choice(dataset, **layers):
    config = settings(**layers)
    return choose(build.tried(config, dataset), config.train, torch.device("cpu"))


def test_torch_is_taken_where_it_is_asked_for_and_said_everywhere(small, tmp_path):
    result = session.start(settings(train={"engine": "torch"}), small, path=tmp_path / "run")
    run = Run(tmp_path / "run")
    assert result["engine"] == run.env()["engine"] == "torch"
    assert result["kernels"] == run.env()["kernels"]
    assert "engine torch" in (run.path / "log.txt").read_text()


@pytest.mark.parametrize("sampler", ["dins:candidates=2", "in_batch", "ans"])
def test_what_no_compiled_engine_serves_is_refused_before_anything_is_written(small, tmp_path, sampler):
    with pytest.raises(CapabilityError, match=r"train\.engine=compiled cannot do this run"):
        session.start(settings(sampler=sampler, train={"engine": "compiled"}), small, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert choice(small, sampler=sampler).name == "torch"


def test_a_resume_uses_the_engine_that_the_run_began_with(small, tmp_path):
    path = tmp_path / "run"
    config = settings(train={"engine": "torch"})
    session.start(config, small, path=path)
    (path / "result.json").unlink()
    told = json.loads((path / "env.json").read_text())
    (path / "env.json").write_text(json.dumps(told | {"engine": "of another time"}))
    with pytest.raises(ConfigError, match="begun with the engine 'of another time', this version has torch"):
        session.resume(path)
    (path / "env.json").write_text(json.dumps({name: told[name] for name in told if name != "engine"}))
    assert session.resume(path)["engine"] == "torch"
