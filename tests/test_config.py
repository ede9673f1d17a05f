"""Settings: who wins, what is refused and how, and that a resolved configuration reads back as itself."""

from __future__ import annotations

import copy
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from negsieve.config import RunConfig, resolve, setting_names
from negsieve.errors import ConfigError, MissingInput
from negsieve.layers import from_assignments, read_config


def test_later_layers_win_key_by_key():
    found = resolve(
        {"train": {"lr": 0.1, "epochs": 3}, "data": {"split": {"seed": 1, "method": "loo"}}},
        {"train": {"lr": 0.2}, "data": {"split": {"seed": 2}}},
        {"sampler": "dns"},
    )
    assert (found.train.lr, found.train.epochs, found.sampler) == (0.2, 3, "dns")
    assert (found.data.split.seed, found.data.split.method) == (2, "loo")
    assert found.train.batch_size == RunConfig().train.batch_size


def test_layers_stay_as_they_were():
    layers = [
        {"data": {"split": {"seed": 1}, "columns": {"user": "a"}}},
        {"data": {"split": {"seed": 2}, "columns": {"item": "b"}}},
    ]
    before = copy.deepcopy(layers)
    assert resolve(*layers).data.columns == {"user": "a", "item": "b"}
    assert layers == before


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("train.pateince", "train.patience"),
        ("train.learning_rate", "train.lr"),
        ("learning_rate", "train.lr"),
        ("train_batch_size", "train.batch_size"),
        ("reg_weight", "train.l2"),
        ("embedding_size", "model"),
        ("epochs", "train.epochs"),
        ("data.splt", "data.split.seed"),
        ("evaluate.metric", "train.metric"),
    ],
)
def test_unknown_settings_name_the_one_that_was_meant(key, wanted):
    with pytest.raises(ConfigError) as refused:
        resolve(from_assignments([f"{key}=1"]))
    said = str(refused.value)
    assert said.startswith(f"{key}: no such setting. Did you mean '")
    if key != "data.splt":
        assert f"Did you mean {wanted!r}?" in said
    else:
        assert "data.s" in said.partition("mean")[2]


def test_every_fault_is_told_not_only_the_first():
    with pytest.raises(ConfigError) as refused:
        resolve({"train": {"lr": -1, "epochs": 0, "optimiser": "adan"}})
    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    assert any(line.startswith("train.lr: found -1, wanted") and "above 0" in line for line in lines)
    names = "'adam', 'adamw', 'sgd', 'online_sgd', 'adagrad', 'sparse_adam' or 'rowwise_adagrad'"
    assert any(names in line for line in lines)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["lr", "l2", "weight_decay", "checkpoint_seconds"])
def test_numbers_that_are_not_finite_are_refused(key, value):
    with pytest.raises(ConfigError, match=rf"train\.{key}: found"):
        resolve({"train": {key: value}})


@pytest.mark.parametrize("text", ["train.lr=nan", "train.lr=.nan", "train.lr=inf", "train.lr=-inf"])
def test_not_finite_from_the_command_line_too(text):
    with pytest.raises(ConfigError, match=r"train\.lr: found"):
        resolve(from_assignments([text]))


def test_assignments_read_what_people_mean():
    layer = from_assignments(
        [
            "train.lr=1e-3",
            "train.drop_last=true",
            "evaluate.metrics=[recall@5, ndcg@5]",
            "data.format=null",
            "model=mf:dim=8,similarity=cosine",
            "data.split.ratios=[0.7, 0.1, 0.2]",
            "name=",
        ]
    )
    assert layer["train"] == {"lr": 0.001, "drop_last": True}
    found = resolve(layer)
    assert found.evaluate.metrics == ("recall@5", "ndcg@5")
    assert found.model == "mf:dim=8,similarity=cosine"
    assert found.data.split.ratios == (0.7, 0.1, 0.2)
    assert found.data.format is None and found.name is None


@pytest.mark.parametrize("text", ["train.lr", "=3", "train.lr=[1", "train.lr={a"])
def test_assignments_that_cannot_be_read_are_shown(text):
    with pytest.raises(ConfigError) as refused:
        from_assignments([text])
    assert repr(text) in str(refused.value)


def test_dates_may_be_written_as_dates(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("data: {since: 2011-01-01, until: 2011-12-09 12:30:00}\n")
    assert resolve(read_config(file)).data.since == "2011-01-01"
    found = resolve(from_assignments(["data.since=2011-01-01", "data.until=1323432000"]))
    assert (found.data.since, found.data.until) == ("2011-01-01", 1323432000)
    assert resolve(read_config(file)).data.until == "2011-12-09T12:30:00"


def test_the_metric_is_kept_under_the_name_that_evaluation_gives_it():
    assert resolve({"train": {"metric": " NDCG@020 "}}).train.metric == "ndcg@20"
    assert resolve({"train": {"metric": "AUC"}}).train.metric == "auc"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {lr: 0.1", "not valid YAML"),
        ("- a\n- b\n", "found list, wanted keys"),
        ("", "found NoneType"),
        ("a: !!python/object:os.system x", "not valid YAML"),
    ],
)
def test_files_that_hold_no_settings_are_named(tmp_path, text, said):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_config(file)
    assert str(refused.value).startswith(f"{file}: ") and said in str(refused.value)
    with pytest.raises(MissingInput, match=r"gone\.yaml"):
        read_config(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    "dump", [lambda plain: yaml.safe_load(yaml.safe_dump(plain)), lambda plain: json.loads(json.dumps(plain))]
)
@given(
    lr=st.floats(1e-300, 1e300),
    name=st.none()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029"), max_size=8),
    metrics=st.lists(st.sampled_from(["ndcg@20", "auc", "recall@5"]), min_size=1),
    since=st.none() | st.dates() | st.floats(0, 1e12),
    core=st.integers(0, 9) | st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_plain_values_read_back_as_the_same_configuration(dump, lr, name, metrics, since, core):
    config = resolve(
        {"name": name, "train": {"lr": lr}, "evaluate": {"metrics": metrics}, "data": {"since": since, "core": core}}
    )
    assert resolve(dump(config.plain())) == config


def test_setting_names_are_all_and_dotted():
    names = setting_names()
    assert {"name", "model", "data.split.ratios", "train.lr", "evaluate.protocol"} <= set(names)
    assert len(names) == len(set(names)) and "train" not in names


def test_betas_are_adams_alone():
    assert resolve(from_assignments(["train.betas=[0.9, 0.98]"])).train.betas == (0.9, 0.98)
    with pytest.raises(ConfigError, match=r"train\.betas: found .*1\.5.* wanted two numbers between 0 and 1"):
        resolve({"train": {"betas": [1.5, 0.9]}})
    with pytest.raises(ConfigError, match="no betas with optimiser sgd"):
        resolve({"train": {"optimiser": "sgd", "betas": [0.8, 0.98]}})
