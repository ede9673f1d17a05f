import inspect
import sys
from importlib.metadata import EntryPoint

import pytest

from negsieve.cli import complete, names
from negsieve.evaluation import metrics
from negsieve.losses import LOSSES
from negsieve.models.named import MODELS
from negsieve.samplers.named import METHODS


def test_everything_that_can_be_named_is_listed_with_words_and_parameters(call):
    found = call("list", "--json").json
    assert [one["name"] for one in found["samplers"]][: len(METHODS)] == list(METHODS)
    assert [one["name"] for one in found["models"]] == list(MODELS)
    assert [one["name"] for one in found["losses"]] == list(LOSSES)
    for kind in found.values():
        assert all(len(one["about"]) > 20 for one in kind)
    dns_mn = next(one for one in found["samplers"] if one["name"] == "dns_mn")
    assert dns_mn["parameters"] == {"m": 4, "n": 32, "mode": "mean"}
    assert "dnsmn" in dns_mn["aliases"]
    assert all(one["parameters"]["dim"] == 64 for one in found["models"])
    given = {"n_items", "n_users", "seen", "dim", "seed", "explicit", "train", "last_row"}
    for name, function in METHODS.items():
        offered = set(inspect.signature(function).parameters) - given
        assert set(next(one for one in found["samplers"] if one["name"] == name)["parameters"]) == offered


def test_every_metric_has_its_line():
    assert set(names._METRICS) == {*metrics.ACCURACY, *metrics.LISTS, metrics.AUC}


@pytest.mark.parametrize("kind", names.KINDS)
def test_each_kind_prints(kind, call):
    said = call("list", kind)
    assert said.code == 0 and len(said.out.splitlines()) > 2


def test_plug_ins_are_listed_with_their_package_and_not_imported(monkeypatch, call):
    point = EntryPoint("nearby", "no_such_shop:nearby", "negsieve.samplers")
    monkeypatch.setattr("negsieve.samplers.plugins.entry_points", lambda group: [point])
    said = call("list", "samplers")
    assert "nearby" in said.out and "no_such_shop" in said.out
    assert "no_such_shop" not in sys.modules


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        (
            "Draws, DNS (Zhang et al., SIGIR 2013): ``a\\b``.\n\n    More.",
            "Draws, DNS (Zhang et al., SIGIR 2013): a\\b",
        ),
        ("One\n    sentence. Another one.", "One sentence"),
        ("Rendle et al. Explained.", "Rendle et al. Explained"),
        ("", ""),
    ],
)
def test_first_sentence(docstring, sentence):
    assert names.first_sentence(docstring) == sentence


def test_completion_knows_the_same_names_without_importing_them():
    assert sorted(complete.table_names("sampler")) == sorted(METHODS)
    assert complete.table_names("model") == list(MODELS)
    assert sorted(complete.table_names("loss")) == sorted(LOSSES)
    assert complete.samplers("dns") == ["dns", "dns_mn", "dns_star", "dns_band"]
    assert complete.settings("train.pat") == ["train.patience="]
    assert "online-retail" in complete.data("on")


def test_the_shell_gets_completions(monkeypatch, call):
    monkeypatch.setenv("_NEGSIEVE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "negsieve train --sampler dn")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert call().out.split() == ["dns", "dns_mn", "dns_star", "dns_band"]
    monkeypatch.setenv("COMP_WORDS", "negsieve re")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert call().out.split() == ["recommend"]
