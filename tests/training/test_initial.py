"""Runs that start from finished ones: the same bits, without them afterwards, and never from what does not fit."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import negsieve
from negsieve.cli.train import show
from negsieve.config import resolve
from negsieve.errors import CannotCreate, CheckpointError, ConfigError, MissingInput, UsageError
from negsieve.report import run_page
from negsieve.store.run import Run
from negsieve.training import initial, session
from negsieve.training.watch import Silent

SHAPE = "dim=8,max_len=6,dropout=0.1,order=given"
ALONE = f"sasrec:{SHAPE},similarity=cosine,temperature=0.2"
CROSS = f"sasrec_cdr:{SHAPE}"


def settings(model, **layers):
    train = {"epochs": 1, "batch_size": 128, "lr": 0.01, "device": "cpu", "seed": 3, "checkpoint_seconds": 0}
    train |= layers.pop("train", {})
    first = {"model": model, "sampler": "uniform:n_negatives=2", "loss": "bce"}
    return resolve({"train": train, "evaluate": {"metrics": ["ndcg@20"]}}, first, layers)


@pytest.fixture(scope="module")
def runs(domains, tmp_path_factory):
    """Finished runs of a model of one domain on each domain alone."""
    root = tmp_path_factory.mktemp("alone")
    for target in ("toy", "game"):
        session.start(settings(ALONE), domains(target=target, sources=()), path=root / target)
    return root


@pytest.fixture(scope="module")
def data(domains):
    return domains()


def both(runs):
    return {"init_from": {"target": str(runs / "toy"), "source": str(runs / "game")}}


class Killed(BaseException):
    pass


class KillAtOnce(Silent):
    def begin(self, run, *, epochs, steps, epoch, memory=""):
        raise Killed


def weights(run):
    return run.load_best().groups["model"]


def started(path):
    """The weights that a run keeps to start from."""
    return initial._kept(Run(path)).groups["model"]


def test_both_towers_are_those_of_the_runs_row_by_row(data, runs, tmp_path, capsys):
    result = session.start(settings(CROSS, train=both(runs)), data, path=tmp_path / "run")
    found = started(tmp_path / "run")
    beside = data.aside
    for part, ids in (("target", list(data.items)), ("source", list(beside.items[0]))):
        run = Run(runs / ("toy" if part == "target" else "game"))
        other, own = weights(run), session.snapshot.load(run.path / "data")
        places = own.items.numbers(ids)
        assert len(set(places)) == len(ids)
        for name, value in other.items():
            wanted = value[torch.from_numpy(places)] if name == "item" else value
            assert torch.equal(found[f"pair.{part}.{name}"], wanted), name
        told = result["started_from"][part]
        assert told["run"] == str(run.path) and told["model"] == ALONE and len(told["weights"]) == 64
    assert sorted(found) == sorted(name for name in weights(Run(tmp_path / "run")) if not name.startswith("fusion"))
    assert "source starts from" in (tmp_path / "run" / "log.txt").read_text()
    assert f"target: {runs / 'toy'}, source: {runs / 'game'}" in run_page(tmp_path / "run").read_text()
    show({**result, "report": "report.html"})
    assert "started from" in capsys.readouterr().out


def test_training_goes_on_from_them_and_they_change_what_comes_of_it(data, runs, tmp_path):
    still = {"lr": 1e-30}
    session.start(settings(CROSS, train=both(runs) | still), data, path=tmp_path / "still")
    found, wanted = weights(Run(tmp_path / "still")), started(tmp_path / "still")
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-7, rtol=0)
    session.start(settings(CROSS), data, path=tmp_path / "scratch")
    session.start(settings(CROSS, train=both(runs)), data, path=tmp_path / "run")
    name = "pair.target.encoder.place"
    assert not torch.allclose(weights(Run(tmp_path / "scratch"))[name], weights(Run(tmp_path / "run"))[name], atol=1e-2)


def test_a_run_that_stopped_at_once_resumes_with_the_same_bits_without_the_runs(data, runs, tmp_path):
    shutil.copytree(runs, tmp_path / "alone")
    config = settings(CROSS, train=both(tmp_path / "alone"))
    session.start(config, data, path=tmp_path / "whole")
    with pytest.raises(Killed):
        session.start(config, data, path=tmp_path / "cut", watch=KillAtOnce())
    shutil.rmtree(tmp_path / "alone")
    session.resume(tmp_path / "cut")
    one, two = (weights(Run(tmp_path / name)) for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    told = [Run(tmp_path / name).result()["started_from"] for name in ("whole", "cut")]
    assert told[0] == told[1]


def test_the_whole_model_may_start_from_a_run_of_its_kind(data, runs, tmp_path):
    toy = replace(data, aside=None)
    path = str(runs / "toy")
    session.start(settings(ALONE, train={"init_from": path}), toy, path=tmp_path / "alone")
    assert torch.equal(started(tmp_path / "alone")["item"], weights(Run(runs / "toy"))["item"])
    session.start(settings("mf:dim=4"), toy, path=tmp_path / "mf")
    session.start(settings("mf:dim=4", train={"init_from": str(tmp_path / "mf")}), toy, path=tmp_path / "on")
    assert torch.equal(started(tmp_path / "on")["user"], weights(Run(tmp_path / "mf"))["user"])
    session.start(settings(CROSS, train=both(runs)), data, path=tmp_path / "cross")
    again = settings(CROSS, train={"init_from": str(tmp_path / "cross")})
    session.start(again, data, path=tmp_path / "again")
    one, two = started(tmp_path / "again"), weights(Run(tmp_path / "cross"))
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_every_method_of_a_comparison_starts_from_the_same_weights(data, runs, tmp_path):
    begin = {part: runs / name for part, name in (("target", "toy"), ("source", "game"))}
    train = {"epochs": 1, "device": "cpu", "batch_size": 128, "init_from": begin}
    negsieve.compare(
        data,
        models=(CROSS,),
        samplers=("uniform", "dns:candidates=4"),
        seeds=1,
        settings={"train": train},
        out=tmp_path / "study",
    )
    found = [initial.told_of(run) for run in map(Run, sorted((tmp_path / "study" / "runs").iterdir()))]
    assert len(found) == 2 and found[0] == found[1] and set(found[0]) == {"target", "source"}


def test_text_names_one_run_or_one_a_part():
    assert settings(ALONE, train={"init_from": "runs/a"}).train.init_from == {"model": "runs/a"}
    found = settings(CROSS, train={"init_from": "target=runs/a, source=runs/b"}).train.init_from
    assert found == {"target": "runs/a", "source": "runs/b"}
    with pytest.raises(ConfigError, match=r"train\.init_from"):
        settings(ALONE, train={"init_from": 3})


def refused(kind, said, data, path, model=CROSS, **train):
    with pytest.raises(kind, match=said):
        session.start(settings(model, train=train), data, path=path)
    assert not path.exists()


def test_what_does_not_fit_is_refused_before_anything_is_written(data, runs, tmp_path):
    toy, game, run = str(runs / "toy"), str(runs / "game"), tmp_path / "run"
    refused(UsageError, "has the parts model, target, source", data, run, init_from={"sauce": toy})
    refused(UsageError, "has the parts model$", data, run, model=ALONE, init_from={"target": toy})
    refused(MissingInput, "looked for a run directory", data, run, init_from={"target": str(tmp_path / "none")})
    refused(UsageError, r"trained on other data.*'toy\d+' of the domain 'toy'", data, run, init_from={"target": game})
    refused(UsageError, r"trained on other data.*of the domain 'game'", data, run, init_from={"source": toy})
    refused(UsageError, "differ in .*a run of the same model", data, run, init_from={"model": toy})
    wide = CROSS.replace("dim=8", "dim=16")
    refused(UsageError, r"of shape \[.*8\].*wants \[.*16\]", data, run, model=wide, init_from={"target": toy})
    two = f"{CROSS},heads=2"
    refused(UsageError, "has heads=1, .* has heads=2", data, run, model=two, init_from={"target": toy})
    grid = f"{CROSS},pad_attention=reference"
    refused(UsageError, "has pad_attention=masked", data, run, model=grid, init_from={"target": toy})


def test_a_run_that_learnt_what_is_held_out_is_refused(data, runs, tmp_path):
    toy = replace(data, aside=None)
    whole = replace(toy, part=np.where(toy.part == 2, 0, toy.part).astype(np.int8))
    session.start(settings(ALONE, train={"patience": 0}), whole, path=tmp_path / "whole")
    refused(UsageError, r"learnt from \d+ pairs", data, tmp_path / "run", init_from={"target": str(tmp_path / "whole")})
    session.start(settings(ALONE, train={"select_on": "test"}), toy, path=tmp_path / "chosen")
    refused(UsageError, "is stamped", data, tmp_path / "run", init_from={"target": str(tmp_path / "chosen")})


def test_an_unfinished_or_damaged_run_is_refused(data, runs, tmp_path):
    shutil.copytree(runs / "toy", tmp_path / "toy")
    file = next((tmp_path / "toy" / "best").rglob("model.safetensors"))
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(bytes(raw))
    refused(CheckpointError, "model", data, tmp_path / "run", init_from={"target": str(tmp_path / "toy")})
    (tmp_path / "toy" / "result.json").unlink()
    refused(MissingInput, "is not finished", data, tmp_path / "run", init_from={"target": str(tmp_path / "toy")})


def test_a_run_that_was_begun_from_other_weights_is_not_gone_on_with(data, runs, domains, tmp_path):
    shutil.copytree(runs, tmp_path / "alone")
    config = settings(CROSS, train=both(tmp_path / "alone"))
    with pytest.raises(Killed):
        session.start(config, data, path=tmp_path / "run", watch=KillAtOnce())
    shutil.rmtree(tmp_path / "alone" / "game")
    session.start(
        settings(ALONE, train={"seed": 9}), domains(target="game", sources=()), path=tmp_path / "alone" / "game"
    )
    with pytest.raises(CannotCreate, match="begun from other weights"):
        session.start(config, data, path=tmp_path / "run")
