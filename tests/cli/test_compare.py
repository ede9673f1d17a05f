import os
from pathlib import Path

import pytest
import yaml

from negsieve import api
from negsieve.cli import compare as module
from negsieve.config import resolve
from negsieve.errors import NegsieveError
from negsieve.study.preset import first_look
from negsieve.training import session

FAST = ("--epochs", "2", "--set", "train.threads=1", "--jobs", "1")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A folder that the tests of this file share: what one finished, the next reuses."""
    return tmp_path_factory.mktemp("study") / "first"


def test_a_table_a_sentence_and_a_page(call, log, study):
    words = ("--model", "mf:dim=8", "--sampler", "uniform", "--sampler", "dns:candidates=4", "--seeds", "2")
    said = call("compare", log, *words, *FAST, "--out", study)
    assert said.code == 0
    lines = said.out.splitlines()
    assert any(line.startswith("mf:dim=8/uniform ") and "baseline" in line for line in lines)
    assert any(line.startswith("itemknn ") and "untrained" in line for line in lines)
    assert any(line.startswith("popularity ") for line in lines)
    assert "the highest test ndcg@20" in said.out
    assert Path(study / "report.html").is_file() and str(study / "report.html") in said.out
    assert "[4/4]" in said.err, "a line for each run where stderr is no terminal"


def test_the_same_again_trains_nothing_and_json_is_one_object(call, log, study, monkeypatch):
    monkeypatch.setattr(session, "start", lambda *_, **__: pytest.fail("a finished run was trained again"))
    words = ("--method", "mf:dim=8/uniform", "--method", "mf:dim=8/dns:candidates=4/bpr", "--seeds", "42,43")
    said = call("compare", log, *words, *FAST, "--out", study, "--json")
    assert said.code == 0 and said.err == ""
    found = said.json
    assert [row["method"] for row in found["rows"] if not row["reference"]] == [
        "mf:dim=8/uniform/bpr",
        "mf:dim=8/dns:candidates=4/bpr",
    ]
    assert found["baseline"] == "mf:dim=8/uniform/bpr" and found["report"] == str(study / "report.html")


def test_missing_runs_are_shown_with_the_reason_and_end_in_70(call, log, study, monkeypatch):
    train = session.start

    def fragile(config, *args, **more):
        if config.train.seed == 44:
            raise NegsieveError("the [red]disk[/red] went away")
        return train(config, *args, **more)

    monkeypatch.setattr(session, "start", fragile)
    words = ("--method", "mf:dim=8/uniform", "--method", "mf:dim=8/dns:candidates=4", "--seeds", "3")
    said = call("compare", log, *words, *FAST, "--out", study)
    assert said.code == 70
    assert "missing: mf:dim=8/uniform/bpr seed 44: NegsieveError: the [red]disk[/red] went away" in said.out
    assert "1 missing" in said.out
    assert call("compare", log, *words, *FAST, "--out", study, "--json").json["rows"][0]["missing"][0]["seed"] == 44


def test_another_study_in_the_same_folder_is_refused(call, log, study):
    said = call("compare", log, "--sampler", "uniform", "--epochs", "3", "--jobs", "1", "--out", study)
    assert said.code == 73 and "another folder" in said.err


def test_runs_in_processes_of_their_own(call, log, tmp_path):
    words = ("--model", "mf:dim=8", "--sampler", "uniform", "--seeds", "2", "--epochs", "1", "--jobs", "2")
    assert call("compare", log, *words, "--out", tmp_path / "study", "--json").code == 0


@pytest.fixture
def asked(monkeypatch):
    """What the command hands to ``negsieve.compare``, which is not run."""
    kept = {}

    def record(dataset, **arguments):
        kept.update(arguments)
        raise NegsieveError("enough seen")

    monkeypatch.setattr(api, "compare", record)
    return kept


def test_alone_it_runs_the_preset_on_the_shipped_data(call, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("compare").code == 70
    preset = first_look()
    assert {name: asked[name] for name in ("models", "samplers", "methods", "own", "seeds")} == {
        name: preset[name] for name in ("models", "samplers", "methods", "own", "seeds")
    }
    config = resolve(asked["settings"])
    assert config == resolve(preset["settings"])
    assert config.data.source == "online-retail"
    assert asked["jobs"] == len(os.sched_getaffinity(0))


def test_options_beat_the_preset_and_other_data_do_not_get_its_settings(call, asked, log, tmp_path):
    call("compare", "--epochs", "7")
    assert resolve(asked["settings"]).train.epochs == 7
    call("compare", log, "--lr", "0.125")
    assert asked["own"] == ()
    assert asked["settings"]["train"] == resolve({"train": {"lr": 0.125}}).plain()["train"]
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({"train": {"batch_size": 17}}))
    call("compare", log, "--config", file)
    assert asked["settings"]["train"]["batch_size"] == 17


def test_what_is_crossed_and_what_is_single(call, asked, log):
    call("compare", log, "--method", "lightgcn/dns")
    assert (asked["models"], asked["samplers"], asked["methods"]) == ((), (), ("lightgcn/dns",))
    call("compare", log, "--method", "mf/dns", "--own", "dns:train.lr=0.5")
    assert asked["own"] == ("dns:train.lr=0.5",)
    call("compare", log, "--model", "lightgcn", "--loss", "bce", "--loss", "bpr", "--seeds", "5,6", "--baseline", "dns")
    assert asked["models"] == ("lightgcn",) and asked["losses"] == ("bce", "bpr")
    assert asked["samplers"] == first_look()["samplers"]
    assert asked["seeds"] == [5, 6] and asked["baseline"] == "dns"


def test_a_gpu_is_not_shared_by_default(monkeypatch):
    import torch

    assert module.usable_jobs("cpu") == len(os.sched_getaffinity(0))
    monkeypatch.setattr("negsieve.training.build.pick_device", lambda wanted: torch.device("cuda"))
    assert module.usable_jobs("auto") == 1
