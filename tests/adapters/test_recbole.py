"""RecBole's ``train_neg_sample_args`` is another way to write a sampler: in files, settings and arguments."""

from __future__ import annotations

import json

import pytest

from negsieve.config import resolve
from negsieve.errors import UsageError
from negsieve.layers import from_assignments, read_config
from negsieve.study.plan import make_method

DYNAMIC = {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 16}


def test_a_config_file_of_recbole_s_words(tmp_path):
    file = tmp_path / "recbole.yaml"
    file.write_text(f"train_neg_sample_args: {json.dumps(DYNAMIC)}\ntrain: {{epochs: 3}}\n")
    config = resolve(read_config(file))
    assert config.sampler == "dns:candidates=16" and config.train.epochs == 3
    assert resolve(config.plain()) == config
    assert resolve(read_config(file), {"sampler": "uniform"}).sampler == "uniform", "a stronger layer wins"
    assert resolve({"sampler": "pdns"}, read_config(file)).sampler == "dns:candidates=16"


def test_settings_and_arguments():
    pop = "{distribution: popularity, sample_num: 2, alpha: 0.5}"
    assert resolve({"sampler": pop}).sampler == "popularity:alpha=0.5,n_negatives=2"
    assert resolve({"sampler": DYNAMIC}).sampler == make_method("mf", json.dumps(DYNAMIC)).sampler
    assert resolve(from_assignments([f"train_neg_sample_args={pop}"])).sampler.startswith("popularity")
    assert resolve(from_assignments(["train_neg_sample_args.sample_num=4"])).sampler == "uniform:n_negatives=4"


@pytest.mark.parametrize(("layer", "said"), [
    ({"train_neg_sample_args": None}, "found None, wanted a mapping"),
    ({"train_neg_sample_args": DYNAMIC, "sampler": "dns"}, "give one"),
    ({"train_neg_sample_args": {"distribution": "cosmic"}}, "wanted 'uniform' or 'popularity'"),
    ({"sampler": "{distribution: [}"}, "YAML cannot read it"),
])  # fmt: skip
def test_what_has_no_equal_is_refused(layer, said):
    with pytest.raises(UsageError, match=said):
        resolve(layer)
