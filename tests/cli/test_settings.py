from pathlib import Path

import pytest

from negsieve.cli.settings import layered, refuse_together, typed
from negsieve.errors import ConfigError, MissingInput, UsageError


def test_set_beats_options_beat_the_file_beat_the_layer_below(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("train: {lr: 0.2, epochs: 20, seed: 2}\nsampler: dns\n")
    found = layered(
        config=file,
        assignments=["train.lr=0.4"],
        top={"sampler": None},
        train={"lr": 0.3, "epochs": 30, "seed": None},
        below={"train": {"lr": 0.1, "epochs": 10, "seed": 1, "patience": 7}},
    )
    assert found["train"]["lr"] == 0.4
    assert found["train"]["epochs"] == 30
    assert found["train"]["seed"] == 2
    assert found["train"]["patience"] == 7
    assert found["sampler"] == "dns"


def test_data_options_become_settings_of_the_data():
    found = layered(config=None, assignments=None, data="log.csv", columns="user=who, item=what,rating=", split="loo")
    assert found["data"]["source"] == "log.csv"
    assert found["data"]["columns"] == {"user": "who", "item": "what", "rating": ""}
    assert found["data"]["split"]["method"] == "loo"


@pytest.mark.parametrize("text", ["user", "=who", "user=a,user=b", ""])
def test_columns_that_cannot_be_read_are_refused(text):
    with pytest.raises(UsageError, match="--columns"):
        layered(config=None, assignments=None, columns=text)


def test_unknown_settings_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"train\.paitence: no such setting. Did you mean 'train\.patience'"):
        layered(config=None, assignments=["train.paitence=3"])
    with pytest.raises(MissingInput, match=r"gone\.yaml"):
        layered(config=Path("gone.yaml"), assignments=None)


def test_only_what_was_typed_may_be_imported(tmp_path):
    assert typed("a:b", None) == "a:b"
    assert typed(None, ["sampler=a:b"]) == "a:b"
    assert typed("a:b", ["sampler=dns"]) == "dns"
    assert typed(None, ["train.lr=1"]) is None


def test_options_that_exclude_each_other_are_named():
    with pytest.raises(UsageError, match="so it is; leave out --batch-size, --lr"):
        refuse_together("so it is", batch_size=3, lr=0.1, epochs=None, columns=None)
